/// Says in one sentence each which duties a type lacks that wants to be a Backend or a Processor.
/// `make_table` calls these for a type that its concepts refuse; an author may ask earlier:
/// `static_assert(athanor::check_backend<Mine>());`.
#pragma once

#include <athanor/core/backend.hpp>

namespace athanor::inline v1 {

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

template <class F>
consteval bool check_processor() {
  static_assert(
      requires {
        { F::name } -> std::convertible_to<char const*>;
      }, "a Processor has `static constexpr char const* name`: how manifests name it");
  static_assert(
      requires {
        { F::output_names.data() } -> std::convertible_to<char const* const*>;
      }, "a Processor has `output_names`, an array of names in the order of the tensors that prepare makes");
  static_assert(
      requires {
        { F::output_dtypes.data() } -> std::convertible_to<std::int32_t const*>;
      }, "a Processor has `output_dtypes`, an array as long as output_names");
  static_assert(
      requires { typename F::Opened; }, "a Processor names its `Opened` type");
  if constexpr (requires { typename F::Opened; }) {
    static_assert(
        requires(F& processor, std::string_view text) {
          { processor.open(text, text) } -> std::same_as<Result<std::unique_ptr<typename F::Opened>>>;
        }, "a Processor has `open(folder, options)` that returns Result<std::unique_ptr<Opened>>");
    static_assert(
        requires(typename F::Opened& opened, Tensor const& item) {
          { opened.prepare(item) } -> std::same_as<Result<Preprocessed>>;
        }, "an Opened has `prepare(Tensor const&)` that returns Result<Preprocessed>");
  }
  return Processor<F>;
}

/// A type that is neither: the sentences above say what it lacks.
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
