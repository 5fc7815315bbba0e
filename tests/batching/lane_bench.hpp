/// A lane with its world and client, and the calls that a test makes.
#pragma once

#include <deque>

#include "puppet_client.hpp"

namespace athanor::batching {

/// A lane with its world and client. `threads` executor threads.
template <class Policy = Immediate>
struct Bench {
  Simulation world{1};
  SimulatedExecutor executor;
  PuppetClient client;
  SimulatedLane<Policy> lane;

  explicit Bench(LaneOptions options = {}, Policy policy = {}, std::size_t threads = 4)
      : executor(threads), client(options.instances), lane(options, policy, client, executor) {
    client.max_items = options.max_items;
    client.max_cost = options.max_cost;
  }

  std::deque<TestCall> calls;
  TestCall& call(std::uint32_t items = 1, std::uint64_t key = 0) {
    auto& made = calls.emplace_back();
    made.batch_items = items;
    made.batch_key = key;
    return made;
  }
  TestCall& enter(std::uint32_t items = 1, std::uint64_t key = 0) {
    auto& made = call(items, key);
    lane.enter(made, LendThread::no);
    return made;
  }
  bool all_succeeded_once() const {
    for (auto const& made : calls)
      if (made.finished != 1 || !made.succeeded) return false;
    return true;
  }
};

}  // namespace athanor::batching
