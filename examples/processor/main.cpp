// A processor of one's own: images in the PPM format become the
// inputs of a model, and some answers come from the processor itself.
#include <athanor/athanor.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <Eigen/Core>

using athanor::Code;
using athanor::Reason;
using athanor::Result;
using athanor::Tensor;

struct PpmProcessor {
  static constexpr char const* name = "ppm";
  struct Opened {
    static constexpr std::array<athanor::Port, 2> ports{
        {{"rgb", athanor::DType::f32}, {"colours", athanor::DType::i64}}};
    std::span<athanor::Port const> made() const { return ports; }

    Result<athanor::Preprocessed> preprocess(athanor::Item const& item) const {
      Tensor const input = item.input(0);
      std::istringstream image{std::string(input.text_at(0))};
      std::string format;
      std::size_t width = 0;
      std::size_t height = 0;
      int brightest = 0;
      if (!(image >> format >> width >> height >> brightest) || format != "P6" || brightest < 1 ||
          brightest > 255 || width < 1 || width > 4096 || height < 1 || height > 4096)
        return athanor::fail(Code::invalid_argument, Reason::syntax,
                             "ppm: expected the header of a P6 image");
      image.get();  // the space that ends the header
      std::streamsize const left = std::max<std::streamsize>(image.rdbuf()->in_avail(), 0);
      std::string_view const bytes =
          input.text_at(0).substr(input.text_at(0).size() - static_cast<std::size_t>(left));
      if (bytes.size() / 3 < width * height)
        return athanor::fail(Code::invalid_argument, Reason::syntax, "ppm: expected {} pixels, got {}",
                             width * height, bytes.size() / 3);

      using Pixels = Eigen::Matrix<unsigned char, 3, Eigen::Dynamic>;
      Eigen::Map<Pixels const> const pixels(reinterpret_cast<unsigned char const*>(bytes.data()), 3,
                                            static_cast<Eigen::Index>(width * height));
      std::set<std::array<unsigned char, 3>> colours;
      for (auto const& pixel : pixels.colwise()) colours.insert({pixel[0], pixel[1], pixel[2]});
      auto rgb = Tensor::allocate(athanor::DType::f32, {1, 3});
      auto count = Tensor::allocate(athanor::DType::i64, {1});
      if (!rgb) return tl::unexpected(rgb.error());
      if (!count) return tl::unexpected(count.error());
      Eigen::Map<Eigen::Vector3f>(rgb->mutable_as<float>().data()) =
          (pixels.cast<double>().rowwise().mean() / brightest).cast<float>();
      count->mutable_as<std::int64_t>()[0] = static_cast<std::int64_t>(colours.size());
      return athanor::Preprocessed{.tensors = {std::move(*rgb), std::move(*count)}, .cost = 1};
    }

    static constexpr std::array<athanor::Port, 1> labels{{{"bright", athanor::DType::boolean}}};
    std::span<athanor::Port const> outputs() const { return labels; }

    Result<std::vector<Tensor>> postprocess(athanor::Item const& item, void const* /*kept*/,
                                            std::span<Tensor const> rows) const {
      auto const threshold = item.parameter<double>(0);
      if (!threshold) return tl::unexpected(threshold.error());
      auto bright = Tensor::allocate(athanor::DType::boolean, {1});
      if (!bright) return tl::unexpected(bright.error());
      bright->mutable_as<bool>()[0] = static_cast<double>(rows[0].as<float>()[0]) >= *threshold;
      return std::vector{std::move(*bright)};
    }
  };

  Result<std::unique_ptr<Opened>> open(std::string_view /*folder*/, std::string_view options_json) {
    if (options_json != "{}")
      return athanor::fail(Code::invalid_argument, Reason::option, "ppm: expected no options, got {}",
                           options_json);
    return std::make_unique<Opened>();
  }
};

// The model: a weighted sum of red, green and blue. Its file holds the three weights.
struct WeightsBackend {
  static constexpr char const* name = "weights";
  static constexpr athanor::RunsOn runs_on = athanor::RunsOn::any_thread;

  struct Instance {
    std::array<float, 3> weights;
    std::vector<float> sums{};

    Result<void> run(ath_batch& batch) {
      auto const* rgb = static_cast<float const*>(batch.inputs[0].data);
      sums.clear();
      for (std::int64_t item = 0; item < batch.items; ++item, rgb += 3)
        sums.push_back(rgb[0] * weights[0] + rgb[1] * weights[1] + rgb[2] * weights[2]);
      batch.outputs[0] = athanor::to_view(Tensor::view<float>(sums, athanor::Shape{batch.items}));
      return {};
    }
  };

  struct Model {
    using Instance = WeightsBackend::Instance;
    std::array<float, 3> weights;

    std::uint64_t footprint() const { return sizeof(Model); }
    Result<std::unique_ptr<Instance>> make_instance() {
      return std::make_unique<Instance>(Instance{weights});
    }
  };

  Result<std::unique_ptr<Model>> load(athanor::ModelSource const& source) {
    std::ifstream file(source.path);
    std::array<float, 3> weights{};
    for (float& weight : weights) file >> weight;
    if (!file)
      return athanor::fail(Code::invalid_argument, Reason::model_load, "{}: expected three numbers",
                           source.path);
    return std::make_unique<Model>(Model{weights});
  }
};

namespace {

int failed(athanor::Error const& error) {
  std::fprintf(stderr, "%s\n", to_string(error).c_str());
  return 1;
}

}  // namespace

int main(int count, char** arguments) {
  WeightsBackend backend;
  PpmProcessor processor;
  ath_backend_table const backend_table = athanor::make_table(backend);
  ath_processor_table const processor_table = athanor::make_table(processor);
  auto engine = athanor::Engine<>::create({.backends = {&backend_table}, .processors = {&processor_table}});
  if (!engine) return failed(engine.error());
  auto model = engine->load(count > 1 ? arguments[1] : "examples/processor/model");
  if (!model) return failed(model.error());

  // One red, one green and two black pixels.
  std::string_view const image("P6 2 2 127\n\x7f\0\0\0\x7f\0\0\0\0\0\0\0", 23);
  auto answer = model->infer({{"image", image}});
  if (!answer) return failed(answer.error());
  std::printf("%lld colours, brightness %.3f, %s\n",
              static_cast<long long>(answer->outputs["colours"].as<std::int64_t>()[0]),
              static_cast<double>(answer->outputs["brightness"].as<float>()[0]),
              answer->outputs["bright"].as<bool>()[0] ? "bright" : "dark");
  auto lenient = model->infer({{"image", image}, {"threshold", 0.1}});
  if (!lenient) return failed(lenient.error());
  std::printf("at 0.1: %s\n", lenient->outputs["bright"].as<bool>()[0] ? "bright" : "dark");
  auto refused = model->infer({{"image", image.substr(0, 20)}});
  if (!refused) std::printf("%s\n", to_string(refused.error()).c_str());
}
