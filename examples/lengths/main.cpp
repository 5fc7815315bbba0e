// Items of different length share batches, and an answer has
// any number of rows for each; docs/lengths.md explains it.
#include <athanor/athanor.hpp>

#include <cstdio>
#include <memory>
#include <vector>

namespace {

// The mean of each series, and the places of what is larger
// than it by half. It reads padding as what its mask says.
struct LevelsBackend {
  static constexpr char const* name = "levels";
  static constexpr athanor::RunsOn runs_on = athanor::RunsOn::any_thread;

  struct Instance {
    std::vector<float> means{};
    std::vector<std::int64_t> found{};
    std::vector<std::int64_t> peaks{};

    athanor::Result<void> run(ath_batch& batch) {
      means.clear();
      found.clear();
      peaks.clear();
      std::int64_t const time = batch.inputs[0].shape[1];
      auto const* series = static_cast<float const*>(batch.inputs[0].data);
      auto const* mask = static_cast<bool const*>(batch.inputs[1].data);
      for (std::int64_t item = 0; item < batch.items; ++item, series += time, mask += time)
        add(series, mask, time);
      batch.outputs[0] = to_view(athanor::Tensor::view<float>(means, {batch.items}));
      batch.outputs[1] = to_view(athanor::Tensor::view<std::int64_t>(found, {batch.items}));
      batch.outputs[2] =
          to_view(athanor::Tensor::view<std::int64_t>(peaks, {static_cast<std::int64_t>(peaks.size())}));
      return {};
    }

   private:
    void add(float const* series, bool const* mask, std::int64_t time) {
      float sum = 0;
      float length = 0;
      for (std::int64_t i = 0; i < time; ++i) {
        sum += mask[i] ? series[i] : 0;
        length += mask[i] ? 1 : 0;
      }
      means.push_back(sum / length);
      auto const before = static_cast<std::int64_t>(peaks.size());
      for (std::int64_t i = 0; i < time; ++i)
        if (mask[i] && series[i] > 1.5F * means.back()) peaks.push_back(i);
      found.push_back(static_cast<std::int64_t>(peaks.size()) - before);
    }
  };

  struct Model {
    using Instance = LevelsBackend::Instance;
    std::uint64_t footprint() const { return sizeof(Model); }
    athanor::Result<std::unique_ptr<Instance>> make_instance() { return std::make_unique<Instance>(); }
  };

  athanor::Result<std::unique_ptr<Model>> load(athanor::ModelSource const&) {
    return std::make_unique<Model>();
  }
};

int failed(athanor::Error const& error) {
  std::fprintf(stderr, "%s\n", to_string(error).c_str());
  return 1;
}

void print_peaks(athanor::Answer const& answer) {
  auto const counts = answer.outputs["peak_count"].as<std::int64_t>();
  auto const peaks = answer.outputs["peaks"].as<std::int64_t>();
  auto next = peaks.begin();
  for (std::size_t item = 0; item < counts.size(); ++item) {
    std::printf("mean %g, peaks at", static_cast<double>(answer.outputs["mean"].as<float>()[item]));
    for (auto const end = next + counts[item]; next != end; ++next)
      std::printf(" %d", static_cast<int>(*next));
    std::printf("\n");
  }
}

}  // namespace

int main(int count, char** arguments) {
  LevelsBackend backend;
  ath_backend_table const table = athanor::make_table(backend);
  auto engine = athanor::Engine<>::create({.backends = {&table}});
  if (!engine) return failed(engine.error());
  auto model = engine->load(count > 1 ? arguments[1] : "examples/lengths/model");
  if (!model) return failed(model.error());

  std::vector<float> const brief{1, 1, 7};
  std::vector<float> const longer{2, 2, 2, 2, 2};
  std::vector<float> const pair{1, 9, 1, 9, 8, 1, 1, 1};
  std::vector<athanor::Request> requests(3);
  requests[0].set("series", athanor::Tensor::view<float>(brief, {1, 3}));
  requests[1].set("series", athanor::Tensor::view<float>(longer, {1, 5}));
  requests[2].set("series", athanor::Tensor::view<float>(pair, {2, 4}));
  for (auto const& answer : model->infer_many(requests)) {
    if (!answer) return failed(answer.error());
    print_peaks(*answer);
  }

  std::vector<float> const too_long(1000);
  auto const refused = model->infer({{"series", athanor::Tensor::view<float>(too_long, {1, 1000})}});
  std::printf("%s\n", to_string(refused.error()).c_str());

  auto const seen = model->statistics().value();
  std::printf("%.0f %% of the positions were padding\n",
              100 * static_cast<double>(seen.padding) / static_cast<double>(seen.positions + seen.padding));
}
