#include <athanor/core/error.hpp>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iterator>

#include <fmt/format.h>

#include <athanor/core/detail/noexcept_error.hpp>
#include <athanor/core/detail/reason_table.hpp>
#include <athanor/core/detail/require.hpp>
#include <athanor/core/signature.hpp>

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

constexpr std::string_view replacement = "\xEF\xBF\xBD";  // U+FFFD

/// Appends UTF-8, each control character as a space where it is white space, and as U+FFFD elsewhere.
void append_characters(std::string& to, std::string_view text) {
  auto const byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  for (std::size_t i = 0; i < text.size(); ++i) {
    bool const two_bytes = byte(i) == 0xC2 && byte(i + 1) < 0xA0;  // U+0080 to U+009F
    if (byte(i) >= '\t' && byte(i) <= '\r') {
      to += ' ';
    } else if (byte(i) < ' ' || byte(i) == 0x7F || two_bytes) {
      to += replacement;
      i += two_bytes ? 1 : 0;
    } else {
      to += text[i];
    }
  }
}

/// Appends what the sentence of an error may hold of a text from outside; see Error.
void append_text(std::string& to, std::string_view text) {
  for (std::size_t good = 0; !is_utf8(text, &good); text.remove_prefix(good + 1)) {
    append_characters(to, text.substr(0, good));
    to += replacement;
  }
  append_characters(to, text);
}

void append_argument(std::string& to, std::string_view braces, detail::FormatArgument const& argument) {
  if (auto const* text = std::get_if<std::string_view>(&argument)) return append_text(to, *text);
  if (auto const* letter = std::get_if<char>(&argument)) return append_text(to, {letter, 1});
  std::visit([&](auto const& value) { fmt::format_to(std::back_inserter(to), fmt::runtime(braces), value); },
             argument);
}

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
    append_argument(text, braces, *arg++);
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
      error.message = format("{}{}{}", where, where.empty() ? "" : ": ", exception.what());
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
