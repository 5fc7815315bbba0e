#include "failure.hpp"

#include <new>
#include <string>

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <torch/csrc/jit/runtime/jit_exception.h>

namespace athanor::inline v1::libtorch {

namespace {

// Leaves room in a failure's message for the words around it.
constexpr std::size_t max_detail = 320;

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// The part of an interpreter's report that says what went wrong: from its last `...Error: ` line on.
std::string_view essential(std::string_view text) {
  auto const error = text.rfind("Error: ");
  if (error == std::string_view::npos) return text;
  auto const line = text.rfind('\n', error);
  return text.substr(line == std::string_view::npos ? 0 : line + 1);
}

/// One line of at most max_detail bytes, cut at the end of a UTF-8 character.
std::string one_line(std::string_view text) {
  std::string line;
  for (char const c : text) {
    bool const blank = c == '\n' || c == '\r' || c == '\t' || c == ' ';
    if (blank && (line.empty() || line.back() == ' ')) continue;
    line.push_back(blank ? ' ' : c);
    if (line.size() > max_detail) break;
  }
  if (line.size() > max_detail) {
    std::size_t length = max_detail;
    while (length > 0 && (static_cast<unsigned char>(line[length]) & 0xC0u) == 0x80u) --length;
    line.resize(length);
    line += "...";
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

Error out_of_memory(std::string_view subject, std::string_view text) {
  return {
      Code::resource_exhausted, Reason::out_of_memory, fmt::format("{}: {}", subject, one_line(text)), {}};
}

Error device_lost(std::string_view subject, std::string_view text) {
  return {Code::unavailable, Reason::device_lost, fmt::format("{}: {}", subject, one_line(text)), {}};
}

/// The sentence about an operator that no loaded library has; empty for another text.
std::string describe_unknown_operator(std::string_view text) {
  constexpr std::string_view words = "Unknown builtin op: ";
  auto const found = text.find(words);
  if (found == std::string_view::npos) return {};
  auto const name = text.substr(found + words.size());
  auto const library = name.substr(0, name.find(':'));
  if (library == "aten") return {};
  return fmt::format(
      "operator {} is in no library that is loaded: expected the manifest to name one that has it, as in "
      "\"operators\": [\"{}\"]",
      name.substr(0, name.find_first_of(".\n ")), library);
}

/// A failure of the model, neither of memory nor of the device.
Error failure_of_model(Stage stage, std::string_view subject, std::string_view text) {
  auto const detail = essential(text);
  auto const unknown = describe_unknown_operator(text);
  if (stage == Stage::load)
    return {Code::failed_precondition,
            Reason::model_load,
            fmt::format("{}: {}", subject, unknown.empty() ? one_line(detail) : one_line(unknown)),
            {}};
  char const* const hint =
      contains(detail, "API call failed") ? " (the package wrote the cause to standard error)" : "";
  return {
      Code::internal, Reason::backend_failure, fmt::format("{}: {}{}", subject, one_line(detail), hint), {}};
}

/// The interpreter loses the type of what an operation threw, so that the text has to tell.
Error from_text(Stage stage, std::string_view subject, std::string_view text) {
  auto const detail = essential(text);
  if (contains(text, "can't allocate memory") || contains(text, "out of memory"))
    return out_of_memory(subject, detail);
  if (contains(detail, "CUDA error:")) return device_lost(subject, detail);
  return failure_of_model(stage, subject, text);
}

Error describe(Stage stage, std::string_view subject) {
  try {
    throw;
  } catch (c10::OutOfMemoryError const& error) {
    return out_of_memory(subject, error.what_without_backtrace());
  } catch (c10::AcceleratorError const& error) {
    return device_lost(subject, error.what_without_backtrace());
  } catch (::torch::jit::JITException const& error) {
    return failure_of_model(stage, subject, error.what());  // a `raise` of the model, whatever it says
  } catch (c10::Error const& error) {
    return from_text(stage, subject, error.what_without_backtrace());
  } catch (std::bad_alloc const&) {
    return out_of_memory(subject, "the host has no memory left");
  } catch (std::exception const& error) {
    return from_text(stage, subject, error.what());
  } catch (...) {
    return from_text(stage, subject, "an exception of unknown type");
  }
}

}  // namespace

Error describe_current_exception(Stage stage, std::string_view subject) noexcept {
  try {
    return describe(stage, subject);
  } catch (...) {
    // Not even the sentence could be allocated.
    return {Code::resource_exhausted, Reason::out_of_memory, {}, {}};
  }
}

}  // namespace athanor::inline v1::libtorch
