// What a second thread adds. Two engines share nothing: a moment in which they
// do not give double, within 0.05, is the machine's noise and does not count.
// Everything else is a share of what two engines give in the same moment.
#include <pthread.h>

#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <thread>

#include <serving/measures.hpp>
#include <serving/subject.hpp>

namespace athanor::benchmarks {

namespace {

using Work = std::function<bool()>;  // one call; false when its answer was wrong

constexpr auto window = std::chrono::milliseconds(12);
constexpr int most_rounds = 600;
constexpr std::size_t enough = 25;

void pin_to(std::size_t core) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(core, &cores);
  pthread_setaffinity_np(pthread_self(), sizeof(cores), &cores);
}

/// Calls per second of all works together, each on a core
/// of its own, over one window; 0 when an answer was wrong.
double rate_of(std::vector<Work> const& works) {
  std::atomic<std::size_t> ready{0};
  std::atomic<bool> over{false};
  std::atomic<bool> wrong{false};
  std::atomic<std::uint64_t> calls{0};
  double const seconds = seconds_of([&] {
    std::vector<std::jthread> threads;
    for (std::size_t core = 0; core < works.size(); ++core)
      threads.emplace_back([&, core] {
        pin_to(core);
        ready.fetch_add(1);
        while (ready.load() < works.size()) {
        }
        std::uint64_t done = 0;
        for (; !over.load(std::memory_order_relaxed); ++done)
          if (!works[core]()) wrong.store(true);
        calls.fetch_add(done);
      });
    std::this_thread::sleep_for(window);
    over.store(true);
  });
  return wrong.load() ? 0 : static_cast<double>(calls.load()) / seconds;
}

/// The work, which adds the microseconds that it takes to `times`.
Work timed(Work work, std::vector<double>& times) {
  return [work = std::move(work), &times] {
    auto const start = std::chrono::steady_clock::now();
    bool const right = work();
    auto const end = std::chrono::steady_clock::now();
    times.push_back(std::chrono::duration<double, std::micro>(end - start).count());
    return right;
  };
}

/// Everything that the rounds call.
struct Stage {
  EngineOptions const cached{};
  std::string const two_instances = R"("batching": {"instances": 2},)";
  Subject first;
  Subject second;
  athanor_tests::ModelFolder other_folder = null_folder("other");
  Model<> other = first.engine.load(other_folder.path()).value();
  Subject first_hits{cached};
  Subject second_hits{cached};
  Subject shared{{.cache_bytes = 0}, two_instances};
  std::array<Caller, 2> callers{Caller(1), Caller(2)};

  Work call(std::size_t caller, Model<>& model) {
    return [this, caller, &model] { return callers[caller].call(model); };
  }
};

/// One round: each figure's share in this moment. False when the moment does not count.
bool measure_round(Stage& stage, std::map<std::string, std::vector<double>>& shares) {
  double const alone = rate_of({stage.call(0, stage.first.model)});
  double const both = rate_of({stage.call(0, stage.first.model), stage.call(1, stage.second.model)});
  double const both_hits =
      rate_of({stage.call(0, stage.first_hits.model), stage.call(1, stage.second_hits.model)});
  double const models = rate_of({stage.call(0, stage.first.model), stage.call(1, stage.other)});
  double const hits = rate_of({stage.call(0, stage.first_hits.model), stage.call(1, stage.first_hits.model)});
  double const instances = rate_of({stage.call(0, stage.shared.model), stage.call(1, stage.shared.model)});
  double const instance = rate_of({stage.call(0, stage.first.model), stage.call(1, stage.first.model)});
  std::array<std::vector<double>, 2> times;
  double const instance_timed = rate_of(
      {timed(stage.call(0, stage.first.model), times[0]), timed(stage.call(1, stage.first.model), times[1])});
  double const both_again = rate_of({stage.call(0, stage.first.model), stage.call(1, stage.second.model)});
  for (double const rate :
       {alone, both, both_hits, models, hits, instances, instance, instance_timed, both_again})
    if (rate == 0) return false;
  if (std::min(both, both_again) < 0.95 * 2 * alone || std::max(both, both_again) > 1.05 * 2 * alone)
    return false;
  shares["engine.scaling-engines"].push_back(both / (2 * alone));
  shares["engine.scaling-models"].push_back(models / both);
  shares["engine.scaling-hits"].push_back(hits / both_hits);
  shares["engine.scaling-instances"].push_back(instances / both);
  shares["engine.scaling-one-instance"].push_back(instance / alone);
  times[0].insert(times[0].end(), times[1].begin(), times[1].end());
  shares["engine.scaling-one-instance-p99"].push_back(quantile(times[0], 0.99));
  return true;
}

struct ScalingFigure {
  char const* name;
  char const* unit;
  std::optional<Aim> aim;
};

}  // namespace

void measure_scaling(Figures& figures) {
  std::array<ScalingFigure, 6> const wanted{{
      {"engine.scaling-engines", "of double: two engines", std::nullopt},
      {"engine.scaling-models", "of two engines: two models of one engine", at_least(0.95)},
      {"engine.scaling-hits", "of two engines: hits of one engine", at_least(0.95)},
      {"engine.scaling-instances", "of two engines: one model, two instances", at_least(0.85)},
      {"engine.scaling-one-instance", "of one caller: one model, one instance, two callers", at_least(0.6)},
      {"engine.scaling-one-instance-p99", "us p99: one model, one instance, two callers", at_most(3.0)},
  }};
  bool any = false;
  for (auto const& figure : wanted) any = figures.wants(figure.name) || any;
  if (!any) return;
  if (std::thread::hardware_concurrency() < 2) return figures.fail("engine.scaling", "needs two cores");
  Stage stage;
  std::map<std::string, std::vector<double>> shares;
  for (int round = 0; round < most_rounds && shares["engine.scaling-models"].size() < enough; ++round)
    measure_round(stage, shares);
  if (shares["engine.scaling-models"].size() < 5)
    return figures.fail("engine.scaling", "two engines gave double in fewer than 5 of 600 moments");
  for (auto const& figure : wanted) {
    if (!figures.wants(figure.name)) continue;
    auto const share = summarise(shares[figure.name]);
    figures.report({.name = figure.name,
                    .value = share.median,
                    .unit = figure.unit,
                    .spread = share.spread,
                    .aim = figure.aim});
  }
}

}  // namespace athanor::benchmarks
