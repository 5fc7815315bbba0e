#include <athanor/core/error.hpp>

#include <iterator>

#include <fmt/format.h>

namespace athanor::inline v1 {

std::string_view to_string(Code code) noexcept {
  switch (code) {
    case Code::ok: return "ok";
    case Code::cancelled: return "cancelled";
    case Code::unknown: return "unknown";
    case Code::invalid_argument: return "invalid_argument";
    case Code::deadline_exceeded: return "deadline_exceeded";
    case Code::not_found: return "not_found";
    case Code::already_exists: return "already_exists";
    case Code::permission_denied: return "permission_denied";
    case Code::resource_exhausted: return "resource_exhausted";
    case Code::failed_precondition: return "failed_precondition";
    case Code::aborted: return "aborted";
    case Code::out_of_range: return "out_of_range";
    case Code::unimplemented: return "unimplemented";
    case Code::internal: return "internal";
    case Code::unavailable: return "unavailable";
    case Code::data_loss: return "data_loss";
  }
  return "unknown";
}

std::string_view to_string(Reason reason) noexcept {
  switch (reason) {
    case Reason::none: return "none";
    case Reason::shape: return "shape";
    case Reason::dtype: return "dtype";
    case Reason::missing_input: return "missing_input";
    case Reason::extra_input: return "extra_input";
    case Reason::non_finite: return "non_finite";
    case Reason::value_range: return "value_range";
    case Reason::too_large: return "too_large";
    case Reason::syntax: return "syntax";
    case Reason::chemistry: return "chemistry";
    case Reason::queue_full: return "queue_full";
    case Reason::memory_full: return "memory_full";
    case Reason::rate: return "rate";
    case Reason::expected_wait: return "expected_wait";
    case Reason::breaker_open: return "breaker_open";
    case Reason::deadline_waiting: return "deadline_waiting";
    case Reason::deadline_running: return "deadline_running";
    case Reason::cancelled: return "cancelled";
    case Reason::stopping: return "stopping";
    case Reason::model_missing: return "model_missing";
    case Reason::model_load: return "model_load";
    case Reason::digest: return "digest";
    case Reason::manifest: return "manifest";
    case Reason::budget: return "budget";
    case Reason::backend_contract: return "backend_contract";
    case Reason::backend_failure: return "backend_failure";
    case Reason::out_of_memory: return "out_of_memory";
    case Reason::device_lost: return "device_lost";
    case Reason::member_failed: return "member_failed";
    case Reason::not_cached: return "not_cached";
    case Reason::reentrant: return "reentrant";
    case Reason::file: return "file";
    case Reason::option: return "option";
    case Reason::output_missing: return "output_missing";
  }
  return "none";
}

std::string to_string(Error const& error) {
  std::string text = fmt::format("{}: {}", to_string(error.code), error.message);
  if (error.retry_after.count() > 0) {
    double const seconds = static_cast<double>(error.retry_after.count()) / 1e9;
    text += seconds < 1 ? fmt::format(" (retry after {:.3g} ms)", seconds * 1e3)
                        : fmt::format(" (retry after {:.1f} s)", seconds);
  }
  return text;
}

std::string detail::format(std::string_view sentence, std::initializer_list<FormatArgument> args) {
  std::string text;
  text.reserve(sentence.size() + 16 * args.size());
  auto const* arg = args.begin();
  for (std::size_t i = 0; i < sentence.size(); ++i) {
    bool const is_brace = sentence[i] == '{' || sentence[i] == '}';
    if (!is_brace || sentence[i + 1] == sentence[i]) {
      i += is_brace ? 1 : 0;
      text += sentence[i];
      continue;
    }
    std::size_t const end = sentence.find('}', i);
    auto const braces = sentence.substr(i, end + 1 - i);
    std::visit(
        [&](auto const& value) { fmt::format_to(std::back_inserter(text), fmt::runtime(braces), value); },
        *arg++);
    i = end;
  }
  return text;
}

}  // namespace athanor::inline v1
