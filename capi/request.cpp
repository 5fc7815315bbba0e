#include <cstring>

#include "guard.hpp"
#include "handles.hpp"
#include "tensor_view.hpp"

using namespace athanor;
using namespace athanor::capi;

namespace {

static_assert(static_cast<int>(CacheMode::use) == ATH_CACHE_USE &&
              static_cast<int>(CacheMode::skip) == ATH_CACHE_SKIP);
static_assert(static_cast<int>(CacheMode::refresh) == ATH_CACHE_REFRESH &&
              static_cast<int>(CacheMode::only_if_cached) == ATH_CACHE_ONLY_IF_CACHED);

/// Runs a setter of what is called `name`. Its failure is kept in the request, so that one which is
/// overlooked cannot send an older value.
template <class Set>
std::int32_t change(ath_request* request, char const* name, ath_error** out_error, Set set) noexcept {
  return guard(out_error, [&]() -> Result<void> {
    if (auto given = need("ath_request", {{"request", request}}); !given) return given;
    std::string_view const key = name != nullptr ? name : "";
    Result<void> done;
    try {
      done = set();
    } catch (std::bad_alloc const&) {
      done = fail(Code::resource_exhausted, Reason::out_of_memory, "{}", key);
    }
    if (!done) {
      request->refusal = ath_request::Refusal{std::string(key), done.error()};
    } else if (request->refusal && request->refusal->name == key) {
      request->refusal.reset();
    }
    return done;
  });
}

Result<void> put_tensor(ath_request& request, char const* function, char const* name,
                        ath_tensor_view const* view, bool copy) {
  if (auto given = need(function, {{"name", name}, {"view", view}}); !given) return given;
  auto tensor = tensor_of(name, *view);
  if (tensor && copy && !tensor->owned()) tensor = tensor->clone();
  if (!tensor) return tl::unexpected(std::move(tensor.error()));
  request.inputs.set(name, std::move(*tensor));
  return {};
}

}  // namespace

ath_request* ath_request_create(const ath_model* model) noexcept {
  ath_request* made = nullptr;
  guard(nullptr, [&]() -> Result<void> {
    if (model != nullptr)
      made = new ath_request{model->model, model->callbacks, {}, -1, CacheMode::use, {}, {}, {}};
    return {};
  });
  return made;
}

void ath_request_destroy(ath_request* request) noexcept { delete request; }

std::int32_t ath_request_reset(ath_request* request) noexcept {
  if (request == nullptr) return ATH_INVALID_ARGUMENT;
  request->inputs.clear();
  request->deadline_ns = -1;
  request->cache = CacheMode::use;
  request->outputs.clear();
  request->output_names.clear();
  request->refusal.reset();
  return ATH_OK;
}

std::int32_t ath_request_set_tensor(ath_request* request, const char* name, const ath_tensor_view* view,
                                    ath_error** out_error) noexcept {
  return change(request, name, out_error,
                [&] { return put_tensor(*request, "ath_request_set_tensor", name, view, false); });
}

std::int32_t ath_request_copy_tensor(ath_request* request, const char* name, const ath_tensor_view* view,
                                     ath_error** out_error) noexcept {
  return change(request, name, out_error,
                [&] { return put_tensor(*request, "ath_request_copy_tensor", name, view, true); });
}

std::int32_t ath_request_set_text(ath_request* request, const char* name, const char* text,
                                  std::size_t length) noexcept {
  return change(request, name, nullptr, [&]() -> Result<void> {
    if (auto given = need("ath_request_set_text", {{"name", name}, {"text", length != 0 ? text : ""}});
        !given)
      return given;
    request->inputs.set(name, Tensor::text({length != 0 ? text : "", length}));
    return {};
  });
}

std::int32_t ath_request_copy_texts(ath_request* request, const char* name, const char* const* texts,
                                    const std::size_t* lengths, std::size_t count) noexcept {
  return change(request, name, nullptr, [&]() -> Result<void> {
    if (auto given = need("ath_request_copy_texts", {{"name", name}, {"texts", texts}}); !given) return given;
    std::vector<std::string_view> views;
    views.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      if (texts[i] == nullptr && (lengths == nullptr || lengths[i] != 0))
        return fail(Code::invalid_argument, Reason::none, "{}: texts[{}]: expected a text, got NULL", name,
                    i);
      views.emplace_back(texts[i] != nullptr ? texts[i] : "",
                         lengths != nullptr ? lengths[i] : std::strlen(texts[i]));
    }
    auto tensor = Tensor::copy_texts(views);
    if (!tensor) return tl::unexpected(std::move(tensor.error()));
    request->inputs.set(name, std::move(*tensor));
    return {};
  });
}

std::int32_t ath_request_set_deadline_ns(ath_request* request, std::int64_t deadline_ns) noexcept {
  if (request == nullptr) return ATH_INVALID_ARGUMENT;
  request->deadline_ns = deadline_ns < 0 ? -1 : deadline_ns;
  return ATH_OK;
}

std::int32_t ath_request_set_cache_mode(ath_request* request, std::int32_t mode) noexcept {
  return change(request, "ath_request_set_cache_mode", nullptr, [&]() -> Result<void> {
    if (mode < ATH_CACHE_USE || mode > ATH_CACHE_ONLY_IF_CACHED)
      return fail(Code::invalid_argument, Reason::value_range,
                  "ath_request_set_cache_mode: mode: expected 0 to {}, got {}",
                  static_cast<int>(ATH_CACHE_ONLY_IF_CACHED), mode);
    request->cache = static_cast<CacheMode>(mode);
    return {};
  });
}

std::int32_t ath_request_set_outputs(ath_request* request, const char* const* names,
                                     std::size_t count) noexcept {
  return change(request, "ath_request_set_outputs", nullptr, [&]() -> Result<void> {
    std::vector<std::string> copies;
    for (std::size_t i = 0; i < count; ++i) {
      if (names == nullptr || names[i] == nullptr)
        return fail(Code::invalid_argument, Reason::none,
                    "ath_request_set_outputs: names[{}]: expected a text, got NULL", i);
      copies.emplace_back(names[i]);
    }
    request->output_names = std::move(copies);
    request->outputs.clear();
    request->outputs.reserve(count);
    for (auto const& name : request->output_names) request->outputs.emplace_back(name);
    return {};
  });
}
