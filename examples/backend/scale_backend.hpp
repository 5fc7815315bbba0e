// A backend of one's own: a model is a text file that holds
// one number, and running it multiplies by that number.
#pragma once

#include <athanor/athanor.hpp>

#include <fstream>
#include <memory>
#include <string_view>
#include <vector>

struct ScaleBackend {
  static constexpr char const* name = "scale";
  static constexpr athanor::RunsOn runs_on = athanor::RunsOn::any_thread;

  struct Instance {
    float factor;
    std::vector<float> values{};

    athanor::Result<void> run(ath_batch& batch) {
      ath_tensor const& x = batch.inputs[0];
      auto const* first = static_cast<float const*>(x.data);
      values.assign(first, first + x.size_bytes / sizeof(float));
      for (float& value : values) value *= factor;
      batch.outputs[0] = x;
      batch.outputs[0].data = values.data();
      return {};
    }
  };

  struct Model {
    using Instance = ScaleBackend::Instance;
    float factor;

    std::uint64_t footprint() const { return sizeof(Model); }
    athanor::Result<std::unique_ptr<Instance>> make_instance() {
      return std::make_unique<Instance>(Instance{factor});
    }
  };

  athanor::Result<std::unique_ptr<Model>> load(athanor::ModelSource const& source) {
    if (std::string_view(source.format) != "text")
      return athanor::fail(athanor::Code::invalid_argument, athanor::Reason::model_load,
                           "{}: expected the format 'text' without options, got '{}'", source.path,
                           source.format);
    if (static_cast<athanor::DeviceType>(source.device_type) != athanor::DeviceType::cpu)
      return athanor::fail(athanor::Code::invalid_argument, athanor::Reason::model_load,
                           "{}: expected the device cpu, got another one", source.path);
    float factor = 0;
    if (!(std::ifstream(source.path) >> factor))
      return athanor::fail(athanor::Code::invalid_argument, athanor::Reason::model_load,
                           "{}: expected a number", source.path);
    return std::make_unique<Model>(Model{factor});
  }
};
