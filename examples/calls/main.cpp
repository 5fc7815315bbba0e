// Every way to call a model from C++, each with the answer printed; docs/cpp-api.md explains them.
#include <athanor/athanor.hpp>
#include <athanor/serving/jobs.hpp>
#include <athanor/serving/stream.hpp>

#include <array>
#include <cstdio>
#include <future>
#include <string>
#include <string_view>
#include <vector>

#include "mean_backend.hpp"

using namespace std::chrono_literals;

namespace {

int failed(athanor::Error const& error) {
  std::fprintf(stderr, "%s\n", to_string(error).c_str());
  return 1;
}

void print(char const* what, athanor::Tensor const& means) {
  std::printf("%s:", what);
  for (float const mean : means.as<float>()) std::printf(" %g", static_cast<double>(mean));
  std::printf("\n");
}

void log_line(void* /*context*/, athanor::Level level, std::string_view message) noexcept {
  if (level == athanor::Level::debug) return;
  std::printf("%s: %s\n", std::string(to_string(level)).c_str(), std::string(message).c_str());
}

using MeanModel = athanor::Model<>;

athanor::Request one_row(float value) {
  athanor::Request request;
  auto x = athanor::Tensor::allocate(athanor::DType::f32, {1, 4}).value();
  for (float& element : x.mutable_as<float>()) element = value;
  request.set("x", std::move(x));
  return request;
}

int call_once(MeanModel const& model) {
  std::array<float, 8> const x{1, 2, 3, 6, 10, 20, 30, 60};
  auto answer = model.infer({{"x", athanor::Tensor::view<float>(x, {2, 4})}}, {.deadline = 50ms});
  if (!answer) return failed(answer.error());
  print("infer", answer->outputs["mean"]);

  std::array<float, 2> means{};
  std::array outputs{athanor::Tensor::view<float>(means, {2})};
  auto report = model.infer_into({{"x", athanor::Tensor::view<float>(x, {2, 4})}}, outputs);
  if (!report) return failed(report.error());
  std::printf("infer_into: %g %g, cache %s\n", static_cast<double>(means[0]), static_cast<double>(means[1]),
              std::string(to_string(report->cache)).c_str());
  return 0;
}

int call_many(MeanModel const& model) {
  std::vector<athanor::Request> requests;
  for (int i = 0; i < 3; ++i) requests.push_back(one_row(static_cast<float>(i)));
  requests[1].set("x", athanor::Tensor::text("not a tensor of numbers"));
  for (auto const& answer : model.infer_many(requests)) {
    if (answer) {
      print("infer_many", answer->outputs["mean"]);
    } else {
      std::printf("infer_many: %s\n", to_string(answer.error()).c_str());
    }
  }
  return 0;
}

struct Pending {
  std::promise<athanor::Result<athanor::Answer>> promise;
  void done(athanor::Result<athanor::Answer> answer) { promise.set_value(std::move(answer)); }
};

int call_later(MeanModel const& model) {
  Pending pending;
  auto submission = model.submit(one_row(4), {.deadline = 1s}, athanor::callback<&Pending::done>(&pending));
  if (!submission) return failed(submission.error());
  auto answer = pending.promise.get_future().get();
  if (!answer) return failed(answer.error());
  print("submit", answer->outputs["mean"]);
  return 0;
}

int refuse(MeanModel const& model) {
  auto const wrong = model.infer({{"y", athanor::Tensor::text("5")}});
  if (wrong.error().reason == athanor::Reason::missing_input)
    std::printf("refused: %s\n", to_string(wrong.error()).c_str());

  athanor::Cancellation cancellation;
  cancellation.cancel();
  auto const late = model.infer(one_row(5), {.cancellation = &cancellation});
  std::printf("cancelled: %s\n", std::string(to_string(late.error().code)).c_str());

  auto const kept = model.infer(one_row(6), {.cache = athanor::CacheMode::only_if_cached});
  std::printf("not cached: %s\n", std::string(to_string(kept.error().reason)).c_str());
  return 0;
}

int call_by_key(MeanModel const& model) {
  auto jobs = athanor::Jobs<>::create({.retention = 1h}).value();
  auto accepted = jobs.submit("order-17", model, one_row(7));
  if (!accepted) return failed(accepted.error());
  auto const job = jobs.wait("order-17", 10s).value();
  if (job.state == athanor::JobState::succeeded) print("job", job.outcome->value().outputs["mean"]);
  return 0;
}

int call_in_parts(MeanModel const& model) {
  auto stream = model.stream(one_row(5));
  if (!stream) return failed(stream.error());
  for (athanor::Outputs const& part : *stream) print("stream", part["mean"]);
  if (auto const outcome = stream->outcome(); !outcome) return failed(outcome.error());
  return 0;
}

int look(athanor::Engine<> const& engine, MeanModel const& model) {
  auto const seen = model.statistics().value();
  std::printf("statistics: %u ok, %u refused\n", static_cast<unsigned>(seen.requests_with(athanor::Code::ok)),
              static_cast<unsigned>(seen.requests_with(athanor::Code::invalid_argument)));
  std::printf("health: %s\n", engine.health().ready ? "ready" : "not ready");
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  MeanBackend backend;
  ath_backend_table const table = athanor::make_table(backend);
  auto engine = athanor::Engine<>::create({.backends = {&table}, .sink = {.log = &log_line}});
  if (!engine) return failed(engine.error());
  auto model = engine->load(count > 1 ? arguments[1] : "examples/calls/model");
  if (!model) return failed(model.error());

  if (call_once(*model) != 0 || call_many(*model) != 0 || call_later(*model) != 0) return 1;
  if (refuse(*model) != 0 || call_by_key(*model) != 0 || call_in_parts(*model) != 0) return 1;
  if (look(*engine, *model) != 0) return 1;

  std::printf("stopped: %u threads abandoned\n", static_cast<unsigned>(engine->stop(5s)));
}
