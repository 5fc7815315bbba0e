// A model without a file format: the mean of each row of four numbers.
#pragma once

#include <athanor/athanor.hpp>

#include <memory>
#include <numeric>
#include <vector>

struct MeanBackend {
  static constexpr char const* name = "mean";
  static constexpr athanor::RunsOn runs_on = athanor::RunsOn::any_thread;

  struct Instance {
    std::vector<float> means{};

    athanor::Result<void> run(ath_batch& batch) {
      auto const* x = static_cast<float const*>(batch.inputs[0].data);
      means.resize(static_cast<std::size_t>(batch.items));
      for (float& mean : means) {
        mean = std::accumulate(x, x + 4, 0.0F) / 4;
        x += 4;
      }
      ath_tensor& out = batch.outputs[0];
      out = batch.inputs[0];
      out.ndim = 1;
      out.data = means.data();
      out.size_bytes = means.size() * sizeof(float);
      return {};
    }
  };

  struct Model {
    using Instance = MeanBackend::Instance;
    std::uint64_t footprint() const { return sizeof(Model); }
    athanor::Result<std::unique_ptr<Instance>> make_instance() { return std::make_unique<Instance>(); }
  };

  athanor::Result<std::unique_ptr<Model>> load(athanor::ModelSource const&) {
    return std::make_unique<Model>();
  }
};
