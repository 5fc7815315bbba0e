// What the engine itself costs a caller: latency, allocations, throughput. The response cache is off. Every
// answer is checked.
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include <serving/counting_allocator.hpp>
#include <serving/measures.hpp>
#include <serving/subject.hpp>

using namespace athanor;
using namespace athanor::benchmarks;

namespace {

/// Requests per second of `threads` closed-loop callers over `calls` each; 0 when an answer was wrong.
template <class Call>
double closed_loop(int threads, int calls, Call call) {
  std::atomic<int> wrong{0};
  double const seconds = seconds_of([&] {
    std::vector<std::jthread> callers;
    for (int t = 0; t < threads; ++t)
      callers.emplace_back([&, t] {
        Caller caller(static_cast<float>(t + 1));
        for (int i = 0; i < calls; ++i)
          if (!call(caller)) wrong.fetch_add(1);
      });
  });
  return wrong.load() != 0 ? 0 : threads * calls / seconds;
}

/// What most servers do: one worker behind a mutex and a condition variable, every request handed over and
/// back.
class Worker {
 public:
  Worker() : thread_([this] { serve(); }) {}
  ~Worker() {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    work_.notify_one();
  }
  bool call(Caller& caller) {
    Job job{caller.values, {}, false};
    std::unique_lock lock(mutex_);
    queue_.push_back(&job);
    work_.notify_one();
    done_.wait(lock, [&] { return job.done; });
    return job.output[0] == caller.values[0];
  }

 private:
  struct Job {
    float const* input;
    float output[width];
    bool done;
  };
  void serve() {
    std::vector<Job*> batch;
    std::unique_lock lock(mutex_);
    for (;;) {
      work_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      while (!queue_.empty() && batch.size() < 32) {
        batch.push_back(queue_.front());
        queue_.pop_front();
      }
      lock.unlock();
      for (Job* job : batch) std::memcpy(job->output, job->input, sizeof(job->output));
      lock.lock();
      for (Job* job : batch) job->done = true;
      batch.clear();
      done_.notify_all();
    }
  }
  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable done_;
  std::deque<Job*> queue_;
  bool stopping_ = false;
  std::jthread thread_;
};

void measure_latency(Figures& figures) {
  if (!figures.wants("engine.idle-latency") && !figures.wants("engine.idle-latency-p99")) return;
  Subject subject;
  Caller caller;
  auto const call = [&] { return caller.call(subject.model); };
  microseconds_of_each(20'000, call);
  std::vector<double> middles;
  std::vector<double> tails;
  for (int i = 0; i < 9; ++i) {
    auto const times = microseconds_of_each(50'000, call);
    if (times.empty()) return figures.fail("engine.idle-latency", "a wrong answer");
    middles.push_back(quantile(times, 0.5));
    tails.push_back(quantile(times, 0.99));
  }
  auto const middle = summarise(middles);
  auto const tail = summarise(tails);
  if (figures.wants("engine.idle-latency"))
    figures.report({.name = "engine.idle-latency",
                    .value = middle.median,
                    .unit = "us p50",
                    .spread = middle.spread,
                    .aim = at_most(1.0)});
  if (figures.wants("engine.idle-latency-p99"))
    figures.report(
        {.name = "engine.idle-latency-p99", .value = tail.median, .unit = "us", .spread = tail.spread});
}

void measure_allocations(Figures& figures) {
  if (!figures.wants("engine.allocations")) return;
  Subject subject;
  Caller caller;
  for (int i = 0; i < 10'000; ++i) caller.call(subject.model);
  std::uint64_t const before = allocations();
  constexpr int calls = 100'000;
  for (int i = 0; i < calls; ++i)
    if (!caller.call(subject.model)) return figures.fail("engine.allocations", "a wrong answer");
  auto const made = static_cast<double>(allocations() - before);
  figures.report(
      {.name = "engine.allocations", .value = made / calls, .unit = "per call", .aim = at_most(0.0)});
}

void measure_throughput(Figures& figures) {
  std::string const name = "engine.throughput";
  std::string const rate_name = "engine.throughput-rate";
  bool const wants_ratio = figures.wants(name);
  bool const wants_rate = figures.wants(rate_name);
  if (!wants_ratio && !wants_rate) return;
  Subject subject;
  Worker worker;
  constexpr int threads = 4;
  std::vector<double> rates;
  std::vector<double> ratios;
  for (int i = 0; i < 9; ++i) {
    double const ours =
        closed_loop(threads, 100'000, [&](Caller& caller) { return caller.call(subject.model); });
    double const theirs = closed_loop(threads, 20'000, [&](Caller& caller) { return worker.call(caller); });
    if (ours == 0 || theirs == 0) return figures.fail(name, "a wrong answer");
    rates.push_back(ours / 1e6);
    ratios.push_back(ours / theirs);
  }
  auto const rate = summarise(rates);
  auto const ratio = summarise(ratios);
  if (wants_ratio)
    figures.report({.name = name,
                    .value = ratio.median,
                    .unit = "x of a mutex and condition-variable worker",
                    .spread = ratio.spread,
                    .aim = at_least(4.0)});
  if (wants_rate)
    figures.report({.name = rate_name, .value = rate.median, .unit = "M requests/s", .spread = rate.spread});
}

}  // namespace

int main(int argc, char** argv) {
  Figures figures(argc, argv);
  measure_latency(figures);
  measure_allocations(figures);
  measure_throughput(figures);
  measure_scaling(figures);
  measure_async(figures);
  measure_deadline(figures);
  measure_life(figures);
  measure_work(figures);
  measure_processor(figures);
  measure_lengths(figures);
  measure_streams(figures);
  return figures.exit_code();
}
