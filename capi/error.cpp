#include <algorithm>
#include <cstdlib>

#include "guard.hpp"
#include "handles.hpp"

#include <athanor/core/version.hpp>

/// The sentence lies behind the object, in the same block.
struct ath_error {
  std::int32_t code;
  std::int32_t reason;
  std::int64_t retry_after_ns;
  char const* message;
};

namespace athanor::capi {

namespace {

// Returned when no other error object can be allocated; never freed.
constinit ath_error out_of_memory{ATH_RESOURCE_EXHAUSTED, ATH_REASON_OUT_OF_MEMORY, 0, "out of memory"};

static_assert(static_cast<int>(Code::data_loss) == ATH_DATA_LOSS &&
              static_cast<int>(Code::unavailable) == ATH_UNAVAILABLE);
static_assert(static_cast<int>(Reason::sequences_full) == ATH_REASON_SEQUENCES_FULL);

}  // namespace

std::int32_t give_out_of_memory(ath_error** out_error) noexcept {
  if (out_error != nullptr) *out_error = &out_of_memory;
  return ATH_RESOURCE_EXHAUSTED;
}

std::int32_t give_error(ath_error** out_error, Code code, Reason reason, std::string_view message,
                        std::chrono::nanoseconds retry_after) noexcept {
  auto const number = static_cast<std::int32_t>(code == Code::ok ? Code::unknown : code);
  if (out_error == nullptr) return number;
  void* const block = std::malloc(sizeof(ath_error) + message.size() + 1);
  if (block == nullptr) {
    *out_error = &out_of_memory;
    return number;
  }
  char* const text = static_cast<char*>(block) + sizeof(ath_error);
  *std::ranges::copy(message, text).out = '\0';
  *out_error = new (block) ath_error{number, static_cast<std::int32_t>(reason), retry_after.count(), text};
  return number;
}

/// An error for whose message there was no memory says its reason.
std::int32_t give_error(ath_error** out_error, Error const& error) noexcept {
  std::string_view message = error.message;
  if (message.empty())
    message = error.reason == Reason::none ? to_string(error.code) : to_string(error.reason);
  return give_error(out_error, error.code, error.reason, message, error.retry_after);
}

}  // namespace athanor::capi

using namespace athanor;

static_assert(version_text.data()[version_text.size()] == '\0');
const char* ath_version(void) noexcept { return version_text.data(); }
std::int32_t ath_abi_version(void) noexcept { return ATH_ABI_VERSION; }
// Names are literals: what their views see ends with a NUL.
const char* ath_code_name(std::int32_t code) noexcept { return to_string(static_cast<Code>(code)).data(); }
const char* ath_reason_name(std::int32_t reason) noexcept {
  return to_string(static_cast<Reason>(reason)).data();
}

std::int32_t ath_error_code(const ath_error* error) noexcept {
  return error != nullptr ? error->code : ATH_OK;
}
std::int32_t ath_error_reason(const ath_error* error) noexcept {
  return error != nullptr ? error->reason : ATH_REASON_NONE;
}
const char* ath_error_message(const ath_error* error) noexcept {
  return error != nullptr ? error->message : "";
}
std::int64_t ath_error_retry_after_ns(const ath_error* error) noexcept {
  return error != nullptr ? error->retry_after_ns : 0;
}
void ath_error_destroy(ath_error* error) noexcept {
  if (error != &capi::out_of_memory) std::free(error);
}

const char* ath_text_data(const ath_text* text) noexcept {
  return text != nullptr ? text->value.c_str() : "";
}
std::size_t ath_text_size(const ath_text* text) noexcept { return text != nullptr ? text->value.size() : 0; }
void ath_text_destroy(ath_text* text) noexcept { delete text; }
