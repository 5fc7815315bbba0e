/// What a piece of code executes, counted and not timed: a child process steps through it, one instruction
/// at a time. Linux on x86-64; elsewhere, and where a process may not trace its child, nothing is known.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <support/figure.hpp>

#if defined(__linux__) && defined(__x86_64__)
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>
#endif

namespace athanor::benchmarks {

struct Executed {
  std::int64_t instructions = 0;
  std::int64_t locked = 0;  ///< of these, with a lock prefix or an exchange with memory
  std::int64_t system_calls = 0;
};

#if defined(__linux__) && defined(__x86_64__)
namespace detail {

/// Counts the instruction that begins with these bytes.
inline void count_instruction(std::array<unsigned char, 16> const& code, Executed& executed) {
  std::size_t at = 0;
  bool lock = false;
  constexpr std::array<unsigned char, 11> prefixes{0x66, 0x67, 0x2e, 0x36, 0x3e, 0x26,
                                                   0x64, 0x65, 0xf2, 0xf3, 0xf0};
  for (; std::memchr(prefixes.data(), code[at], prefixes.size()) != nullptr; ++at)
    lock = lock || code[at] == 0xf0;
  if ((code[at] & 0xf0) == 0x40) ++at;  // REX
  bool const exchange = (code[at] == 0x86 || code[at] == 0x87) && code[at + 1] < 0xc0;
  ++executed.instructions;
  executed.locked += lock || exchange ? 1 : 0;
  executed.system_calls += code[at] == 0x0f && code[at + 1] == 0x05 ? 1 : 0;
}

/// Steps through the stopped child until it stops itself. Nothing when it does not get there.
inline std::optional<Executed> step_through(pid_t child) {
  Executed executed;
  for (;;) {
    user_regs_struct registers{};
    if (ptrace(PTRACE_GETREGS, child, nullptr, &registers) != 0) return std::nullopt;
    std::array<unsigned char, 16> code{};
    for (std::size_t word = 0; word < code.size(); word += sizeof(long)) {
      long const bytes = ptrace(PTRACE_PEEKTEXT, child, registers.rip + word, nullptr);
      std::memcpy(code.data() + word, &bytes, sizeof(bytes));
    }
    count_instruction(code, executed);
    int status = 0;
    if (ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr) != 0 || waitpid(child, &status, 0) != child ||
        !WIFSTOPPED(status))
      return std::nullopt;
    if (WSTOPSIG(status) == SIGSTOP) return executed;
  }
}

/// `prepare()`, in the child, returns what is to be counted: a callable that says whether all went well.
template <class Prepare>
std::optional<Executed> executed_by_child(Prepare prepare) {
  pid_t const child = fork();
  if (child < 0) return std::nullopt;
  if (child == 0) {
    auto const measured = prepare();
    if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(1);
    raise(SIGSTOP);
    bool const right = measured();
    raise(SIGSTOP);
    _exit(right ? 0 : 1);
  }
  int status = 0;
  std::optional<Executed> executed;
  if (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
    executed = step_through(child);
    ptrace(PTRACE_CONT, child, nullptr, nullptr);
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
      executed = std::nullopt;
  }
  return executed;
}

}  // namespace detail

/// `prepare()`, in a child process, returns what is to be
/// counted: a callable that says whether all went well.
template <class Prepare>
std::optional<Executed> executed_by(Prepare prepare) {
  auto const all = detail::executed_by_child(prepare);
  auto const nothing = detail::executed_by_child([] { return [] { return true; }; });
  if (!all || !nothing) return std::nullopt;
  return Executed{all->instructions - nothing->instructions, all->locked - nothing->locked,
                  all->system_calls - nothing->system_calls};
}
#else
template <class Prepare>
std::optional<Executed> executed_by(Prepare) {
  return std::nullopt;
}
#endif

/// Reports the figures PREFIXinstructions, PREFIXlocked-instructions
/// and PREFIXsystem-calls of what `prepare()` returns.
template <class Prepare>
void measure_executed(Figures& figures, std::string const& prefix, Prepare prepare) {
  std::string const all = prefix + "instructions";
  std::string const locked = prefix + "locked-instructions";
  std::string const system = prefix + "system-calls";
  bool const wants_all = figures.wants(all);
  bool const wants_locked = figures.wants(locked);
  bool const wants_system = figures.wants(system);
  if (!wants_all && !wants_locked && !wants_system) return;
  auto const executed = executed_by(prepare);
  if (!executed) return figures.fail(all, "the instructions of a call cannot be counted here");
  auto const report = [&](bool wanted, std::string const& name, std::int64_t value, std::optional<Aim> aim) {
    if (wanted)
      figures.report({.name = name, .value = static_cast<double>(value), .unit = "per call", .aim = aim});
  };
  report(wants_all, all, executed->instructions, std::nullopt);
  report(wants_locked, locked, executed->locked, at_most(16.0));
  report(wants_system, system, executed->system_calls, at_most(0.0));
}

}  // namespace athanor::benchmarks
