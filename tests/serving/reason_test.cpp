// The one table of codes and reasons, against the C header and against what rooms make of it.
#include <doctest/doctest.h>

#include <cctype>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include <athanor/batching/batcher.hpp>
#include <athanor/breaking/breaker.hpp>
#include <athanor/core/detail/reason_table.hpp>

namespace {

using namespace athanor;

/// Name to number of every enumerator of athanor.h that begins with `prefix`, in lower case and without it.
std::map<std::string, int> enumerators(std::string const& text, std::string const& prefix) {
  std::map<std::string, int> numbers;
  std::string const start = "\n  " + prefix;
  for (auto at = text.find(start); at != std::string::npos; at = text.find(start, at + 1)) {
    auto const begin = at + start.size();
    auto const equals = text.find(" = ", begin);
    std::string name = text.substr(begin, equals - begin);
    if (equals == std::string::npos ||
        name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ_") != std::string::npos)
      continue;
    for (char& letter : name) letter = static_cast<char>(std::tolower(letter));
    numbers[name] = std::stoi(text.substr(equals + 3));
  }
  return numbers;
}

bool counts_against_the_model(Code code, Reason reason) {
  switch (reason) {
    case Reason::backend_contract:
    case Reason::backend_failure:
    case Reason::out_of_memory:
    case Reason::device_lost:
    case Reason::member_failed:
    case Reason::deadline_running: return true;
    case Reason::none:
    case Reason::file: break;
    default: return false;
  }
  return code == Code::unknown || code == Code::deadline_exceeded || code == Code::aborted ||
         code == Code::internal || code == Code::unavailable || code == Code::data_loss;
}

bool is_worth_splitting(Code code, Reason reason) {
  if (code == Code::aborted && reason == Reason::cancelled) return true;
  switch (reason) {
    case Reason::out_of_memory: return true;
    case Reason::queue_full:
    case Reason::memory_full:
    case Reason::rate:
    case Reason::expected_wait:
    case Reason::breaker_open:
    case Reason::deadline_waiting:
    case Reason::deadline_running:
    case Reason::cancelled:
    case Reason::stopping:
    case Reason::model_missing:
    case Reason::model_load:
    case Reason::budget:
    case Reason::device_lost:
    case Reason::reentrant:
    case Reason::sequence_lost:
    case Reason::sequence_busy:
    case Reason::sequences_full: return false;
    default: return code != Code::unavailable && code != Code::resource_exhausted;
  }
}

}  // namespace

TEST_CASE("athanor.h has every code and every reason of the table, by name and number, and no other") {
  std::ifstream file(ATHANOR_C_HEADER);
  std::string const text(std::istreambuf_iterator<char>(file), {});
  std::map<std::string, int> codes;
  std::map<std::string, int> reasons;
  for (auto const& row : detail::code_table) codes[std::string(row.name)] = static_cast<int>(row.code);
  for (auto const& row : detail::reason_table) reasons[std::string(row.name)] = static_cast<int>(row.reason);
  CHECK(reasons == enumerators(text, "ATH_REASON_"));
  auto const first = text.find("ATH_OK = 0");
  REQUIRE(first != std::string::npos);
  CHECK(codes == enumerators("\n  " + text.substr(first, text.find("};", first) - first), "ATH_"));
}

// mutant: a code does not say whose fault a failure is
// mutant: a code does not say whether splitting helps
TEST_CASE("whose fault a failure is, and whether splitting helps, for every code and reason") {
  for (int code_number = -1; code_number <= 20; ++code_number)
    for (int reason_number = -1; reason_number <= 40; ++reason_number) {
      CAPTURE(code_number);
      CAPTURE(reason_number);
      Error const error{static_cast<Code>(code_number), static_cast<Reason>(reason_number), {}, {}};
      CHECK((breaking::outcome_of(error) == breaking::Outcome::failure) ==
            counts_against_the_model(error.code, error.reason));
      CHECK(batching::splitting_may_help(error) == is_worth_splitting(error.code, error.reason));
    }
}
