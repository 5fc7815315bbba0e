// Numbers that follow each other, one in each step of a model; docs/streams.md explains them.
#include <athanor/athanor.hpp>
#include <athanor/serving/stream.hpp>

#include <coroutine>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <future>
#include <memory>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

namespace {

// y follows n: half of it, or three times and one. n is the last y, and in the first step x.
struct FollowBackend {
  static constexpr char const* name = "follow";
  static constexpr athanor::RunsOn runs_on = athanor::RunsOn::any_thread;

  struct Instance {
    std::vector<std::int64_t> numbers{};
    std::vector<std::uint8_t> last{};

    athanor::Result<void> run(ath_batch& batch) {
      auto const* x = static_cast<std::int64_t const*>(batch.inputs[0].data);
      auto const* before = static_cast<std::int64_t const*>(batch.inputs[1].data);
      numbers.clear();
      last.clear();
      for (std::int64_t item = 0; item < batch.items; ++item) {
        std::int64_t const n = before[item] == 0 ? x[item] : before[item];
        numbers.push_back(n % 2 == 0 ? n / 2 : 3 * n + 1);
        last.push_back(numbers.back() == 1 ? 1 : 0);
      }
      batch.outputs[0] = batch.inputs[0];
      batch.outputs[0].data = numbers.data();
      batch.outputs[1] = batch.outputs[0];
      batch.outputs[1].dtype = static_cast<std::int32_t>(athanor::DType::boolean);
      batch.outputs[1].size_bytes = last.size();
      batch.outputs[1].data = last.data();
      return {};
    }
  };

  struct Model {
    using Instance = FollowBackend::Instance;
    std::uint64_t footprint() const { return sizeof(Model); }
    athanor::Result<std::unique_ptr<Instance>> make_instance() { return std::make_unique<Instance>(); }
  };

  athanor::Result<std::unique_ptr<Model>> load(athanor::ModelSource const&) {
    return std::make_unique<Model>();
  }
};

int failed(athanor::Error const& error) {
  std::fprintf(stderr, "%s\n", to_string(error).c_str());
  return 1;
}

void print(athanor::Outputs const& part) {
  std::printf("%d ", static_cast<int>(part["y"].as<std::int64_t>()[0]));
}

athanor::Request from(std::int64_t x) {
  athanor::Request request;
  auto tensor = athanor::Tensor::allocate(athanor::DType::i64, {1}).value();
  tensor.mutable_as<std::int64_t>()[0] = x;
  request.set("x", std::move(tensor));
  return request;
}

int read_in_a_loop(athanor::Model<> const& model) {
  auto stream = model.stream(from(6), {.deadline = 1s});
  if (!stream) return failed(stream.error());
  for (athanor::Outputs const& part : *stream) print(part);
  auto const outcome = stream->outcome();
  if (!outcome) return failed(outcome.error());
  std::printf("in %u steps\n", static_cast<unsigned>(outcome->attempts));
  return 0;
}

struct Listener {
  std::promise<athanor::Result<athanor::Report>> ended;
  void on_part(athanor::Outputs part) noexcept { print(part); }
  void on_end(athanor::Result<athanor::Report> outcome) noexcept { ended.set_value(std::move(outcome)); }
};

int listen(athanor::Model<> const& model) {
  Listener listener;
  athanor::Request request = from(27);
  request.set("most", std::int64_t{5});
  auto const submission = model.stream(
      std::move(request), {}, athanor::stream_callbacks<&Listener::on_part, &Listener::on_end>(&listener));
  if (!submission) return failed(submission.error());
  auto const outcome = listener.ended.get_future().get();
  if (!outcome) return failed(outcome.error());
  std::printf("and no more\n");
  return 0;
}

// A coroutine that begins at once; the promise says when it is over.
struct Coroutine {
  struct promise_type {
    Coroutine get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { std::terminate(); }
  };
};

Coroutine follow(athanor::Stream<> stream, std::promise<void>& over) {
  while (auto part = co_await stream.next_async()) print(*part);
  over.set_value();
}

int read_in_a_coroutine(athanor::Model<> const& model) {
  auto stream = model.stream(from(5));
  if (!stream) return failed(stream.error());
  std::promise<void> over;
  follow(std::move(*stream), over);
  over.get_future().wait();
  std::printf("in a coroutine\n");
  return 0;
}

int leave(athanor::Model<> const& model) {
  auto stream = model.stream(from(27));
  if (!stream) return failed(stream.error());
  if (auto const part = stream->next()) print(*part);
  stream->cancel();
  static_cast<void>(stream->next());
  std::printf("then %s\n", std::string(to_string(stream->outcome().error().code)).c_str());
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  FollowBackend backend;
  auto const table = athanor::make_table(backend);
  auto engine = athanor::Engine<>::create({.backends = {&table}});
  if (!engine) return failed(engine.error());
  auto model = engine->load(count > 1 ? arguments[1] : "examples/streams/model");
  if (!model) return failed(model.error());
  if (read_in_a_loop(*model) != 0 || listen(*model) != 0 || read_in_a_coroutine(*model) != 0) return 1;
  if (leave(*model) != 0) return 1;
  auto const answer = model->infer(from(6));
  if (!answer) return failed(answer.error());
  std::printf("the last: ");
  print(answer->outputs);
  std::printf("\n");
  return 0;
}
