// A batching policy of one's own: batches of 4 or 8 items, for a model that is fastest at these sizes.
#include <athanor/athanor.hpp>

#include <chrono>
#include <cstdio>
#include <string_view>
#include <vector>

#include "backend/scale_backend.hpp"

namespace batching = athanor::batching;
using namespace std::chrono_literals;

struct PreferredSizes {
  static constexpr std::string_view name = "preferred_sizes";
  std::uint32_t small = 4;
  std::uint32_t large = 8;
  athanor::Duration max_delay = 1ms;

  constexpr batching::BatchDecision decide(batching::QueueSnapshot const& queue) const noexcept {
    using batching::BatchDecision;
    if (queue.queued_items >= large) return BatchDecision::dispatch(large);
    if (queue.queued_items >= small) return BatchDecision::dispatch(small);
    athanor::TimePoint const due = athanor::after(queue.oldest_entered, max_delay);
    if (queue.now < due) return BatchDecision::wait_until(due);
    return BatchDecision::dispatch(queue.queued_items);
  }

  static athanor::Result<PreferredSizes> configure(batching::PolicySettings const& settings) {
    if (auto known = settings.check(name, {"small", "large", "max_delay_us"}); !known)
      return tl::unexpected(known.error());
    auto const large = settings.parameter("large", 1, settings.max_items, settings.max_items);
    if (!large) return tl::unexpected(large.error());
    auto const small = settings.parameter("small", 1, *large, *large);
    if (!small) return tl::unexpected(small.error());
    auto const delay = settings.parameter("max_delay_us", 0, 1'000'000, 1000);
    if (!delay) return tl::unexpected(delay.error());
    return PreferredSizes{static_cast<std::uint32_t>(*small), static_cast<std::uint32_t>(*large),
                          std::chrono::microseconds(*delay)};
  }
};

struct Serving : athanor::DefaultServing {
  using Batching = batching::PolicyChoice<batching::Immediate, batching::SizeOrDelay, PreferredSizes>;
};

constexpr batching::BatchDecision after_waiting(athanor::Duration age, std::uint64_t items) {
  athanor::TimePoint const start{1s};
  return PreferredSizes{}.decide({.now = start + age, .oldest_entered = start, .queued_items = items});
}
static_assert(after_waiting(0ms, 13) == batching::BatchDecision::dispatch(8));
static_assert(after_waiting(0ms, 5) == batching::BatchDecision::dispatch(4));
static_assert(after_waiting(0ms, 1) == batching::BatchDecision::wait_until(athanor::TimePoint{1s + 1ms}));
static_assert(after_waiting(1ms, 1) == batching::BatchDecision::dispatch(1));

namespace {

int failed(athanor::Error const& error) {
  std::fprintf(stderr, "%s\n", to_string(error).c_str());
  return 1;
}

}  // namespace

int main(int count, char** arguments) {
  ScaleBackend backend;
  ath_backend_table const table = athanor::make_table(backend);
  auto engine = athanor::Engine<Serving>::create({.backends = {&table}});
  if (!engine) return failed(engine.error());
  auto model = engine->load(count > 1 ? arguments[1] : "examples/policy/model");
  if (!model) return failed(model.error());

  std::vector<float> values(13);
  std::vector<athanor::Request> requests;
  for (float& value : values) {
    value = static_cast<float>(requests.size());
    requests.push_back({{"x", athanor::Tensor::view<float>({&value, 1}, athanor::Shape{1})}});
  }
  for (auto const& answer : model->infer_many(requests)) {
    if (!answer) return failed(answer.error());
    std::printf("%u ", static_cast<unsigned>(answer->report.batch_items));
  }
  std::printf("\n");
}
