// Who writes which memory.
#include <map>
#include <set>

#include <doctest/doctest.h>

#include "puppet_client.hpp"

using namespace athanor;
using namespace athanor::batching;
using namespace std::chrono_literals;

namespace {

/// Which callers wrote to which line of memory.
struct Recorder {
  static inline int caller = 0;
  static inline std::map<std::uintptr_t, std::set<int>> writers;
  static void write(void const* at) { writers[reinterpret_cast<std::uintptr_t>(at) / 64].insert(caller); }
};

template <class T>
class RecordedAtomic {
 public:
  RecordedAtomic(T value = {}) : value_(value) {}
  T load(std::memory_order = std::memory_order_seq_cst) const { return value_; }
  void store(T value, std::memory_order = std::memory_order_seq_cst) { exchange(value); }
  T exchange(T value, std::memory_order = std::memory_order_seq_cst) {
    Recorder::write(this);
    return std::exchange(value_, value);
  }
  T fetch_add(T by, std::memory_order) { return exchange(static_cast<T>(value_ + by)); }
  T fetch_sub(T by, std::memory_order) { return exchange(static_cast<T>(value_ - by)); }
  T fetch_or(T bits, std::memory_order) { return exchange(static_cast<T>(value_ | bits)); }
  T fetch_and(T bits, std::memory_order) { return exchange(static_cast<T>(value_ & bits)); }
  bool compare_exchange_strong(T& expected, T value, std::memory_order,
                               std::memory_order = std::memory_order_seq_cst) {
    T const old = exchange(value_ == expected ? value : value_);
    return old == std::exchange(expected, old);
  }
  bool compare_exchange_weak(T& expected, T value, std::memory_order order,
                             std::memory_order = std::memory_order_seq_cst) {
    return compare_exchange_strong(expected, value, order);
  }

 private:
  T value_;
};

class RecordedWord : public SimulatedWord {
 public:
  void store(std::uint32_t value) noexcept { record().store(value); }
  std::uint32_t exchange(std::uint32_t value) noexcept { return record().exchange(value); }
  std::uint32_t fetch_or(std::uint32_t bits) noexcept { return record().fetch_or(bits); }
  std::uint32_t fetch_and(std::uint32_t bits) noexcept { return record().fetch_and(bits); }
  bool compare_exchange(std::uint32_t& expected, std::uint32_t desired) noexcept {
    return record().compare_exchange(expected, desired);
  }

 private:
  SimulatedWord& record() {
    Recorder::write(this);
    return *this;
  }
};

struct RecordedEnv : SimulatedEnv {
  template <class T>
  using Atomic = RecordedAtomic<T>;
  using Word = RecordedWord;
};
static_assert(Environment<RecordedEnv>);

struct Writers {
  Simulation world{1};
  SimulatedExecutor executor{2};
  PuppetClient client{2};
  Lane<RecordedEnv, Immediate, PuppetClient> lane{{.instances = 2}, {}, client, executor};
  TestCall calls[3];

  /// The callers run inside one another, so that they are there at the same time.
  void overlap(int callers) {
    client.during = [this, callers](Batch const&) {
      world.advance(1us);
      if (Recorder::caller < callers) enter(Recorder::caller + 1);
    };
    enter(1);
  }
  void enter(int caller) {
    int const outer = std::exchange(Recorder::caller, caller);
    calls[caller - 1].finished = 0;
    lane.enter(calls[caller - 1], LendThread::yes);
    Recorder::caller = outer;
  }
};

}  // namespace

// mutant: counters or a cost model of the lane's own; a mutex on the way of a lone caller
TEST_CASE("two callers at two instances write no common memory of the lane, a lone one a single line") {
  Writers writers;
  for (int i = 0; i < 20; ++i) writers.overlap(2);
  Recorder::writers.clear();
  for (int i = 0; i < 100; ++i) writers.overlap(2);
  CHECK(Recorder::writers.size() == 2);
  for (auto const& [line, callers] : Recorder::writers) CHECK(callers.size() == 1);
  for (auto const& call : writers.calls) CHECK(call.finished == (&call == &writers.calls[2] ? 0 : 1));

  Recorder::writers.clear();
  for (int i = 0; i < 100; ++i) writers.overlap(1);
  CHECK(Recorder::writers.size() == 1);

  // A third one finds no idle instance, and queues.
  Recorder::writers.clear();
  writers.overlap(3);
  CHECK(Recorder::writers.size() > 2);
  writers.client.during = nullptr;
  writers.world.run_until_idle();
  CHECK(writers.calls[2].finished == 1);
}
