// Answers with any number of rows for each item.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <athanor/core/detail/view.hpp>
#include <athanor/serving/detail/model_description.hpp>
#include <athanor/serving/detail/ragged.hpp>
#include <athanor/serving/engine.hpp>
#include <support/puppet.hpp>

using namespace athanor;
using namespace athanor_tests;

namespace {

// What the model does wrong.
enum class Wrong : int { nothing, too_few_rows, too_many_rows, negative_count, wide_rows };

// Gives of an item `x` as many points as `x` says: (x, 0), (x, 1), and so on.
struct PointsBackend {
  static constexpr char const* name = "puppet";
  static constexpr RunsOn runs_on = RunsOn::any_thread;
  std::atomic<Wrong> wrong{Wrong::nothing};
  std::atomic<int> runs{0};

  struct Instance {
    PointsBackend& backend;
    std::vector<std::int64_t> counts{};
    std::vector<float> points{};
    Result<void> run(ath_batch& batch) {
      auto const* const x = static_cast<float const*>(batch.inputs[0].data);
      ++backend.runs;
      counts.clear();
      points.clear();
      Wrong const mistake = backend.wrong.load();
      for (std::int64_t item = 0; item < batch.items; ++item) {
        if (x[item] == 13) return fail(Code::internal, Reason::backend_failure, "not thirteen");
        counts.push_back(static_cast<std::int64_t>(x[item]));
        for (std::int64_t i = 0; i < counts.back(); ++i) {
          points.push_back(x[item]);
          points.push_back(static_cast<float>(i));
        }
      }
      if (mistake == Wrong::too_few_rows && !points.empty()) points.resize(points.size() - 2);
      if (mistake == Wrong::too_many_rows) points.insert(points.end(), {9, 9});
      if (mistake == Wrong::negative_count) counts[0] = -1;
      std::int64_t const width = mistake == Wrong::wide_rows ? 1 : 2;
      batch.outputs[0] = to_view(Tensor::view<std::int64_t>(counts, Shape{batch.items}));
      batch.outputs[1] = to_view(
          Tensor::view<float>(points, Shape{static_cast<std::int64_t>(points.size()) / width, width}));
      return {};
    }
  };
  struct Model {
    using Instance = PointsBackend::Instance;
    PointsBackend& backend;
    std::uint64_t footprint() const { return 1; }
    Result<std::unique_ptr<Instance>> make_instance() {
      return std::make_unique<Instance>(Instance{backend});
    }
  };
  Result<std::unique_ptr<Model>> load(ModelSource const&) { return std::make_unique<Model>(Model{*this}); }
};
static_assert(Backend<PointsBackend>);

constexpr std::string_view pointed = R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items"]}],
  "model_outputs": [{"name": "n", "dtype": "i64", "shape": ["items"]},
                    {"name": "points", "dtype": "f32", "shape": ["points", 2], "rows": "n"}],
  "outputs": [{"name": "points", "dtype": "f32", "shape": ["points", 2]},
              {"name": "count", "dtype": "i64", "shape": ["items"], "from": "rows:points"}],)";

struct PointsRig {
  PointsBackend backend;
  ath_backend_table table = make_table(backend);
  ModelFolder folder;
  Engine<> engine = Engine<>::create({.backends = {&table}}).value();
  Model<> model = engine.load(folder.path()).value();

  explicit PointsRig(std::string_view extra = "") : folder(extra, "points", "1.0.0", pointed) {
    REQUIRE(model.infer(asking({1})));
    backend.runs = 0;
  }
  static Request asking(std::vector<float> const& x) {
    return Request{{"x", Tensor::view<float>(x, Shape{static_cast<std::int64_t>(x.size())}).clone().value()}};
  }
};

template <class T>
std::vector<T> list(Result<Answer> const& answer, std::string_view output) {
  REQUIRE_MESSAGE(answer, answer.error().message);
  auto const values = answer->outputs[output].as<T>();
  return {values.begin(), values.end()};
}

using Floats = std::vector<float>;
using Counts = std::vector<std::int64_t>;

}  // namespace

// mutant: the rows of an item begin where those of the batch do
TEST_CASE("an answer has as many rows as the model counts, those of each item one after another") {
  PointsRig rig;
  auto const answer = rig.model.infer(PointsRig::asking({2, 0, 3}));
  CHECK(list<std::int64_t>(answer, "count") == Counts{2, 0, 3});
  CHECK(list<float>(answer, "points") == Floats{2, 0, 2, 1, 3, 0, 3, 1, 3, 2});
  CHECK(answer->outputs["points"].shape() == Shape{5, 2});
  auto const none = rig.model.infer(PointsRig::asking({0}));
  CHECK(list<std::int64_t>(none, "count") == Counts{0});
  CHECK(none->outputs["points"].shape() == Shape{0, 2});
}

TEST_CASE("requests that share a batch get their own rows") {
  PointsRig rig;
  std::vector<Request> const requests{PointsRig::asking({2}), PointsRig::asking({0, 1}),
                                      PointsRig::asking({3}), PointsRig::asking({0})};
  auto const answers = rig.model.infer_many(requests, {.cache = CacheMode::skip});
  CHECK(list<float>(answers[0], "points") == Floats{2, 0, 2, 1});
  CHECK(list<float>(answers[1], "points") == Floats{1, 0});
  CHECK(list<std::int64_t>(answers[1], "count") == Counts{0, 1});
  CHECK(list<float>(answers[2], "points") == Floats{3, 0, 3, 1, 3, 2});
  CHECK(list<std::int64_t>(answers[3], "count") == Counts{0});
  CHECK(rig.backend.runs.load() == 1);
}

// mutant: parts are joined in the order in which they came
TEST_CASE("the rows of an oversize request are joined in the order of its items") {
  PointsRig rig(R"("batching": {"max_items": 2, "instances": 2},)");
  Floats const x{4, 1, 0, 2, 0, 0, 3};
  Floats points;
  Counts counts;
  for (float const value : x) {
    counts.push_back(static_cast<std::int64_t>(value));
    for (std::int64_t i = 0; i < counts.back(); ++i)
      points.insert(points.end(), {value, static_cast<float>(i)});
  }
  for (int k = 0; k < 20; ++k) {
    auto const answer = rig.model.infer(PointsRig::asking(x), {.cache = CacheMode::skip});
    CHECK(list<float>(answer, "points") == points);
    CHECK(list<std::int64_t>(answer, "count") == counts);
  }
}

// A batch may fail after some of its parts were copied.
// mutant: a part replaces only one that begins where it does
TEST_CASE("a part that is run again in pieces is joined once") {
  serving::ModelDescription description;
  serving::OutputPlan& plan = description.plan.outputs.emplace_back();
  plan.spec.name = "rows";
  plan.spec.dtype = DType::f32;
  plan.spec.dims = {Dim::named("rows")};
  plan.ragged = 0;
  std::vector<serving::RaggedPart> kept;
  std::vector<Tensor> joined(1);
  auto const keep = [&](std::uint32_t first, std::uint32_t count) {
    Floats numbers(count);
    std::iota(numbers.begin(), numbers.end(), static_cast<float>(first));
    auto rows = Tensor::view<float>(numbers, Shape{static_cast<std::int64_t>(count)}).clone().value();
    REQUIRE(serving::keep_part(description, {first, count, {std::move(rows)}}, 7, kept, joined));
  };
  keep(0, 4);
  keep(4, 3);
  CHECK(kept.empty());  // whole once, and then run again
  joined = std::vector<Tensor>(1);
  keep(0, 4);
  keep(2, 2);
  keep(4, 3);
  CHECK(joined[0].size_bytes() == 0);
  keep(0, 2);
  Floats expected(7);
  std::iota(expected.begin(), expected.end(), 0.0F);
  CHECK(std::ranges::equal(joined[0].as<float>(), expected));
  CHECK(kept.empty());
}

TEST_CASE(
    "the parts of a call are joined when all are there, and one that comes again takes the place of the "
    "first") {
  PointsRig rig;
  auto const part = [](std::uint32_t first, std::uint32_t count, Floats const& rows) {
    serving::RaggedPart made{first, count, std::vector<Tensor>(2)};
    made.rows[0] =
        Tensor::view<float>(rows, Shape{static_cast<std::int64_t>(rows.size()) / 2, 2}).clone().value();
    return made;
  };
  serving::ModelDescription description;
  serving::OutputPlan plan;
  plan.spec.name = "points";
  plan.spec.dims = {Dim::named("points"), Dim::fixed(2)};
  plan.ragged = 0;
  description.plan.outputs.push_back(plan);
  std::vector<serving::RaggedPart> kept;
  std::vector<Tensor> computed(1);
  REQUIRE(serving::keep_part(description, part(3, 1, {7, 7}), 4, kept, computed));
  REQUIRE(serving::keep_part(description, part(0, 2, {9, 9}), 4, kept, computed));
  REQUIRE(serving::keep_part(description, part(0, 2, {1, 1, 2, 2}), 4, kept, computed));
  CHECK(kept.size() == 2);
  REQUIRE(serving::keep_part(description, part(2, 1, {5, 5}), 4, kept, computed));
  CHECK(kept.empty());
  auto const values = computed[0].as<float>();
  CHECK(std::vector(values.begin(), values.end()) == Floats{1, 1, 2, 2, 5, 5, 7, 7});
}

TEST_CASE("an answer with ragged rows is cached, and asked for by name") {
  PointsRig rig;
  REQUIRE(rig.model.infer(PointsRig::asking({3})));
  std::array<std::string_view, 1> const names{"points"};
  auto const again = rig.model.infer(PointsRig::asking({3}), {.outputs = names});
  CHECK(list<float>(again, "points") == Floats{3, 0, 3, 1, 3, 2});
  CHECK(again->report.cache == CacheState::hit);
  CHECK(rig.backend.runs.load() == 1);
}

// mutant: rows that the counts do not cover are ignored
TEST_CASE("counts that do not add up are the model's fault, by name, and others are answered") {
  PointsRig rig;
  auto const fault = [&](Wrong wrong) {
    rig.backend.wrong = wrong;
    auto const answer = rig.model.infer(PointsRig::asking({2, 1}), {.cache = CacheMode::skip});
    rig.backend.wrong = Wrong::nothing;
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == Code::internal);
    CHECK(answer.error().reason == Reason::backend_contract);
    return answer.error().message;
  };
  CHECK(fault(Wrong::too_few_rows) ==
        "points@1.0.0: model.bin: output points: expected 3 rows, as those of all items add up to, the "
        "backend returned 2");
  CHECK(fault(Wrong::too_many_rows) ==
        "points@1.0.0: model.bin: output points: expected 3 rows, as those of all items add up to, the "
        "backend returned 4");
  CHECK(fault(Wrong::negative_count) ==
        "points@1.0.0: model.bin: output n: item 0: expected a number of rows, got -1");
  CHECK(fault(Wrong::wide_rows).starts_with("points@1.0.0: model.bin: output points: expected 3 rows"));
  CHECK(list<float>(rig.model.infer(PointsRig::asking({1})), "points") == Floats{1, 0});
}

TEST_CASE("an item that fails alone takes no other item's rows with it") {
  PointsRig rig;
  std::vector<Request> const requests{PointsRig::asking({2}), PointsRig::asking({13}),
                                      PointsRig::asking({1})};
  auto const answers = rig.model.infer_many(requests, {.cache = CacheMode::skip});
  CHECK(list<float>(answers[0], "points") == Floats{2, 0, 2, 1});
  CHECK_FALSE(answers[1]);
  CHECK(list<float>(answers[2], "points") == Floats{1, 0});
}

TEST_CASE("infer_into has no room for rows that are counted later") {
  PointsRig rig;
  auto const refused = rig.model.infer_into(PointsRig::asking({1}), {});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::invalid_argument);
  CHECK(refused.error().message ==
        "points@1.0.0: output points: expected an output with one row of numbers per item, got f32 [points, "
        "2]: use "
        "infer");
}

// mutant: rows of a self-test are compared with those of the first item
TEST_CASE("self-tests and warm-ups compare the rows of every item") {
  auto const load = [](std::string_view points, std::string_view counts) {
    PointsBackend backend;
    ath_backend_table const table = make_table(backend);
    ModelFolder const folder(R"("self_test": [{"inputs": {"x": [2, 0, 1]}, "outputs": {"points": )" +
                                 std::string(points) + R"(, "count": )" + std::string(counts) +
                                 R"(}}], "warm_up": {"batches": [1, 8]},)",
                             "points", "1.0.0", pointed);
    auto engine = Engine<>::create({.backends = {&table}}).value();
    auto const answer = engine.load(folder.path()).and_then([](Model<> const& model) {
      return model.infer(PointsRig::asking({1}));
    });
    return answer ? std::string() : answer.error().message;
  };
  CHECK(load("[[2, 0], [2, 1], [1, 0]]", "[2, 0, 1]") == "");
  CHECK(load("[[2, 0], [2, 1], [1, 1]]", "[2, 0, 1]").find("output points: item 2: element 1: expected 1") !=
        std::string::npos);
  CHECK(load("[[2, 0], [2, 1]]", "[2, 0, 1]").find("output points: expected 2 rows, got 3") !=
        std::string::npos);
  CHECK(load("[[2, 0], [2, 1], [1, 0]]", "[2, 1, 1]").find("output count") != std::string::npos);
}

namespace {

// Gives every atom its number of its molecule, times the member's file's last digit.
struct AtomsBackend {
  static constexpr char const* name = "puppet";
  static constexpr RunsOn runs_on = RunsOn::any_thread;
  struct Instance {
    std::vector<float> forces{};
    Result<void> run(ath_batch& batch) {
      auto const atoms = static_cast<std::size_t>(batch.inputs[0].shape[0]);
      forces.assign(static_cast<float const*>(batch.inputs[0].data),
                    static_cast<float const*>(batch.inputs[0].data) + atoms);
      for (float& force : forces) force *= 2;
      batch.outputs[0] = to_view(Tensor::view<float>(forces, Shape{batch.inputs[0].shape[0]}));
      return {};
    }
  };
  struct Model {
    using Instance = AtomsBackend::Instance;
    std::uint64_t footprint() const { return 1; }
    Result<std::unique_ptr<Instance>> make_instance() { return std::make_unique<Instance>(); }
  };
  Result<std::unique_ptr<Model>> load(ModelSource const&) { return std::make_unique<Model>(); }
};

Request molecule(Floats const& atoms) {
  return Request{
      {"atoms", Tensor::view<float>(atoms, Shape{static_cast<std::int64_t>(atoms.size())}).clone().value()}};
}

}  // namespace

TEST_CASE("rows along an axis of the inputs are counted there") {
  AtomsBackend backend;
  ath_backend_table const table = make_table(backend);
  ModelFolder const folder("", "forces", "1.0.0",
                           R"("inputs": [{"name": "atoms", "dtype": "f32", "shape": ["atoms"]}],
    "outputs": [{"name": "force", "dtype": "f32", "shape": ["atoms"]},
                {"name": "atoms", "dtype": "i64", "shape": ["items"], "from": "rows:atoms"}],)");
  auto engine = Engine<>::create({.backends = {&table}}).value();
  auto const model = engine.load(folder.path()).value();
  std::vector<Request> const requests{molecule({1, 2, 3}), molecule({4}), molecule({5, 6})};
  auto const answers = model.infer_many(requests, {.cache = CacheMode::skip});
  CHECK(list<float>(answers[0], "force") == Floats{2, 4, 6});
  CHECK(list<std::int64_t>(answers[0], "atoms") == Counts{3});
  CHECK(list<float>(answers[1], "force") == Floats{8});
  CHECK(list<float>(answers[2], "force") == Floats{10, 12});
  CHECK(answers[2]->report.batch_items == 3);
}

namespace {

// Makes of a number as many outlines, each with as many corners more.
struct OutlineProcessor {
  static constexpr char const* name = "outlines";
  std::atomic<bool> unequal{false};
  struct Opened {
    static constexpr std::array<Port, 2> ports{{{"area", DType::f32}, {"corners", DType::i64}}};
    OutlineProcessor& processor;
    std::span<Port const> outputs() const { return ports; }
    Result<std::vector<Tensor>> postprocess(Item const& item, void const*, std::span<Tensor const>) const {
      auto const number = static_cast<std::int64_t>(item.input(0).as<float>()[0]);
      auto area = Tensor::allocate(DType::f32, Shape{number, 1}).value();
      auto corners = Tensor::allocate(DType::i64, Shape{number + (processor.unequal ? 1 : 0)}).value();
      std::iota(area.mutable_as<float>().begin(), area.mutable_as<float>().end(),
                static_cast<float>(10 * number));
      std::iota(corners.mutable_as<std::int64_t>().begin(), corners.mutable_as<std::int64_t>().end(), number);
      return std::vector{std::move(area), std::move(corners)};
    }
  };
  Result<std::unique_ptr<Opened>> open(std::string_view, std::string_view) {
    return std::make_unique<Opened>(Opened{*this});
  }
};

// A model whose outputs its processor makes.
template <class P>
struct ProcessedRig {
  Puppet puppet;
  P processor;
  ath_processor_table table = make_table(processor);
  ModelFolder folder;
  Engine<> engine = Engine<>::create({.backends = {&puppet.table}, .processors = {&table}}).value();
  Model<> model = engine.load(folder.path()).value();

  explicit ProcessedRig(std::string_view tensors) : folder("", P::name, "1.0.0", tensors) {}
};

}  // namespace

// mutant: outputs of postprocess along one axis need not have equally many rows
TEST_CASE("postprocess makes any number of rows for an item, the same along one axis") {
  ProcessedRig<OutlineProcessor> rig(R"("processor": {"name": "outlines"},
    "inputs": [{"name": "x", "dtype": "f32", "shape": ["items"]}],
    "model_outputs": [{"name": "y", "dtype": "f32", "shape": ["items"]}],
    "outputs": [{"name": "n", "dtype": "i64", "shape": ["items"], "from": "rows:outlines"},
                {"name": "area", "dtype": "f32", "shape": ["outlines", 1], "from": "processor:area"},
                {"name": "corners", "dtype": "i64", "shape": ["outlines"], "from": "processor:corners"}],
    "self_test": [{"inputs": {"x": [2, 0, 1]}, "outputs": {"n": [2, 0, 1], "area": [[20], [21], [10]],
                   "corners": [2, 3, 1]}}], "warm_up": {"batches": [2, 4]},)");
  auto const answer = rig.model.infer(PointsRig::asking({0, 3, 1}));
  CHECK(list<std::int64_t>(answer, "n") == Counts{0, 3, 1});
  CHECK(list<float>(answer, "area") == Floats{30, 31, 32, 10});
  CHECK(list<std::int64_t>(answer, "corners") == Counts{3, 4, 5, 1});
  CHECK(answer->outputs["area"].shape() == Shape{4, 1});
  rig.processor.unequal = true;
  auto const refused = rig.model.infer(PointsRig::asking({0, 2}), {.cache = CacheMode::skip});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().reason == Reason::backend_contract);
  CHECK(refused.error().message ==
        "outlines@1.0.0: output corners: item 0: expected 0 rows as of 'area', the processor gives 1");
}

namespace {

// Makes of every item as many rows as fit into 62 bits, without elements.
struct EndlessProcessor {
  static constexpr char const* name = "endless";
  static constexpr Shape rows{std::int64_t{1} << 62, 0};
  struct Opened {
    static constexpr std::array<Port, 1> ports{{{"rows", DType::u8}}};
    std::span<Port const> outputs() const { return ports; }
    Result<std::vector<Tensor>> postprocess(Item const&, void const*, std::span<Tensor const>) const {
      return std::vector{Tensor::allocate(DType::u8, rows).value()};
    }
  };
  Result<std::unique_ptr<Opened>> open(std::string_view, std::string_view) {
    return std::make_unique<Opened>();
  }
};

}  // namespace

// mutant: rows without elements are counted past 63 bits
TEST_CASE("more rows than can be counted are the fault of the processor that makes them") {
  ProcessedRig<EndlessProcessor> const rig(R"("processor": {"name": "endless"},
    "inputs": [{"name": "x", "dtype": "f32", "shape": ["items"]}],
    "model_outputs": [{"name": "y", "dtype": "f32", "shape": ["items"]}],
    "outputs": [{"name": "n", "dtype": "i64", "shape": ["items"], "from": "rows:rows"},
                {"name": "rows", "dtype": "u8", "shape": ["rows", null], "from": "processor:rows"}],)");
  CHECK(list<std::int64_t>(rig.model.infer(PointsRig::asking({1})), "n") ==
        Counts{EndlessProcessor::rows[0]});
  for (auto const& items : {Floats{1, 2}, Floats{1, 2, 3, 4}}) {
    auto const answer = rig.model.infer(PointsRig::asking(items));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == Code::internal);
    CHECK(answer.error().reason == Reason::backend_contract);
  }
}

// mutant: rows without elements of the parts of a call are counted past 63 bits
TEST_CASE("more rows than can be counted are the fault of the model whose parts have them") {
  serving::ModelDescription description;
  serving::OutputPlan plan;
  plan.spec.name = "points";
  plan.spec.dtype = DType::u8;
  plan.spec.dims = {Dim::named("points"), Dim::any()};
  plan.ragged = 0;
  description.plan.outputs.push_back(plan);
  std::vector<serving::RaggedPart> kept;
  std::vector<Tensor> computed(1);
  auto const keep = [&](std::uint32_t first) {
    return serving::keep_part(description,
                              {first, 1, {Tensor::allocate(DType::u8, EndlessProcessor::rows).value()}}, 4,
                              kept, computed);
  };
  for (std::uint32_t first = 0; first < 3; ++first) REQUIRE(keep(first));
  auto const joined = keep(3);
  REQUIRE_FALSE(joined);
  CHECK(joined.error().reason == Reason::backend_contract);
}
