// What items of different length cost: padded to buckets, against batches of equal
// lengths; and answers of different length, in batches, against one request at a time.
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

/// A device whose time is that of a small model of texts on
/// a graphics card: a millisecond, and more by the tokens.
void run_device(std::int64_t tokens) { std::this_thread::sleep_for(1ms + tokens * 4us); }

struct TokenInstance : NullInstance {
  Result<void> run(ath_batch& batch) {
    run_device(batch.items * batch.inputs[0].shape[1]);
    return NullInstance::run(batch);
  }
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

/// Answers in a second of `callers` threads, which ask `calls` times each; 0 when some `ask(seed)` says so.
template <class Ask>
double answers_in_a_second(Ask const& ask) {
  std::atomic<bool> right{true};
  auto const began = std::chrono::steady_clock::now();
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < callers; ++i)
    threads.emplace_back([&, i] {
      if (!ask(i + 1)) right = false;
    });
  for (auto& thread : threads) thread.join();
  std::chrono::duration<double> const took = std::chrono::steady_clock::now() - began;
  return right ? callers * calls / took.count() : 0;
}

struct Measured {
  double answers_in_a_second = 0;  // 0 after a wrong answer
  double wasted = 0;               // the share of padding
};

Measured measure_texts(std::string_view model_inputs) {
  BackendOf<TokenInstance> backend;
  ath_backend_table const table = make_table(backend);
  std::string const tensors = R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", "tokens"]}],)" +
                              std::string(model_inputs) +
                              R"("outputs": [{"name": "y", "dtype": "f32", "shape": ["items", "tokens"]}],)";
  athanor_tests::ModelFolder const folder(R"("batching": {"max_items": 16},)", "texts", "1.0.0", tensors);
  auto engine = Engine<>::create({.backends = {&table}, .threads = 4, .cache_bytes = 0}).value();
  auto model = engine.load(folder.path()).value();
  double const answers = answers_in_a_second([&](unsigned seed) { return ask(model, seed); });
  auto const statistics = model.statistics().value();
  auto const all = static_cast<double>(statistics.positions + statistics.padding);
  return {answers, all > 0 ? static_cast<double>(statistics.padding) / all : 0};
}

/// Finds of `x` as many points as its first number says, each with that number.
struct PointsInstance {
  std::vector<std::int64_t> counts;
  std::vector<float> points;
  Result<void> run(ath_batch& batch) {
    counts.clear();
    points.clear();
    for (std::int64_t item = 0; item < batch.items; ++item) {
      float const first = static_cast<float const*>(batch.inputs[0].data)[item];
      counts.push_back(static_cast<std::int64_t>(first));
      points.insert(points.end(), static_cast<std::size_t>(counts.back()), first);
    }
    run_device(static_cast<std::int64_t>(points.size()));
    batch.outputs[0] = to_view(Tensor::view<std::int64_t>(counts, Shape{batch.items}));
    batch.outputs[1] = to_view(Tensor::view<float>(points, Shape{static_cast<std::int64_t>(points.size())}));
    return {};
  }
};

/// Items of 0 to 60 points.
bool find_points(Model<>& model, unsigned seed) {
  std::minstd_rand draw(seed);
  bool right = true;
  for (int k = 0; k < calls; ++k) {
    auto const wanted = static_cast<float>(draw() % 61);
    auto const answer = model.infer({{"x", Tensor::view<float>(std::span(&wanted, 1), Shape{1})}});
    right = right && answer &&
            answer->outputs["count"].as<std::int64_t>()[0] == static_cast<std::int64_t>(wanted);
    if (!right) return false;
    auto const points = answer->outputs["points"].as<float>();
    right = points.size() == static_cast<std::size_t>(wanted) &&
            std::ranges::all_of(points, [&](float point) { return point == wanted; });
  }
  return right;
}

/// Answers in a second; 0 after a wrong answer.
double measure_points(std::string_view batching) {
  BackendOf<PointsInstance> backend;
  ath_backend_table const table = make_table(backend);
  athanor_tests::ModelFolder const folder(batching, "points", "1.0.0",
                                          R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items"]}],
      "model_outputs": [{"name": "n", "dtype": "i64", "shape": ["items"]},
                        {"name": "points", "dtype": "f32", "shape": ["points"], "rows": "n"}],
      "outputs": [{"name": "points", "dtype": "f32", "shape": ["points"]},
                  {"name": "count", "dtype": "i64", "shape": ["items"], "from": "rows:points"}],)");
  auto engine = Engine<>::create({.backends = {&table}, .threads = 4, .cache_bytes = 0}).value();
  auto model = engine.load(folder.path()).value();
  return answers_in_a_second([&](unsigned seed) { return find_points(model, seed); });
}

void measure_ragged(Figures& figures) {
  if (!figures.wants("serving.ragged")) return;
  double const single = measure_points(R"("batching": {"max_items": 1},)");
  double const batched = measure_points(R"("batching": {"max_items": 16},)");
  if (single == 0 || batched == 0) return figures.fail("serving.ragged", "a wrong answer");
  figures.report(
      {.name = "serving.ragged",
       .value = batched / single,
       .unit = "of one request at a time; 0 to 60 rows each, 16 callers, a device of 1 ms and 4 us per row",
       .aim = at_least(2.0)});
}

}  // namespace

void measure_lengths(Figures& figures) {
  measure_ragged(figures);
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
