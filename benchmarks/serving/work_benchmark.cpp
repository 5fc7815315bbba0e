// What one warm call of a lone caller executes: instructions, those
// that lock memory, and system calls; and how long a hit takes.
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

void measure_call(Figures& figures, std::string const& prefix, std::size_t cache_bytes) {
  measure_executed(figures, prefix, [cache_bytes] {
    auto* const asked = new Asked(cache_bytes);  // lives until the child ends
    return [asked] { return asked->ask(); };
  });
}

void measure_hit(Figures& figures) {
  if (!figures.wants("caching.hit")) return;
  Asked asked(std::size_t{1} << 20);
  auto const sample = median_microseconds(50'000, [&] { return asked.ask(); });
  if (!sample) return figures.fail("caching.hit", "a wrong answer");
  figures.report({.name = "caching.hit",
                  .value = sample->median,
                  .unit = "us p50, 64 bytes",
                  .spread = sample->spread,
                  .aim = at_most(0.2)});
}

}  // namespace

void measure_work(Figures& figures) {
  measure_call(figures, "engine.call-", 0);
  measure_call(figures, "engine.hit-", std::size_t{1} << 20);
  measure_hit(figures);
}

}  // namespace athanor::benchmarks
