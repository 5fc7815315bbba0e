#include <simulation/sequences.hpp>

#include <iterator>

namespace athanor_tests {

std::string SequenceFacts::judge(Order from, std::uint32_t value, StateSeen const& seen) {
  if (lost != 0 && lost < from) return "a value of a sequence whose state is lost";
  auto const [step, is_new] = steps.insert({seen.calls, {seen.mix, value}});
  if (!is_new) return "two calls of a sequence that found the same state";
  if (seen.calls == 0 && seen.mix != 0) return "a sequence that does not begin with an empty state";
  auto const fits = [](auto const& one, auto const& next) {
    return next->first != one->first + 1 ||
           step_state({one->first, one->second.mix}, one->second.value).mix == next->second.mix;
  };
  bool const right = (step == steps.begin() || fits(std::prev(step), step)) &&
                     (std::next(step) == steps.end() || fits(step, std::next(step)));
  return right ? "" : "a state that is not what the call before left";
}

std::string SequenceFacts::judge_whole() const {
  if (steps.empty() || std::prev(steps.end())->first + 1 == steps.size()) return "";
  return "a state that was stepped by a call without an answer";
}

}  // namespace athanor_tests
