#include <athanor/core/error.hpp>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iterator>

#include <fmt/format.h>

#include <athanor/core/detail/noexcept_error.hpp>
#include <athanor/core/detail/reason_table.hpp>
#include <athanor/core/detail/require.hpp>

namespace athanor::inline v1 {

void detail::violated(std::string_view sentence) noexcept {
  std::fprintf(stderr, "athanor: %.*s\n", static_cast<int>(sentence.size()), sentence.data());
  std::abort();
}

std::string_view to_string(Code code) noexcept { return detail::row_of(code).name; }

std::string_view to_string(Reason reason) noexcept { return detail::row_of(reason).name; }

std::string to_string(Error const& error) {
  std::string text = fmt::format("{}: {}", to_string(error.code), error.message);
  if (error.retry_after.count() > 0) {
    double const seconds = static_cast<double>(error.retry_after.count()) / 1e9;
    text += seconds < 1 ? fmt::format(" (retry after {:.3g} ms)", seconds * 1e3)
                        : fmt::format(" (retry after {:.1f} s)", seconds);
  }
  return text;
}

namespace {

/// Throws std::bad_alloc only.
void append(std::string& text, std::string_view sentence,
            std::initializer_list<detail::FormatArgument> args) {
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
}

}  // namespace

std::string detail::format(std::string_view sentence, std::initializer_list<FormatArgument> args) noexcept {
  std::string text;
  try {
    append(text, sentence, args);
  } catch (...) {
    text.clear();
  }
  return text;
}

Error detail::caught(Code code, Reason reason, std::string_view where) noexcept {
  Error error{code, reason, {}, {}};
  try {
    try {
      throw;
    } catch (std::exception const& exception) {
      error.message = where.empty() ? exception.what() : format("{}: {}", where, exception.what());
    } catch (...) {
      error.message = where.empty() ? "an exception of unknown type escaped"
                                    : format("{}: an exception of unknown type", where);
    }
  } catch (...) {
    // No memory for the message.
  }
  return error;
}

void detail::set_error(Error& to, Code code, Reason reason, std::string_view message,
                       std::chrono::nanoseconds retry_after) noexcept {
  to.code = code;
  to.reason = reason;
  to.retry_after = retry_after;
  try {
    to.message = message;
  } catch (...) {
    to.message.clear();
  }
}

void detail::copy_error(Error& to, Error const& from) noexcept {
  set_error(to, from.code, from.reason, from.message, from.retry_after);
}

Error detail::copy_of(Error const& error) noexcept {
  Error copy;
  copy_error(copy, error);
  return copy;
}

}  // namespace athanor::inline v1
