// Asynchronous calls: one thread submits and keeps 64 outstanding,
// beside a batcher as it is usually written, in the same run.
#include <sys/resource.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <semaphore>
#include <thread>

#include <serving/measures.hpp>
#include <serving/subject.hpp>

namespace athanor::benchmarks {

namespace {

constexpr std::size_t outstanding = 64;
constexpr int calls = 200'000;

/// One of the calls that are outstanding.
struct Slot {
  float values[width] = {};
  std::atomic<bool> free{true};
  std::counting_semaphore<>* done = nullptr;
  std::atomic<int>* wrong = nullptr;

  void end(float answer) {
    if (answer != values[0]) wrong->fetch_add(1);
    free.store(true, std::memory_order_release);
    done->release();
  }
  void on_answer(Result<Answer> answer) noexcept { end(answer ? answer->outputs[0].as<float>()[0] : -1); }
};

/// Completions per second; 0 when an answer was wrong. `submit` is told which slot to send.
template <class Submit>
double rate_of(Submit submit) {
  std::counting_semaphore<> done(outstanding);
  std::atomic<int> wrong{0};
  std::array<Slot, outstanding> slots;
  for (Slot& slot : slots) slot.done = &done, slot.wrong = &wrong;
  double const seconds = seconds_of([&] {
    std::size_t next = 0;
    for (int i = 0; i < calls; ++i) {
      done.acquire();
      while (!slots[next].free.exchange(false, std::memory_order_acquire)) next = (next + 1) % outstanding;
      slots[next].values[0] = static_cast<float>(i % 4096);
      if (!submit(slots[next])) slots[next].end(-1);
      next = (next + 1) % outstanding;
    }
    for (std::size_t i = 0; i < outstanding; ++i) done.acquire();
  });
  return wrong.load() != 0 ? 0 : calls / seconds;
}

/// A queue behind a mutex and a condition variable, and one
/// worker that runs what has come in batches of up to 32.
class BareBatcher {
 public:
  BareBatcher() : thread_([this] { serve(); }) {}
  ~BareBatcher() {
    std::lock_guard const lock(mutex_);
    stopping_ = true;
    work_.notify_one();
  }
  bool submit(Slot& slot) {
    {
      std::lock_guard const lock(mutex_);
      queue_.push_back(&slot);
    }
    work_.notify_one();
    return true;
  }

 private:
  void serve() {
    std::vector<Slot*> batch;
    std::vector<float> input;
    std::vector<float> output;
    std::unique_lock lock(mutex_);
    for (;;) {
      work_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      for (; !queue_.empty() && batch.size() < 32; queue_.pop_front()) batch.push_back(queue_.front());
      lock.unlock();
      for (Slot* slot : batch) input.insert(input.end(), slot->values, slot->values + width);
      output = input;
      for (std::size_t i = 0; i < batch.size(); ++i) batch[i]->end(output[i * width]);
      batch.clear();
      input.clear();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable work_;
  std::deque<Slot*> queue_;
  bool stopping_ = false;
  std::jthread thread_;
};

/// How often threads of this process have slept, so far.
double sleeps() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_nvcsw);
}

}  // namespace

void measure_async(Figures& figures) {
  bool const rate = figures.wants("engine.async-rate");
  bool const ratio = figures.wants("engine.async-ratio");
  bool const wakes = figures.wants("engine.async-sleeps");
  bool const batch = figures.wants("engine.async-batch");
  if (!rate && !ratio && !wakes && !batch) return;
  Subject subject;
  BareBatcher bare;
  auto const ours = [&] {
    return rate_of([&](Slot& slot) {
      return subject.model
          .submit({{"x", Tensor::view<float>(slot.values, Shape{1, width})}}, {},
                  callback<&Slot::on_answer>(&slot))
          .has_value();
    });
  };
  if (ours() == 0) return figures.fail("engine.async", "a wrong answer");
  std::vector<double> rates;
  std::vector<double> ratios;
  std::vector<double> slept;
  for (int i = 0; i < 9; ++i) {
    double const before = sleeps();
    double const mine = ours();
    double const after = sleeps();
    double const theirs = rate_of([&](Slot& slot) { return bare.submit(slot); });
    if (mine == 0 || theirs == 0) return figures.fail("engine.async", "a wrong answer");
    rates.push_back(mine / 1e6);
    ratios.push_back(mine / theirs);
    slept.push_back((after - before) / calls);
  }
  auto const report = [&](bool wanted, char const* name, std::vector<double> const& values, char const* unit,
                          std::optional<Aim> aim) {
    auto const sample = summarise(values);
    if (wanted)
      figures.report(
          {.name = name, .value = sample.median, .unit = unit, .spread = sample.spread, .aim = aim});
  };
  report(rate, "engine.async-rate", rates, "M/s, 64 outstanding, one submitter", at_least(1.5));
  report(ratio, "engine.async-ratio", ratios, "x of a bare mutex and condition-variable batcher",
         at_least(1.5));
  report(wakes, "engine.async-sleeps", slept, "sleeps of threads per completion", std::nullopt);
  report(batch, "engine.async-batch", {subject.model.statistics()->batch_items.mean}, "items, mean",
         std::nullopt);
}

}  // namespace athanor::benchmarks
