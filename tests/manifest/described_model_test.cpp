// What a manifest says, held against the backends and processors that are there to fulfil it.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <vector>

#include <athanor/serving/engine.hpp>
#include <support/puppet.hpp>

using namespace athanor;
using namespace athanor_tests;

namespace {

// Gives the model `x`, f32 [1, 2], and an output `row`, f32 [1, 3]; refuses every option.
struct RowsProcessor {
  static constexpr char const* name = "rows";
  struct Opened {
    static constexpr std::array<Port, 2> ports{{{"x", DType::f32}, {"row", DType::f32}}};
    std::span<Port const> made() const { return ports; }
    Result<Preprocessed> preprocess(Item const&) const {
      Preprocessed item;
      for (std::int64_t const width : {2, 3}) {
        auto tensor = Tensor::allocate(DType::f32, Shape{1, width}).value();
        std::ranges::fill(tensor.mutable_as<float>(), 1.0F);
        item.tensors.push_back(std::move(tensor));
      }
      return item;
    }
  };
  Result<std::unique_ptr<Opened>> open(std::string_view, std::string_view options) const {
    if (options != "{}") return fail(Code::invalid_argument, Reason::option, "rows: unknown option");
    return std::make_unique<Opened>();
  }
};
static_assert(Processor<RowsProcessor>);

// Gives the model the size of an encoded image, or the sum of a decoded one, as `x`, f32 [1].
struct ImageProcessor {
  static constexpr char const* name = "image";
  struct Opened {
    static constexpr std::array<Port, 1> ports{{{"x", DType::f32}}};
    std::span<Port const> made() const { return ports; }
    Result<Preprocessed> preprocess(Item const& given) const {
      Tensor const item = given.input(0);
      float value = 0;
      if (item.dtype() == DType::bytes) {
        if (!item.text_at(0).starts_with("\xff\xd8"))
          return fail(Code::invalid_argument, Reason::syntax, "image: expected a JPEG");
        value = static_cast<float>(item.text_at(0).size());
        if (given.input_count() == 2) {
          Tensor const mask = given.input(1);
          for (std::uint8_t const pixel : mask.as<std::uint8_t>()) value += static_cast<float>(pixel);
        }
      } else {
        if (item.dtype() != DType::u8 || item.shape() != Shape{1, 2, 1, 3})
          return fail(Code::invalid_argument, Reason::shape, "image: expected u8 [1, 2, 1, 3]");
        for (std::uint8_t const pixel : item.as<std::uint8_t>()) value += static_cast<float>(pixel);
      }
      auto x = Tensor::allocate(DType::f32, Shape{1}).value();
      x.mutable_as<float>()[0] = value;
      return Preprocessed{{std::move(x)}, 1};
    }
  };
  Result<std::unique_ptr<Opened>> open(std::string_view, std::string_view) const {
    return std::make_unique<Opened>();
  }
};
static_assert(Processor<ImageProcessor>);

struct House {
  PuppetControl control;
  PuppetBackend backend{control};
  RowsProcessor rows;
  ImageProcessor image;
  ath_backend_table backends = make_table(backend);
  ath_processor_table row_table = make_table(rows);
  ath_processor_table image_table = make_table(image);
  Engine<> engine =
      Engine<>::create({.backends = {&backends}, .processors = {&row_table, &image_table}}).value();

  Error refusal(ModelFolder const& folder) {
    auto const model = engine.load(folder.path());
    REQUIRE_FALSE(model);
    return model.error();
  }
};

std::string text_tensors(std::string_view row_shape, std::string_view options = "{}") {
  return fmt::format(R"("inputs": [{{"name": "text", "dtype": "bytes", "shape": ["items"]}}],
      "processor": {{"name": "rows", "inputs": ["text"], "options": {}}},
      "model_inputs": [{{"name": "x", "dtype": "f32", "shape": ["items", 2]}}],
      "outputs": [{{"name": "y", "dtype": "f32", "shape": ["items", 2]}},
                  {{"name": "row", "dtype": "f32", "shape": {}, "from": "processor:row"}}],)",
                     options, row_shape);
}

std::string image_tensors(std::string_view inputs, std::string_view read_by_processor = "") {
  return fmt::format(R"("inputs": [{}], "processor": {{"name": "image"{}{}}},
      "model_inputs": [{{"name": "x", "dtype": "f32", "shape": ["items"]}}],
      "outputs": [{{"name": "y", "dtype": "f32", "shape": ["items"]}}],)",
                     inputs, read_by_processor.empty() ? "" : R"(, "inputs": )", read_by_processor);
}

std::string self_test(std::string_view outputs) {
  return fmt::format(R"("self_test": [{{"inputs": {{"text": ["a"]}}, "outputs": {{{}}}}}],)", outputs);
}

std::size_t occurrences(std::string_view text, std::string_view part) {
  std::size_t count = 0;
  for (auto at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

}  // namespace

// mutant: a self-test names its model a second time
TEST_CASE("a failed load names the model once") {
  House house;
  char const* const wrong = R"("self_test": [{"inputs": {"x": [[1, 2]]}, "outputs": {"y": [[2, 4]]}}],)";
  auto const differs = house.refusal(ModelFolder(wrong));
  CHECK(differs.message == "puppet@1.0.0: self_test[0]: output y: element 1: expected 4 within 1e-05, got 3");
  house.control.on_run = [](ath_batch const&) -> Result<void> {
    return fail(Code::internal, Reason::backend_failure, "told to fail");
  };
  auto const failed = house.refusal(ModelFolder(wrong, "other"));
  CHECK(occurrences(failed.message, "other@1.0.0") == 1);
  CHECK(failed.message.ends_with("self_test[0]: told to fail"));
}

// mutant: a row of a processor need only have the number of dimensions
TEST_CASE("an output that a processor gives has the shape that the processor gives") {
  House house;
  char const* const answer = R"("y": [[2, 2]])";
  for (auto const* shape : {R"(["items"])", R"(["items", 2])", R"(["items", 3, 1])"}) {
    auto const error = house.refusal(ModelFolder(self_test(answer), "rows", "1.0.0", text_tensors(shape)));
    CHECK(error.reason == Reason::manifest);
    CHECK_MESSAGE(error.message.starts_with("rows@1.0.0: output row: expected one row of f32 [items"), shape);
    CHECK_MESSAGE(error.message.ends_with(", the processor returned [1, 3]"), error.message);
  }
  CHECK(house.control.loads.load() == 0);
  std::string version = "1.0.0";
  for (auto const* shape : {R"(["items", 3])", R"(["items", null])"}) {
    ++version.back();
    ModelFolder const folder(self_test(answer), "rows", version, text_tensors(shape));
    CHECK_MESSAGE(house.engine.load(folder.path()), shape);
  }
}

// mutant: what a processor makes may have any shape
TEST_CASE("without a self-test, the first answer shows what a processor really gives") {
  House house;
  ModelFolder const folder("", "rows", "1.0.0", text_tensors(R"(["items", 2])"));
  auto model = house.engine.load(folder.path());
  REQUIRE(model);
  auto const answer = model->infer({{"text", "a"}});
  REQUIRE_FALSE(answer);
  CHECK(answer.error().reason == Reason::backend_contract);
  CHECK(answer.error().message ==
        "rows@1.0.0: output row: item 0: expected one row of f32 [items, 2], of equal size, the processor "
        "gives [1, 3]");
}

// mutant: options that a processor refuses are no mistake of the manifest
TEST_CASE("what a processor refuses is a refusal of the manifest that names the model") {
  House house;
  auto const error =
      house.refusal(ModelFolder("", "rows", "1.0.0", text_tensors(R"(["items", 3])", R"({"colour": 1})")));
  CHECK(error.code == Code::invalid_argument);
  CHECK(error.reason == Reason::manifest);
  CHECK(error.message == "rows@1.0.0: processor: rows: unknown option");
}

// mutant: codes of a request are read in the type of the model's tokens
TEST_CASE("codes of i32 in a request become tokens of i64 for the model") {
  House house;
  std::vector<std::int64_t> tokens;
  house.control.on_run = [&](ath_batch const& batch) -> Result<void> {
    CHECK(batch.inputs[1].dtype == static_cast<std::int32_t>(DType::i64));
    auto const* first = static_cast<std::int64_t const*>(batch.inputs[1].data);
    tokens.assign(first, first + batch.items);
    return {};
  };
  ModelFolder const folder;
  folder.write(
      "athanor.json",
      R"({"athanor": 1, "name": "mapped", "version": "1.0.0", "backend": "puppet", "format": "puppet",
      "inputs": [{"name": "x", "dtype": "f32", "shape": ["items"]}, {"name": "code", "dtype": "i32", "shape": ["items"]}],
      "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items"]}, {"name": "code", "dtype": "i64", "shape": ["items"]}],
      "outputs": [{"name": "y", "dtype": "f32", "shape": ["items"]}],
      "members": [{"file": "model.bin", "lookups": {"code": [70, 5]}, "digest": "xxh128:)" +
          to_hex(*hash_file(folder.path() + "/model.bin")) + R"("}]})");
  auto model = house.engine.load(folder.path());
  REQUIRE_MESSAGE(model, model.error().message);
  std::array<float, 3> const x{1, 2, 3};
  std::array<std::int32_t, 3> const codes{5, 70, 9};
  auto const answer =
      model->infer(Request{{"x", Tensor::view(std::span<float const>(x), Shape{3})},
                           {"code", Tensor::view(std::span<std::int32_t const>(codes), Shape{3})}});
  REQUIRE_MESSAGE(answer, answer.error().message);
  CHECK(tokens == std::vector<std::int64_t>{3, 2, 1});
}

// mutant: bytes of any encoding are refused unless they are UTF-8
TEST_CASE("an encoded image reaches a processor where its input may hold any bytes") {
  using namespace std::string_view_literals;
  House house;
  std::array const images{"\xff\xd8\xff\xe0\0\x10JFIF"sv, "\xff\xd8\xff"sv};
  Request const request{{"image", Tensor::copy_texts(images).value()}};
  auto const load = [&](std::string_view version, std::string_view encoding) {
    ModelFolder const folder(
        "", "images", version,
        image_tensors(
            fmt::format(R"({{"name": "image", "dtype": "bytes", "shape": ["items"]{}}})", encoding)));
    auto model = house.engine.load(folder.path());
    REQUIRE_MESSAGE(model, model.error().message);
    return std::move(*model);
  };
  auto opaque = load("1.0.0", R"(, "encoding": "any")");
  auto const answer = opaque.infer(request);
  REQUIRE_MESSAGE(answer, answer.error().message);
  auto const y = answer->outputs["y"].as<float>();
  CHECK(std::vector<float>(y.begin(), y.end()) == std::vector<float>{11, 4});
  auto text = load("2.0.0", "");
  auto const refused = text.infer(request);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().reason == Reason::syntax);
  CHECK(refused.error().message.ends_with("image: element 0: byte 0 is not UTF-8"));
}

// mutant: a processor reads only texts
TEST_CASE("a decoded image reaches a processor row by row") {
  House house;
  ModelFolder const folder(
      "", "images", "1.0.0",
      image_tensors(R"({"name": "image", "dtype": "u8", "shape": ["items", "height", "width", 3]})"));
  auto model = house.engine.load(folder.path());
  REQUIRE_MESSAGE(model, model.error().message);
  std::array<std::uint8_t, 12> const pixels{1, 2, 3, 4, 5, 6, 10, 20, 30, 40, 50, 60};
  auto const answer = model->infer(
      Request{{"image", Tensor::view(std::span<std::uint8_t const>(pixels), Shape{2, 2, 1, 3})}});
  REQUIRE_MESSAGE(answer, answer.error().message);
  auto const y = answer->outputs["y"].as<float>();
  CHECK(std::vector<float>(y.begin(), y.end()) == std::vector<float>{22, 211});
}

// mutant: a processor is given the first of its inputs only
TEST_CASE("a processor is given a row of each input that the manifest names, in that order") {
  House house;
  ModelFolder const folder("", "images", "1.0.0",
                           image_tensors(R"({"name": "mask", "dtype": "u8", "shape": ["items", 2]},
                       {"name": "image", "dtype": "bytes", "shape": ["items"], "encoding": "any"})",
                                         R"(["image", "mask"])"));
  auto model = house.engine.load(folder.path());
  REQUIRE_MESSAGE(model, model.error().message);
  std::array<std::uint8_t, 4> const masks{1, 1, 100, 200};
  std::array<std::string_view, 2> const images{"\xff\xd8", "\xff\xd8\xff"};
  auto const answer =
      model->infer(Request{{"mask", Tensor::view(std::span<std::uint8_t const>(masks), Shape{2, 2})},
                           {"image", Tensor::copy_texts(images).value()}});
  REQUIRE_MESSAGE(answer, answer.error().message);
  auto const y = answer->outputs["y"].as<float>();
  CHECK(std::vector<float>(y.begin(), y.end()) == std::vector<float>{2 + 2 + 1, 3 + 300 + 1});
}
