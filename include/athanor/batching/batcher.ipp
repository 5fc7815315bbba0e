#pragma once

#include <exception>
#include <new>
#include <stdexcept>
#include <utility>

#include <athanor/batching/batcher.hpp>

namespace athanor::inline v1 {

namespace detail {

/// Which batchers' functions are running on this thread, innermost first.
struct RunningBatcher {
  void const* batcher;
  RunningBatcher* outer;
  static inline thread_local RunningBatcher* innermost = nullptr;

  explicit RunningBatcher(void const* running) noexcept
      : batcher(running), outer(std::exchange(innermost, this)) {}
  ~RunningBatcher() { innermost = outer; }
  RunningBatcher(RunningBatcher const&) = delete;
  RunningBatcher& operator=(RunningBatcher const&) = delete;

  static bool holds(void const* batcher) noexcept {
    for (auto const* at = innermost; at != nullptr; at = at->outer)
      if (at->batcher == batcher) return true;
    return false;
  }
};

}  // namespace detail

/// Shared by a caller and the lane, which may let go in any order: a caller whose deadline passes leaves a
/// running call.
template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
struct Batcher<In, Out, Env>::Call : batching::Slot {
  // Bits of `word`.
  static constexpr std::uint32_t reading = 1;  // the input is being copied: its owner may not go
  static constexpr std::uint32_t done = 2;     // the answer is there
  static constexpr std::uint32_t left = 4;     // the caller has gone, and its input with it
  static constexpr std::uint32_t parked = 8;   // the caller sleeps on the word

  In const* input = nullptr;  // the caller's, or `kept`
  std::vector<In> kept;       // of submit: one
  Out output{};
  typename Env::Word word;
  typename Env::template Atomic<std::uint32_t> owners{0};
  Completion completion = nullptr;
  void* context = nullptr;
  Call* next_free = nullptr;
};

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
template <class F>
struct Batcher<In, Out, Env>::FunctionOf final : Function {
  explicit FunctionOf(F given) : function(std::move(given)) {}
  Result<void> call(std::span<In const> inputs, std::span<Out> outputs) override {
    if constexpr (std::is_void_v<decltype(function(inputs, outputs))>) {
      function(inputs, outputs);
      return {};
    } else {
      return function(inputs, outputs);
    }
  }
  F function;
};

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
batching::LaneOptions Batcher<In, Out, Env>::lane_options(BatcherOptions const& options) {
  batching::LaneOptions lane;
  lane.instances = options.instances;
  lane.max_items = options.max_items;
  lane.caller_runs = options.caller_runs;
  if (auto valid = batching::validate(lane); !valid) throw std::invalid_argument(valid.error().message);
  if (options.max_delay < Duration{})
    throw std::invalid_argument("batching: max_delay: expected no negative time");
  if (options.max_held == 0) throw std::invalid_argument("batching: max_held: expected at least 1, got 0");
  return lane;
}

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
template <batching::BatchFunction<In, Out> F>
Batcher<In, Out, Env>::Batcher(BatcherOptions const& options, F function)
    : function_(std::make_unique<FunctionOf<F>>(std::move(function))),
      max_held_(options.max_held),
      instances_(options.instances),
      executor_(options.instances),
      lane_(lane_options(options), batching::SizeOrDelay{options.max_items, options.max_delay}, host_,
            executor_) {}

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
Batcher<In, Out, Env>::~Batcher() {
  constexpr std::uint32_t waits = 1U << 31;
  lane_.refuse_all(Error{Code::unavailable, Reason::stopping, "the batcher is stopping", {}});
  for (;;) {
    std::uint32_t const held = held_.fetch_or(waits) | waits;
    if (held == waits) break;
    held_.wait_until(held, no_deadline);
  }
  executor_.stop(no_deadline);
}

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
auto Batcher<In, Out, Env>::take_call() -> Result<Call*> {
  std::uint32_t held = held_.load();
  do {
    if (held >= max_held_)
      return fail(Code::resource_exhausted, Reason::queue_full, "batcher: expected at most {} calls at once",
                  max_held_);
  } while (!held_.compare_exchange(held, held + 1));
  Call* call = nullptr;
  calls_mutex_.lock();
  try {
    if (free_ == nullptr) {
      calls_.push_back(std::make_unique<Call>());
      free_ = calls_.back().get();
    }
    call = std::exchange(free_, free_->next_free);
  } catch (std::bad_alloc const&) {
  }
  calls_mutex_.unlock();
  if (call == nullptr) {
    release_held();
    return fail(Code::resource_exhausted, Reason::out_of_memory, "batcher: no memory for another call");
  }
  call->next_free = nullptr;
  call->word.store(0);
  return call;
}

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
void Batcher<In, Out, Env>::release_held() noexcept {
  constexpr std::uint32_t waits = 1U << 31;
  std::uint32_t held = held_.load();
  while (!held_.compare_exchange(held, held - 1)) {
  }
  if (held - 1 == waits) held_.wake_all();
}

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
void Batcher<In, Out, Env>::drop(Call& call) noexcept {
  if (call.owners.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  call.kept.clear();
  calls_mutex_.lock();
  call.next_free = std::exchange(free_, &call);
  calls_mutex_.unlock();
  release_held();
}

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
Result<Out> Batcher<In, Out, Env>::run(In const& input, Duration timeout) {
  if (detail::RunningBatcher::holds(this))
    return fail(Code::failed_precondition, Reason::reentrant,
                "batcher: a blocking call from inside its own function might never end");
  TimePoint const deadline = timeout == Duration::max() ? no_deadline : after(Env::now(), timeout);
  auto taken = take_call();
  if (!taken) return tl::unexpected(std::move(taken.error()));
  Call& call = **taken;
  call.input = &input;
  call.completion = nullptr;
  call.deadline = deadline;
  call.owners.store(2, std::memory_order_relaxed);
  lane_.enter(call, batching::Entry::may_run_here);
  struct Share {
    Batcher& batcher;
    Call& call;
    ~Share() { batcher.drop(call); }
  } const share{*this, call};
  return wait(call, deadline);
}

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
Result<Out> Batcher<In, Out, Env>::wait(Call& call, TimePoint deadline) {
  for (;;) {
    std::uint32_t const word = call.word.load();
    if ((word & Call::done) != 0) {
      if (call.failed) return tl::unexpected(std::move(call.error));
      return std::move(call.output);
    }
    if (Env::now() < deadline) {
      std::uint32_t const before = call.word.fetch_or(Call::parked);
      if ((before & Call::done) == 0) call.word.wait_until(before | Call::parked, deadline);
      continue;
    }
    if (lane_.withdraw(call)) {
      drop(call);
      return fail(Code::deadline_exceeded, Reason::deadline_waiting,
                  "the deadline passed while the call waited");
    }
    leave(call);
    return fail(Code::deadline_exceeded, Reason::deadline_running, "the deadline passed while the call ran");
  }
}

/// After it the lane never looks at the input again. A copying that goes on ends first.
template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
void Batcher<In, Out, Env>::leave(Call& call) noexcept {
  std::uint32_t word = call.word.fetch_or(Call::left) | Call::left;
  while ((word & Call::reading) != 0) {
    call.word.wait_until(word, no_deadline);
    word = call.word.load();
  }
}

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
Result<void> Batcher<In, Out, Env>::submit(In input, Completion completion, void* context) {
  auto taken = take_call();
  if (!taken) return tl::unexpected(std::move(taken.error()));
  Call& call = **taken;
  call.kept.clear();
  call.owners.store(1, std::memory_order_relaxed);
  try {
    call.kept.push_back(std::move(input));
  } catch (...) {
    drop(call);
    throw;
  }
  call.input = call.kept.data();
  call.completion = completion;
  call.context = context;
  call.deadline = no_deadline;
  lane_.enter(call, batching::Entry::never_here);
  return {};
}

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
bool Batcher<In, Out, Env>::Host::wanted(batching::Slot& slot) noexcept {
  return (static_cast<Call&>(slot).word.load() & Call::left) == 0;
}

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
Result<void> Batcher<In, Out, Env>::execute(batching::Batch const& batch) noexcept {
  detail::RunningBatcher const running(this);
  auto& first = static_cast<Call&>(*batch.parts[0].slot);
  // Nobody can leave a call that runs on its caller's thread, and a submitted call has its input with it.
  if (batch.parts.size() == 1 && (batch.on_caller || first.completion != nullptr))
    return call_function({first.input, 1}, {&first.output, 1});
  try {
    return execute_gathered(batch, instances_[batch.instance]);
  } catch (std::exception const& exception) {
    return fail(Code::internal, Reason::backend_failure, "batcher: copying failed: {}", exception.what());
  } catch (...) {
    return fail(Code::internal, Reason::backend_failure, "batcher: copying threw something unknown");
  }
}

/// Copies the inputs of those who have not left, so that these may leave while the function runs.
template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
Result<void> Batcher<In, Out, Env>::execute_gathered(batching::Batch const& batch, Instance& instance) {
  instance.inputs.clear();
  instance.calls.clear();
  for (batching::Part const& part : batch.parts) {
    auto& call = static_cast<Call&>(*part.slot);
    struct Reading {
      Call& call;
      bool const allowed;
      explicit Reading(Call& of) : call(of), allowed((of.word.fetch_or(Call::reading) & Call::left) == 0) {}
      ~Reading() {
        if ((call.word.fetch_and(~Call::reading) & (Call::left | Call::parked)) != 0) call.word.wake_all();
      }
    } const reading(call);
    if (!reading.allowed) continue;
    instance.calls.push_back(&call);
    instance.inputs.push_back(*call.input);
  }
  if (instance.calls.empty()) return {};
  if (instance.outputs.size() < instance.calls.size()) instance.outputs.resize(instance.calls.size());
  std::span<Out> const outputs(instance.outputs.data(), instance.calls.size());
  auto result = call_function(instance.inputs, outputs);
  if (!result) return result;
  for (std::size_t i = 0; i < outputs.size(); ++i) instance.calls[i]->output = std::move(outputs[i]);
  return {};
}

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
Result<void> Batcher<In, Out, Env>::call_function(std::span<In const> inputs,
                                                  std::span<Out> outputs) noexcept {
  try {
    for (Out& output : outputs) output = Out{};  // nobody sees what another caller got
    return function_->call(inputs, outputs);
  } catch (std::exception const& exception) {
    return fail(Code::internal, Reason::backend_failure, "batcher: the function threw: {}", exception.what());
  } catch (...) {
    return fail(Code::internal, Reason::backend_failure, "batcher: the function threw something unknown");
  }
}

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
void Batcher<In, Out, Env>::finish(batching::Slot& slot, Error const* error) noexcept {
  auto& call = static_cast<Call&>(slot);
  if (call.completion != nullptr) {
    detail::RunningBatcher const running(this);  // a completion cannot wait for the batcher either
    if (error != nullptr) {
      call.completion(call.context, tl::unexpected(std::move(call.error)));
    } else {
      call.completion(call.context, std::move(call.output));
    }
  } else if ((call.word.fetch_or(Call::done) & Call::parked) != 0) {
    call.word.wake_all();
  }
  drop(call);
}

}  // namespace athanor::inline v1
