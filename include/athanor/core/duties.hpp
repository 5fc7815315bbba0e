/// Compile-time checks that report, one sentence each, the requirements that a Backend, a Processor or an
/// Environment does not meet. `make_table` runs them for a type that its concepts reject; authors can run
/// them earlier: `static_assert(athanor::check_backend<Mine>());`.
#pragma once

#include <athanor/core/backend.hpp>
#include <athanor/core/env.hpp>

namespace athanor::inline v1 {

/// Returns true; does not compile unless I meets the requirements of a Backend's Instance.
template <class I>
consteval bool check_backend_instance() {
  static_assert(
      requires(I& instance, ath_batch& batch) { instance.run(batch); },
      "an Instance has `run(ath_batch&)`: it executes one batch");
  if constexpr (requires(I& instance, ath_batch& batch) { instance.run(batch); }) {
    static_assert(BackendInstance<I>, "an Instance's `run(ath_batch&)` returns Result<void>");
  }
  return BackendInstance<I>;
}

/// Returns true; does not compile unless M meets the requirements of a Backend's Model.
template <class M>
consteval bool check_backend_model() {
  static_assert(
      requires(M& model) {
        { model.footprint() } -> std::convertible_to<std::uint64_t>;
      }, "a Model has `footprint()`: its measured bytes");
  static_assert(
      requires { typename M::Instance; }, "a Model names its `Instance` type");
  if constexpr (requires { typename M::Instance; }) {
    static_assert(
        requires(M& model) {
          { model.make_instance() } -> std::same_as<Result<std::unique_ptr<typename M::Instance>>>;
        }, "a Model has `make_instance()` that returns Result<std::unique_ptr<Instance>>");
    return check_backend_instance<typename M::Instance>();
  }
  return BackendModel<M>;
}

/// Returns true; does not compile unless B meets the requirements of a Backend.
template <class B>
consteval bool check_backend() {
  static_assert(
      requires {
        { B::name } -> std::convertible_to<char const*>;
      }, "a Backend has `static constexpr char const* name`: how manifests name it");
  static_assert(
      requires {
        { B::runs_on } -> std::convertible_to<RunsOn>;
      }, "a Backend has `static constexpr RunsOn runs_on`: whether it may run on a caller's thread");
  static_assert(
      requires { typename B::Model; }, "a Backend names its `Model` type");
  if constexpr (requires { typename B::Model; }) {
    static_assert(
        requires(B& backend, ModelSource const& source) {
          { backend.load(source) } -> std::same_as<Result<std::unique_ptr<typename B::Model>>>;
        }, "a Backend has `load(ModelSource const&)` that returns Result<std::unique_ptr<Model>>");
    return check_backend_model<typename B::Model>();
  }
  return Backend<B>;
}

/// Returns true; does not compile unless P meets the requirements of a Processor.
template <class P>
consteval bool check_processor() {
  static_assert(
      requires {
        { P::name } -> std::convertible_to<char const*>;
      }, "a Processor has `static constexpr char const* name`: how manifests name it");
  static_assert(
      requires { typename P::Opened; }, "a Processor names its `Opened` type");
  if constexpr (requires { typename P::Opened; }) {
    static_assert(
        requires(P& processor, std::string_view text) {
          { processor.open(text, text) } -> std::same_as<Result<std::unique_ptr<typename P::Opened>>>;
        }, "a Processor has `open(folder, options)` that returns Result<std::unique_ptr<Opened>>");
    if constexpr (!Postprocessing<typename P::Opened>) {
      static_assert(
          requires(typename P::Opened& opened) {
            { opened.made() } -> std::convertible_to<std::span<Port const>>;
          }, "an Opened has `made()`, the ports of the tensors that preprocess makes");
      static_assert(
          requires(typename P::Opened& opened, Item const& item) {
            { opened.preprocess(item) } -> std::same_as<Result<Preprocessed>>;
          }, "an Opened has `preprocess(Item const&)` that returns Result<Preprocessed>");
    }
  }
  return Processor<P>;
}

/// Returns true; does not compile unless W meets the requirements of an Environment's Word.
template <class W>
consteval bool check_environment_word() {
  static_assert(std::default_initializable<W>, "a Word is made without arguments, and holds 0");
  static_assert(
      requires(W const& word) {
        { word.load() } -> std::same_as<std::uint32_t>;
      }, "a Word has `std::uint32_t load() const`");
  static_assert(
      requires(W& word, std::uint32_t value) { word.store(value); }, "a Word has `store(std::uint32_t)`");
  static_assert(
      requires(W& word, std::uint32_t value) {
        { word.exchange(value) } -> std::same_as<std::uint32_t>;
      }, "a Word has `std::uint32_t exchange(std::uint32_t)`");
  static_assert(
      requires(W& word, std::uint32_t value) {
        { word.fetch_or(value) } -> std::same_as<std::uint32_t>;
      }, "a Word has `std::uint32_t fetch_or(std::uint32_t)`");
  static_assert(
      requires(W& word, std::uint32_t value) {
        { word.fetch_and(value) } -> std::same_as<std::uint32_t>;
      }, "a Word has `std::uint32_t fetch_and(std::uint32_t)`");
  static_assert(
      requires(W& word, std::uint32_t& old, std::uint32_t value) {
        { word.compare_exchange(old, value) } -> std::same_as<bool>;
      }, "a Word has `bool compare_exchange(std::uint32_t& expected, std::uint32_t desired)`");
  static_assert(
      requires(W& word, std::uint32_t value, TimePoint at) {
        { word.wait_until(value, at) } -> std::same_as<bool>;
      }, "a Word has `bool wait_until(std::uint32_t expected, TimePoint)`: false if the time has passed");
  static_assert(
      requires(W& word) { word.wake_all(); }, "a Word has `wake_all()`");
  return detail::Word<W>;
}

/// Returns true; does not compile unless X meets the requirements of an Environment's Executor.
template <class X>
consteval bool check_environment_executor() {
  static_assert(std::constructible_from<X, std::size_t> && std::constructible_from<X, std::size_t, Duration>,
                "an Executor is made from the number of its threads, and how long they linger");
  static_assert(
      requires(X& executor, std::weak_ptr<void> owner) { executor.keep_alive_with(owner); },
      "an Executor has `keep_alive_with(std::weak_ptr<void>)`");
  static_assert(
      requires(X& executor, Task& task) {
        { executor.post(task) } -> std::same_as<bool>;
      }, "an Executor has `bool post(Task&)`: false if no thread will run it");
  static_assert(
      requires(X& executor, Task& task) {
        { executor.post_if_idle(task) } -> std::same_as<bool>;
      }, "an Executor has `bool post_if_idle(Task&)`: false unless it would begin at once");
  static_assert(
      requires(X& executor, Task& task) {
        { executor.defer(task) } -> std::same_as<bool>;
      }, "an Executor has `bool defer(Task&)`: post, for what this worker runs next");
  static_assert(
      requires(X const& executor) {
        { executor.idle() } -> std::same_as<bool>;
      }, "an Executor has `bool idle() const`: whether a task would begin at once");
  static_assert(
      requires {
        { X::on_timer_thread() } -> std::same_as<bool>;
      }, "an Executor has `static bool on_timer_thread()`: true where timers are fired");
  static_assert(
      requires(X& executor, Timer& timer, TimePoint at) {
        { executor.arm(timer, at) } -> std::same_as<bool>;
      }, "an Executor has `bool arm(Timer&, TimePoint)`: false if it will not fire");
  static_assert(
      requires(X& executor, Timer& timer) {
        { executor.disarm(timer) } -> std::same_as<bool>;
      }, "an Executor has `bool disarm(Timer&)`: true if the timer will not fire");
  static_assert(
      requires(X& executor, Timer& timer) {
        { executor.suspend(timer) } -> std::same_as<bool>;
      }, "an Executor has `bool suspend(Timer&)`: disarm, for a timer that is armed again soon");
  static_assert(
      requires(X& executor, TimePoint at) {
        { executor.stop(at) } -> std::same_as<std::size_t>;
      }, "an Executor has `std::size_t stop(TimePoint)`: the number of threads it abandoned");
  return detail::Executor<X>;
}

/// Returns true; does not compile unless E meets the requirements of an Environment.
template <class E>
consteval bool check_environment() {
  static_assert(
      requires {
        { E::now() } -> std::same_as<TimePoint>;
      }, "an Environment has `static TimePoint now()`: monotonic time");
  static_assert(
      requires {
        { E::random() } -> std::same_as<std::uint64_t>;
      }, "an Environment has `static std::uint64_t random()`: 64 random bits");
  static_assert(
      requires {
        { E::forks() } -> std::same_as<std::uint64_t>;
      }, "an Environment has `static std::uint64_t forks()`: forks of this process");
  static_assert(
      requires {
        { E::thread_number() } -> std::same_as<std::size_t>;
      }, "an Environment has `static std::size_t thread_number()`: small, and rarely shared by two threads");
  static_assert(
      requires { E::relax(); }, "an Environment has `static void relax()`: one pause of a spin loop");
  static_assert(
      requires { typename std::bool_constant<E::simulated>; },
      "an Environment has `static constexpr bool simulated`: whether only parking lets others run");
  static_assert(
      requires { typename E::template Atomic<std::uint64_t>; },
      "an Environment names its `Atomic<T>` template");
  if constexpr (requires { typename E::template Atomic<std::uint64_t>; })
    static_assert(detail::AtomicInteger<typename E::template Atomic<std::uint64_t>, std::uint64_t> &&
                      detail::AtomicOf<typename E::template Atomic<void*>, void*>,
                  "an Environment's `Atomic<T>` has the interface of std::atomic<T>");
  static_assert(
      requires { typename E::Mutex; }, "an Environment names its `Mutex` type");
  if constexpr (requires { typename E::Mutex; })
    static_assert(detail::Mutex<typename E::Mutex>, "a Mutex has `lock()`, `bool try_lock()` and `unlock()`");
  static_assert(
      requires { typename E::Word; }, "an Environment names its `Word` type");
  if constexpr (requires { typename E::Word; }) static_cast<void>(check_environment_word<typename E::Word>());
  static_assert(
      requires { typename E::Executor; }, "an Environment names its `Executor` type");
  if constexpr (requires { typename E::Executor; })
    static_cast<void>(check_environment_executor<typename E::Executor>());
  return Environment<E>;
}

/// For a type that is neither: does not compile, and reports what the type lacks.
template <class T>
  requires(!Backend<T> && !Processor<T>)
void make_table(T&) {
  if constexpr (requires { typename T::Opened; }) {
    static_cast<void>(check_processor<T>());
  } else {
    static_cast<void>(check_backend<T>());
  }
}

}  // namespace athanor::inline v1
