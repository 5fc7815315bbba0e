#pragma once

#include <algorithm>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <athanor/batching/batcher.hpp>
#include <athanor/core/detail/inside.hpp>
#include <athanor/core/detail/noexcept_error.hpp>
#include <athanor/core/detail/park.hpp>
#include <athanor/core/detail/validated.hpp>

namespace athanor::inline v1 {

namespace detail {

inline constexpr std::uint32_t batcher_stops = 1U << 31;

}  // namespace detail

/// What a Batcher holds, at a place that stays when the Batcher is moved.
template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
class Batcher<In, Out, Env>::State {
 public:
  /// The function, whatever its type.
  struct Function {
    virtual ~Function() = default;
    virtual Result<void> call(std::span<In const> inputs, std::span<Out> outputs) = 0;
  };
  template <class F>
  struct FunctionOf;

  State(detail::Validated, BatcherOptions const& options, std::unique_ptr<Function> function);
  ~State();
  State(State const&) = delete;
  State& operator=(State const&) = delete;

  Result<Out> run(In const& input, Duration timeout);
  Result<void> submit(In input, Completion completion, void* context);
  batching::LaneSnapshot snapshot() const noexcept { return lane_.snapshot(); }

 private:
  struct Call;
  /// A caller's own share of its call, dropped at the end of the scope.
  struct Share {
    State& state;
    Call& call;
    ~Share() { state.drop(call); }
  };
  struct Instance {
    std::vector<In> inputs;
    std::unique_ptr<Out[]> outputs;
    std::size_t capacity = 0;  // of outputs
    std::vector<Call*> calls;
  };
  /// The lane's client, kept apart so that its functions are no part of the face.
  struct Client {
    State& state;
    bool wanted(batching::Slot& slot) noexcept;
    Result<void> begin(batching::Batch const&) noexcept { return {}; }
    Result<void> execute(batching::Batch const& batch) noexcept { return state.execute(batch); }
    void end(batching::Batch const&, batching::Verdict, TimePoint) noexcept {}
    void finish(batching::Slot& slot, Error const* error, TimePoint) noexcept { state.finish(slot, error); }
  };
  Result<Call*> take_call();
  void drop(Call& call) noexcept;
  void release_held() noexcept;
  Result<void> execute(batching::Batch const& batch) noexcept;
  Result<void> execute_gathered(batching::Batch const& batch, Instance& instance);
  Result<void> call_function(std::span<In const> inputs, std::span<Out> outputs) noexcept;
  void finish(batching::Slot& slot, Error const* error) noexcept;
  void complete(Call& call) noexcept;
  static void on_task(Task& task) noexcept;
  Result<Out> wait(Call& call, TimePoint deadline);
  void withdraw_call(Call& call) noexcept;

  std::unique_ptr<Function> function_;
  std::uint64_t const forks_ = Env::forks();
  std::uint32_t const max_held_;
  typename Env::Mutex calls_mutex_;
  std::vector<std::unique_ptr<Call>> calls_ ATH_GUARDED_BY(calls_mutex_);
  Call* free_ ATH_GUARDED_BY(calls_mutex_) = nullptr;
  typename Env::Word held_;  // calls out; the highest bit: the destructor has begun
  std::vector<Instance> instances_;
  Client client_{*this};
  typename Env::Executor executor_;
  batching::Lane<Env, batching::SizeOrDelay, Client> lane_;
};

/// Shared by a caller and the lane, which may let go in any order: a caller whose deadline passes leaves a
/// running call.
template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
struct Batcher<In, Out, Env>::State::Call : batching::Slot, Task {
  // Bits of `word`.
  static constexpr std::uint32_t reading = 1;   // the input is being copied: its owner may not go
  static constexpr std::uint32_t done = 2;      // the answer is there
  static constexpr std::uint32_t left = 4;      // the caller has gone, and its input with it
  static constexpr std::uint32_t parked = 8;    // the caller sleeps on the word
  static constexpr std::uint32_t refused = 16;  // `submit` is to return the error

  State* state = nullptr;
  In const* input = nullptr;  // the caller's, or `kept`
  std::optional<In> kept;     // of submit
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
struct Batcher<In, Out, Env>::State::FunctionOf final : Function {
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
Batcher<In, Out, Env>::State::State(detail::Validated, BatcherOptions const& options,
                                    std::unique_ptr<Function> function)
    : function_(std::move(function)),
      max_held_(options.max_held),
      instances_(options.instances),
      executor_(options.instances),
      lane_({.instances = options.instances,
             .max_items = options.max_items,
             .caller_runs = options.caller_runs},
            batching::SizeOrDelay{options.max_items, options.max_delay}, client_, executor_) {}

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
Batcher<In, Out, Env>::State::~State() {
  if (Env::forks() != forks_) return;  // those who would end the calls are not in this process
  held_.fetch_or(detail::batcher_stops);
  lane_.refuse_all(make_error(Code::unavailable, Reason::stopping, "the batcher is stopping"));
  for (std::uint32_t held = held_.load(); held != detail::batcher_stops; held = held_.load())
    held_.wait_until(held, no_deadline);
  executor_.stop(no_deadline);
}

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
auto Batcher<In, Out, Env>::State::take_call() -> Result<Call*> {
  std::uint32_t held = held_.load();
  do {
    if ((held & detail::batcher_stops) != 0)
      return fail(Code::unavailable, Reason::stopping, "the batcher is stopping");
    if (held >= max_held_)
      return fail(Code::resource_exhausted, Reason::queue_full,
                  "batcher: expected at most {} calls at once, got one more", max_held_);
  } while (!held_.compare_exchange(held, held + 1));
  Call* call = nullptr;
  try {
    detail::Lock const lock(calls_mutex_);
    if (free_ == nullptr) {
      calls_.push_back(std::make_unique<Call>());
      free_ = calls_.back().get();
      free_->state = this;
      free_->run = &State::on_task;
    }
    call = std::exchange(free_, free_->next_free);
  } catch (std::bad_alloc const&) {
    release_held();
    return fail(Code::resource_exhausted, Reason::out_of_memory, "batcher: no memory for another call");
  } catch (...) {
    release_held();
    return tl::unexpected(
        detail::caught(Code::internal, Reason::backend_failure, "batcher: an output cannot be made"));
  }
  call->next_free = nullptr;
  call->word.store(0);
  return call;
}

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
void Batcher<In, Out, Env>::State::release_held() noexcept {
  std::uint32_t held = held_.load();
  while (!held_.compare_exchange(held, held - 1)) {
  }
  if (held - 1 == detail::batcher_stops) held_.wake_all();
}

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
void Batcher<In, Out, Env>::State::drop(Call& call) noexcept {
  if (call.owners.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  call.kept.reset();
  if constexpr (std::is_nothrow_default_constructible_v<Out> && std::is_nothrow_move_assignable_v<Out>)
    call.output = Out{};
  {
    detail::Lock const lock(calls_mutex_);
    call.next_free = std::exchange(free_, &call);
  }
  release_held();
}

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
Result<Out> Batcher<In, Out, Env>::State::run(In const& input, Duration timeout) {
  if (Inside<State, Env>::holds(this))
    return fail(Code::failed_precondition, Reason::reentrant,
                "batcher: a blocking call inside the batcher's own function or completion might never end");
  TimePoint const deadline = timeout == Duration::max() ? no_deadline : after(Env::now(), timeout);
  auto made = take_call();
  if (!made) return tl::unexpected(std::move(made.error()));
  Call& call = **made;
  call.input = &input;
  call.completion = nullptr;
  call.batch_deadline = deadline;
  call.owners.store(2, std::memory_order_relaxed);
  lane_.enter(call, batching::LendThread::yes);
  Share const share{*this, call};
  return wait(call, deadline);
}

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
Result<Out> Batcher<In, Out, Env>::State::wait(Call& call, TimePoint deadline) {
  constexpr auto done = [](std::uint32_t word) { return (word & Call::done) != 0; };
  // The thread that answers wakes only a caller that has marked itself as parked.
  bool const answered = done(call.word.load()) || done(call.word.fetch_or(Call::parked)) ||
                        detail::park_until(call.word, done, deadline, [] { return true; });
  if (answered) {
    if (call.batch_failed) return tl::unexpected(std::move(call.batch_error));
    return std::move(call.output);
  }
  if (lane_.withdraw(call)) {
    drop(call);
    return fail(Code::deadline_exceeded, Reason::deadline_waiting,
                "batcher: the deadline passed while the call waited");
  }
  withdraw_call(call);
  return fail(Code::deadline_exceeded, Reason::deadline_running,
              "batcher: the deadline passed while the call ran");
}

/// On return the lane no longer reads the input; a copy in progress is waited for.
template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
void Batcher<In, Out, Env>::State::withdraw_call(Call& call) noexcept {
  std::uint32_t word = call.word.fetch_or(Call::left) | Call::left;
  while ((word & Call::reading) != 0) {
    call.word.wait_until(word, no_deadline);
    word = call.word.load();
  }
}

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
Result<void> Batcher<In, Out, Env>::State::submit(In input, Completion completion, void* context) {
  if (completion == nullptr)
    return fail(Code::invalid_argument, Reason::option, "batcher: submit: expected a completion, got null");
  auto made = take_call();
  if (!made) return tl::unexpected(std::move(made.error()));
  Call& call = **made;
  Share const share{*this, call};
  call.owners.store(1, std::memory_order_relaxed);
  call.kept.emplace(std::move(input));
  call.input = &*call.kept;
  call.completion = completion;
  call.context = context;
  call.batch_deadline = no_deadline;
  call.owners.store(2, std::memory_order_relaxed);
  {
    Inside<Call, Env> const submitted(&call);
    lane_.enter(call, batching::LendThread::no);
  }
  if ((call.word.load() & Call::refused) != 0) return tl::unexpected(std::move(call.batch_error));
  return {};
}

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
bool Batcher<In, Out, Env>::State::Client::wanted(batching::Slot& slot) noexcept {
  return (static_cast<Call&>(slot).word.load() & Call::left) == 0;
}

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
Result<void> Batcher<In, Out, Env>::State::execute(batching::Batch const& batch) noexcept {
  Inside<State, Env> const running(this);
  auto& first = static_cast<Call&>(*batch.parts[0].slot);
  // A caller cannot leave a call that runs on its own thread, and a submitted call has its input with it.
  if (batch.parts.size() == 1 && (batch.on_caller || first.completion != nullptr))
    return call_function({first.input, 1}, {&first.output, 1});
  try {
    return execute_gathered(batch, instances_[batch.instance]);
  } catch (...) {
    return tl::unexpected(detail::caught(Code::internal, Reason::backend_failure, "batcher: copying failed"));
  }
}

/// Copies the inputs of the callers that still wait, so that they may return while the function runs.
template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
Result<void> Batcher<In, Out, Env>::State::execute_gathered(batching::Batch const& batch,
                                                            Instance& instance) {
  struct Inputs {
    std::vector<In>& all;
    ~Inputs() { all.clear(); }  // nothing of a caller's stays behind
  } const inputs{instance.inputs};
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
  if (instance.capacity < instance.calls.size()) {
    std::size_t const capacity = std::max(instance.calls.size(), 2 * instance.capacity);
    instance.outputs = std::make_unique<Out[]>(capacity);
    instance.capacity = capacity;
  }
  std::span<Out> const outputs(instance.outputs.get(), instance.calls.size());
  auto result = call_function(instance.inputs, outputs);
  if (!result) return result;
  for (std::size_t i = 0; i < outputs.size(); ++i) instance.calls[i]->output = std::move(outputs[i]);
  return {};
}

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
Result<void> Batcher<In, Out, Env>::State::call_function(std::span<In const> inputs,
                                                         std::span<Out> outputs) noexcept {
  try {
    for (Out& output : outputs) output = Out{};  // no caller sees the output of another
    return function_->call(inputs, outputs);
  } catch (...) {
    return tl::unexpected(
        detail::caught(Code::internal, Reason::backend_failure, "batcher: the function threw"));
  }
}

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
void Batcher<In, Out, Env>::State::finish(batching::Slot& slot, Error const* error) noexcept {
  auto& call = static_cast<Call&>(slot);
  if (error != nullptr && Inside<Call, Env>::holds(&call)) {
    call.word.fetch_or(Call::refused);
  } else if (call.completion != nullptr) {
    // While the destructor waits, the workers may wait for this very completion.
    bool const stops = (held_.load() & detail::batcher_stops) != 0;
    if (!executor_.defer(call) && (stops || !executor_.post(call))) complete(call);
    return;
  } else if ((call.word.fetch_or(Call::done) & Call::parked) != 0) {
    call.word.wake_all();
  }
  drop(call);
}

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
void Batcher<In, Out, Env>::State::on_task(Task& task) noexcept {
  auto& call = static_cast<Call&>(task);
  call.state->complete(call);
}

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
void Batcher<In, Out, Env>::State::complete(Call& call) noexcept {
  {
    Inside<State, Env> const running(this);  // a completion cannot wait for the batcher either
    if (call.batch_failed) {
      call.completion(call.context, tl::unexpected(std::move(call.batch_error)));
    } else {
      call.completion(call.context, std::move(call.output));
    }
  }
  drop(call);
}

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
template <class F>
Result<Batcher<In, Out, Env>> Batcher<In, Out, Env>::create(BatcherOptions const& options, F function) {
  static_assert(batching::BatchFunction<F, In, Out>,
                "a Batcher's function takes (std::span<In const>, std::span<Out>) and returns void or "
                "Result<void>");
  if (auto valid = batching::validate(options); !valid) return tl::unexpected(std::move(valid.error()));
  if constexpr (std::is_pointer_v<F> || requires { function.operator bool(); }) {
    if (!function)
      return fail(Code::invalid_argument, Reason::option,
                  "batching: function: expected a function, got an empty one");
  }
  auto erased = std::make_unique<typename State::template FunctionOf<F>>(std::move(function));
  return Batcher(std::make_unique<State>(detail::Validated{}, options, std::move(erased)));
}

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
Result<Out> Batcher<In, Out, Env>::run(In const& input, Duration timeout) {
  return state_->run(input, timeout);
}

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
Result<void> Batcher<In, Out, Env>::submit(In input, Completion completion, void* context) {
  return state_->submit(std::move(input), completion, context);
}

template <std::copyable In, std::default_initializable Out, Environment Env>
  requires std::movable<Out>
batching::LaneSnapshot Batcher<In, Out, Env>::snapshot() const noexcept {
  return state_->snapshot();
}

}  // namespace athanor::inline v1
