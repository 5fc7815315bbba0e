// What one warm call of a lone caller executes: instructions, those that lock memory, and system calls; and how long a hit takes.
#include <serving/measures.hpp>
#include <serving/subject.hpp>
#include <support/executed.hpp>

namespace athanor::benchmarks {

namespace {

constexpr std::size_t hit_width = 16;  // floats: 64 bytes

/// A model that is asked the same again and again; `cache_bytes` of 0: it runs each time.
struct Asked {
  Subject subject;
  float values[hit_width] = {1, 2, 3};
  Request request{{"x", Tensor::view<float>(values, Shape{hit_width / width, width})}};

  explicit Asked(std::size_t cache_bytes) : subject({.cache_bytes = cache_bytes}) {
    for (int i = 0; i < 1000; ++i) ask();
  }
  bool ask() {
    auto const answer = subject.model.infer(request);
    return answer && answer->outputs[0].as<float>()[2] == values[2];
  }
};

void measure_executed(Figures& figures, std::string const& name, std::size_t cache_bytes) {
  std::string const all = name + "-instructions";
  std::string const locked = name + "-locked-instructions";
  std::string const system = name + "-system-calls";
  bool const wants_all = figures.wants(all);
  bool const wants_locked = figures.wants(locked);
  bool const wants_system = figures.wants(system);
  if (!wants_all && !wants_locked && !wants_system) return;
  auto const executed = executed_by([&] {
    auto* const asked = new Asked(cache_bytes);  // lives until the child ends
    return [asked] { return asked->ask(); };
  });
  if (!executed) return figures.fail(name, "the instructions of a call cannot be counted here");
  auto const report = [&](bool wanted, std::string const& figure, std::int64_t value,
                          std::optional<Aim> aim) {
    if (wanted)
      figures.report({.name = figure, .value = static_cast<double>(value), .unit = "per call", .aim = aim});
  };
  report(wants_all, all, executed->instructions, std::nullopt);
  report(wants_locked, locked, executed->locked, at_most(16.0));
  report(wants_system, system, executed->system_calls, at_most(0.0));
}

void measure_hit(Figures& figures) {
  if (!figures.wants("caching.hit")) return;
  Asked asked(std::size_t{1} << 20);
  auto const sample = repeat(9, [&] {
    std::vector<double> times;
    times.reserve(50'000);
    for (int i = 0; i < 50'000; ++i) {
      auto const start = std::chrono::steady_clock::now();
      bool const right = asked.ask();
      auto const end = std::chrono::steady_clock::now();
      if (!right) return 0.0;
      times.push_back(std::chrono::duration<double, std::micro>(end - start).count());
    }
    return quantile(times, 0.5);
  });
  if (sample.median == 0) return figures.fail("caching.hit", "a wrong answer");
  figures.report({.name = "caching.hit",
                  .value = sample.median,
                  .unit = "us p50, 64 bytes",
                  .spread = sample.spread,
                  .aim = at_most(0.2)});
}

}  // namespace

void measure_work(Figures& figures) {
  measure_executed(figures, "engine.call", 0);
  measure_executed(figures, "engine.hit", std::size_t{1} << 20);
  measure_hit(figures);
}

}  // namespace athanor::benchmarks
