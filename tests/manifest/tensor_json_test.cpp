#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>

#include <doctest/doctest.h>
#include <athanor/manifest/tensor_json.hpp>

using namespace athanor;

namespace {

TensorSpec spec(DType dtype, std::vector<Dim> dims = {Dim::named("items"), Dim::any()}) {
  return {"x", dtype, std::move(dims), NonFinite::refuse, 0, {}};
}

Error refusal(std::string_view json, TensorSpec const& of) {
  auto const tensor = tensor_from_json(json, of);
  REQUIRE_FALSE(tensor);
  CHECK(tensor.error().code == Code::invalid_argument);
  return tensor.error();
}

std::uint16_t half_bits(std::string const& number, DType dtype) {
  auto const tensor = tensor_from_json("[" + number + "]", spec(dtype, {Dim::any()}));
  REQUIRE(tensor);
  std::uint16_t bits = 0;
  std::memcpy(&bits, tensor->data(), 2);
  return bits;
}

}  // namespace

// mutant: integers that a type cannot hold wrap
TEST_CASE("S4-2 what a tensor cannot hold is refused with its name, position, expected and got") {
  struct Row {
    char const* json;
    DType dtype;
    Reason reason;
    char const* message;
  };
  Row const rows[] = {
      {"[[1, 2], [3]]", DType::f32, Reason::shape,
       "x: [1]: expected 2 elements as in the lists before, got 1"},
      {"[[1, 300]]", DType::u8, Reason::value_range, "x: [0][1]: expected u8, got 300, which it cannot hold"},
      {"[[-1]]", DType::u8, Reason::value_range, "x: [0][0]: expected u8, got -1, which it cannot hold"},
      {"[[0], [128]]", DType::i8, Reason::value_range,
       "x: [1][0]: expected i8, got 128, which it cannot hold"},
      {"[[9223372036854775808]]", DType::i64, Reason::value_range,
       "x: [0][0]: expected i64, got 9223372036854775808, which it cannot hold"},
      {"[[65536]]", DType::u16, Reason::value_range,
       "x: [0][0]: expected u16, got 65536, which it cannot hold"},
      {"[[-1]]", DType::u64, Reason::value_range, "x: [0][0]: expected u64, got -1, which it cannot hold"},
      {"[[1.5]]", DType::i32, Reason::dtype, "x: [0][0]: expected i32, got 1.5"},
      {"[[\"a\"]]", DType::f32, Reason::dtype, "x: [0][0]: expected f32, got \"a\""},
      {"[[null]]", DType::f32, Reason::dtype, "x: [0][0]: expected f32, got null"},
      {"[[true]]", DType::f32, Reason::dtype, "x: [0][0]: expected f32, got true"},
      {"[[1]]", DType::boolean, Reason::dtype, "x: [0][0]: expected bool, got 1"},
      {"[[1e300]]", DType::f32, Reason::value_range,
       "x: [0][0]: expected f32, got 1e+300, which it cannot hold"},
      {"[[65520]]", DType::f16, Reason::value_range,
       "x: [0][0]: expected f16, got 65520, which it cannot hold"},
      {"[[1]]", DType::bytes, Reason::dtype, "x: [0][0]: expected a text, got 1"},
      {"[1, 2]", DType::f32, Reason::shape, "x: [0]: expected a list (level 2 of 2), got 1"},
      {"[[[1]]]", DType::f32, Reason::shape, "x: [0][0]: expected 2 levels of lists, got more"},
      {"3", DType::f32, Reason::shape, "x: expected a list (level 1 of 2), got 3"},
      {"[[NaN]]", DType::f32, Reason::syntax, "x: expected JSON, got something else at byte 2 (line 1)"},
      {"[[1e999]]", DType::f64, Reason::syntax, nullptr},
      {"[[1]", DType::f32, Reason::syntax, nullptr},
  };
  for (auto const& row : rows) {
    CAPTURE(row.json);
    auto const error = refusal(row.json, spec(row.dtype));
    CHECK(error.reason == row.reason);
    if (row.message != nullptr) CHECK(error.message == row.message);
  }
  CHECK(refusal("[[1, 2, 3]]", spec(DType::f32, {Dim::named("items"), Dim::fixed(2)})).message ==
        "x: [0]: expected 2 elements, got 3");
  CHECK(refusal(std::string(100'000, '['), spec(DType::f32)).reason == Reason::syntax);
}

// mutant: bf16 is truncated instead of rounded
TEST_CASE("S4-3 half precision and texts are converted exactly") {
  CHECK(half_bits("1", DType::f16) == 0x3c00);
  CHECK(half_bits("-2", DType::f16) == 0xc000);
  CHECK(half_bits("65504", DType::f16) == 0x7bff);
  CHECK(half_bits("65519", DType::f16) == 0x7bff);
  CHECK(half_bits("1.0009765625", DType::f16) == 0x3c01);
  CHECK(half_bits("5.9604644775390625e-08", DType::f16) == 0x0001);
  CHECK(half_bits("0.000061035", DType::f16) == 0x0400);
  CHECK(half_bits("-0.0", DType::f16) == 0x8000);
  CHECK(half_bits("1", DType::bf16) == 0x3f80);
  CHECK(half_bits("1.00390625", DType::bf16) == 0x3f80);  // a tie goes to the even neighbour
  CHECK(half_bits("1.01171875", DType::bf16) == 0x3f82);
  CHECK(half_bits("3.14159", DType::bf16) == 0x4049);

  auto const texts = tensor_from_json(R"([["a", ""], ["žluť", "*CC*"]])", spec(DType::bytes));
  REQUIRE(texts);
  CHECK(texts->shape() == Shape{2, 2});
  CHECK(texts->text_at(0) == "a");
  CHECK(texts->text_at(1).empty());
  CHECK(texts->text_at(2) == "žluť");
  CHECK(texts->text_at(3) == "*CC*");
}

TEST_CASE("nested lists become a row-major tensor") {
  auto const numbers = tensor_from_json("[[1, 2.5, -3], [4, 5, 6e2]]", spec(DType::f32));
  REQUIRE(numbers);
  CHECK(numbers->shape() == Shape{2, 3});
  CHECK(numbers->as<float>()[1] == 2.5f);
  CHECK(numbers->as<float>()[5] == 600.0f);
  auto const codes =
      tensor_from_json("[-9223372036854775808, 9223372036854775807]", spec(DType::i64, {Dim::any()}));
  REQUIRE(codes);
  CHECK(codes->as<std::int64_t>()[0] == INT64_MIN);
  CHECK(codes->as<std::int64_t>()[1] == INT64_MAX);
  auto const scalar = tensor_from_json("7", spec(DType::u8, {}));
  REQUIRE(scalar);
  CHECK(scalar->as<std::uint8_t>()[0] == 7);
  auto const empty = tensor_from_json("[]", spec(DType::f32, {Dim::named("items"), Dim::fixed(3)}));
  REQUIRE(empty);
  CHECK(empty->shape() == Shape{0, 3});
}

// mutant: the sign of a zero is lost in JSON
// mutant: subnormal numbers of f16 are taken for normal ones
TEST_CASE("a tensor of every type comes back from its JSON as it was") {
  std::mt19937_64 random(7);
  for (auto const dtype :
       {DType::boolean, DType::u8, DType::u16, DType::u32, DType::u64, DType::i8, DType::i16, DType::i32,
        DType::i64, DType::f16, DType::bf16, DType::f32, DType::f64})
    for (int round = 0; round < 200; ++round) {
      auto const tensor = Tensor::allocate(dtype, Shape{4, 3, 2}).value();
      auto* const bytes = tensor.buffer().data();
      for (std::size_t i = 0; i < tensor.size_bytes(); ++i)
        bytes[i] = static_cast<std::byte>(dtype == DType::boolean ? random() & 1U : random() & 0xffU);
      if (round == 0) std::memset(bytes, 0, tensor.size_bytes());
      if (round == 0 && dtype == DType::f32) bytes[3] = std::byte{0x80};  // -0.0
      auto const text = tensor_to_json(tensor, "x");
      if (first_non_finite(tensor) >= 0) {
        REQUIRE_FALSE(text);
        CHECK(text.error().reason == Reason::non_finite);
        continue;
      }
      REQUIRE_MESSAGE(text, text.error().message);
      auto const back = tensor_from_json(*text, spec(dtype, {Dim::any(), Dim::any(), Dim::any()}));
      REQUIRE_MESSAGE(back, back.error().message);
      CHECK(back->shape() == tensor.shape());
      CHECK_MESSAGE(std::memcmp(back->data(), bytes, tensor.size_bytes()) == 0, *text);
    }
}

// mutant: lists are written without commas
// mutant: texts are written as they are
TEST_CASE("a tensor is written as nested lists in few digits") {
  std::array<float, 4> const values{1, 0.1F, -2.5F, 1e20F};
  auto const of = [&](Shape const& shape) {
    return tensor_to_json(Tensor::view(std::span<float const>(values), shape), "x").value();
  };
  CHECK(of({2, 2}) == "[[1,0.1],[-2.5,1e+20]]");
  CHECK(of({4}) == "[1,0.1,-2.5,1e+20]");
  CHECK(tensor_to_json(Tensor::allocate(DType::f32, Shape{2, 0}).value(), "x").value() == "[[],[]]");
  std::array<std::string_view, 2> const texts{"a\"b", "\u017elu\u0165"};
  CHECK(tensor_to_json(Tensor::copy_texts(texts).value(), "x").value() == "[\"a\\\"b\",\"\u017elu\u0165\"]");
}

// mutant: only the first text of a tensor is looked at before it is written
TEST_CASE("what JSON cannot hold is refused by its element") {
  std::array<double, 2> const values{1, std::numeric_limits<double>::infinity()};
  CHECK(tensor_to_json(Tensor::view(std::span<double const>(values), Shape{2}), "y").error().message ==
        "y: element 1: expected a finite value, got NaN or infinity");
  std::array<std::string_view, 2> const texts{"fine", "\xff\xd8"};
  auto const refused = tensor_to_json(Tensor::copy_texts(texts).value(), "image");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().reason == Reason::syntax);
  CHECK(refused.error().message == "image: element 1: byte 0 is not UTF-8");
}
