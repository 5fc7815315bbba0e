// How late an answer comes after its deadline, with one disturbance at a time: the
// return of a blocking call, or the begin of a completion, minus the deadline. Calls go
// to a model that is free and to one whose policy holds them for longer than they have.
#include <array>
#include <atomic>
#include <functional>
#include <latch>
#include <thread>

#include <serving/measures.hpp>
#include <serving/subject.hpp>

namespace athanor::benchmarks {

namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::size_t threads = 4;
constexpr Duration short_deadline = 5ms;
constexpr float long_run = 2000;  // the value for which the backend needs as many milliseconds

/// An engine with a model that is free, one that holds its
/// calls, one that runs for long and two that load for long.
struct Rig {
  athanor_tests::PuppetControl control;
  athanor_tests::PuppetBackend backend{control};
  ath_backend_table table = make_table(backend);
  std::string const hold =
      R"("batching": {"policy": "size_or_delay", "max_delay_us": 60000000, "max_items": 4096},)";
  std::array<athanor_tests::ModelFolder, 3> folders{null_folder("free"), null_folder("held", hold),
                                                    null_folder("long")};
  std::array<athanor_tests::ModelFolder, 2> slow_to_load{null_folder("slow-a"), null_folder("slow-b")};
  std::atomic<bool> loads_are_slow{false};
  Engine<> engine = Engine<>::create({.backends = {&table}, .threads = threads, .cache_bytes = 0}).value();
  Model<> free = engine.load(folders[0].path()).value();
  Model<> held = engine.load(folders[1].path()).value();
  Model<> long_running = engine.load(folders[2].path()).value();

  Rig() {
    control.on_load = [this](std::string_view) {
      if (loads_are_slow.load()) std::this_thread::sleep_for(3s);
      return Result<void>{};
    };
    control.on_run = [](ath_batch const& batch) {
      if (static_cast<float const*>(batch.inputs[0].data)[0] == long_run) std::this_thread::sleep_for(2s);
      return Result<void>{};
    };
  }
};

/// The right answer, in time as its report says, or the error of a deadline that has passed.
bool is_right(Result<Answer> const& answer) {
  if (!answer) return answer.error().code == Code::deadline_exceeded;
  return answer->outputs[0].as<float>()[0] == 8 && answer->report.delivered <= short_deadline;
}

/// One asynchronous call and when its completion began.
struct Waiting {
  Clock::time_point deadline;
  Clock::time_point begun;
  bool right = false;
  std::latch done{1};

  void on_answer(Result<Answer> answer) noexcept {
    begun = Clock::now();
    right = is_right(answer);
    done.count_down();
  }
};

class Lateness {
 public:
  explicit Lateness(Rig& rig) : rig_(rig) {}

  /// Probes until `end`: a blocking and an asynchronous call of either model at a time.
  void probe_until(Clock::time_point end) {
    while (Clock::now() < end) {
      block_on(rig_.free);
      block_on(rig_.held);
      std::array<Waiting, 2> waiting;
      submit_to(rig_.free, waiting[0]);
      submit_to(rig_.held, waiting[1]);
      for (Waiting& call : waiting) {
        call.done.wait();
        note(call.begun - call.deadline, call.right);
      }
    }
  }
  bool all_right() const { return right_; }
  std::vector<double> const& milliseconds() const { return milliseconds_; }

 private:
  CallOptions options() const { return {.deadline = short_deadline}; }
  Request request() { return {{"x", Tensor::view<float>(values_, Shape{1, width})}}; }

  void block_on(Model<>& model) {
    auto const deadline = Clock::now() + short_deadline;
    auto const answer = model.infer(request(), options());
    note(Clock::now() - deadline, is_right(answer));
  }
  void submit_to(Model<>& model, Waiting& call) {
    call.deadline = Clock::now() + short_deadline;
    if (!model.submit(request(), options(), callback<&Waiting::on_answer>(&call)))
      call.on_answer(fail_of_submit());
  }
  static Result<Answer> fail_of_submit() {
    return tl::unexpected(Error{Code::internal, Reason::none, "submit refused", {}});
  }
  void note(Clock::duration late, bool right) {
    milliseconds_.push_back(std::max(0.0, std::chrono::duration<double, std::milli>(late).count()));
    right_ = right_ && right;
  }

  Rig& rig_;
  float const values_[width] = {7, 0, 0, 0};
  std::vector<double> milliseconds_;
  bool right_ = true;
};

void ignore_answer(void*, Result<Answer>) noexcept {}
void sleep_over_answer(void* context, Result<Answer>) noexcept {
  std::this_thread::sleep_for(100ms);
  static_cast<std::atomic<int>*>(context)->fetch_sub(1);
}

void disturb_by_loads(Rig& rig, Lateness& lateness) {
  rig.loads_are_slow.store(true);
  std::vector<std::jthread> loaders;
  for (auto& folder : rig.slow_to_load)
    loaders.emplace_back([&] { static_cast<void>(rig.engine.load(folder.path()).has_value()); });
  lateness.probe_until(Clock::now() + 2500ms);
}

void disturb_by_batch(Rig& rig, Lateness& lateness) {
  static float const values[width] = {long_run, 0, 0, 0};
  auto const call = rig.long_running.submit({{"x", Tensor::view<float>(values, Shape{1, width})}}, {},
                                            {&ignore_answer, nullptr});
  lateness.probe_until(Clock::now() + 1500ms);
}

void disturb_by_expiry(Rig& rig, Lateness& lateness) {
  static float const values[width] = {7, 0, 0, 0};
  for (int round = 0; round < 20; ++round) {
    std::vector<Submission<DefaultServing>> others;
    for (int i = 0; i < 1000; ++i)
      if (auto call = rig.held.submit({{"x", Tensor::view<float>(values, Shape{1, width})}},
                                      {.deadline = 20ms}, {&ignore_answer, nullptr}))
        others.push_back(std::move(*call));
    lateness.probe_until(Clock::now() + 40ms);
  }
}

void disturb_by_completions(Rig& rig, Lateness& lateness) {
  static float const values[width] = {7, 0, 0, 0};
  std::atomic<int> asleep{0};
  auto const end = Clock::now() + 1500ms;
  while (Clock::now() < end) {
    while (asleep.load() < static_cast<int>(threads) - 1) {
      asleep.fetch_add(1);
      if (!rig.free.submit({{"x", Tensor::view<float>(values, Shape{1, width})}}, {},
                           {&sleep_over_answer, &asleep}))
        asleep.fetch_sub(1);
    }
    lateness.probe_until(Clock::now() + 10ms);
  }
  while (asleep.load() != 0) std::this_thread::sleep_for(1ms);
}

/// How long the first completion of two batches of 32 blocks
/// the 63 others: from its begin to the end of the last one.
class Company {
 public:
  static constexpr int calls = 64;

  bool run(Model<> const& model) {
    others_left_ = calls - 1;
    std::latch done(calls);
    done_ = &done;
    static float const values[width] = {7, 0, 0, 0};
    for (int i = 0; i < calls; ++i)
      if (!model.submit({{"x", Tensor::view<float>(values, Shape{1, width})}}, {},
                        i == 0 ? callback<&Company::on_first>(this) : callback<&Company::on_other>(this)))
        return false;
    done.wait();
    return right_;
  }
  double milliseconds() const { return std::chrono::duration<double, std::milli>(last_ - begun_).count(); }

 private:
  void on_first(Result<Answer>) noexcept {
    begun_ = Clock::now();
    std::this_thread::sleep_for(100ms);
    done_->count_down();
  }
  void on_other(Result<Answer> answer) noexcept {
    if (!answer || answer->outputs[0].as<float>()[0] != 8) right_ = false;
    if (others_left_.fetch_sub(1) == 1) last_ = Clock::now();
    done_->count_down();
  }

  std::latch* done_ = nullptr;
  std::atomic<int> others_left_{0};
  std::atomic<bool> right_{true};
  Clock::time_point begun_;
  Clock::time_point last_;
};

void measure_company(Figures& figures) {
  std::string const name = "engine.deadline-company";
  if (!figures.wants(name)) return;
  Rig rig;
  auto const folder = null_folder(
      "pair", R"("batching": {"policy": "size_or_delay", "max_delay_us": 50000, "max_items": 32},)");
  auto const model = rig.engine.load(folder.path()).value();
  std::vector<double> milliseconds;
  Company company;
  for (int round = 0; round < 15; ++round) {
    if (!company.run(model)) return figures.fail(name, "a wrong answer");
    milliseconds.push_back(company.milliseconds());
  }
  figures.report({.name = name,
                  .value = quantile(milliseconds, 0.5),
                  .unit = "ms until the last of 63",
                  .spread = quantile(milliseconds, 0.75) - quantile(milliseconds, 0.25),
                  .aim = at_most(2.0)});
}

struct Disturbance {
  std::string name;
  void (*run)(Rig&, Lateness&);
};

}  // namespace

void measure_deadline(Figures& figures) {
  std::array<Disturbance, 4> const disturbances{{{"engine.deadline-loads", &disturb_by_loads},
                                                 {"engine.deadline-batch", &disturb_by_batch},
                                                 {"engine.deadline-expiry", &disturb_by_expiry},
                                                 {"engine.deadline-completions", &disturb_by_completions}}};
  for (auto const& disturbance : disturbances) {
    bool const tail = figures.wants(disturbance.name);
    bool const most = figures.wants(disturbance.name + "-max");
    if (!tail && !most) continue;
    Rig rig;
    Lateness lateness(rig);
    disturbance.run(rig, lateness);
    if (!lateness.all_right()) {
      figures.fail(disturbance.name, "a wrong answer");
      continue;
    }
    auto const& late = lateness.milliseconds();
    if (tail)
      figures.report({.name = disturbance.name,
                      .value = quantile(late, 0.99),
                      .unit = "ms late, p99",
                      .spread = quantile(late, 0.999) - quantile(late, 0.99),
                      .aim = at_most(1.0)});
    if (most)
      figures.report({.name = disturbance.name + "-max", .value = quantile(late, 1), .unit = "ms late"});
  }
  measure_company(figures);
}

}  // namespace athanor::benchmarks
