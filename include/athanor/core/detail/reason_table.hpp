/// What the library knows of each code and each reason, one row per number: its name, whose fault it is, and
/// whether a batch that failed for it is worth another try in smaller pieces. A new Reason is a new row here
/// and an enumerator of athanor.h; a test compares them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <athanor/core/error.hpp>

namespace athanor::inline v1::detail {

/// Whose fault a failure is. Only the model's counts against it; `told_by_code`: the reason alone does not
/// say.
enum class Fault : std::uint8_t { none, caller, engine, load, model, told_by_code };

/// Whether running a failed batch again in pieces may answer some of its callers.
enum class Splitting : std::uint8_t { useless, helps, told_by_code };

struct CodeRow {
  Code code;
  std::string_view name;
  Fault fault;
  Splitting splitting;
};

struct ReasonRow {
  Reason reason;
  std::string_view name;
  Fault fault;
  Splitting splitting;
};

inline constexpr std::array<CodeRow, 16> code_table{{
    {Code::ok, "ok", Fault::none, Splitting::helps},
    {Code::cancelled, "cancelled", Fault::caller, Splitting::helps},
    {Code::unknown, "unknown", Fault::model, Splitting::helps},
    {Code::invalid_argument, "invalid_argument", Fault::caller, Splitting::helps},
    {Code::deadline_exceeded, "deadline_exceeded", Fault::model, Splitting::helps},
    {Code::not_found, "not_found", Fault::caller, Splitting::helps},
    {Code::already_exists, "already_exists", Fault::caller, Splitting::helps},
    {Code::permission_denied, "permission_denied", Fault::caller, Splitting::helps},
    {Code::resource_exhausted, "resource_exhausted", Fault::engine, Splitting::useless},
    {Code::failed_precondition, "failed_precondition", Fault::caller, Splitting::helps},
    {Code::aborted, "aborted", Fault::model, Splitting::helps},
    {Code::out_of_range, "out_of_range", Fault::caller, Splitting::helps},
    {Code::unimplemented, "unimplemented", Fault::caller, Splitting::helps},
    {Code::internal, "internal", Fault::model, Splitting::helps},
    {Code::unavailable, "unavailable", Fault::model, Splitting::useless},
    {Code::data_loss, "data_loss", Fault::model, Splitting::helps},
}};

inline constexpr std::array<ReasonRow, 37> reason_table{{
    {Reason::none, "none", Fault::told_by_code, Splitting::told_by_code},
    {Reason::shape, "shape", Fault::caller, Splitting::told_by_code},
    {Reason::dtype, "dtype", Fault::caller, Splitting::told_by_code},
    {Reason::missing_input, "missing_input", Fault::caller, Splitting::told_by_code},
    {Reason::extra_input, "extra_input", Fault::caller, Splitting::told_by_code},
    {Reason::non_finite, "non_finite", Fault::caller, Splitting::told_by_code},
    {Reason::value_range, "value_range", Fault::caller, Splitting::told_by_code},
    {Reason::too_large, "too_large", Fault::caller, Splitting::told_by_code},
    {Reason::syntax, "syntax", Fault::caller, Splitting::told_by_code},
    {Reason::chemistry, "chemistry", Fault::caller, Splitting::told_by_code},
    {Reason::queue_full, "queue_full", Fault::engine, Splitting::useless},
    {Reason::memory_full, "memory_full", Fault::engine, Splitting::useless},
    {Reason::rate, "rate", Fault::engine, Splitting::useless},
    {Reason::expected_wait, "expected_wait", Fault::engine, Splitting::useless},
    {Reason::breaker_open, "breaker_open", Fault::engine, Splitting::useless},
    {Reason::deadline_waiting, "deadline_waiting", Fault::engine, Splitting::useless},
    {Reason::deadline_running, "deadline_running", Fault::model, Splitting::useless},
    {Reason::cancelled, "cancelled", Fault::caller, Splitting::useless},
    {Reason::stopping, "stopping", Fault::engine, Splitting::useless},
    {Reason::model_missing, "model_missing", Fault::load, Splitting::useless},
    {Reason::model_load, "model_load", Fault::load, Splitting::useless},
    {Reason::digest, "digest", Fault::load, Splitting::told_by_code},
    {Reason::manifest, "manifest", Fault::load, Splitting::told_by_code},
    {Reason::budget, "budget", Fault::load, Splitting::useless},
    {Reason::backend_contract, "backend_contract", Fault::model, Splitting::told_by_code},
    {Reason::backend_failure, "backend_failure", Fault::model, Splitting::told_by_code},
    {Reason::out_of_memory, "out_of_memory", Fault::model, Splitting::helps},
    {Reason::device_lost, "device_lost", Fault::model, Splitting::useless},
    {Reason::member_failed, "member_failed", Fault::model, Splitting::told_by_code},
    {Reason::not_cached, "not_cached", Fault::caller, Splitting::told_by_code},
    {Reason::reentrant, "reentrant", Fault::caller, Splitting::useless},
    {Reason::file, "file", Fault::told_by_code, Splitting::told_by_code},
    {Reason::option, "option", Fault::caller, Splitting::told_by_code},
    {Reason::output_missing, "output_missing", Fault::caller, Splitting::told_by_code},
    {Reason::sequence_lost, "sequence_lost", Fault::engine, Splitting::useless},
    {Reason::sequence_busy, "sequence_busy", Fault::caller, Splitting::useless},
    {Reason::sequences_full, "sequences_full", Fault::engine, Splitting::useless},
}};

/// A number that is none, as a backend of another version may give it.
inline constexpr CodeRow unknown_code{Code::unknown, "unknown", Fault::none, Splitting::helps};
inline constexpr ReasonRow unknown_reason{Reason::none, "none", Fault::none, Splitting::told_by_code};

constexpr CodeRow const& row_of(Code code) noexcept {
  auto const number = static_cast<std::size_t>(code);
  return number < code_table.size() ? code_table[number] : unknown_code;
}

constexpr ReasonRow const& row_of(Reason reason) noexcept {
  auto const number = static_cast<std::size_t>(reason);
  return number < reason_table.size() ? reason_table[number] : unknown_reason;
}

constexpr Fault fault_of(Code code, Reason reason) noexcept {
  Fault const fault = row_of(reason).fault;
  return fault == Fault::told_by_code ? row_of(code).fault : fault;
}

constexpr bool splitting_helps(Code code, Reason reason) noexcept {
  Splitting splitting = row_of(reason).splitting;
  if (splitting == Splitting::told_by_code) splitting = row_of(code).splitting;
  return splitting == Splitting::helps;
}

static_assert(
    [] {
      for (std::size_t i = 0; i < code_table.size(); ++i)
        if (code_table[i].code != static_cast<Code>(i)) return false;
      for (std::size_t i = 0; i < reason_table.size(); ++i)
        if (reason_table[i].reason != static_cast<Reason>(i)) return false;
      return true;
    }(),
    "each row stands at its number");

}  // namespace athanor::inline v1::detail
