// What a processor's second half costs callers: it should run while the model has its next batch.
#include <atomic>
#include <chrono>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

#include <serving/measures.hpp>
#include <serving/subject.hpp>

namespace athanor::benchmarks {

namespace {

using namespace std::chrono_literals;

constexpr auto run_time = 5ms;
constexpr auto postprocess_time = 2ms;
constexpr int callers = 4;
constexpr int calls = 60;  // of each caller

/// A device that takes its time and no processor's.
struct SlowInstance : NullInstance {
  Result<void> run(ath_batch& batch) {
    std::this_thread::sleep_for(run_time);
    return NullInstance::run(batch);
  }
};

/// Gives the model's rows back after a while.
struct SlowProcessor {
  static constexpr char const* name = "slow";
  struct Opened {
    static constexpr std::array<Port, 1> ports{{{"y", DType::f32}}};
    std::span<Port const> outputs() const { return ports; }
    Result<std::vector<Tensor>> postprocess(Item const&, void const*, std::span<Tensor const> rows) const {
      std::this_thread::sleep_for(postprocess_time);
      return std::vector{rows[0].clone().value()};
    }
  };
  Result<std::unique_ptr<Opened>> open(std::string_view, std::string_view) {
    return std::make_unique<Opened>();
  }
};

/// Answers in a second of `callers` threads, which ask one at a time; 0 after a wrong answer.
double answers_in_a_second(std::string_view outputs) {
  BackendOf<SlowInstance> backend;
  SlowProcessor processor;
  ath_backend_table const backend_table = make_table(backend);
  ath_processor_table const processor_table = make_table(processor);
  athanor_tests::ModelFolder const folder(R"("batching": {"max_items": 1},)", "slow", "1.0.0", outputs);
  auto engine =
      Engine<>::create(
          {.backends = {&backend_table}, .processors = {&processor_table}, .threads = 4, .cache_bytes = 0})
          .value();
  auto model = engine.load(folder.path()).value();
  std::atomic<bool> right{true};
  auto const began = std::chrono::steady_clock::now();
  std::vector<std::thread> threads;
  for (int i = 0; i < callers; ++i)
    threads.emplace_back([&, i] {
      Caller caller(static_cast<float>(i));
      for (int k = 0; k < calls; ++k)
        if (!caller.call(model)) right = false;
    });
  for (auto& thread : threads) thread.join();
  std::chrono::duration<double> const took = std::chrono::steady_clock::now() - began;
  return right ? callers * calls / took.count() : 0;
}

}  // namespace

void measure_processor(Figures& figures) {
  if (!figures.wants("serving.postprocess")) return;
  double const alone = answers_in_a_second(
      R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 4]}],
         "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 4]}],)");
  double const postprocessed = answers_in_a_second(
      R"("processor": {"name": "slow"}, "inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 4]}],
         "model_outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 4]}],
         "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 4], "from": "processor:y"}],)");
  if (alone == 0 || postprocessed == 0) return figures.fail("serving.postprocess", "a wrong answer");
  figures.report({.name = "serving.postprocess",
                  .value = postprocessed / alone,
                  .unit = "of the model alone, 2 ms behind 5 ms, 4 callers",
                  .aim = at_least(0.95)});
}

}  // namespace athanor::benchmarks
