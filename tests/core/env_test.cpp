#include <athanor/core/detail/portable_park.hpp>
#include <athanor/core/env.hpp>

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <new>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <core/waits.hpp>

namespace {

using namespace athanor;
using namespace athanor_tests;
using namespace std::chrono_literals;

// mutant: after adds without a look at overflow
TEST_CASE("deadlines saturate") {
  CHECK(after(TimePoint{} + 5s, 2s) == TimePoint{} + 7s);
  CHECK(after(TimePoint{} + 5s, Duration::max()) == no_deadline);
  CHECK(after(no_deadline, 1ns) == no_deadline);
}

// mutant: every return from a wait is called a wake-up
TEST_CASE("a wait whose deadline is past returns at once and says so") {
  SystemWord word;
  CHECK_FALSE(word.wait_until(0, TimePoint{}));
  CHECK_FALSE(word.wait_until(0, TimePoint{} - 1h));
  CHECK_FALSE(word.wait_until(0, SystemEnv::now()));
}

TEST_CASE("a word that has changed already is not waited for") {
  SystemWord word;
  word.store(1);
  CHECK(word.wait_until(0, give_up()));
  CHECK(word.exchange(6) == 1);
  CHECK(word.fetch_or(1) == 6);
  CHECK(word.fetch_and(5) == 7);
  std::uint32_t expected = 4;
  CHECK_FALSE(word.compare_exchange(expected, 9));
  CHECK(expected == 5);
  CHECK(word.compare_exchange(expected, 9));
  CHECK(word.load() == 9);
}

// mutant: a wake-up wakes nobody
TEST_CASE("a parked thread is woken, a thousand times in turn") {
  SystemWord ping;
  SystemWord pong;
  bool answered = true;
  std::thread other([&] {
    for (std::uint32_t round = 1; answered && round <= 1000; ++round) {
      if (!reaches(ping, round)) return;
      pong.store(round);
      pong.wake_all();
    }
  });
  for (std::uint32_t round = 1; round <= 1000; ++round) {
    ping.store(round);
    ping.wake_all();
    if (reaches(pong, round)) continue;
    FAIL_CHECK("nobody woke");
    break;
  }
  other.join();
}

// mutant: a wake-up wakes one thread
TEST_CASE("all threads that are parked are woken") {
  SystemWord gate;
  SystemWord waiting;
  std::array<bool, 4> passed{};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < passed.size(); ++i)
    threads.emplace_back([&, i] {
      waiting.fetch_or(1U << i);
      waiting.wake_all();
      passed[i] = gate.wait_until(0, give_up());
    });
  CHECK(reaches(waiting, 0b1111));
  gate.store(1);
  gate.wake_all();
  for (auto& thread : threads) thread.join();
  for (bool const mine : passed) CHECK(mine);
}

// mutant: threads draw equal random numbers
TEST_CASE("random bits differ from draw to draw and from thread to thread") {
  std::uint64_t there = 0;
  std::thread([&] { there = SystemEnv::random(); }).join();
  auto const here = SystemEnv::random();
  CHECK(here != there);
  CHECK(SystemEnv::random() != here);
}

TEST_CASE("where there is no futex, a woken thread may destroy the word that it was parked on") {
  bool answered = true;
  for (int round = 0; answered && round < 300; ++round) {
    // On a page of its own, so that who touches it later than it lives is seen in every build.
    void* const page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(page != MAP_FAILED);
    auto* const word = new (page) std::atomic<std::uint32_t>{0};
    std::thread parked([word, page, &answered] {
      while (word->load() == 0 && answered) answered = detail::park_portably(*word, 0, give_up());
      ::munmap(page, 4096);
    });
    void const* const address = word;
    word->store(1);
    detail::wake_portably(address);
    parked.join();
  }
  CHECK(answered);
  std::atomic<std::uint32_t> const quiet{0};
  CHECK_FALSE(detail::park_portably(quiet, 0, TimePoint{}));
}

}  // namespace
