// What processors cost callers: the second half should run while the model has its
// next batch, and a parameter that only a processor reads should change no batch.
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

/// Gives the model's rows times the parameter back, if there is one.
struct ScalingProcessor {
  static constexpr char const* name = "scaling";
  struct Opened {
    static constexpr std::array<Port, 1> ports{{{"y", DType::f32}}};
    std::span<Port const> outputs() const { return ports; }
    Result<std::vector<Tensor>> postprocess(Item const& item, void const*,
                                            std::span<Tensor const> rows) const {
      Tensor scaled = rows[0].clone().value();
      double factor = 1;
      if (item.parameter_count() != 0) factor = item.parameter<double>(0).value();
      for (float& value : scaled.mutable_as<float>()) value *= static_cast<float>(factor);
      return std::vector{std::move(scaled)};
    }
  };
  Result<std::unique_ptr<Opened>> open(std::string_view, std::string_view) {
    return std::make_unique<Opened>();
  }
};

constexpr int crowd = 16;

/// Items in a batch of `crowd` callers, each with a factor of
/// its own if the manifest declares one; 0 after a wrong answer.
double items_in_a_batch(std::string_view parameters) {
  BackendOf<SlowInstance> backend;
  ScalingProcessor processor;
  ath_backend_table const backend_table = make_table(backend);
  ath_processor_table const processor_table = make_table(processor);
  athanor_tests::ModelFolder const folder(
      R"("batching": {"max_items": 16},)", "scaled", "1.0.0",
      std::string(parameters) +
          R"("processor": {"name": "scaling"}, "inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 4]}],
         "model_outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 4]}],
         "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 4], "from": "processor:y"}],)");
  auto engine =
      Engine<>::create(
          {.backends = {&backend_table}, .processors = {&processor_table}, .threads = 4, .cache_bytes = 0})
          .value();
  auto model = engine.load(folder.path()).value();
  std::atomic<bool> right{true};
  std::vector<std::thread> threads;
  for (int i = 0; i < crowd; ++i)
    threads.emplace_back([&, i] {
      std::array<float, 4> const x{1, 2, 3, static_cast<float>(i)};
      double const factor = parameters.empty() ? 1.0 : 1.0 + i;
      Request request{{"x", Tensor::view<float>(x, {1, 4})}};
      if (!parameters.empty()) request.set("factor", factor);
      for (int k = 0; k < calls; ++k) {
        auto const answer = model.infer(request);
        if (!answer || answer->outputs[0].as<float>()[2] != 3 * static_cast<float>(factor)) right = false;
      }
    });
  for (auto& thread : threads) thread.join();
  return right ? model.statistics().value().batch_items.mean : 0;
}

void measure_parameters(Figures& figures) {
  if (!figures.wants("serving.parameters")) return;
  double const without = items_in_a_batch("");
  double const with = items_in_a_batch(R"("parameters": [{"name": "factor", "type": "f64"}],)");
  if (without == 0 || with == 0) return figures.fail("serving.parameters", "a wrong answer");
  figures.report({.name = "serving.parameters",
                  .value = with / without,
                  .unit = "of the items in a batch without the parameter, 16 callers with 16 values",
                  .aim = at_least(0.95)});
}

void measure_postprocess(Figures& figures) {
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

}  // namespace

void measure_processor(Figures& figures) {
  measure_postprocess(figures);
  measure_parameters(figures);
}

}  // namespace athanor::benchmarks
