#include <cstdint>
#include <cstring>

#include "guard.hpp"
#include "handles.hpp"
#include "kept.hpp"
#include "tensor_view.hpp"

using namespace athanor;
using namespace athanor::capi;

namespace {

static_assert(static_cast<int>(CacheMode::use) == ATH_CACHE_USE &&
              static_cast<int>(CacheMode::skip) == ATH_CACHE_SKIP);
static_assert(static_cast<int>(CacheMode::refresh) == ATH_CACHE_REFRESH &&
              static_cast<int>(CacheMode::only_if_cached) == ATH_CACHE_ONLY_IF_CACHED);

/// Runs a setter, `function`, of what is called `name`. Its failure, returned or thrown, is kept in the
/// request, so that one which is overlooked cannot send an older value.
template <class Set>
std::int32_t change(char const* function, ath_request* request, char const* name, ath_error** out_error,
                    Set set) noexcept {
  return guard(out_error, [&]() -> Result<void> {
    if (auto given = need(function, {{"request", request}}); !given) return given;
    std::string_view const key = name != nullptr ? name : "";
    try {
      Result<void> done = set();
      if (done) {
        request->refusals.forget(key);
      } else {
        request->refusals.keep(key, done.error());
      }
      return done;
    } catch (...) {
      request->refusals.keep_caught(key);
      throw;
    }
  });
}

// Of texts, in number and in bytes: no memory holds more, and what is made of them can be counted.
constexpr std::size_t most_texts = PTRDIFF_MAX / sizeof(std::string_view);
constexpr std::size_t most_bytes = PTRDIFF_MAX;

Result<void> check_size(char const* name, char const* what, std::size_t size, std::size_t most) {
  if (size <= most) return {};
  return fail(Code::invalid_argument, Reason::too_large, "{}: {}: expected at most {}, got {}", name, what,
              most, size);
}

Result<void> put_tensor(ath_request& request, char const* function, char const* name,
                        ath_tensor_view const* view, bool copy) {
  if (auto given = need(function, {{"name", name}, {"view", view}}); !given) return given;
  std::string_view const input = name;
  auto tensor = tensor_of(input, *view);
  if (tensor && copy && !tensor->owned()) tensor = tensor->clone();
  if (!tensor) return tl::unexpected(std::move(tensor.error()));
  request.inputs.set(input, std::move(*tensor));
  return {};
}

Result<std::vector<std::string_view>> texts_of(char const* name, char const* const* texts,
                                               std::size_t const* lengths, std::size_t count) {
  if (auto fits = check_size(name, "count", count, most_texts); !fits)
    return tl::unexpected(std::move(fits.error()));
  std::vector<std::string_view> views;
  views.reserve(count);
  std::size_t left = most_bytes;
  for (std::size_t i = 0; i < count; ++i) {
    if (texts[i] == nullptr && (lengths == nullptr || lengths[i] != 0))
      return fail(Code::invalid_argument, Reason::none, "{}: texts[{}]: expected a text, got NULL", name, i);
    std::size_t const length = lengths != nullptr ? lengths[i] : std::strlen(texts[i]);
    if (length > left)
      return fail(Code::invalid_argument, Reason::too_large,
                  "{}: lengths[{}]: expected at most {} bytes, what the texts before leave of {}, got {}",
                  name, i, left, most_bytes, length);
    left -= length;
    views.emplace_back(texts[i] != nullptr ? texts[i] : "", length);
  }
  return views;
}

}  // namespace

ath_request* ath_request_create(const ath_model* model) noexcept {
  ath_request* made = nullptr;
  guard(nullptr, [&]() -> Result<void> {
    if (model == nullptr) return {};
    made = Kept<ath_request>::take();
    made->source = model->source;
    return {};
  });
  return made;
}

void ath_request_destroy(ath_request* request) noexcept {
  if (request == nullptr || request->origin().forked()) return;
  // Of the memory of a request that asks for more than a model reads, nothing is kept.
  request->clear();
  if (request->inputs.inputs().capacity() > max_tensors + max_parameters) request->inputs = Request();
  request->source.reset();
  Kept<ath_request>::give_back(request);
}

std::int32_t ath_request_reset(ath_request* request) noexcept {
  if (request == nullptr) return ATH_INVALID_ARGUMENT;
  request->clear();
  return ATH_OK;
}

std::int32_t ath_request_error(const ath_request* request, ath_error** out_error) noexcept {
  return guard(out_error, [&]() -> Result<void> {
    if (auto given = need("ath_request_error", {{"request", request}}); !given) return given;
    return request->refusals.check();
  });
}

std::int32_t ath_request_set_tensor(ath_request* request, const char* name, const ath_tensor_view* view,
                                    ath_error** out_error) noexcept {
  return change("ath_request_set_tensor", request, name, out_error,
                [&] { return put_tensor(*request, "ath_request_set_tensor", name, view, false); });
}

std::int32_t ath_request_copy_tensor(ath_request* request, const char* name, const ath_tensor_view* view,
                                     ath_error** out_error) noexcept {
  return change("ath_request_copy_tensor", request, name, out_error,
                [&] { return put_tensor(*request, "ath_request_copy_tensor", name, view, true); });
}

std::int32_t ath_request_set_text(ath_request* request, const char* name, const char* text,
                                  std::size_t length) noexcept {
  return change("ath_request_set_text", request, name, nullptr, [&]() -> Result<void> {
    if (auto given = need("ath_request_set_text", {{"name", name}, {"text", length != 0 ? text : ""}});
        !given)
      return given;
    if (auto fits = check_size(name, "length", length, most_bytes); !fits) return fits;
    request->inputs.set(name, Tensor::text({length != 0 ? text : "", length}));
    return {};
  });
}

std::int32_t ath_request_copy_texts(ath_request* request, const char* name, const char* const* texts,
                                    const std::size_t* lengths, std::size_t count) noexcept {
  return change("ath_request_copy_texts", request, name, nullptr, [&]() -> Result<void> {
    if (auto given = need("ath_request_copy_texts", {{"name", name}, {"texts", texts}}); !given) return given;
    auto const views = texts_of(name, texts, lengths, count);
    if (!views) return tl::unexpected(views.error());
    auto tensor = Tensor::copy_texts(*views);
    if (!tensor) return tl::unexpected(std::move(tensor.error()));
    request->inputs.set(name, std::move(*tensor));
    return {};
  });
}

std::int32_t ath_request_set_deadline_ns(ath_request* request, std::int64_t deadline_ns) noexcept {
  if (request == nullptr) return ATH_INVALID_ARGUMENT;
  request->deadline_ns = deadline_ns;
  return ATH_OK;
}

std::int32_t ath_request_set_cache_mode(ath_request* request, std::int32_t mode) noexcept {
  char const* const function = "ath_request_set_cache_mode";
  return change(function, request, function, nullptr, [&]() -> Result<void> {
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
  char const* const function = "ath_request_set_outputs";
  return change(function, request, function, nullptr, [&]() -> Result<void> {
    if (auto fits = check_size("ath_request_set_outputs", "count", count, max_tensors); !fits) return fits;
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
