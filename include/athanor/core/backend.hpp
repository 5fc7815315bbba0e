/// The Backend and Processor concepts, and the C tables made from them.
///
/// A Backend executes models. Duties, beyond the syntax that the concept checks:
///
/// | expression | returns | duty |
/// |---|---|---|
/// | `B::name` | string literal | the backend's name in manifests |
/// | `B::runs_on` | `RunsOn` | `own_worker` if a run could leave the state of a caller's thread changed |
/// | `b.load(source)` | `Result<std::unique_ptr<Model>>` | reads and checks the file; any thread; never blocks another model |
/// | `m.footprint()` | bytes | measured, not guessed; constant for the life of the model |
/// | `m.make_instance()` | `Result<std::unique_ptr<Instance>>` | any thread |
/// | `i.clear_slot(slot)` | | only where an instance holds state between runs: empties a slot, before another sequence uses it; `batch.slots` names the slot of each item of a run, and none twice. `source.slot_count` says how many there are; their memory is part of `footprint()`. Never called concurrently with `run`; noexcept |
/// | `i.run(batch)` | `Result<void>` | fills every output with `items` rows in memory of the instance, valid until its next run; never called concurrently on one instance; must not read inputs after it returns |
///
/// A Processor turns one item of a request into model inputs, the model's results for the item into answers,
/// or both:
///
/// | expression | returns | duty |
/// |---|---|---|
/// | `P::name` | string literal | the processor's name in manifests |
/// | `p.open(folder, options_json)` | `Result<std::unique_ptr<Opened>>` | reads the files that it needs from the model's folder; rejects an unknown option with an error that names it |
/// | `o.made()` | `std::span<Port const>` | the tensors that preprocess makes, in order; constant for the life of `o` |
/// | `o.preprocess(item)` | `Result<Preprocessed>` | called concurrently from many threads; keeps no state that grows with use; its result must not point into the item |
/// | `o.outputs()` | `std::span<Port const>` | the tensors that postprocess makes, in order; constant for the life of `o` |
/// | `o.postprocess(item, kept, rows)` | `Result<std::vector<Tensor>>` | as preprocess; `kept` is what preprocess kept for the item, or null; `rows` are the model's results for the item, one row of each tensor, valid during the call |
///
/// One of the two pairs, `made` with `preprocess` or `outputs` with `postprocess`, may be absent.
///
/// The table catches exceptions and turns them into `internal` / `backend_failure` errors, except those of
/// `footprint` and of destructors, which must not throw: they would terminate the process.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <athanor/plugin.h>
#include <athanor/core/detail/noexcept_error.hpp>
#include <athanor/core/error.hpp>
#include <athanor/core/tensor.hpp>

namespace athanor::inline v1 {

/// The maximum number of inputs, and of outputs, of a signature.
inline constexpr std::size_t max_tensors = ATH_MAX_TENSORS;

/// Which threads a backend may run on.
enum class RunsOn : std::int32_t { any_thread = ATH_RUNS_ON_ANY_THREAD, own_worker = ATH_RUNS_ON_OWN_WORKER };

/// A tensor as the tables pass it: borrowed memory, plain fields.
using TensorView = ath_tensor;

/// `tensor` as the tables pass it. Valid while the tensor's bytes are.
TensorView to_view(Tensor const& tensor) noexcept;
/// A borrowed Tensor over `view`'s memory. Precondition: `view` is one whole tensor, of at most eight
/// dimensions.
Tensor from_view(TensorView const& view) noexcept;

/// Writes `error` into `failure`, truncating a message that does not fit. Returns the code that was written,
/// never `ok`.
std::int32_t put_failure(ath_failure& failure, Error const& error) noexcept;
/// The Error that `failure` describes, with a default message if it has none. An unknown code or reason
/// becomes internal / backend_contract.
Error take_failure(std::int32_t code, ath_failure const& failure);

/// The argument of a backend's `load`.
using ModelSource = ath_model_source;

/// Whether no caller waits for anything of the batch any more: all have cancelled, or their deadlines have
/// passed. What a run returns after that is discarded, and is not counted as a failure. May be called on any
/// thread until the run has returned; costs about one reading of the clock per call of the batch. False while
/// the model is loaded.
inline bool is_cancelled(ath_batch const& batch) noexcept {
  return batch.is_cancelled != nullptr && batch.is_cancelled(batch.work) != 0;
}

/// What executes batches: the Instance of the table above.
template <class I>
concept BackendInstance = requires(I& instance, ath_batch& batch) {
  { instance.run(batch) } -> std::same_as<Result<void>>;
};

/// An instance that keeps state between runs, by slot.
template <class I>
concept HoldingInstance = BackendInstance<I> && requires(I& instance, std::uint64_t slot) {
  { instance.clear_slot(slot) } noexcept -> std::same_as<void>;
};

/// A loaded file: the Model of the table above.
template <class M>
concept BackendModel = requires(M& model) {
  typename M::Instance;
  { model.footprint() } -> std::convertible_to<std::uint64_t>;
  { model.make_instance() } -> std::same_as<Result<std::unique_ptr<typename M::Instance>>>;
} && BackendInstance<typename M::Instance>;

/// See the head of this file.
template <class B>
concept Backend = requires(B& backend, ModelSource const& source) {
  typename B::Model;
  { B::name } -> std::convertible_to<char const*>;
  { B::runs_on } -> std::convertible_to<RunsOn>;
  { backend.load(source) } -> std::same_as<Result<std::unique_ptr<typename B::Model>>>;
} && BackendModel<typename B::Model>;

/// One tensor that a processor makes. The name outlives the opened processor.
struct Port {
  char const* name;
  DType dtype;
};

namespace detail {

/// The type number of ath_value for T.
template <class T>
consteval std::int32_t value_type_of() {
  if constexpr (std::is_same_v<T, bool>) return ATH_VALUE_BOOL;
  if constexpr (std::is_same_v<T, std::int64_t>) return ATH_VALUE_I64;
  if constexpr (std::is_same_v<T, double>) return ATH_VALUE_F64;
  if constexpr (std::is_same_v<T, std::string_view>) return ATH_VALUE_TEXT;
}
/// The parameter at `index`, if it has that type.
Result<ath_value const*> find_parameter(ath_item const& item, std::size_t index, std::int32_t type);

}  // namespace detail

/// One item of a request. Valid during one call of preprocess or postprocess.
class Item {
 public:
  explicit Item(ath_item const& raw) noexcept : raw_(&raw) {}

  /// How many inputs the processor reads.
  std::size_t input_count() const noexcept { return raw_->input_count; }
  /// The item's row of an input that the processor reads, in the manifest's order: axis 0 has length 1.
  /// Borrows the item's memory.
  Tensor input(std::size_t index) const noexcept { return from_view(raw_->inputs[index]); }
  /// How many parameters the manifest declares.
  std::size_t parameter_count() const noexcept { return raw_->parameter_count; }
  /// The value of a parameter, by its position in the manifest, as `bool`, `std::int64_t`, `double` or
  /// `std::string_view`. Borrows a text. Fails with failed_precondition / manifest if the manifest declares
  /// no parameter of that type there.
  template <class T>
  Result<T> parameter(std::size_t index) const {
    auto const value = detail::find_parameter(*raw_, index, detail::value_type_of<T>());
    if (!value) return tl::unexpected(value.error());
    if constexpr (std::is_same_v<T, bool>) return (*value)->integer != 0;
    if constexpr (std::is_same_v<T, std::int64_t>) return (*value)->integer;
    if constexpr (std::is_same_v<T, double>) return (*value)->real;
    if constexpr (std::is_same_v<T, std::string_view>)
      return std::string_view((*value)->text, (*value)->length);
  }
  /// Whether no caller waits for the item any more: all have cancelled, or their deadlines have passed. The
  /// result of the function is then discarded. May be called on any thread until the function has returned;
  /// costs about as much as reading the clock. False while the model is loaded.
  bool is_cancelled() const noexcept {
    return raw_->is_cancelled != nullptr && raw_->is_cancelled(raw_->call) != 0;
  }

 private:
  ath_item const* raw_;
};

/// The result of preprocess for one item: tensors that own their memory, in the order of `made()`; the item's
/// share of a batch's cost limit, at least 1; and what postprocess needs later, which is freed once, on any
/// thread, however the call ends.
struct Preprocessed {
  std::vector<Tensor> tensors;
  std::int64_t cost = 1;
  std::shared_ptr<void const> kept{};
};

/// An opened processor that makes model inputs.
template <class O>
concept Preprocessing = requires(O& opened, Item const& item) {
  { opened.made() } -> std::convertible_to<std::span<Port const>>;
  { opened.preprocess(item) } -> std::same_as<Result<Preprocessed>>;
};

/// An opened processor that makes answers.
template <class O>
concept Postprocessing =
    requires(O& opened, Item const& item, void const* kept, std::span<Tensor const> rows) {
      { opened.outputs() } -> std::convertible_to<std::span<Port const>>;
      { opened.postprocess(item, kept, rows) } -> std::same_as<Result<std::vector<Tensor>>>;
    };

/// See the head of this file.
template <class P>
concept Processor = requires(P& processor, std::string_view text) {
  { P::name } -> std::convertible_to<char const*>;
  { processor.open(text, text) } -> std::same_as<Result<std::unique_ptr<typename P::Opened>>>;
} && (Preprocessing<typename P::Opened> || Postprocessing<typename P::Opened>);

namespace detail {

/// Runs `body` behind the exception barrier of the tables.
template <class Body>
std::int32_t guard_table(ath_failure* failure, Body&& body) noexcept {
  try {
    Result<void> const result = body();
    return result ? 0 : put_failure(*failure, result.error());
  } catch (...) {
    return put_failure(*failure, caught(Code::internal, Reason::backend_failure, {}));
  }
}

/// The error for a function that reported success but returned a null pointer.
tl::unexpected<Error> gave_nothing(char const* name, char const* what);

}  // namespace detail

/// The C table of `backend`, which must outlive every use of the table.
template <Backend B>
ath_backend_table make_table(B& backend) noexcept {
  using Model = typename B::Model;
  using Instance = typename Model::Instance;
  ath_backend_table table{};
  table.struct_size = sizeof(ath_backend_table);
  table.context = &backend;
  table.name = B::name;
  table.runs_on = static_cast<std::int32_t>(B::runs_on);
  table.load = [](void* context, ath_model_source const* source, void** out, ath_failure* failure) noexcept {
    return detail::guard_table(failure, [&]() -> Result<void> {
      auto model = static_cast<B*>(context)->load(*source);
      if (!model) return tl::unexpected(std::move(model.error()));
      if (*model == nullptr) return detail::gave_nothing(B::name, "model");
      *out = model->release();
      return {};
    });
  };
  table.unload = [](void*, void* model) noexcept { delete static_cast<Model*>(model); };
  table.footprint = [](void*, void* model) noexcept -> std::uint64_t {
    return static_cast<Model*>(model)->footprint();
  };
  table.make_instance = [](void*, void* model, void** out, ath_failure* failure) noexcept {
    return detail::guard_table(failure, [&]() -> Result<void> {
      auto instance = static_cast<Model*>(model)->make_instance();
      if (!instance) return tl::unexpected(std::move(instance.error()));
      if (*instance == nullptr) return detail::gave_nothing(B::name, "instance");
      *out = instance->release();
      return {};
    });
  };
  table.destroy_instance = [](void*, void* instance) noexcept { delete static_cast<Instance*>(instance); };
  table.run = [](void*, void* instance, ath_batch* batch, ath_failure* failure) noexcept {
    return detail::guard_table(failure, [&] { return static_cast<Instance*>(instance)->run(*batch); });
  };
  if constexpr (HoldingInstance<Instance>)
    table.clear_slot = [](void*, void* instance, std::uint64_t slot) noexcept {
      static_cast<Instance*>(instance)->clear_slot(slot);
    };
  return table;
}

namespace detail {

/// Ports in the layout of the C tables.
struct PortLists {
  std::vector<char const*> names;
  std::vector<std::int32_t> dtypes;

  void add(std::span<Port const> ports) {
    for (Port const& port : ports) {
      names.push_back(port.name);
      dtypes.push_back(static_cast<std::int32_t>(port.dtype));
    }
  }
};

/// An opened processor with its ports.
template <class Opened>
struct OpenedTable {
  std::unique_ptr<Opened> opened;
  PortLists made;
  PortLists outputs;

  explicit OpenedTable(std::unique_ptr<Opened> from) : opened(std::move(from)) {
    if constexpr (Preprocessing<Opened>) made.add(opened->made());
    if constexpr (Postprocessing<Opened>) outputs.add(opened->outputs());
  }
  void describe(ath_ports& ports) const noexcept {
    ports.made_names = made.names.data();
    ports.made_dtypes = made.dtypes.data();
    ports.made_count = made.names.size();
    ports.output_names = outputs.names.data();
    ports.output_dtypes = outputs.dtypes.data();
    ports.output_count = outputs.names.size();
  }
};

/// Owns the tensors that a half made, and what preprocess kept, until the table's `release`.
struct MadeTensors {
  Preprocessed made;
  std::vector<TensorView> views;

  explicit MadeTensors(Preprocessed from) : made(std::move(from)) {
    for (Tensor const& tensor : made.tensors) views.push_back(to_view(tensor));
  }
  static void const* kept(void const* owner) noexcept {
    return owner == nullptr ? nullptr : static_cast<MadeTensors const*>(owner)->made.kept.get();
  }
  static void hand_out(std::unique_ptr<MadeTensors> owner, ath_made& out) noexcept {
    out.tensors = owner->views.data();
    out.tensor_count = owner->views.size();
    out.cost = owner->made.cost;
    out.release = [](void* released) { delete static_cast<MadeTensors*>(released); };
    out.owner = owner.release();
  }
};

}  // namespace detail

/// The C table of a processor, which must outlive every use of the table.
template <Processor P>
ath_processor_table make_table(P& processor) noexcept {
  using Opened = detail::OpenedTable<typename P::Opened>;
  ath_processor_table table{};
  table.struct_size = sizeof(ath_processor_table);
  table.context = &processor;
  table.name = P::name;
  table.runs_on = ATH_RUNS_ON_ANY_THREAD;
  table.open = [](void* context, char const* folder, char const* options, void** out, ath_ports* ports,
                  ath_failure* failure) noexcept {
    return detail::guard_table(failure, [&]() -> Result<void> {
      auto opened = static_cast<P*>(context)->open(folder, options);
      if (!opened) return tl::unexpected(std::move(opened.error()));
      if (*opened == nullptr) return detail::gave_nothing(P::name, "processor");
      auto owner = std::make_unique<Opened>(std::move(*opened));
      owner->describe(*ports);
      *out = owner.release();
      return {};
    });
  };
  table.close = [](void*, void* opened) noexcept { delete static_cast<Opened*>(opened); };
  if constexpr (Preprocessing<typename P::Opened>)
    table.preprocess = [](void*, void* opened, ath_item const* item, ath_made* out,
                          ath_failure* failure) noexcept {
      return detail::guard_table(failure, [&]() -> Result<void> {
        auto made = static_cast<Opened*>(opened)->opened->preprocess(Item(*item));
        if (!made) return tl::unexpected(std::move(made.error()));
        detail::MadeTensors::hand_out(std::make_unique<detail::MadeTensors>(std::move(*made)), *out);
        return {};
      });
    };
  if constexpr (Postprocessing<typename P::Opened>)
    table.postprocess = [](void*, void* opened, ath_item const* item, void* state, ath_tensor const* rows,
                           std::size_t row_count, ath_made* out, ath_failure* failure) noexcept {
      return detail::guard_table(failure, [&]() -> Result<void> {
        std::vector<Tensor> given;
        for (std::size_t i = 0; i < row_count; ++i) given.push_back(from_view(rows[i]));
        auto made = static_cast<Opened*>(opened)->opened->postprocess(
            Item(*item), detail::MadeTensors::kept(state), std::span<Tensor const>(given));
        if (!made) return tl::unexpected(std::move(made.error()));
        detail::MadeTensors::hand_out(
            std::make_unique<detail::MadeTensors>(Preprocessed{std::move(*made), 1, {}}), *out);
        return {};
      });
    };
  return table;
}

}  // namespace athanor::inline v1

#include <athanor/core/duties.hpp>
