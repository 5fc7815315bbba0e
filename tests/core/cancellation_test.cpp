#include <athanor/core/cancellation.hpp>

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <thread>

namespace {

using namespace athanor;

struct Counted : CancelHook {
  Counted() {
    cancelled = [](CancelHook& self) noexcept { ++static_cast<Counted&>(self).times; };
  }
  int times = 0;
};

// mutant: a cancelled hook is still linked
TEST_CASE("a cancel calls every linked hook once, and refuses every later one") {
  Cancellation cancellation;
  std::array<Counted, 3> hooks;
  for (auto& hook : hooks) CHECK(cancellation.link(hook));
  CHECK_FALSE(cancellation.is_cancelled());
  cancellation.cancel();
  cancellation.cancel();
  CHECK(cancellation.is_cancelled());
  for (auto const& hook : hooks) {
    CHECK(hook.times == 1);
    CHECK_FALSE(hook.linked);
  }
  Counted late;
  CHECK_FALSE(cancellation.link(late));
  CHECK(late.times == 0);
  for (auto& hook : hooks) cancellation.unlink(hook);
}

// mutant: a hook that leaves stays in the list
// mutant: the hook behind one that leaves does not learn it
TEST_CASE("an unlinked hook is not called, wherever it stood, and the others are") {
  for (bool const newest_first : {false, true})
    for (unsigned gone = 0; gone < 8; ++gone) {
      Cancellation cancellation;
      std::array<Counted, 3> hooks;
      for (auto& hook : hooks) cancellation.link(hook);
      for (unsigned turn = 0; turn < 3; ++turn) {
        unsigned const i = newest_first ? 2 - turn : turn;
        if ((gone >> i & 1U) == 0) continue;
        cancellation.unlink(hooks[i]);
        cancellation.unlink(hooks[i]);
      }
      cancellation.cancel();
      for (unsigned i = 0; i < 3; ++i) CHECK(hooks[i].times == ((gone >> i & 1U) != 0 ? 0 : 1));
    }
}

// mutant: a hook is linked without being put into the list
TEST_CASE("a hook that was unlinked can be linked again, also to another cancellation") {
  Cancellation first;
  Cancellation second;
  Counted hook;
  first.link(hook);
  first.unlink(hook);
  CHECK(second.link(hook));
  first.cancel();
  CHECK(hook.times == 0);
  second.cancel();
  CHECK(hook.times == 1);
}

// mutant: hooks are called outside of the mutex
TEST_CASE("once unlink has returned, the hook is not being called") {
  struct Fragile : CancelHook {
    std::atomic<bool> alive{true};
    std::atomic<bool>* called_dead = nullptr;
  };
  std::atomic<bool> called_dead{false};
  for (int round = 0; round < 300; ++round) {
    Cancellation cancellation;
    Fragile hook;
    hook.called_dead = &called_dead;
    hook.cancelled = [](CancelHook& self) noexcept {
      auto& fragile = static_cast<Fragile&>(self);
      for (int look = 0; look < 50; ++look) {
        if (!fragile.alive) *fragile.called_dead = true;
        std::this_thread::yield();
      }
    };
    CHECK(cancellation.link(hook));
    std::atomic<bool> ready{false};
    std::thread canceller([&] {
      ready = true;
      ready.notify_all();
      cancellation.cancel();
    });
    ready.wait(false);
    cancellation.unlink(hook);
    hook.alive = false;
    canceller.join();
  }
  CHECK_FALSE(called_dead.load());
}

}  // namespace
