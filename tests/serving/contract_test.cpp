// What a backend or a processor gives back is checked once: a breach is
// a typed error that is the model's fault, and the engine serves on.
#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <athanor/breaking/breaker.hpp>
#include <athanor/serving/detail/contract.hpp>
#include <athanor/serving/engine.hpp>
#include <support/puppet.hpp>

using namespace athanor;
using namespace athanor_tests;

namespace {

// The memory of whatever a test lets a backend or a processor say.
alignas(8) std::array<float, 4096> memory{};

ath_tensor floats(std::initializer_list<std::int64_t> shape, std::uint64_t bytes,
                  void* data = memory.data()) {
  ath_tensor tensor{};
  tensor.data = data;
  tensor.size_bytes = bytes;
  for (std::int64_t const length : shape) tensor.shape[tensor.ndim++] = length;
  tensor.dtype = static_cast<std::int32_t>(DType::f32);
  tensor.device_type = static_cast<std::int32_t>(DeviceType::cpu);
  return tensor;
}

ath_tensor with(ath_tensor tensor, std::function<void(ath_tensor&)> const& change) {
  change(tensor);
  return tensor;
}

// Everything that one row of f32 [items, 2] is not.
std::vector<ath_tensor> const no_rows{
    ath_tensor{},
    floats({1, 2}, 8, nullptr),
    floats({1, 2}, 8, reinterpret_cast<char*>(memory.data()) + 1),
    floats({1, 2}, 8, reinterpret_cast<char*>(memory.data()) + 6),
    floats({1, 2}, 0),
    floats({1, 2}, 4),
    floats({1, 2}, 1 << 20),
    floats({1, std::int64_t{1} << 28}, 8),
    floats({1, std::int64_t{1} << 62}, 0),
    floats({1, std::int64_t{1} << 62}, 0, nullptr),
    floats({1, INT64_MAX, INT64_MAX}, 4),
    floats({1, -2}, 8),
    floats({-1, -2}, 8),
    floats({}, 4),
    floats({1}, 4),
    floats({1, 3}, 12),
    floats({0, 2}, 0, nullptr),
    floats({2, 2}, 16),
    with(floats({1, 2}, 8), [](ath_tensor& t) { t.ndim = 1000000000; }),
    with(floats({1, 2}, 8), [](ath_tensor& t) { t.ndim = -1; }),
    with(floats({1, 2}, 8), [](ath_tensor& t) { t.ndim = 9; }),
    with(floats({1, 2}, 8), [](ath_tensor& t) { t.dtype = 999; }),
    with(floats({1, 2}, 8), [](ath_tensor& t) { t.dtype = -1; }),
    with(floats({1, 2}, 16), [](ath_tensor& t) { t.dtype = static_cast<std::int32_t>(DType::f64); }),
    with(floats({1, 2}, 8), [](ath_tensor& t) { t.dtype = static_cast<std::int32_t>(DType::i32); }),
    with(floats({1, 2}, 8), [](ath_tensor& t) { t.dtype = static_cast<std::int32_t>(DType::bytes); }),
    with(floats({1, 2}, 8),
         [](ath_tensor& t) { t.device_type = static_cast<std::int32_t>(DeviceType::cuda); }),
};

// A C backend that does what `script` says.
struct Script {
  std::function<std::int32_t(ath_batch*, ath_failure*)> run;
  bool gives_model = true;
  bool gives_instance = true;

  ath_backend_table table() {
    ath_backend_table made{};
    made.struct_size = sizeof(made);
    made.context = this;
    made.name = "puppet";
    made.load = [](void* context, ath_model_source const*, void** out, ath_failure*) {
      if (self(context).gives_model) *out = context;
      return 0;
    };
    made.unload = [](void*, void*) {};
    made.footprint = [](void*, void*) { return std::uint64_t{1}; };
    made.make_instance = [](void* context, void*, void** out, ath_failure*) {
      if (self(context).gives_instance) *out = context;
      return 0;
    };
    made.destroy_instance = [](void*, void*) {};
    made.run = [](void* context, void*, ath_batch* batch, ath_failure* failure) {
      return self(context).run(batch, failure);
    };
    return made;
  }
  static Script& self(void* context) { return *static_cast<Script*>(context); }
};

std::int32_t answer_rightly(ath_batch* batch, ath_failure*) {
  batch->outputs[0] = floats({batch->items, 2}, static_cast<std::uint64_t>(batch->items) * 8);
  return 0;
}

struct Rig {
  Script script{&answer_rightly};
  ath_backend_table table = script.table();
  ModelFolder folder;
  Engine<> engine;
  Model<> model;

  explicit Rig(std::string_view manifest = R"("cache": false,)", bool breaker = true)
      : folder(manifest),
        engine(Engine<>::create({.backends = {&table}, .breaker = breaker}).value()),
        model(engine.load(folder.path()).value()) {}
};

bool says(std::string const& metrics, std::string const& line) {
  return metrics.find(line) != std::string::npos;
}

}  // namespace

// mutant: offsets of texts are taken from an address that no number has
TEST_CASE("a tensor between two addresses of its elements is named with what it is beyond") {
  auto* const between = reinterpret_cast<char*>(memory.data()) + 4;
  ath_tensor texts = floats({1}, 4);
  texts.dtype = static_cast<std::int32_t>(DType::bytes);
  texts.offsets = reinterpret_cast<std::int64_t*>(between);
  CHECK(serving::find_fault(texts, DType::bytes) ==
        "expected offsets aligned to 8 bytes, got an address 4 beyond");
  ath_tensor numbers = floats({1}, 8, between);
  numbers.dtype = static_cast<std::int32_t>(DType::i64);
  CHECK(serving::find_fault(numbers, DType::i64) ==
        "expected memory aligned to 8 bytes, the size of i64, got an address 4 beyond");
}

// mutant: any byte of an output is a bool
// mutant: of the bytes of a bool output only the last one is looked at
TEST_CASE("a bool that is neither 0 nor 1 is named with its element") {
  std::array<std::uint8_t, 4> bytes{1, 0, 2, 1};
  ath_tensor given = floats({4}, 4, bytes.data());
  given.dtype = static_cast<std::int32_t>(DType::boolean);
  CHECK(serving::find_fault(given, DType::boolean) == "element 2: expected a bool of 0 or 1, got 2");
  bytes[2] = 1;
  CHECK(serving::find_fault(given, DType::boolean).empty());
  bytes[0] = 255;
  CHECK(serving::find_fault(given, DType::boolean) == "element 0: expected a bool of 0 or 1, got 255");
}

// mutant: the size of a tensor may overflow
// mutant: the size of a tensor is not compared
// mutant: numbers without memory are taken
// mutant: numbers are taken from an address that no number has
TEST_CASE("an output that is no whole row is a breach of contract, and the engine serves on") {
  for (auto const* manifest : {R"("cache": false,)", R"("cache": false, "batching": {"max_items": 1},)"}) {
    Rig rig(manifest);
    for (std::size_t i = 0; i < no_rows.size(); ++i) {
      CAPTURE(i);
      rig.script.run = [&](ath_batch* batch, ath_failure*) {
        batch->outputs[0] = no_rows[i];
        return 0;
      };
      auto const answer = rig.model.infer(row(1));
      REQUIRE_FALSE(answer);
      if (answer.error().reason == Reason::breaker_open) continue;
      CHECK(answer.error().code == Code::internal);
      CHECK(answer.error().reason == Reason::backend_contract);
      CHECK_MESSAGE(answer.error().message.find("expected ") != std::string::npos, answer.error().message);
    }
  }
}

// mutant: an output of another size than the last one passes
// mutant: an output of another type than the last one passes
// mutant: an output of another shape than the last one passes
// mutant: an output in other memory than the host's passes after one that was there
// mutant: an output without memory passes after one that had some
// mutant: an output is believed to be aligned because the one before was
TEST_CASE("a breach of contract is found right after an answer that kept to it") {
  Rig rig(R"("cache": false,)", false);
  for (std::size_t i = 0; i < no_rows.size(); ++i) {
    CAPTURE(i);
    rig.script.run = &answer_rightly;
    REQUIRE(rig.model.infer(row(1)));
    rig.script.run = [&](ath_batch* batch, ath_failure*) {
      batch->outputs[0] = no_rows[i];
      return 0;
    };
    auto const answer = rig.model.infer(row(1));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().reason == Reason::backend_contract);
    CHECK_MESSAGE(answer.error().message.find("expected ") != std::string::npos, answer.error().message);
  }
}

// mutant: what a successful run wrote into its failure is told by the next failure
TEST_CASE("what a run wrote into its failure is not told by the next one") {
  Rig rig(R"("cache": false,)", false);
  for (std::int32_t const code : {0, static_cast<std::int32_t>(Code::internal)}) {
    CAPTURE(code);
    rig.script.run = [&](ath_batch* batch, ath_failure* failure) {
      std::strcpy(failure->message, "of the run before");
      failure->reason = static_cast<std::int32_t>(Reason::out_of_memory);
      return code == 0 ? answer_rightly(batch, failure) : code;
    };
    CHECK(rig.model.infer(row(1)).has_value() == (code == 0));
    rig.script.run = [](ath_batch*, ath_failure*) { return static_cast<std::int32_t>(Code::internal); };
    auto const answer = rig.model.infer(row(1));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().reason != Reason::out_of_memory);
    CHECK(answer.error().message.find("without a message") != std::string::npos);
  }
}

// mutant: the outputs of a model are read before they are checked
TEST_CASE("a scaled output whose size wraps is not read") {
  Script script{&answer_rightly};
  ath_backend_table const table = script.table();
  ModelFolder const folder;
  folder.write("athanor.json", R"({"athanor": 1, "name": "scaled", "version": "1.0.0", "backend": "puppet",
      "format": "any", "cache": false, "inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
      "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", null]}],
      "members": [{"file": "model.bin", "scale": {"y": {"center": 1, "scale": 2}}, "digest": "xxh128:)" +
                                   to_hex(*hash_file(folder.path() + "/model.bin")) + R"("}]})");
  auto engine = Engine<>::create({.backends = {&table}}).value();
  auto model = engine.load(folder.path()).value();
  script.run = [](ath_batch* batch, ath_failure*) {
    batch->outputs[0] = floats({1, std::int64_t{1} << 62}, 0);
    return 0;
  };
  auto const answer = model.infer(row(1));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().reason == Reason::backend_contract);
  script.run = &answer_rightly;
  REQUIRE(model.infer(row(1)));
}

// mutant: an empty output without memory is refused
TEST_CASE(
    "an output of no elements is an answer, with and without memory, alone, in company and from the cache") {
  Puppet puppet;
  for (bool const scaled : {false, true}) {
    Script script{[](ath_batch* batch, ath_failure*) {
      bool const hit = static_cast<float const*>(batch->inputs[0].data)[0] > 0;
      batch->outputs[0] = hit ? floats({batch->items, 3}, static_cast<std::uint64_t>(batch->items) * 12)
                              : floats({batch->items, 0}, 0, nullptr);
      return 0;
    }};
    ath_backend_table const table = script.table();
    ModelFolder const folder;
    folder.write("athanor.json",
                 R"({"athanor": 1, "name": "detections", "version": "1.0.0", "backend": "puppet",
      "format": "any", "inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
      "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", null]}],
      "members": [{"file": "model.bin", )" +
                     std::string(scaled ? R"("scale": {"y": {"center": 1, "scale": 2}}, )" : "") +
                     R"("digest": "xxh128:)" + to_hex(*hash_file(folder.path() + "/model.bin")) + R"("}]})");
    auto engine = Engine<>::create({.backends = {&table}}).value();
    auto model = engine.load(folder.path()).value();
    for (int round = 0; round < 8; ++round) {
      int const pair = round / 2;
      auto const none = model.infer(row(-1, static_cast<float>(pair)));
      REQUIRE_MESSAGE(none, none.error().message);
      CHECK(none->outputs["y"].shape() == Shape{1, 0});
      CHECK(none->report.cache == (round % 2 == 0 ? CacheState::miss : CacheState::hit));
    }
    auto const some = model.infer(row(1));
    REQUIRE_MESSAGE(some, some.error().message);
    CHECK(some->outputs["y"].shape() == Shape{1, 3});
    std::vector<Request> const requests{row(-1, 10), row(-2, 10), row(-3, 10)};
    for (auto const& answer : model.infer_many(requests)) {
      REQUIRE_MESSAGE(answer, answer.error().message);
      CHECK(answer->outputs["y"].shape() == Shape{1, 0});
    }
  }
}

// mutant: the numbers of a failure are taken as they are
TEST_CASE(
    "a code or a reason that is none is a breach of contract, which the breaker and the metrics count") {
  for (auto const& [code, reason] : {std::pair<std::int32_t, std::int32_t>{-1, 0},
                                     {203494691, 0},
                                     {INT32_MIN, 0},
                                     {16, 0},
                                     {100, 24},
                                     {3, -1},
                                     {13, 37},
                                     {3, 1 << 30}}) {
    CAPTURE(code);
    CAPTURE(reason);
    Rig rig;
    rig.script.run = [code = code, reason = reason](ath_batch*, ath_failure* failure) {
      failure->code = code;
      failure->reason = reason;
      std::strcpy(failure->message, "a failure");
      return code;
    };
    for (int call = 0; call < 5; ++call) {
      auto const answer = rig.model.infer(row(static_cast<float>(call)));
      REQUIRE_FALSE(answer);
      CHECK(answer.error().code == Code::internal);
      CHECK(answer.error().reason == Reason::backend_contract);
      CHECK(answer.error().message.find("a failure") != std::string::npos);
    }
    CHECK(rig.model.infer(row(9)).error().reason == Reason::breaker_open);
    auto const metrics = rig.engine.metrics_text();
    CHECK(says(metrics, R"(outcome="internal"} 5)"));
    CHECK_FALSE(says(metrics, R"(outcome="data_loss"})"));
  }
}

// mutant: a load that succeeds with nothing gives a model
// mutant: an instance may be nothing
TEST_CASE("a load or an instance that succeeds with nothing is refused") {
  for (bool const model : {true, false}) {
    Script script{&answer_rightly};
    (model ? script.gives_model : script.gives_instance) = false;
    ath_backend_table const table = script.table();
    ModelFolder const folder;
    auto engine = Engine<>::create({.backends = {&table}}).value();
    auto const loaded = engine.load(folder.path());
    REQUIRE_FALSE(loaded);
    CHECK(loaded.error().code == Code::internal);
    CHECK(loaded.error().reason == Reason::backend_contract);
    CHECK(loaded.error().message.find("got NULL") != std::string::npos);
  }
}

namespace {

struct NothingBackend {
  static constexpr char const* name = "puppet";
  static constexpr RunsOn runs_on = RunsOn::any_thread;
  struct Instance {
    Result<void> run(ath_batch&) { return {}; }
  };
  struct Model {
    using Instance = NothingBackend::Instance;
    std::uint64_t footprint() const { return 0; }
    Result<std::unique_ptr<Instance>> make_instance() { return std::unique_ptr<Instance>(); }
  };
  bool gives_model = false;
  Result<std::unique_ptr<Model>> load(ModelSource const&) {
    return gives_model ? std::make_unique<Model>() : std::unique_ptr<Model>();
  }
};

// Makes of each item whatever a test has written into `made`.
struct LooseProcessor {
  static constexpr char const* name = "loose";
  struct Opened {
    LooseProcessor& processor;
    static constexpr std::array<Port, 1> ports{{{"x", DType::f32}}};
    std::span<Port const> made() const { return ports; }
    Result<Preprocessed> preprocess(Item const&) const { return processor.made(); }
  };
  std::function<Preprocessed()> made;
  bool gives_opened = true;
  Result<std::unique_ptr<Opened>> open(std::string_view, std::string_view) {
    return gives_opened ? std::make_unique<Opened>(Opened{*this}) : std::unique_ptr<Opened>();
  }
};

char const* const text_tensors = R"("inputs": [{"name": "text", "dtype": "bytes", "shape": ["items"]}],
    "processor": {"name": "loose"}, "cache": false,
    "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
    "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]}],)";

Preprocessed made_of(Shape const& shape, std::int64_t cost = 1, DType dtype = DType::f32) {
  auto tensor = Tensor::allocate(dtype, shape).value();
  std::memset(tensor.mutable_data(), 0, tensor.size_bytes());
  Preprocessed made;
  made.tensors.push_back(std::move(tensor));
  made.cost = cost;
  return made;
}

}  // namespace

TEST_CASE("a C++ backend or processor that gives a null pointer is refused") {
  for (bool const gives_model : {false, true}) {
    NothingBackend backend{gives_model};
    ath_backend_table const table = make_table(backend);
    ModelFolder const folder;
    auto engine = Engine<>::create({.backends = {&table}}).value();
    auto const loaded = engine.load(folder.path());
    REQUIRE_FALSE(loaded);
    CHECK(loaded.error().reason == Reason::backend_contract);
  }
  LooseProcessor loose{[] { return made_of(Shape{1, 2}); }, false};
  ath_processor_table const processor = make_table(loose);
  Puppet puppet;
  ModelFolder const folder("", "loose", "1.0.0", text_tensors);
  auto engine = Engine<>::create({.backends = {&puppet.table}, .processors = {&processor}}).value();
  auto const added = engine.load(folder.path());
  REQUIRE_FALSE(added);
  CHECK(added.error().reason == Reason::backend_contract);
}

// mutant: what a processor makes is not compared with the model's inputs
// mutant: the cost of an item may be any number
TEST_CASE("what a C++ processor makes must be an item of the model's inputs, at a cost that adds up") {
  LooseProcessor loose{[] { return made_of(Shape{1, 2}); }};
  ath_processor_table const processor = make_table(loose);
  Puppet puppet;
  ModelFolder const folder("", "loose", "1.0.0", text_tensors);
  auto engine = Engine<>::create({.backends = {&puppet.table}, .processors = {&processor}}).value();
  auto model = engine.load(folder.path()).value();
  REQUIRE(model.infer({{"text", "right"}}));
  std::vector<std::function<Preprocessed()>> const breaches{
      [] {
        return made_of(Shape{1, 2}, -5);
      },
      [] {
        return made_of(Shape{1, 2}, 0);
      },
      [] {
        return made_of(Shape{1, 2}, INT64_MIN);
      },
      [] {
        return made_of(Shape{1, 2}, INT64_MAX);
      },
      [] {
        return made_of(Shape{1, 2}, serving::most_cost + 1);
      },
      [] { return made_of(Shape{2}); },
      [] {
        return made_of(Shape{1, 3});
      },
      [] {
        return made_of(Shape{2, 2});
      },
      [] {
        return made_of(Shape{0, 2});
      },
      [] {
        return made_of(Shape{1, 2}, 1, DType::f64);
      },
      [] { return Preprocessed{}; },
      [] {
        auto made = made_of(Shape{1, 2});
        made.tensors.push_back(made.tensors[0]);
        return made;
      },
      [] {
        Preprocessed made;
        made.tensors.push_back(Tensor::view(DType::f32, nullptr, Shape{1, 2}));
        return made;
      },
  };
  for (std::size_t i = 0; i < breaches.size(); ++i) {
    CAPTURE(i);
    loose.made = breaches[i];
    auto const answer = model.infer({{"text", "wrong"}});
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == Code::internal);
    CHECK(answer.error().reason == Reason::backend_contract);
    CHECK(breaking::outcome_of(answer.error()) == breaking::Outcome::failure);
  }
  loose.made = [] { return made_of(Shape{1, 2}, serving::most_cost); };
  std::vector<Request> const requests(8, Request{{"text", "dear"}});
  for (auto const& answer : model.infer_many(requests)) CHECK(answer);
}

// mutant: a tensor of a processor need not be whole
TEST_CASE("a tensor of a C processor that is not whole is refused and released, alone and in company") {
  static ath_tensor given{};
  static std::atomic<int> releases{0};
  static char const* const names[] = {"x"};
  static std::int32_t const dtypes[] = {static_cast<std::int32_t>(DType::f32)};
  ath_processor_table processor{};
  processor.struct_size = sizeof(processor);
  processor.name = "loose";
  processor.open = [](void*, char const*, char const*, void**, ath_ports* ports, ath_failure*) {
    ports->made_names = names;
    ports->made_dtypes = dtypes;
    ports->made_count = 1;
    return 0;
  };
  processor.close = [](void*, void*) {};
  processor.preprocess = [](void*, void*, ath_item const*, ath_made* out, ath_failure*) {
    out->tensors = &given;
    out->tensor_count = 1;
    out->cost = 1;
    out->release = [](void*) { ++releases; };
    return 0;
  };
  Puppet puppet;
  ModelFolder const folder("", "loose", "1.0.0", text_tensors);
  auto engine = Engine<>::create({.backends = {&puppet.table}, .processors = {&processor}}).value();
  given = floats({1, 2}, 8);
  auto model = engine.load(folder.path()).value();
  for (std::size_t i = 0; i < no_rows.size(); ++i) {
    CAPTURE(i);
    given = no_rows[i];
    releases = 0;
    auto const answer = model.infer({{"text", "a"}});
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == Code::internal);
    CHECK(answer.error().reason == Reason::backend_contract);
    CHECK(releases == 1);
    std::vector<Request> const requests(3, Request{{"text", "a"}});
    for (auto const& each : model.infer_many(requests)) CHECK_FALSE(each);
  }
  given = floats({1, 2}, 8);
  CHECK(model.infer({{"text", "a"}}));
}

// mutant: segments are not held against the engine's bytes
TEST_CASE("what the batch makes of a request counts as held bytes before memory is taken") {
  Script script{[](ath_batch* batch, ath_failure*) {
    batch->outputs[0] = floats({batch->items}, static_cast<std::uint64_t>(batch->items) * 4);
    return 0;
  }};
  ath_backend_table const table = script.table();
  ModelFolder const folder("", "ragged", "1.0.0",
                           R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["atoms", 0]}],)");
  folder.write("athanor.json", R"({"athanor": 1, "name": "ragged", "version": "1.0.0", "backend": "puppet",
      "format": "any", "cache": false,
      "inputs": [{"name": "x", "dtype": "f32", "shape": ["atoms", null]}],
      "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["atoms", null]},
                       {"name": "g", "dtype": "i64", "shape": ["atoms"], "make": "segment"}],
      "outputs": [{"name": "y", "dtype": "f32", "shape": ["items"]}],
      "members": [{"file": "model.bin", "digest": "xxh128:)" +
                                   to_hex(*hash_file(folder.path() + "/model.bin")) + R"("}]})");
  auto engine = Engine<>::create({.backends = {&table}, .max_bytes = 1 << 20}).value();
  auto model = engine.load(folder.path()).value();
  for (std::int64_t const length :
       {std::int64_t{1} << 17, std::int64_t{1} << 18, std::int64_t{1} << 40, std::int64_t{1} << 60,
        std::int64_t{1} << 61, std::int64_t{1} << 62, INT64_MAX}) {
    CAPTURE(length);
    auto const answer =
        model.infer(Request{{"x", Tensor::view(DType::f32, memory.data(), Shape{length, 0})}});
    CHECK(answer.has_value() == (length <= (1 << 17)));
    if (answer) continue;
    CHECK(answer.error().code == Code::resource_exhausted);
    CHECK(answer.error().reason == Reason::too_large);
  }
}
