/// Typed failures: every fallible Athanor function returns a Result instead of throwing.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <athanor/core/detail/format_string.hpp>
#include <tl/expected.hpp>

namespace athanor::inline v1 {

/// The class of an outcome. The numbers are those of gRPC's status codes and never change.
enum class Code : std::int32_t {
  ok = 0,
  cancelled = 1,
  unknown = 2,
  invalid_argument = 3,
  deadline_exceeded = 4,
  not_found = 5,
  already_exists = 6,
  permission_denied = 7,
  resource_exhausted = 8,
  failed_precondition = 9,
  aborted = 10,
  out_of_range = 11,
  unimplemented = 12,
  internal = 13,
  unavailable = 14,
  data_loss = 15,
};

/// The cause behind a Code, for programs to branch on. The numbers never change; new reasons are appended.
enum class Reason : std::int32_t {
  none = 0,
  shape = 1,              ///< rank or dimension differs from the signature
  dtype = 2,              ///< element type differs from the signature
  missing_input = 3,      ///< an input that the signature requires is absent
  extra_input = 4,        ///< an input that the signature does not have
  non_finite = 5,         ///< NaN or infinity where the signature forbids them
  value_range = 6,        ///< a value outside its valid range
  too_large = 7,          ///< the request exceeds a limit on single requests
  syntax = 8,             ///< text that does not conform to its grammar
  chemistry = 9,          ///< a molecule that is not valid, or that the model's features cannot represent
  queue_full = 10,        ///< the limit on queued items is reached
  memory_full = 11,       ///< the limit on held bytes is reached
  rate = 12,              ///< a rate limit is reached; this library imposes none yet
  expected_wait = 13,     ///< the predicted completion is after the deadline
  breaker_open = 14,      ///< the circuit breaker is open
  deadline_waiting = 15,  ///< the deadline passed before the work began
  deadline_running = 16,  ///< the deadline passed while the work ran
  cancelled = 17,         ///< cancelled by the caller
  stopping = 18,          ///< the engine or the batcher is stopping
  model_missing = 19,     ///< no such model or version
  model_load = 20,        ///< the model could not be loaded
  digest = 21,            ///< a file's content does not have the digest in the manifest
  manifest = 22,          ///< the manifest is not valid
  budget = 23,            ///< the model is larger than the memory budget
  backend_contract = 24,  ///< a backend answered with the wrong count, type or shape
  backend_failure = 25,   ///< the model failed while it ran
  out_of_memory = 26,     ///< the device or the host ran out of memory
  device_lost = 27,       ///< the device failed or was removed
  member_failed = 28,     ///< a member of an ensemble failed
  not_cached = 29,        ///< only_if_cached was requested, and the answer is not cached
  reentrant = 30,         ///< a blocking call that would wait for itself
  file = 31,              ///< a file could not be read or written
  option = 32,            ///< an option is unknown or has an invalid value
  output_missing = 33,    ///< an output was requested that the model does not have
  sequence_lost = 34,     ///< the state of a sequence is gone, or the sequence is closed
  sequence_busy = 35,     ///< another call of the sequence is in flight
  sequences_full = 36,    ///< the model has as many sequences as its manifest allows
};

/// The name of the enumerator; `unknown` or `none` for any other number.
std::string_view to_string(Code code) noexcept;
std::string_view to_string(Reason reason) noexcept;

/// A failure: its class, its cause, and a message that names what failed, where, what was expected and what
/// was found. The messages that the library makes are one line of UTF-8: what they quote, such as a path, a
/// name in a request or the text of an exception, is quoted with a space for each control character that is
/// white space, and with U+FFFD for every other one and for each byte that is not UTF-8.
struct [[nodiscard]] Error {
  Code code = Code::unknown;
  Reason reason = Reason::none;
  std::string message;
  /// The time after which a retry makes sense; zero if waiting does not help.
  std::chrono::nanoseconds retry_after{0};

  bool operator==(Error const&) const = default;
};

/// `invalid_argument: smiles: ring 1 opened at byte 9 is never closed (retry after 20 ms)`. core/format.hpp
/// makes fmt print an Error like that.
std::string to_string(Error const& error);

/// A value or an Error. Athanor's functions report expected failures with it and do not throw.
template <class T>
using Result = tl::expected<T, Error>;

/// An Error whose message is `sentence` with an argument in place of each `{}`: a text, a number or a bool.
/// `make_error(Code::not_found, Reason::model_missing, "model '{}': no version {}", name, 3)`
/// If the message cannot be allocated, it is dropped; the code and the reason are always there.
template <class... Args>
[[nodiscard]] Error make_error(Code code, Reason reason,
                               detail::FormatString<std::type_identity_t<Args>...> sentence,
                               Args const&... args) noexcept {
  return {code, reason, detail::format(sentence.text(), {detail::format_argument(args)...}), {}};
}

/// The same as the failing state of any Result.
template <class... Args>
[[nodiscard]] tl::unexpected<Error> fail(Code code, Reason reason,
                                         detail::FormatString<std::type_identity_t<Args>...> sentence,
                                         Args const&... args) noexcept {
  return tl::unexpected<Error>(
      Error{code, reason, detail::format(sentence.text(), {detail::format_argument(args)...}), {}});
}

}  // namespace athanor::inline v1
