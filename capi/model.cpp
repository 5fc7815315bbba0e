#include <algorithm>

#include "guard.hpp"
#include "handles.hpp"
#include "structs.hpp"

using namespace athanor;
using namespace athanor::capi;

namespace {

static_assert(sizeof(ath_tensor_spec) % 8 == 0 && offsetof(ath_tensor_spec, name) == sizeof(std::size_t));

/// What load, add and find have in common: `find(engine, text)` as an object of the caller's.
template <class Find>
std::int32_t give_model(Needed const& text, char const* function, ath_engine* engine, ath_model** out_model,
                        ath_error** out_error, Find find) noexcept {
  if (out_model != nullptr) *out_model = nullptr;
  return guard(out_error, [&]() -> Result<void> {
    if (auto given = need(function, {{"engine", engine}, text, {"out_model", out_model}}); !given)
      return given;
    if (auto own = engine->origin->check_process(function); !own) return own;
    Result<Model<>> model = find();
    if (!model) return tl::unexpected(std::move(model.error()));
    // NOLINTNEXTLINE(bugprone-unhandled-exception-at-new): guard handles it
    *out_model = new ath_model{std::make_shared<Source>(std::move(*model), engine->origin)};
    return {};
  });
}

std::int32_t fill_spec(std::vector<TensorSpec> const& specs, std::size_t index,
                       ath_tensor_spec* out) noexcept {
  if (out == nullptr) return ATH_INVALID_ARGUMENT;
  if (index >= specs.size()) return ATH_OUT_OF_RANGE;
  TensorSpec const& spec = specs[index];
  ath_tensor_spec filled = ATH_TENSOR_SPEC_INIT;
  filled.name = spec.name.c_str();
  filled.unit = spec.unit.c_str();
  filled.max_bytes = spec.max_bytes;
  filled.ndim = static_cast<std::int32_t>(std::min<std::size_t>(spec.dims.size(), ATH_MAX_RANK));
  filled.dtype = static_cast<std::int32_t>(spec.dtype);
  filled.allows_non_finite = spec.non_finite == NonFinite::allow ? 1 : 0;
  for (std::size_t axis = 0; axis < static_cast<std::size_t>(filled.ndim); ++axis) {
    Dim const& dim = spec.dims[axis];
    filled.shape[axis] = dim.kind == Dim::Kind::fixed ? dim.length : ATH_DIM_ANY;
    if (dim.kind == Dim::Kind::named) filled.dim_names[axis] = dim.name.c_str();
  }
  return write_struct(out, filled) ? ATH_OK : ATH_INVALID_ARGUMENT;
}

}  // namespace

std::int32_t ath_model_load(ath_engine* engine, const char* folder, ath_model** out_model,
                            ath_error** out_error) noexcept {
  return give_model({"folder", folder}, "ath_model_load", engine, out_model, out_error,
                    [&]() -> Result<Model<>> {
                      // A load waits for its callbacks, of which this one may be.
                      if (engine->origin->in_callback())
                        return fail(Code::failed_precondition, Reason::reentrant,
                                    "ath_model_load: called from a callback of the same engine, where "
                                    "it would wait for itself; use ath_model_add");
                      if (auto opened = engine->plugins.open_all(engine->engine); !opened)
                        return tl::unexpected(std::move(opened.error()));
                      return engine->engine.load(folder);
                    });
}

std::int32_t ath_model_add(ath_engine* engine, const char* folder, ath_model** out_model,
                           ath_error** out_error) noexcept {
  return give_model({"folder", folder}, "ath_model_add", engine, out_model, out_error,
                    [&]() -> Result<Model<>> {
                      if (auto opened = engine->plugins.open_all(engine->engine); !opened)
                        return tl::unexpected(std::move(opened.error()));
                      return engine->engine.add(folder);
                    });
}

std::int32_t ath_model_find(ath_engine* engine, const char* name, ath_model** out_model,
                            ath_error** out_error) noexcept {
  return give_model({"name", name}, "ath_model_find", engine, out_model, out_error,
                    [&] { return engine->engine.model(name); });
}

std::int32_t ath_model_unload(ath_model* model, ath_error** out_error) noexcept {
  return guard(out_error, [&]() -> Result<void> {
    if (auto given = need("ath_model_unload", {{"model", model}}); !given) return given;
    if (auto own = model->origin().check_process("ath_model_unload"); !own) return own;
    return model->model().unload();
  });
}

void ath_model_release(ath_model* model) noexcept {
  if (model != nullptr && !model->origin().forked()) delete model;
}

const char* ath_model_id(const ath_model* model) noexcept {
  return model != nullptr ? model->model().id().c_str() : nullptr;
}

std::size_t ath_model_input_count(const ath_model* model) noexcept {
  return model != nullptr ? model->model().signature().inputs.size() : 0;
}

std::size_t ath_model_output_count(const ath_model* model) noexcept {
  return model != nullptr ? model->model().signature().outputs.size() : 0;
}

std::int32_t ath_model_input(const ath_model* model, std::size_t index, ath_tensor_spec* spec) noexcept {
  return model != nullptr ? fill_spec(model->model().signature().inputs, index, spec) : ATH_INVALID_ARGUMENT;
}

std::int32_t ath_model_output(const ath_model* model, std::size_t index, ath_tensor_spec* spec) noexcept {
  return model != nullptr ? fill_spec(model->model().signature().outputs, index, spec) : ATH_INVALID_ARGUMENT;
}
