// Only in a library with ATHANOR_RECORD_WRITES: what it tells of the words that are not an environment's.
#ifdef ATHANOR_RECORDS_WRITES
#include <thread>

#include <doctest/doctest.h>
#include <athanor/core/metrics.hpp>
#include <athanor/core/tensor.hpp>
#include <support/recorded_env.hpp>

using namespace athanor;
using athanor_tests::Recorder;

namespace {

/// Two threads, both there all the time.
template <class Act>
void act_as_two(Act act) {
  athanor_tests::RecordsCounts const records;
  Recorder::clear();
  auto const as = [&](int caller) {
    Recorder::caller = caller;
    act();
    Recorder::caller = 0;
  };
  as(1);
  std::thread([&] { as(2); }).join();
}

}  // namespace

TEST_CASE("a recording library tells who writes the count of those who hold a buffer") {
  Buffer const buffer = Buffer::allocate(64);
  act_as_two([&] { Buffer const copy = buffer; });
  CHECK(Recorder::writers.size() == 1);
  CHECK(Recorder::shared() == 1);
  act_as_two([] { Buffer::allocate(64); });
  CHECK(Recorder::writers.size() != 0);
}

TEST_CASE("two threads add to cells and buckets of their own") {
  Counter counter;
  Histogram histogram;
  act_as_two([&] {
    counter.add();
    histogram.record(3);
  });
  CHECK(Recorder::writers.size() >= 4);
  CHECK(Recorder::shared() == 0);
}
#endif
