// What a part of a stream costs more than a plain call: both run a null model once.
#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include <athanor/serving/stream.hpp>
#include <serving/measures.hpp>
#include <serving/subject.hpp>

namespace athanor::benchmarks {

namespace {

constexpr int parts = 1000;  // of one stream

/// Copies its input to its output, keeps nothing by slot, and never says that a step is the last.
struct SteppedInstance : NullInstance {
  std::vector<std::uint8_t> done;
  Result<void> run(ath_batch& batch) {
    auto copied = NullInstance::run(batch);
    done.assign(static_cast<std::size_t>(batch.items), 0);
    ath_tensor& last = batch.outputs[1];
    last = batch.inputs[0];
    last.dtype = static_cast<std::int32_t>(DType::boolean);
    last.ndim = 1;
    last.size_bytes = done.size();
    last.data = done.data();
    return copied;
  }
  void clear_slot(std::uint64_t) noexcept {}
};

/// An engine with one model that makes `parts` steps in each call.
struct Stepped {
  BackendOf<SteppedInstance> backend;
  ath_backend_table table = make_table(backend);
  athanor_tests::ModelFolder folder{
      R"("sequences": {"held": true, "steps": {"until": "done", "max": )" + std::to_string(parts) + "}},",
      "stepped", "1.0.0",
      R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 4]}],
         "model_outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 4]},
                           {"name": "done", "dtype": "bool", "shape": ["items"]}],
         "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 4]}],)"};
  Engine<> engine = Engine<>::create({.backends = {&table}, .cache_bytes = 0}).value();
  Model<> model = engine.load(folder.path()).value();

  /// Microseconds for a part; nothing after a wrong one.
  std::optional<double> microseconds_of_a_part(Caller const& caller) {
    int read = 0;
    bool right = true;
    double const seconds = seconds_of([&] {
      auto stream = model.stream(caller.request);
      if (!stream) return;
      for (Outputs const& part : *stream) {
        ++read;
        right = right && part[0].as<float>()[0] == caller.values[0];
      }
    });
    if (!right || read != parts) return std::nullopt;
    return seconds * 1e6 / parts;
  }
};

}  // namespace

void measure_streams(Figures& figures) {
  if (!figures.wants("serving.stream")) return;
  Subject subject;
  Stepped stepped;
  Caller caller(7);
  std::vector<double> differences;
  for (int round = -1; round < 9; ++round) {
    auto const plain = median_microseconds(300, [&] { return caller.call(subject.model); });
    auto const part = stepped.microseconds_of_a_part(caller);
    if (!plain || !part) return figures.fail("serving.stream", "a wrong answer");
    if (round >= 0) differences.push_back(*part - plain->median);
  }
  auto const sample = summarise(differences);
  figures.report({.name = "serving.stream",
                  .value = sample.median,
                  .unit = "us for a part over a plain call",
                  .spread = sample.spread,
                  .aim = at_most(1)});
}

}  // namespace athanor::benchmarks
