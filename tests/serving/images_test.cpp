// Images as opaque bytes: a processor reads them, the model
// sees numbers, and parameters say what is made of its rows.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <serving/simulated_engine.hpp>

using namespace athanor;
using namespace athanor_tests;

namespace {

// An image is `I` and its grey pixels, one byte each. The model is given how many bright stretches
// it has, and how many dark ones between them; `objects` counts the first, with `detect_holes` both.
struct CellProcessor {
  static constexpr char const* name = "cells";
  struct Opened {
    static constexpr std::array<Port, 1> made_ports{{{"x", DType::f32}}};
    static constexpr std::array<Port, 1> output_ports{{{"objects", DType::f32}}};
    std::span<Port const> made() const { return made_ports; }
    std::span<Port const> outputs() const { return output_ports; }

    Result<Preprocessed> preprocess(Item const& item) const {
      std::string_view const image = item.input(0).text_at(0);
      auto const threshold = item.parameter<double>(0);
      if (!threshold) return tl::unexpected(threshold.error());
      if (!image.starts_with('I'))
        return fail(Code::invalid_argument, Reason::syntax, "cells: expected an image, got {} bytes",
                    image.size());
      float bright = 0;
      bool inside = false;
      for (char const pixel : image.substr(1)) {
        bool const now = static_cast<unsigned char>(pixel) > *threshold * 255;
        if (now && !inside) bright += 1;
        inside = now;
      }
      float const made[2] = {bright, std::max(bright - 1, 0.0F)};
      return Preprocessed{{Tensor::view<float>(made, Shape{1, 2}).clone().value()}, 1, {}};
    }
    Result<std::vector<Tensor>> postprocess(Item const& item, void const*,
                                            std::span<Tensor const> rows) const {
      auto const detect_holes = item.parameter<bool>(1);
      if (!detect_holes) return tl::unexpected(detect_holes.error());
      auto const y = rows[0].as<float>();
      float const objects[1] = {*detect_holes ? y[0] + y[1] : y[0]};
      return std::vector{Tensor::view<float>(objects, Shape{1}).clone().value()};
    }
  };
  Result<std::unique_ptr<Opened>> open(std::string_view, std::string_view) {
    return std::make_unique<Opened>();
  }
};
static_assert(Processor<CellProcessor>);

constexpr std::string_view tensors = R"("processor": {"name": "cells"},
  "inputs": [{"name": "image", "dtype": "bytes", "encoding": "any", "shape": ["items"], "max_bytes": 1000}],
  "parameters": [{"name": "threshold", "type": "f64", "default": 0.5, "min": 0, "max": 1},
                 {"name": "detect_holes", "type": "bool", "default": false}],
  "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
  "model_outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]}],
  "outputs": [{"name": "objects", "dtype": "f32", "shape": ["items"], "from": "processor:objects"}],)";

struct Microscope : SimulatedEngine {
  CellProcessor cells;
  ath_processor_table table_of_cells = make_table(cells);
  ModelFolder segmenter{R"("batching": {"max_items": 8},)", "segmenter", "1.0.0", tensors};
  std::vector<std::int64_t> batches;
  Model<SimulatedServing> model = load();

  Microscope() : SimulatedEngine("", {.caller_runs = CallerRuns::never}) {
    control.on_run = [this](ath_batch const& batch) {
      batches.push_back(batch.items);
      return Result<void>();
    };
  }
  ~Microscope() { state->stop(Duration{0}); }

  // Answered once, so that it is loaded.
  Model<SimulatedServing> load() {
    REQUIRE(state->add_processor(table_of_cells));
    served = state->add(segmenter.path()).value().get();
    REQUIRE(infer(image("I"), {.cache = CacheMode::skip}));
    return {state, *served};
  }
  static Request image(std::string_view bytes) { return {{"image", bytes}}; }
};

// Three bright stretches, the second of them weak; the puppet adds one to each of its numbers.
constexpr std::string_view slide{"I\xff\x00\xff\xff\x00\x90\xff\x00\x90", 10};

float objects(Result<Answer> const& answer) {
  REQUIRE(answer);
  return answer->outputs["objects"].as<float>()[0];
}

}  // namespace

// mutant: the processor is given no parameters
TEST_CASE("S2-1 items of one batch that differ only in a parameter are answered each by their own value") {
  Microscope microscope;
  std::vector<Request> const requests{
      Microscope::image(slide), Microscope::image(slide).set("detect_holes", true),
      Microscope::image(slide).set("threshold", 0.8),
      Microscope::image(slide).set("threshold", 0.8).set("detect_holes", true)};
  auto const answers = microscope.model.infer_many(requests);
  REQUIRE(answers.size() == 4);
  CHECK(microscope.batches == std::vector<std::int64_t>{4});
  CHECK(objects(answers[0]) == 4 + 1);
  CHECK(objects(answers[1]) == 4 + 1 + 3 + 1);
  CHECK(objects(answers[2]) == 3 + 1);
  CHECK(objects(answers[3]) == 3 + 1 + 2 + 1);
}

// mutant: answers of many requests come the other way round
TEST_CASE("S2-18 of many images with a corrupt one each has its own outcome, and none that it did not earn") {
  Microscope microscope;
  std::vector<Request> const requests{Microscope::image(slide), Microscope::image("GIF"),
                                      Microscope::image(slide), Microscope::image("")};
  auto const answers = microscope.model.infer_many(requests);
  REQUIRE(answers.size() == 4);
  CHECK(objects(answers[0]) == 4 + 1);
  CHECK(objects(answers[2]) == 4 + 1);
  for (std::size_t const corrupt : {std::size_t{1}, std::size_t{3}}) {
    REQUIRE(!answers[corrupt]);
    CHECK(answers[corrupt].error().code == Code::invalid_argument);
    CHECK(answers[corrupt].error().message.find("expected an image") != std::string::npos);
  }

  std::array<std::string_view, 3> const together{slide, "GIF", slide};
  auto const one = microscope.infer({{"image", Tensor::copy_texts(together).value()}});
  REQUIRE(!one);
  CHECK(one.error().message.starts_with("item 1: "));

  for (std::string_view const corrupt : {"GIF", "PNG"})
    for (auto const& answer : microscope.model.infer_many(std::array{Microscope::image(corrupt)}))
      CHECK(!answer);
}
