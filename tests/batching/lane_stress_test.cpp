#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include <athanor/batching/batcher.hpp>
#include <athanor/batching/detail/lane.hpp>

using namespace athanor;
using namespace athanor::batching;
using namespace std::chrono_literals;

namespace {

struct StressCall : Slot {
  std::atomic<std::uint32_t> answers{0};
  SystemWord word;
};

struct StressClient {
  std::vector<std::atomic<std::uint32_t>> inside = std::vector<std::atomic<std::uint32_t>>(2);
  std::atomic<std::uint64_t> items{0};
  std::atomic<std::uint64_t> faults{0};

  bool wanted(Slot&) noexcept { return true; }
  Result<void> begin(Batch const&) noexcept { return {}; }
  Result<void> execute(Batch const& batch) noexcept {
    if (inside[batch.instance].fetch_add(1) != 0 || batch.items > 8) ++faults;
    items += batch.items;
    inside[batch.instance].fetch_sub(1);
    return {};
  }
  void end(Batch const&, Verdict, TimePoint) noexcept {}
  void finish(Slot& slot, Error const* error, TimePoint) noexcept {
    auto& call = static_cast<StressCall&>(slot);
    if (error != nullptr || call.answers.fetch_add(1) != 0) ++faults;
    // The call may be gone once the word says so: waking is by address only.
    call.word.store(1);
    call.word.wake_all();
  }
};

constexpr int threads = 4;

template <class Body>
void on_threads(Body body) {
  std::vector<std::thread> running;
  for (int i = 0; i < threads; ++i) running.emplace_back([&body, i] { body(i); });
  for (auto& thread : running) thread.join();
}

/// A client whose `finish` keeps its thread until it is let go.
struct HeldClient : StressClient {
  SystemWord inside;
  SystemWord let_go;
  std::atomic<bool> left{false};

  void finish(Slot&, Error const*, TimePoint) noexcept {
    inside.store(1);
    inside.wake_all();
    while (let_go.load() == 0) let_go.wait_until(0, no_deadline);
    left = true;
  }
};

}  // namespace

TEST_CASE("four threads enter, withdraw and wait: nothing is lost, nothing is answered twice") {
  constexpr int rounds = 12'500;
  StressClient client;
  SystemExecutor executor(2);
  Lane<SystemEnv, Immediate, StressClient> lane({.instances = 2, .max_items = 8}, {}, client, executor);
  std::atomic<std::uint64_t> entered{0};
  std::atomic<std::uint64_t> withdrawn{0};
  on_threads([&](int thread) {
    for (int round = 0; round < rounds; ++round) {
      StressCall calls[4];
      for (int i = 0; i < 4; ++i) {
        calls[i].batch_items = 1 + static_cast<std::uint32_t>((round + i) % 11);
        calls[i].batch_key = static_cast<std::uint64_t>((thread + i) % 2);
        entered += calls[i].batch_items;
        lane.enter(calls[i], (round + i) % 3 == 0 ? LendThread::no : LendThread::yes);
      }
      if (round % 5 == 0 && lane.withdraw(calls[3])) {
        withdrawn += calls[3].batch_items;
        calls[3].word.store(1);
      }
      for (auto& call : calls)
        while (call.word.load() == 0) call.word.wait_until(0, no_deadline);
    }
  });
  CHECK(client.faults == 0);
  CHECK(client.items == entered - withdrawn);
  auto const snapshot = lane.snapshot();
  CHECK(snapshot.queued_items == 0);
}

TEST_CASE("a slot may be withdrawn while it is being entered") {
  constexpr std::uint32_t rounds = 5'000;
  StressClient client;
  SystemExecutor executor(2);
  Lane<SystemEnv, Immediate, StressClient> lane({.instances = 2, .max_items = 8}, {}, client, executor);
  StressCall call;
  SystemWord entering, left;
  auto const await = [](SystemWord& word, std::uint32_t value) {
    for (auto seen = word.load(); seen != value; seen = word.load()) word.wait_until(seen, no_deadline);
  };
  std::thread leaver([&] {
    for (std::uint32_t round = 1; round <= rounds; ++round) {
      await(entering, round);
      if (lane.withdraw(call)) {
        call.word.store(1);
        call.word.wake_all();
      }
      left.store(round);
      left.wake_all();
    }
  });
  for (std::uint32_t round = 1; round <= rounds; ++round) {
    call.word.store(0);
    call.answers = 0;
    entering.store(round);
    entering.wake_all();
    lane.enter(call, round % 2 == 0 ? LendThread::yes : LendThread::no);
    await(call.word, 1);
    await(left, round);
  }
  leaver.join();
  CHECK(client.faults == 0);
  CHECK(lane.snapshot().queued_requests == 0);
}

// mutant: an answer wakes nobody
TEST_CASE("a batcher under four threads gives everybody their own answer, also past deadlines") {
  std::atomic<std::uint64_t> wrong{0};
  {
    auto squares = *Batcher<std::uint64_t, std::uint64_t>::create(
        {.max_items = 8, .max_delay = 20us},
        [](std::span<std::uint64_t const> in, std::span<std::uint64_t> out) {
          for (std::size_t i = 0; i < in.size(); ++i) out[i] = in[i] * in[i];
        });
    on_threads([&](int thread) {
      for (std::uint64_t i = 0; i < 3000; ++i) {
        std::uint64_t const value = i * threads + static_cast<std::uint64_t>(thread);
        auto const answer = squares.run(value, i % 7 == 0 ? 15us : 10s);
        if (answer ? *answer != value * value : answer.error().code != Code::deadline_exceeded) ++wrong;
      }
    });
  }
  CHECK(wrong == 0);
}

TEST_CASE("lanes come and go while their executor lives") {
  SystemExecutor executor(2);
  StressClient client;
  for (int i = 0; i < 300; ++i) {
    Lane<SystemEnv, SizeOrDelay, StressClient> lane({.instances = 2, .max_items = 8}, SizeOrDelay{4, 10us},
                                                    client, executor);
    StressCall calls[6];
    for (auto& call : calls) lane.enter(call, LendThread::no);
    for (auto& call : calls)
      while (call.word.load() == 0) call.word.wait_until(0, no_deadline);
  }
  CHECK(client.faults == 0);
}

namespace {

/// An input whose copy takes until its deadline is over, and looks whether its caller waits for it.
struct SlowToCopy {
  std::atomic<bool>* returned = nullptr;
  std::atomic<bool>* copying = nullptr;
  std::atomic<bool>* overtaken = nullptr;
  SlowToCopy() = default;
  SlowToCopy(SlowToCopy const& other) { *this = other; }
  SlowToCopy& operator=(SlowToCopy const& other) {  // NOLINT(bugprone-unhandled-self-assignment): harmless
    returned = other.returned;
    copying = other.copying;
    overtaken = other.overtaken;
    if (copying == nullptr) return *this;
    *copying = true;
    TimePoint const late = SystemEnv::now() + 20ms;
    while (SystemEnv::now() < late && !*returned) std::this_thread::yield();
    if (*returned) *overtaken = true;
    return *this;
  }
};

}  // namespace

// mutant: a caller leaves while its input is copied
TEST_CASE("a call whose deadline passes while its input is copied returns after that") {
  std::atomic<bool> returned{false}, copying{false}, overtaken{false};
  SlowToCopy input;
  input.returned = &returned;
  input.copying = &copying;
  input.overtaken = &overtaken;
  {
    auto batcher = *Batcher<SlowToCopy, int>::create({.caller_runs = false},
                                                     [](std::span<SlowToCopy const>, std::span<int>) {});
    auto const answer = batcher.run(input, 2ms);
    returned = true;
    CHECK((answer || answer.error().code == Code::deadline_exceeded));
  }
  CHECK_FALSE(overtaken);
}

// mutant: the destructor of a lane waits for nobody
TEST_CASE("a lane that ends while its executor stops waits for the thread that is inside") {
  HeldClient client;
  SystemExecutor executor(2);
  auto lane =
      std::make_unique<Lane<SystemEnv, Immediate, HeldClient>>(LaneOptions{}, Immediate{}, client, executor);
  StressCall call;
  call.batch_items = 1;
  lane->enter(call, LendThread::no);
  while (client.inside.load() == 0) client.inside.wait_until(0, no_deadline);
  std::jthread const stopper([&] { executor.stop(no_deadline); });
  Timer timer;
  while (executor.arm(timer, no_deadline)) executor.disarm(timer);  // until it stops
  std::atomic<bool> ended{false};
  std::jthread const destroyer([&] {
    lane.reset();
    CHECK(client.left);
    ended = true;
  });
  // A destructor that does not wait ends meanwhile.
  for (int looks = 0; looks < 1000 && !ended; ++looks) std::this_thread::yield();
  client.let_go.store(1);
  client.let_go.wake_all();
}
