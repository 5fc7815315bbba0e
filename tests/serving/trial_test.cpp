// A model that is not what it says gives no answer: what it must show before it serves.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <athanor/core/simulation.hpp>
#include <athanor/serving/detail/loaded_model.hpp>
#include <athanor/serving/detail/pieces.hpp>
#include <athanor/serving/detail/self_test.hpp>
#include <athanor/serving/engine.hpp>

#include "scripted_backend.hpp"

using namespace athanor;
using namespace athanor_tests;
using namespace std::chrono_literals;

namespace {

// What a package does that was exported for `fixed` rows: the others are left as they came.
std::function<Result<void>(Run const&)> right_for(std::int64_t fixed) {
  return [fixed](Run const& run) {
    run.add(1);
    auto const width = run.count() / static_cast<std::size_t>(run.batch.items);
    for (std::size_t i = static_cast<std::size_t>(fixed) * width; i < run.memory.size(); ++i)
      run.memory[i] = run.x()[i];
    return done();
  };
}

char const* const tested = R"("self_test": [{"inputs": {"x": [[1, 2]]}, "outputs": {"y": [[2, 3]]}}],)";

std::string typed(std::string_view dtype) {
  return fmt::format(R"("inputs": [{{"name": "x", "dtype": "f32", "shape": ["items", 1]}}],
      "outputs": [{{"name": "y", "dtype": "{}", "shape": ["items", 1]}}],)",
                     dtype);
}

}  // namespace

// mutant: a dry run keeps to batches of one item
// mutant: the dry run compares no row in company
TEST_CASE("a model whose batch axis is fixed is refused at load, with a self-test and without") {
  for (auto const* manifest : {"", tested, R"("batching": {"max_items": 2},)"}) {
    for (std::int64_t const fixed : {1, 4}) {
      if (fixed == 4 && std::string_view(manifest).find("max_items") != std::string_view::npos) continue;
      CAPTURE(manifest);
      CAPTURE(fixed);
      Rig rig(right_for(fixed));
      auto const error = rig.refusal(ModelFolder(manifest));
      CHECK(error.code == Code::failed_precondition);
      CHECK(error.reason == Reason::model_load);
      CHECK(error.message.find(
                fmt::format("puppet@1.0.0: dry run of {} items: output y: element 0 of item {} of",
                            fixed == 1 ? 2 : 32, fixed)) != std::string::npos);
      CHECK(error.message.find(R"("batching": {"max_items": 1})") != std::string::npos);
    }
  }
}

TEST_CASE("a model that says that it takes one item at a time is served one item at a time") {
  Rig rig(right_for(1));
  ModelFolder const folder(R"("batching": {"max_items": 1},)");
  auto model = rig.engine.load(folder.path());
  REQUIRE_MESSAGE(model, model.error().message);
  std::vector<Request> const requests{row(1), row(2), row(3)};
  auto const answers = model->infer_many(requests);
  for (std::size_t i = 0; i < answers.size(); ++i)
    CHECK(answers[i]->outputs["y"].as<float>()[0] == static_cast<float>(i) + 2);
  CHECK(std::ranges::all_of(rig.backend.batches, [](std::int64_t items) { return items == 1; }));
}

// mutant: a dry run goes beyond what its model takes
TEST_CASE("a dry run of a model of certain sizes keeps to what its batches may cost") {
  Rig rig(&add_one);
  ModelFolder const folder(R"("batching": {"sizes": [1, 2, 4, 8], "max_cost": 16},)");
  auto const model = rig.engine.load(folder.path());
  REQUIRE_MESSAGE(model, model.error().message);
  CHECK(rig.backend.batches == std::vector<std::int64_t>{1, 1, 2});
}

// mutant: NaN is near no number
TEST_CASE("a model that gives NaN for made-up values, alone and in company, serves") {
  Rig rig([](Run const& run) {
    run.add(std::numeric_limits<float>::quiet_NaN());
    return done();
  });
  ModelFolder const folder;
  auto const model = rig.engine.load(folder.path());
  CHECK_MESSAGE(model, model.error().message);
}

// mutant: a failure in company is put down to the values that were made up
TEST_CASE("a model that fails or gives other rows in company only is refused") {
  Rig throws([](Run const& run) -> Result<void> {
    if (run.batch.items > 1) return fail(Code::internal, Reason::backend_failure, "unmatched dim value at 0");
    return add_one(run);
  });
  CHECK(throws.refusal(ModelFolder()).message.find("dry run of 2 items: unmatched dim value at 0") !=
        std::string::npos);
  Rig rows([](Run const& run) {
    run.add(1);
    run.batch.outputs[0].shape[0] = 1;
    run.batch.outputs[0].size_bytes =
        run.batch.inputs[0].size_bytes / static_cast<std::uint64_t>(run.batch.items);
    return done();
  });
  CHECK(rows.refusal(ModelFolder()).message.find("expected 2 rows, the backend returned 1") !=
        std::string::npos);
  float state = 0;
  Rig stateful([&](Run const& run) {
    run.add(++state);
    return done();
  });
  CHECK(stateful.refusal(ModelFolder()).message.find("as for the item alone, expected ") !=
        std::string::npos);
}

// mutant: a model that refuses made-up values is refused
TEST_CASE("a model that refuses made-up values, or has no memory for a full batch, serves, with a note") {
  Rig refuses([](Run const& run) -> Result<void> {
    if (run.x()[0] < 1) return fail(Code::invalid_argument, Reason::value_range, "expected at least 1");
    return add_one(run);
  });
  ModelFolder const folder;
  auto model = refuses.engine.load(folder.path());
  REQUIRE_MESSAGE(model, model.error().message);
  CHECK(model->infer(row(1)));
  CHECK(refuses.log.find("its dry run: expected at least 1") != std::string::npos);
  Rig small([](Run const& run) -> Result<void> {
    if (run.batch.items > 4) return fail(Code::resource_exhausted, Reason::out_of_memory, "no memory");
    return add_one(run);
  });
  ModelFolder const again;
  REQUIRE(small.engine.load(again.path()));
  CHECK(small.log.find("its dry run: no memory") != std::string::npos);
  Rig good(&add_one);
  ModelFolder const third;
  REQUIRE(good.engine.load(third.path()));
  CHECK(good.log.find("its dry run") == std::string::npos);
  CHECK(good.backend.batches == std::vector<std::int64_t>{1, 1, 2, 32});
}

// mutant: a dry run takes as long as its largest batch does
// mutant: a dry run that has no time left runs more items alone
TEST_CASE("a dry run takes a tenth of the time that a load has, and says what it could not try") {
  for (auto const& [of_an_item, expected] :
       {std::pair<Duration, std::vector<std::int64_t>>(1ms, {4, 1, 1, 1, 1, 2, 32}),
        {2ms, {4, 1, 1, 1, 1, 2}},
        {2h, {4, 1, 1, 2}}}) {
    CAPTURE(of_an_item.count());
    Simulation world(1);
    std::vector<std::int64_t> batches;
    ScriptedBackend backend{[&](Run const& run) -> Result<void> {
      batches.push_back(run.batch.items);
      world.advance(run.batch.items * of_an_item);
      return add_one(run);
    }};
    ath_backend_table const table = make_table(backend);
    serving::Tables tables;
    REQUIRE(tables.add(table));
    ModelFolder const folder(R"("self_test": [{"inputs": {"x": [[1, 2], [3, 4], [5, 6], [7, 8]]},
                                               "outputs": {"y": [[2, 3], [4, 5], [6, 7], [8, 9]]}}],)");
    auto const description = serving::describe_model(folder.path(), tables);
    REQUIRE_MESSAGE(description, description.error().message);
    auto const model = serving::LoadedModel::load(*description, 1, {.most = 50ms, .now = &SimulatedEnv::now});
    REQUIRE_MESSAGE(model, model.error().message);
    CHECK(batches == expected);
    bool const said =
        (*model)->note().find("batches of 32 and more items were not tried") != std::string::npos;
    CHECK(said == (of_an_item > 1ms));
  }
}

// mutant: outputs of another type than the manifest's are found at the first call only
TEST_CASE(
    "outputs of another type, shape or number than the manifest's are refused at load, without a self-test "
    "too") {
  auto const refused = [](std::function<void(ath_tensor&)> const& change) {
    Rig rig([&](Run const& run) {
      run.add(1);
      change(run.batch.outputs[0]);
      return done();
    });
    auto const error = rig.refusal(ModelFolder());
    CHECK(error.code == Code::failed_precondition);
    CHECK(error.reason == Reason::model_load);
    CHECK_MESSAGE(error.message.find("dry run of one item: ") != std::string::npos, error.message);
    return error.message;
  };
  CHECK(refused([](ath_tensor& y) {
          y.dtype = static_cast<std::int32_t>(DType::i32);
        }).find("expected f32, got i32") != std::string::npos);
  CHECK(refused([](ath_tensor& y) { y = {}; }).find("got nothing") != std::string::npos);
  CHECK(refused([](ath_tensor& y) {
          y.ndim = 1;
          y.size_bytes = sizeof(float);
        }).find("the backend returned [1]") != std::string::npos);
}

// mutant: a member that breaks the manifest's promises is not seen while enough others answer
TEST_CASE("a member that breaks the manifest's promises is refused at load, although enough others answer") {
  Rig rig([](Run const& run) {
    run.add(1);
    if (run.file == "b") run.batch.outputs[0].dtype = static_cast<std::int32_t>(DType::i32);
    return done();
  });
  auto const error = rig.refusal(MembersFolder({"a", "b", "c"}, R"("min_members": 2,
      "inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
      "model_outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]}],
      "outputs": [{"name": "mean", "dtype": "f32", "shape": ["items", 2], "from": "mean:y"}],)"));
  CHECK_MESSAGE(
      error.message.find("dry run of one item: b: output y: expected f32, got i32") != std::string::npos,
      error.message);
}

// mutant: a model that takes one item at a time may change its answer
TEST_CASE("a model that takes one item at a time and gives it another answer the second time is refused") {
  float state = 0;
  Rig rig([&](Run const& run) {
    run.add(++state);
    return done();
  });
  auto const error = rig.refusal(ModelFolder(R"("batching": {"max_items": 1},)"));
  CHECK_MESSAGE(error.message.find(
                    "second dry run of an item: output y: element 0 of item 0 of 1: as for the item alone, "
                    "expected 1.01562 within 0.0001, got 2.01562") != std::string::npos,
                error.message);
}

// mutant: nobody looks whether a model writes to its input
TEST_CASE("a model that writes to its input is refused at load") {
  for (auto const* manifest : {"", tested, R"("batching": {"max_items": 1},)"}) {
    CAPTURE(manifest);
    Rig rig([](Run const& run) {
      run.add(1);
      run.x()[run.count() - 1] *= 2;
      return done();
    });
    auto const error = rig.refusal(ModelFolder(manifest));
    CHECK(error.reason == Reason::model_load);
    CHECK_MESSAGE(error.message.find("the model writes to its input 'x'") != std::string::npos,
                  error.message);
  }
}

// mutant: numbers of f16 are compared byte by byte
TEST_CASE("a tolerance holds for every floating-point type, and the sentence says expected and got") {
  struct Row {
    char const* dtype;
    std::uint16_t bits;  // what the model gives
    char const* expected;
    char const* tolerance;
    char const* sentence;  // empty: it passes
  };
  for (auto const& [dtype, bits, expected, tolerance, sentence] :
       {Row{"f16", 0x3f33, "1.801", "0.01", ""},  // 1.7998
        Row{"f16", 0x3f33, "1.9", "0.01", "expected 1.90039 within 0.01, got 1.7998"},
        Row{"bf16", 0x3fe6, "1.801", "0.01", ""},  // 1.796875
        Row{"bf16", 0x3fe6, "2", "0.01", "expected 2 within 0.01, got 1.79688"},
        Row{"f16", 0x7e00, "1", "0.5", "got nan"}, Row{"bf16", 0x7f80, "1", "0.5", "got inf"},
        Row{"i16", 7, "7", "0", ""}, Row{"i16", 7, "8", "0.9", "expected 8, got 7"},
        Row{"u8", 7, "7", "0", ""}}) {
    CAPTURE(dtype);
    CAPTURE(expected);
    Rig rig([bits = bits, dtype = std::string_view(dtype)](Run const& run) {
      run.memory.resize(run.count());
      std::size_t const width = dtype == "u8" ? 1 : 2;
      for (std::size_t i = 0; i < run.count(); ++i)
        std::memcpy(reinterpret_cast<std::byte*>(run.memory.data()) + i * width, &bits, width);
      run.batch.outputs[0] = run.batch.inputs[0];
      run.batch.outputs[0].data = run.memory.data();
      run.batch.outputs[0].size_bytes = run.count() * width;
      run.batch.outputs[0].dtype = static_cast<std::int32_t>(*parse_dtype(dtype));
      return done();
    });
    ModelFolder const folder(
        fmt::format(R"("self_test": [{{"inputs": {{"x": [[1]]}}, "outputs": {{"y": [[{}]]}},
        "tolerance": {}}}],)",
                    expected, tolerance),
        "typed", "1.0.0", typed(dtype));
    auto const model = rig.engine.load(folder.path());
    CHECK(model.has_value() == std::string_view(sentence).empty());
    if (!model)
      CHECK_MESSAGE(model.error().message.find(sentence) != std::string::npos, model.error().message);
  }
}

// mutant: a warm-up runs as many items as the self-test
TEST_CASE("every row of a warm-up batch is that of the self-test") {
  char const* const warm =
      R"("self_test": [{"inputs": {"x": [[1, 2], [3, 4]]}, "outputs": {"y": [[2, 3], [4, 5]]}}],
         "warm_up": {"batches": [1, 7]}, "batching": {"max_items": 2},)";
  Rig good(&add_one);
  ModelFolder const folder(warm);
  REQUIRE(good.engine.load(folder.path()));
  CHECK(std::ranges::count(good.backend.batches, 7) == 1);
  Rig bad(right_for(6));
  CHECK(bad.refusal(ModelFolder(warm)).message ==
        "puppet@1.0.0: warm_up: a batch of 7 items: output y: element 12: expected 2 within 1e-05, got 1");
}

// mutant: a warm-up may be a batch of no items
TEST_CASE("a warm-up of no items is refused") {
  Rig rig(&add_one);
  ModelFolder const folder(std::string(tested) + R"("warm_up": {"batches": [0]},)");
  auto const model = rig.engine.load(folder.path());
  REQUIRE_FALSE(model);
  CHECK(model.error().message.find("warm_up.batches[0]: expected a whole number from 1 to") !=
        std::string::npos);
}

// mutant: only the first instance of a model is proved
TEST_CASE("every instance of a model is proved") {
  Rig rig([](Run const& run) {
    run.add(run.instance == 2 ? 7 : 1);
    return done();
  });
  auto const error = rig.refusal(ModelFolder(std::string(tested) + R"("batching": {"instances": 3},)"));
  CHECK(error.message == "puppet@1.0.0: self_test[0]: output y: element 0: expected 2 within 1e-05, got 8");
}

// mutant: a model has the bytes of its first member
TEST_CASE("the bytes of a model are those of all its members") {
  ScriptedBackend backend{&add_one};
  ath_backend_table const table = make_table(backend);
  serving::Tables tables;
  REQUIRE(tables.add(table));
  MembersFolder const folder({"a", "b", "c"},
                             R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
      "model_outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]}],
      "outputs": [{"name": "mean", "dtype": "f32", "shape": ["items", 2], "from": "mean:y"}],)");
  auto const description = serving::describe_model(folder.path(), tables);
  REQUIRE_MESSAGE(description, description.error().message);
  auto const model = serving::LoadedModel::load(*description, 1);
  REQUIRE_MESSAGE(model, model.error().message);
  CHECK((*model)->bytes() == 122);
}

// mutant: the shapes of members are not compared
TEST_CASE("members that disagree on a shape are no mean") {
  Rig rig([](Run const& run) {
    run.add(1);
    if (run.file == "b" && run.x()[0] == 5) {
      run.batch.outputs[0].shape[1] = 1;
      run.batch.outputs[0].size_bytes /= 2;
    }
    return done();
  });
  MembersFolder const folder({"a", "b", "c"}, R"("cache": false,
      "inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
      "model_outputs": [{"name": "y", "dtype": "f32", "shape": ["items", null]}],
      "outputs": [{"name": "mean", "dtype": "f32", "shape": ["items", null], "from": "mean:y"}],)");
  auto model = rig.engine.load(folder.path());
  REQUIRE_MESSAGE(model, model.error().message);
  REQUIRE(model->infer(row(4)));
  auto const answer = model->infer(row(5));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().reason == Reason::member_failed);
  CHECK(answer.error().message.find("expected the [1, 2] of a, the backend returned [1, 1]") !=
        std::string::npos);
}

// mutant: an output that a run does not give is that of the run before
TEST_CASE("an output that a run does not give is missing, although the run before gave it") {
  Rig rig([](Run const& run) {
    if (run.x()[0] != 5) run.add(1);
    return done();
  });
  ModelFolder const folder(R"("cache": false,)");
  auto model = rig.engine.load(folder.path()).value();
  REQUIRE(model.infer(row(4)));
  auto const answer = model.infer(row(5));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().reason == Reason::backend_contract);
  CHECK(answer.error().message.find("expected f32, got nothing") != std::string::npos);
}

// mutant: the unknown codes of all members are added up
TEST_CASE("unknown codes are those of the member that knows fewest") {
  ScriptedBackend backend{[](Run const& run) {
    run.memory.assign(static_cast<std::size_t>(run.batch.items), 0);
    run.batch.outputs[0] = run.batch.inputs[0];
    run.batch.outputs[0].data = run.memory.data();
    run.batch.outputs[0].shape[0] = run.batch.items;
    run.batch.outputs[0].ndim = 1;
    run.batch.outputs[0].size_bytes = static_cast<std::uint64_t>(run.batch.items) * sizeof(float);
    run.batch.outputs[0].dtype = static_cast<std::int32_t>(DType::f32);
    return done();
  }};
  ath_backend_table const table = make_table(backend);
  ModelFolder const folder;
  folder.write("a", "a");
  std::string const digest = to_hex(*hash_file(folder.path() + "/a"));
  folder.write("athanor.json",
               fmt::format(R"({{"athanor": 1, "name": "coded", "version": "1.0.0", "backend": "puppet",
      "format": "any", "inputs": [{{"name": "code", "dtype": "i64", "shape": ["atoms"]}}],
      "model_inputs": [{{"name": "code", "dtype": "i64", "shape": ["atoms"]}},
                       {{"name": "of", "dtype": "i64", "shape": ["atoms"], "make": "segment"}}],
      "model_outputs": [{{"name": "y", "dtype": "f32", "shape": ["items"]}}],
      "outputs": [{{"name": "y", "dtype": "f32", "shape": ["items"], "from": "mean:y"}},
                  {{"name": "unknown", "dtype": "i64", "shape": ["items"], "from": "unknown"}}],
      "members": [{{"file": "a", "digest": "xxh128:{0}", "lookups": {{"code": [1, 2, 3]}}}},
                  {{"file": "a", "digest": "xxh128:{0}", "lookups": {{"code": [1]}}}}]}})",
                           digest));
  auto engine = Engine<>::create({.backends = {&table}}).value();
  auto model = engine.load(folder.path());
  REQUIRE_MESSAGE(model, model.error().message);
  std::vector<std::int64_t> const codes{1, 2, 3, 4};
  auto const answer =
      model->infer(Request{{"code", Tensor::view(std::span<std::int64_t const>(codes), Shape{4})}});
  REQUIRE_MESSAGE(answer, answer.error().message);
  CHECK(answer->outputs["unknown"].as<std::int64_t>()[0] == 3);
}

// mutant: an output that somebody holds is written over
TEST_CASE("an output that is still referenced is not overwritten") {
  Tensor output;
  REQUIRE(serving::make_output(output, DType::f32, Shape{4}));
  auto const* const first = output.data();
  REQUIRE(serving::make_output(output, DType::f32, Shape{2}));
  CHECK(output.data() == first);
  Tensor const held = output;
  REQUIRE(serving::make_output(output, DType::f32, Shape{2}));
  CHECK(output.data() != held.data());
}

namespace {

struct Opener {
  static constexpr char const* name = "opener";
  struct Opened {
    static constexpr std::array<Port, 1> ports{{{"x", DType::f32}}};
    std::span<Port const> made() const { return ports; }
    Result<Preprocessed> preprocess(Item const&) const { return Preprocessed{}; }
  };
  int opened = 0;
  Result<std::unique_ptr<Opened>> open(std::string_view, std::string_view) {
    ++opened;
    return std::make_unique<Opened>();
  }
};

}  // namespace

// mutant: the files of a processor are not verified
TEST_CASE("the files of a processor are verified before it is opened") {
  Opener opener;
  ath_processor_table const processor = make_table(opener);
  Puppet puppet;
  ModelFolder const folder("", "opener", "1.0.0",
                           fmt::format(
                               R"("inputs": [{{"name": "text", "dtype": "bytes", "shape": ["items"]}}],
      "processor": {{"name": "opener", "digests": {{"words.txt": "xxh128:{}"}}}},
      "model_inputs": [{{"name": "x", "dtype": "f32", "shape": ["items", 2]}}],
      "outputs": [{{"name": "y", "dtype": "f32", "shape": ["items", 2]}}],)",
                               to_hex(hash128("right"))));
  folder.write("words.txt", "wrong");
  auto engine = Engine<>::create({.backends = {&puppet.table}, .processors = {&processor}}).value();
  auto const refused = engine.load(folder.path());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().reason == Reason::digest);
  CHECK(opener.opened == 0);
  folder.write("words.txt", "right");
  CHECK(engine.load(folder.path()));
  CHECK(opener.opened == 1);
}
