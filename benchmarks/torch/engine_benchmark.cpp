/// What a whole call through the engine costs on top of a bare loop over the same frozen module at the same
/// batch, in turns within one run. The response cache is off, so every answer is computed; each is checked.
#include <array>
#include <atomic>
#include <cmath>
#include <string>
#include <vector>

#include <athanor/serving/engine.hpp>
#include <athanor/torch/backend.hpp>
#include <support/figure.hpp>
#include <support/puppet.hpp>

#include "bare_loop.hpp"
#include "torch/table.hpp"

using namespace athanor;
using namespace athanor::benchmarks;

namespace {

constexpr std::int64_t width = 10;
constexpr std::size_t outstanding = 16;

std::string device_name() { return to_string(athanor::tests::test_device()); }

std::vector<float> values_of(std::int64_t rows) {
  std::vector<float> values(static_cast<std::size_t>(rows * width));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = 0.1F * static_cast<float>(i % 13);
  return values;
}

struct Subject {
  athanor_tests::ModelFolder folder{"", "null"};
  Engine<> engine =
      Engine<>::create({.backends = {&athanor::libtorch::backend()}, .threads = 2, .cache_bytes = 0}).value();

  Subject() {
    std::string const file = folder.path() + "/perceptron.pt";
    write_perceptron(file);
    folder.write("athanor.json", R"({"athanor": 1, "name": "perceptron", "version": "1.0.0",
        "backend": "torch", "format": "torchscript", "device": ")" +
                                     device_name() + R"(",
        "inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 10]}],
        "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 1]}],
        "members": [{"file": "perceptron.pt", "digest": "xxh128:)" +
                                     to_hex(*hash_file(file)) + "\"}]}");
  }
};

bool near(float one, float other) { return std::abs(one - other) <= 1e-5F; }

/// One blocking request of 32 items: it runs on its caller's thread.
void measure_blocking(Figures& figures, Subject& subject) {
  std::string const name = "torch.overhead-alone";
  if (!figures.wants(name) && !figures.wants("torch.overhead-ratio")) return;
  constexpr std::int64_t rows = 32;
  constexpr int calls = 2000;
  auto model = subject.engine.load(subject.folder.path());
  if (!model) return figures.fail(name, model.error().message);
  BareLoop loop(subject.folder.path() + "/perceptron.pt", device_name());
  auto const values = values_of(rows);
  Request const request{{"x", Tensor::view(std::span<float const>(values), {rows, width})}};
  std::array<float, rows> bare{};
  bool right = true;
  std::vector<double> left_over;
  std::vector<double> ratios;
  for (int round = -1; round < 31; ++round) {
    double const alone = seconds_of([&] {
      for (int i = 0; i < calls; ++i) loop.forward(values.data(), rows, width, bare.data());
    });
    double const through = seconds_of([&] {
      for (int i = 0; i < calls; ++i) {
        auto const answer = model->infer(request);
        right = right && answer && near(answer->outputs[0].as<float>()[rows - 1], bare[rows - 1]);
      }
    });
    if (round < 0) continue;
    left_over.push_back((through - 1.02 * alone) / calls * 1e6);
    ratios.push_back(through / alone);
  }
  if (!right) return figures.fail(name, "a wrong answer");
  auto const cost = summarise(left_over);
  auto const ratio = summarise(ratios);
  if (figures.wants(name))
    figures.report({.name = name,
                    .value = cost.median,
                    .unit = "us per request beyond 1.02 x bare",
                    .spread = cost.spread});
  if (figures.wants("torch.overhead-ratio"))
    figures.report({.name = "torch.overhead-ratio",
                    .value = ratio.median,
                    .unit = "x of the bare loop",
                    .spread = ratio.spread});
}

/// 32 requests of one item in one infer_many, against a bare loop over batches of 32: equal batches.
void measure_many(Figures& figures, Subject& subject) {
  std::string const name = "torch.overhead";
  if (!figures.wants(name)) return;
  constexpr std::size_t count = 32;
  constexpr int calls = 500;
  auto model = subject.engine.load(subject.folder.path());
  if (!model) return figures.fail(name, model.error().message);
  BareLoop loop(subject.folder.path() + "/perceptron.pt", device_name());
  auto const values = values_of(count);
  std::vector<Request> requests;
  for (std::size_t i = 0; i < count; ++i)
    requests.push_back(
        Request{{"x", Tensor::view(std::span<float const>(values).subspan(i * width, width), {1, width})}});
  std::array<float, count> bare{};
  bool right = true;
  auto const sample = repeat(31, [&] {
    double const alone = seconds_of([&] {
      for (int i = 0; i < calls; ++i) loop.forward(values.data(), count, width, bare.data());
    });
    double const through = seconds_of([&] {
      for (int i = 0; i < calls; ++i) {
        auto const answers = model->infer_many(requests);
        for (std::size_t k = 0; k < count; ++k)
          right = right && answers[k] && answers[k]->report.batch_items == count &&
                  near(answers[k]->outputs[0].as<float>()[0], bare[k]);
      }
    });
    return (through - 1.02 * alone) / (calls * count) * 1e6;
  });
  if (!right) return figures.fail(name, "a wrong answer");
  figures.report({.name = name,
                  .value = sample.median,
                  .unit = "us per request beyond 1.02 x bare",
                  .spread = sample.spread,
                  .aim = at_most(0.4)});
}

/// Keeps `outstanding` requests of one item under way until `calls` are answered.
struct Stream {
  Model<>& model;
  std::vector<float> values = values_of(1);
  std::atomic<int> answered{0};
  std::atomic<bool> right{true};
  float expected = 0;

  void done(Result<Answer> answer) {
    if (!answer || !near(answer->outputs[0].as<float>()[0], expected)) right.store(false);
    answered.fetch_add(1);
    answered.notify_one();
  }
  void run(int calls) {
    answered.store(0);
    for (int sent = 0; sent < calls; ++sent) {
      for (int seen = answered.load(); sent - seen >= static_cast<int>(outstanding); seen = answered.load())
        answered.wait(seen);
      auto accepted = model.submit(Request{{"x", Tensor::view(std::span<float const>(values), {1, width})}},
                                   {}, callback<&Stream::done>(this));
      if (!accepted) {
        right.store(false);
        done(tl::unexpected(accepted.error()));
      }
    }
    for (int seen = answered.load(); seen < calls; seen = answered.load()) answered.wait(seen);
  }
};

/// Sixteen asynchronous requests of one item outstanding, against a bare loop over batches of sixteen.
void measure_asynchronous(Figures& figures, Subject& subject) {
  std::string const name = "torch.overhead-async";
  if (!figures.wants(name)) return;
  constexpr int calls = 16'000;
  auto model = subject.engine.load(subject.folder.path());
  if (!model) return figures.fail(name, model.error().message);
  BareLoop loop(subject.folder.path() + "/perceptron.pt", device_name());
  std::vector<float> values;
  for (std::size_t i = 0; i < outstanding; ++i)
    for (float const value : values_of(1)) values.push_back(value);
  std::array<float, outstanding> bare{};
  Stream stream{*model};
  loop.forward(values.data(), outstanding, width, bare.data());
  stream.expected = bare[0];
  auto const sample = repeat(15, [&] {
    double const alone = seconds_of([&] {
      for (std::size_t i = 0; i < calls / outstanding; ++i)
        loop.forward(values.data(), outstanding, width, bare.data());
    });
    double const through = seconds_of([&] { stream.run(calls); });
    return (through - 1.02 * alone) / calls * 1e6;
  });
  if (!stream.right.load()) return figures.fail(name, "a wrong answer");
  figures.report({.name = name,
                  .value = sample.median,
                  .unit = "us per request beyond 1.02 x bare",
                  .spread = sample.spread});
}

}  // namespace

int main(int argc, char** argv) {
  Figures figures(argc, argv);
  Subject subject;
  measure_many(figures, subject);
  measure_blocking(figures, subject);
  measure_asynchronous(figures, subject);
  return figures.exit_code();
}
