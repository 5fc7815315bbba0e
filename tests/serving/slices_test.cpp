// What a model sees of an item does not depend on the memory that the item's rows lie in, nor on its company:
// inputs that are parts of larger memory, of every element type, alone, in batches with others and in pieces.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include <athanor/serving/engine.hpp>
#include <support/puppet.hpp>

using namespace athanor;
using namespace athanor_tests;

namespace {

// Gives a digest of all that a row of `x` holds, as i64 [items]; refuses what is no whole tensor.
struct DigestBackend {
  static constexpr char const* name = "puppet";
  static constexpr RunsOn runs_on = RunsOn::any_thread;
  bool borrowed_only_dense = true;

  struct Instance {
    DigestBackend& backend;
    std::vector<std::int64_t> memory{};
    Result<void> run(ath_batch& batch) {
      auto const& x = batch.inputs[0];
      Tensor const tensor = from_view(x);
      auto const per_row = tensor.shape().elements() / batch.items;
      memory.clear();
      for (std::int64_t row = 0; row < batch.items; ++row) memory.push_back(digest(tensor, row, per_row));
      if (tensor.dtype() == DType::bytes && x.offsets != nullptr)
        backend.borrowed_only_dense =
            backend.borrowed_only_dense && x.offsets[0] == 0 &&
            static_cast<std::uint64_t>(x.offsets[tensor.shape().elements()]) == x.size_bytes;
      batch.outputs[0] = to_view(Tensor::view(std::span<std::int64_t const>(memory), Shape{batch.items}));
      return {};
    }
    static std::int64_t digest(Tensor const& tensor, std::int64_t row, std::int64_t per_row) {
      KeyHasher hasher;
      if (tensor.dtype() == DType::bytes) {
        for (std::int64_t i = 0; i < per_row; ++i) hasher.add(tensor.text_at(row * per_row + i));
      } else {
        auto const width = element_size(tensor.dtype()) * static_cast<std::size_t>(per_row);
        hasher.add(std::string_view(
            reinterpret_cast<char const*>(tensor.data()) + width * static_cast<std::size_t>(row), width));
      }
      return static_cast<std::int64_t>(hasher.finish().low);
    }
  };
  struct Model {
    using Instance = DigestBackend::Instance;
    DigestBackend& backend;
    std::uint64_t footprint() const { return 1; }
    Result<std::unique_ptr<Instance>> make_instance() {
      return std::make_unique<Instance>(Instance{backend});
    }
  };
  Result<std::unique_ptr<Model>> load(ModelSource const&) { return std::make_unique<Model>(Model{*this}); }
};

struct Rig {
  DigestBackend backend{};
  ath_backend_table table = make_table(backend);
  Engine<> engine = Engine<>::create({.backends = {&table}}).value();

  Model<> load(DType dtype, std::int64_t max_items) {
    ModelFolder const folder(
        fmt::format(R"("cache": false, "batching": {{"max_items": {}}},)", max_items), "slices",
        fmt::format("1.{}.{}", static_cast<int>(dtype), max_items),
        fmt::format(R"("inputs": [{{"name": "x", "dtype": "{}", "shape": ["items", 2]{}}}],
            "outputs": [{{"name": "y", "dtype": "i64", "shape": ["items"]}}],)",
                    to_string(dtype),
                    dtype == DType::bytes                        ? R"(, "encoding": "any")"
                    : dtype >= DType::f16 && dtype <= DType::f64 ? R"(, "non_finite": "allow")"
                                                                 : ""));
    auto model = engine.load(folder.path());
    REQUIRE_MESSAGE(model, model.error().message);
    return std::move(*model);
  }
};

constexpr std::int64_t base_rows = 9;

// Nine rows of two texts whose offsets begin late and end early in their memory.
struct Texts {
  std::string data = "....";
  std::vector<std::int64_t> offsets{4};

  Texts() {
    for (int i = 0; i < 2 * base_rows; ++i) {
      data += std::string(static_cast<std::size_t>(i % 4), static_cast<char>('a' + i));
      offsets.push_back(static_cast<std::int64_t>(data.size()));
    }
    data += "....";
  }
  Tensor tensor() const { return Tensor::texts(offsets, data, Shape{base_rows, 2}); }
};

std::vector<std::int64_t> expected_of(Tensor const& tensor) {
  std::vector<std::int64_t> digests;
  for (std::int64_t row = 0; row < tensor.shape()[0]; ++row)
    digests.push_back(DigestBackend::Instance::digest(tensor, row, 2));
  return digests;
}

std::vector<std::int64_t> values(Result<Answer> const& answer) {
  REQUIRE_MESSAGE(answer, answer.error().message);
  auto const y = answer->outputs["y"].as<std::int64_t>();
  return {y.begin(), y.end()};
}

void check_every_mix(Rig& rig, DType dtype, Tensor const& base) {
  Model<> whole = rig.load(dtype, 32);
  Model<> pieces = rig.load(dtype, 2);
  for (auto const& [first, count] :
       {std::pair<std::int64_t, std::int64_t>{0, 9}, {0, 5}, {2, 5}, {4, 1}, {8, 1}}) {
    CAPTURE(first);
    CAPTURE(count);
    Tensor const part = base.rows(first, count);
    auto const expected = expected_of(part);
    CHECK(values(whole.infer(Request{{"x", part}})) == expected);
    CHECK(values(pieces.infer(Request{{"x", part}})) == expected);
    // Parts of parts, in one batch and in batches of two.
    std::vector<Request> requests;
    for (std::int64_t row = 0; row < count; ++row) requests.push_back(Request{{"x", part.rows(row, 1)}});
    requests.push_back(Request{{"x", part}});
    for (Model<>* model : {&whole, &pieces}) {
      auto const answers = model->infer_many(requests);
      for (std::size_t i = 0; i < expected.size(); ++i)
        CHECK(values(answers[i]) == std::vector<std::int64_t>{expected[i]});
      CHECK(values(answers.back()) == expected);
    }
  }
}

}  // namespace

// mutant: rows of a tensor begin at its first row
TEST_CASE("rows of larger memory, of every numeric type, are the same alone, in company and in pieces") {
  Rig rig;
  std::array<std::uint64_t, 2 * base_rows> memory{};
  for (std::size_t i = 0; i < memory.size(); ++i) memory[i] = 0x0101010101010101ULL * (i % 2);
  for (auto const dtype :
       {DType::boolean, DType::u8, DType::u16, DType::u32, DType::u64, DType::i8, DType::i16, DType::i32,
        DType::i64, DType::f16, DType::bf16, DType::f32, DType::f64}) {
    CAPTURE(to_string(dtype));
    auto* bytes = reinterpret_cast<std::uint8_t*>(memory.data());
    if (dtype != DType::boolean)
      for (std::size_t i = 0; i < sizeof(memory); ++i) bytes[i] = static_cast<std::uint8_t>(i * 37 % 61);
    check_every_mix(rig, dtype, Tensor::view(dtype, memory.data(), Shape{base_rows, 2}));
  }
}

// mutant: rows of texts have the bytes of the whole
// mutant: the last text ends where its memory does
// mutant: the first text begins where its memory does
TEST_CASE("texts whose offsets begin late or end early are the same alone, in company and in pieces") {
  Rig rig;
  Texts const texts;
  check_every_mix(rig, DType::bytes, texts.tensor());
  CHECK(rig.backend.borrowed_only_dense);
}

// mutant: the last text ends where its memory does
TEST_CASE("an oversize request of texts is answered text by text") {
  Rig rig;
  Model<> model = rig.load(DType::bytes, 2);
  std::array<std::string_view, 6> const six{"a", "bb", "ccc", "", "dddd", "e"};
  Tensor const texts = Tensor::copy_texts(six).value().reshaped(Shape{3, 2});
  CHECK(values(model.infer(Request{{"x", texts}})) == expected_of(texts));
}

// mutant: the offsets of no texts are handed on
TEST_CASE("the offsets of no texts are the library's, whatever the caller's point to") {
  // NOLINTNEXTLINE(performance-no-int-to-ptr): an address without memory is what is tested
  auto const* const no_memory = reinterpret_cast<std::int64_t const*>(alignof(std::int64_t));
  Tensor const none = Tensor::texts({no_memory, 1}, "left over", Shape{1, 0});
  TensorView const view = to_view(none);
  REQUIRE(view.offsets != nullptr);
  CHECK(view.offsets != no_memory);
  CHECK(view.offsets[0] == 0);
  TensorView const row = to_view(none.rows(0, 0));
  CHECK(row.offsets != no_memory);
  CHECK(row.size_bytes == 0);
}
