#include <athanor/core/metrics.hpp>

#include <atomic>
#include <latch>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <athanor/core/events.hpp>

using namespace athanor;

// mutant: a counter is set instead of added to
TEST_CASE("a counter is exact once the threads that add to it are done") {
  Counter counter;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 10000; ++i) counter.add();
    });
  for (auto& thread : threads) thread.join();
  counter.add(5);
  CHECK(counter.value() == 40005);
}

// mutant: a thread number is not given back
TEST_CASE(
    "threads that live together have different numbers, and the numbers of ended ones are given again") {
  constexpr std::size_t together = 12;
  for (int round = 0; round < 20; ++round) {
    std::latch numbered(together);
    std::mutex mutex;
    std::set<std::size_t> numbers;
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < together; ++t)
      threads.emplace_back([&] {
        std::size_t const number = detail::thread_number();
        {
          std::lock_guard const lock(mutex);
          numbers.insert(number);
        }
        numbered.arrive_and_wait();
        CHECK(detail::thread_number() == number);
      });
    for (auto& thread : threads) thread.join();
    CHECK(numbers.size() == together);
    CHECK(*numbers.rbegin() < detail::own_numbers);
  }
}

// mutant: threads without a cell of their own store instead of adding
// mutant: an ending thread counts as the owner of its cell
TEST_CASE(
    "counts and histograms are exact, with more threads than have cells of their own, one after the other "
    "too") {
  constexpr std::size_t together = 40;
  Counters<3> counters;
  Histogram histogram;
  std::atomic<int> ended_as_owners{0};
  std::atomic<std::uint64_t> sharing{0};
  struct AtExit {
    Counters<3>* counters = nullptr;
    std::atomic<int>* ended_as_owners = nullptr;
    ~AtExit() {
      counters->add(1);
      if (detail::thread_number() < detail::own_numbers) ++*ended_as_owners;
    }
  };
  for (int round = 0; round < 3; ++round) {
    std::latch ready(together);
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < together; ++t)
      threads.emplace_back([&] {
        thread_local AtExit at_exit;  // destroyed after the thread has given its number back
        at_exit.counters = &counters;
        at_exit.ended_as_owners = &ended_as_owners;
        bool const shares = detail::thread_number() >= detail::own_numbers;
        sharing += shares ? 1 : 0;
        ready.arrive_and_wait();
        // Long enough for threads of one cell to meet, also where they take turns on a processor.
        for (int i = 0; shares && i < 50'000; ++i) counters.add(2);
        for (std::uint64_t i = 1; i <= 1000; ++i) {
          counters.add(0, 2);
          histogram.record(i);
        }
      });
    for (auto& thread : threads) thread.join();
  }
  CHECK(counters.value(0) == 3 * together * 2000);
  CHECK(counters.value(1) == 3 * together);
  CHECK(sharing >= 3 * (together - detail::own_numbers));
  CHECK(counters.value(2) == sharing * 50'000);
  CHECK(ended_as_owners == 0);
  CHECK(histogram.count() == 3 * together * 1000);
  CHECK(histogram.sum() == 3 * together * 500'500);
  CHECK(histogram.count_up_to_power(9) == 3 * together * 512);
  CHECK(histogram.quantile(0.5) == 512);
}

// mutant: a bucket is found by the wrong bits
TEST_CASE("every value lies in a bucket whose upper edge is at most a sixteenth above it") {
  std::size_t last = 0;
  for (std::uint64_t value = 1; value < (1ULL << 43); value += value / 7 + 1) {
    auto const bucket = Histogram::bucket_of(value);
    CHECK(bucket >= last);
    last = bucket;
    CHECK(Histogram::upper_edge(bucket) >= value);
    CHECK(static_cast<double>(Histogram::upper_edge(bucket)) <= static_cast<double>(value) * 1.0625 + 1);
    if (bucket > 0) CHECK(Histogram::upper_edge(bucket - 1) < value);
  }
  CHECK(Histogram::bucket_of(0) == 0);
  CHECK(Histogram::bucket_of(~0ULL) == Histogram::bucket_count - 1);
}

// mutant: a power of two is counted in the bucket above
TEST_CASE("classic buckets at powers of two are exact, their edges included") {
  Histogram histogram;
  for (std::uint64_t value : {1U, 7U, 8U, 8U, 9U, 16U, 17U, 1000U}) histogram.record(value);
  CHECK(histogram.count_up_to_power(0) == 1);
  CHECK(histogram.count_up_to_power(3) == 4);
  CHECK(histogram.count_up_to_power(4) == 6);
  CHECK(histogram.count_up_to_power(10) == 8);
  CHECK(histogram.count() == 8);
  CHECK(histogram.sum() == 1066);
  CHECK(histogram.quantile(0.5) == 8);
  CHECK(histogram.quantile(1.0) >= 1000);
  CHECK(Histogram().quantile(0.5) == 0);
}

// mutant: a quantile rounds its rank down
TEST_CASE("a quantile between two values is the upper one's") {
  Histogram histogram;
  for (std::uint64_t const value : {1U, 2U, 1000U}) histogram.record(value);
  CHECK(histogram.quantile(0.5) == 2);
  CHECK(histogram.quantile(0.67) >= 1000);
}

// mutant: samples of one name are not kept together
TEST_CASE("samples of one name stand together under one help and type line") {
  MetricsText text;
  text.counter("athanor_requests_total", "Requests.", {{"model", "a"}}, 3);
  text.gauge("athanor_held_items", "Items held.", {}, 2);
  text.counter("athanor_requests_total", "Requests.", {{"model", "b\"\\\n"}}, 4);
  CHECK(text.text() ==
        "# HELP athanor_requests_total Requests.\n# TYPE athanor_requests_total counter\n"
        "athanor_requests_total{model=\"a\"} 3\nathanor_requests_total{model=\"b\\\"\\\\\\n\"} 4\n"
        "# HELP athanor_held_items Items held.\n# TYPE athanor_held_items gauge\nathanor_held_items 2\n");
}

// mutant: a histogram has no last bucket
TEST_CASE("a histogram is exported as cumulative buckets with sum and count") {
  Histogram histogram;
  histogram.record(1);
  histogram.record(100'000);
  MetricsText text;
  text.histogram("athanor_batch_items", "Items of a batch.", {{"model", "a"}}, histogram,
                 HistogramUnit::count);
  auto const out = text.text();
  CHECK(out.find("athanor_batch_items_bucket{model=\"a\",le=\"1\"} 1\n") != std::string::npos);
  CHECK(out.find("athanor_batch_items_bucket{model=\"a\",le=\"65536\"} 1\n") != std::string::npos);
  CHECK(out.find("athanor_batch_items_bucket{model=\"a\",le=\"+Inf\"} 2\n") != std::string::npos);
  CHECK(out.find("athanor_batch_items_sum{model=\"a\"} 100001\n") != std::string::npos);
  CHECK(out.find("athanor_batch_items_count{model=\"a\"} 2\n") != std::string::npos);
}

TEST_CASE("times are exported in seconds") {
  Histogram histogram;
  histogram.record(2'000'000);
  MetricsText text;
  text.histogram("athanor_run_seconds", "Time of a run.", {}, histogram, HistogramUnit::nanoseconds);
  auto const out = text.text();
  CHECK(out.find("athanor_run_seconds_bucket{le=\"0.001048576\"} 0\n") != std::string::npos);
  CHECK(out.find("athanor_run_seconds_bucket{le=\"0.002097152\"} 1\n") != std::string::npos);
  CHECK(out.find("athanor_run_seconds_sum 0.002\n") != std::string::npos);
}

// mutant: every event is told as information
TEST_CASE("events reach the sink as one line, and are dropped without a sink") {
  std::vector<std::pair<Level, std::string>> lines;
  Sink const sink{[](void* context, Level level, std::string_view message) noexcept {
                    static_cast<decltype(lines)*>(context)->emplace_back(level, message);
                  },
                  &lines};
  emit(sink, {EventKind::model_loaded, "tg", "1.0.0", "took 1.2 s"});
  emit(sink, {EventKind::model_load_failed, "tg", "", std::string(3000, 'x')});
  emit(Sink{}, {EventKind::model_loaded, "tg", "1.0.0", ""});
  REQUIRE(lines.size() == 2);
  CHECK(lines[0].first == Level::info);
  CHECK(lines[0].second == "model_loaded model=tg version=1.0.0: took 1.2 s");
  CHECK(lines[1].first == Level::warning);
  CHECK(lines[1].second.size() == 1024);
}
