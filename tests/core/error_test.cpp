#include <athanor/core/detail/noexcept_error.hpp>
#include <athanor/core/error.hpp>
#include <athanor/core/format.hpp>
#include <support/thread_memory.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <set>
#include <stdexcept>
#include <string>

namespace {

using namespace athanor;
using namespace std::chrono_literals;

// mutant: a code has the name of another
TEST_CASE("codes have the numbers and names of gRPC's status codes") {
  constexpr std::string_view names[] = {
      "ok",        "cancelled",      "unknown",           "invalid_argument",   "deadline_exceeded",
      "not_found", "already_exists", "permission_denied", "resource_exhausted", "failed_precondition",
      "aborted",   "out_of_range",   "unimplemented",     "internal",           "unavailable",
      "data_loss"};
  int number = 0;
  for (auto const name : names) CHECK(to_string(static_cast<Code>(number++)) == name);
  CHECK(static_cast<int>(Code::data_loss) == 15);
  CHECK(static_cast<int>(Code::invalid_argument) == 3);
  CHECK(to_string(static_cast<Code>(77)) == "unknown");
}

// mutant: a reason has the name of another
TEST_CASE("reasons keep their numbers, and each has a name of its own") {
  CHECK(static_cast<int>(Reason::none) == 0);
  CHECK(static_cast<int>(Reason::shape) == 1);
  CHECK(static_cast<int>(Reason::queue_full) == 10);
  CHECK(static_cast<int>(Reason::stopping) == 18);
  CHECK(static_cast<int>(Reason::backend_contract) == 24);
  CHECK(static_cast<int>(Reason::reentrant) == 30);
  CHECK(static_cast<int>(Reason::output_missing) == 33);
  CHECK(static_cast<int>(Reason::sequences_full) == 36);
  std::set<std::string_view> names;
  for (int number = 0; number <= static_cast<int>(Reason::sequences_full); ++number)
    names.insert(to_string(static_cast<Reason>(number)));
  CHECK(names.size() == 37);
  CHECK(to_string(static_cast<Reason>(1000)) == "none");
}

// mutant: an error tells a time to come back of zero
// mutant: the time to come back is told in microseconds
TEST_CASE("an error is printed as one line, with the time to come back if there is one") {
  Error error{
      Code::resource_exhausted, Reason::queue_full, "model 'a': 64 items wait, expected at most 64", {}};
  CHECK(fmt::format("{}", error) == "resource_exhausted: model 'a': 64 items wait, expected at most 64");
  error.retry_after = 20ms;
  CHECK(fmt::format("{}", error).ends_with("at most 64 (retry after 20 ms)"));
  error.retry_after = 1500us;
  CHECK(fmt::format("{}", error).ends_with(" (retry after 1.5 ms)"));
  error.retry_after = 1220ms;
  CHECK(fmt::format("{}", error).ends_with(" (retry after 1.2 s)"));
  error.retry_after = -1ns;
  CHECK(fmt::format("{}", error).ends_with("at most 64"));
}

// mutant: fail leaves the reason out
TEST_CASE("fail makes the failing state of any result, from a sentence with its facts") {
  Result<int> const number =
      fail(Code::not_found, Reason::model_missing, "model '{}': no version {}", "tg", 3);
  Result<void> const nothing = fail(Code::internal, Reason::none, "no");
  REQUIRE_FALSE(number);
  REQUIRE_FALSE(nothing);
  CHECK(number.error() == Error{Code::not_found, Reason::model_missing, "model 'tg': no version 3", {}});
  CHECK(number.error() != nothing.error());
  CHECK(Error{}.code == Code::unknown);
}

// mutant: a caught exception does not say where it was thrown
TEST_CASE("a caught exception becomes an error, whatever it is") {
  auto const throwing = [](std::string_view where, auto const& exception) {
    try {
      throw exception;
    } catch (...) {
      return detail::caught(Code::internal, Reason::backend_failure, where);
    }
  };
  Error const named = throwing("the function threw", std::runtime_error("no database"));
  CHECK(named == Error{Code::internal, Reason::backend_failure, "the function threw: no database", {}});
  CHECK(throwing("", std::runtime_error("no database")).message == "no database");
  CHECK(throwing("the function threw", 7).message == "the function threw: an exception of unknown type");
  CHECK(throwing("", 7).message == "an exception of unknown type escaped");

  Error copy{Code::aborted, Reason::rate, "before", 1ms};
  detail::copy_error(copy, named);
  CHECK(copy == named);
}

// mutant: a doubled brace stays doubled
TEST_CASE("a message is formatted as fmt would") {
  std::string const owned = "owned";
  CHECK(detail::format("{} {} {}", owned, std::string_view("viewed"), "literal") == "owned viewed literal");
  CHECK(detail::format("{} {} {}", std::int8_t{-3}, INT64_MIN, UINT64_MAX) ==
        fmt::format("{} {} {}", -3, INT64_MIN, UINT64_MAX));
  CHECK(detail::format("{} {} {}", 0.1, 1e300, 1.0) == fmt::format("{} {} {}", 0.1, 1e300, 1.0));
  CHECK(detail::format("{:.3g} {:.1f}", 1234.5, 0.25F) == fmt::format("{:.3g} {:.1f}", 1234.5, 0.25F));
  CHECK(detail::format("{} {}", true, 'c') == "true c");
  CHECK(detail::format("{{{}}} }}{{", 1) == "{1} }{");
  CHECK(detail::format("").empty());
  CHECK(make_error(Code::aborted, Reason::rate, "{}", 7) == Error{Code::aborted, Reason::rate, "7", {}});
}

// mutant: a control character is quoted as it is
// mutant: a control character of two bytes is quoted as it is
// mutant: white space that ends a line is quoted like a character that means nothing
// mutant: a byte that is not UTF-8 is quoted as it is
TEST_CASE("a message is one line of UTF-8, whatever it quotes") {
  CHECK(detail::format("{}{}", "a\tb\r\nc", '\n') == "a b  c ");
  std::string const cut = "a\x1b[31mb\x7F" + std::string(1, '\0') + "c";
  CHECK(detail::format("{}", cut) == "a\uFFFD[31mb\uFFFD\uFFFDc");
  CHECK(detail::format("{}", "\u0080\u009B\u00A0\u00E9\U0001F9EA") == "\uFFFD\uFFFD\u00A0\u00E9\U0001F9EA");
  CHECK(detail::format("{} {}", "\xFF\xC3\xA9\xC3", '\xE9') == "\uFFFD\u00E9\uFFFD \uFFFD");
  auto const caught = [](std::string_view where) {
    try {
      throw std::runtime_error("\x1b]0;title\x07");
    } catch (...) {
      return detail::caught(Code::internal, Reason::none, where).message;
    }
  };
  CHECK(caught("") == "\uFFFD]0;title\uFFFD");
  CHECK(caught("run") == "run: \uFFFD]0;title\uFFFD");
}

// mutant: an error whose message finds no memory ends the program
TEST_CASE("an error is made without memory for its message") {
  auto& memory = athanor_tests::thread_memory();
  auto const make = []() noexcept {
    return make_error(Code::not_found, Reason::model_missing, "a sentence that is too long for {}",
                      "a short string");
  };
  memory.exhausted = true;
  Error const error = make();
  Error const copy = detail::copy_of(error);
  memory.exhausted = false;
  CHECK(copy.code == Code::not_found);
  CHECK(copy.reason == Reason::model_missing);
#ifndef ATHANOR_OPERATOR_NEW_IS_TAKEN
  CHECK(copy.message.empty());
#endif
}

}  // namespace
