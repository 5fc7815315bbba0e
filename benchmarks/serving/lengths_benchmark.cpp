// What items of different length cost: padded to buckets, against batches of equal lengths.
#include <atomic>
#include <chrono>
#include <memory>
#include <random>
#include <string_view>
#include <thread>
#include <vector>

#include <serving/measures.hpp>
#include <serving/subject.hpp>

namespace athanor::benchmarks {

namespace {

using namespace std::chrono_literals;

constexpr int callers = 16;
constexpr int calls = 40;  // of each caller
constexpr std::int64_t shortest = 5;
constexpr std::int64_t longest = 120;

/// A device whose time is that of a small model of texts on a graphics card: a millisecond, and more by the tokens.
void run_device(std::int64_t tokens) { std::this_thread::sleep_for(1ms + tokens * 4us); }

struct TokenBackend : NullBackend {
  struct Instance : NullBackend::Instance {
    Result<void> run(ath_batch& batch) {
      run_device(batch.items * batch.inputs[0].shape[1]);
      return NullBackend::Instance::run(batch);
    }
  };
  struct Model {
    using Instance = TokenBackend::Instance;
    std::uint64_t footprint() const { return 0; }
    Result<std::unique_ptr<Instance>> make_instance() { return std::make_unique<Instance>(); }
  };
  Result<std::unique_ptr<Model>> load(ModelSource const&) { return std::make_unique<Model>(); }
};

/// Texts of 5 to 120 tokens; the model gives every token back.
bool ask(Model<>& model, unsigned seed) {
  std::minstd_rand draw(seed);
  std::uniform_int_distribution<std::int64_t> length(shortest, longest);
  bool right = true;
  for (int k = 0; k < calls; ++k) {
    std::int64_t const tokens = length(draw);
    std::vector<float> text(static_cast<std::size_t>(tokens));
    for (float& token : text) token = static_cast<float>(draw() % 30000);
    auto const answer = model.infer({{"x", Tensor::view<float>(text, Shape{1, tokens})}});
    right = right && answer && answer->outputs[0].shape() == Shape{1, tokens} &&
            std::ranges::equal(answer->outputs[0].as<float>(), text);
  }
  return right;
}

struct Measured {
  double answers_in_a_second = 0;  // 0 after a wrong answer
  double wasted = 0;               // the share of padding
};

Measured measure_texts(std::string_view model_inputs) {
  TokenBackend backend;
  ath_backend_table const table = make_table(backend);
  std::string const tensors = R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", "tokens"]}],)" +
                              std::string(model_inputs) +
                              R"("outputs": [{"name": "y", "dtype": "f32", "shape": ["items", "tokens"]}],)";
  athanor_tests::ModelFolder const folder(R"("batching": {"max_items": 16},)", "texts", "1.0.0", tensors);
  auto engine = Engine<>::create({.backends = {&table}, .threads = 4, .cache_bytes = 0}).value();
  auto model = engine.load(folder.path()).value();
  std::atomic<bool> right{true};
  auto const began = std::chrono::steady_clock::now();
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < callers; ++i)
    threads.emplace_back([&, i] {
      if (!ask(model, i + 1)) right = false;
    });
  for (auto& thread : threads) thread.join();
  std::chrono::duration<double> const took = std::chrono::steady_clock::now() - began;
  auto const statistics = model.statistics().value();
  auto const all = static_cast<double>(statistics.positions + statistics.padding);
  return {right ? callers * calls / took.count() : 0,
          all > 0 ? static_cast<double>(statistics.padding) / all : 0};
}

}  // namespace

void measure_lengths(Figures& figures) {
  if (!figures.wants("serving.pad") && !figures.wants("serving.pad-waste")) return;
  auto const equal = measure_texts("");
  auto const padded = measure_texts(
      R"("model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", "tokens"],
                           "pad": {"buckets": {"tokens": [16, 32, 64, 96, 128]}}}],)");
  if (equal.answers_in_a_second == 0 || padded.answers_in_a_second == 0)
    return figures.fail("serving.pad", "a wrong answer");
  figures.report(
      {.name = "serving.pad",
       .value = padded.answers_in_a_second / equal.answers_in_a_second,
       .unit =
           "of batches of equal lengths; 5 to 120 tokens, 16 callers, a device of 1 ms and 4 us per token",
       .aim = at_least(1.3)});
  figures.report(
      {.name = "serving.pad-waste", .value = 100 * padded.wasted, .unit = "% of the positions are padding"});
}

}  // namespace athanor::benchmarks
