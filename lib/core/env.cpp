#include <athanor/core/env.hpp>

#include <algorithm>
#include <climits>
#include <random>

#include <athanor/core/detail/split_mix.hpp>

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <cerrno>
#include <ctime>
#else
#include <athanor/core/detail/portable_park.hpp>
#endif

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <unistd.h>
#endif

namespace athanor::inline v1 {

#if defined(__linux__)

bool SystemWord::wait_until(std::uint32_t expected, TimePoint deadline) noexcept {
  timespec absolute{};
  timespec* limit = nullptr;
  if (deadline != no_deadline) {
    auto const since = std::max<std::int64_t>(deadline.time_since_epoch().count(), 0);
    absolute.tv_sec = since / 1'000'000'000;
    absolute.tv_nsec = since % 1'000'000'000;
    limit = &absolute;
  }
  long const rc = ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&value_), FUTEX_WAIT_BITSET_PRIVATE,
                            expected, limit, nullptr, FUTEX_BITSET_MATCH_ANY);
  return !(rc == -1 && errno == ETIMEDOUT);
}

void SystemWord::wake_all() noexcept {
  ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&value_), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr,
            nullptr, 0);
}

#else

bool SystemWord::wait_until(std::uint32_t expected, TimePoint deadline) noexcept {
  return detail::park_portably(value_, expected, deadline);
}

void SystemWord::wake_all() noexcept { detail::wake_portably(&value_); }

#endif

namespace {

std::atomic<std::uint64_t> forks_so_far{0};

/// From the system; where it has none to give, from the clock and from where things lie in memory.
std::uint64_t system_seed() noexcept {
  try {
    std::random_device device;
    return (static_cast<std::uint64_t>(device()) << 32) ^ device();
  } catch (...) {
    auto const time = static_cast<std::uint64_t>(SystemEnv::now().time_since_epoch().count());
    return detail::split_mix(time) ^ detail::split_mix(reinterpret_cast<std::uintptr_t>(&time));
  }
}

/// Where the sequence of one more thread begins. A child of a fork goes other ways than its parent.
std::uint64_t next_sequence() noexcept {
  static std::uint64_t const seed = system_seed();
  static std::atomic<std::uint64_t> sequences{0};
  std::uint64_t process = 0;
#if defined(__unix__) || defined(__APPLE__)
  process = detail::split_mix(static_cast<std::uint64_t>(::getpid()));
#endif
  return detail::split_mix((seed ^ process) +
                           detail::split_mix_step * sequences.fetch_add(1, std::memory_order_relaxed));
}

}  // namespace

std::uint64_t SystemEnv::forks() noexcept {
#if defined(__unix__) || defined(__APPLE__)
  static int const counted =
      ::pthread_atfork(nullptr, nullptr, [] { forks_so_far.fetch_add(1, std::memory_order_relaxed); });
  static_cast<void>(counted);
#endif
  return forks_so_far.load(std::memory_order_relaxed);
}

std::uint64_t SystemEnv::random() noexcept {
  thread_local std::uint64_t state = 0;
  thread_local std::uint64_t begun_after = static_cast<std::uint64_t>(-1);  // forks
  if (std::uint64_t const forks = SystemEnv::forks(); begun_after != forks) {
    begun_after = forks;
    state = next_sequence();
  }
  return detail::split_mix(state += detail::split_mix_step);
}

}  // namespace athanor::inline v1
