// How pieces of different length are put into one batch.
#include <athanor/serving/detail/assembler.hpp>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include <athanor/core/detail/view.hpp>

using namespace athanor;
using namespace athanor::serving;

namespace {

Dim const items = Dim::named("items");

ModelInput input(DType dtype, std::vector<Dim> dims, Assemble assemble = Assemble::stack,
                 std::string axis = {}) {
  ModelInput made;
  made.spec.name = "x";
  made.spec.dtype = dtype;
  made.spec.dims = std::move(dims);
  made.assemble = assemble;
  made.axis = std::move(axis);
  return made;
}

// An element of that type, all of whose bytes are different.
Tensor odd_element(DType dtype) {
  auto element = Tensor::allocate(dtype, Shape{}).value();
  for (std::size_t i = 0; i < element.size_bytes(); ++i)
    element.mutable_data()[i] = static_cast<std::byte>(dtype == DType::boolean ? 1 : 7 + i);
  return element;
}

template <class T>
TensorView view(std::vector<T> const& values, Shape const& shape) {
  return to_view(Tensor::view(std::span<T const>(values), shape));
}

template <class T>
std::vector<T> values_of(TensorView const& tensor) {
  auto const* data = static_cast<T const*>(tensor.data);
  return {data, data + tensor.size_bytes / sizeof(T)};
}

constexpr DType numbers[] = {DType::boolean, DType::u8,  DType::u16, DType::u32, DType::u64,
                             DType::i8,      DType::i16, DType::i32, DType::i64, DType::f16,
                             DType::bf16,    DType::f32, DType::f64};

}  // namespace

// mutant: the fill is one byte, whatever the type
TEST_CASE("rows of every type are padded with the element that the manifest names") {
  PaddedAxis const axis{"tokens", {3}};
  for (DType const dtype : numbers) {
    auto padded = input(dtype, {items, Dim::named("tokens")});
    padded.fill = odd_element(dtype);
    auto const mask = input(dtype, {items, Dim::fixed(1), Dim::named("tokens")}, Assemble::mask);
    std::vector const inputs{padded, mask};
    Assembler assembler(inputs, Padding(std::span(&axis, 1), inputs));
    std::size_t const width = element_size(dtype);
    std::vector<std::uint8_t> const bytes(4 * width, 1);
    Pieces pieces(2);
    pieces.add(2)[0] = to_view(Tensor::view(dtype, bytes.data(), Shape{2, 1}));
    pieces.add(1)[0] = to_view(Tensor::view(dtype, bytes.data(), Shape{1, 2}));
    REQUIRE(assembler.gather(pieces, true));
    auto const got = values_of<std::uint8_t>(assembler.inputs()[0]);
    auto const masked = values_of<std::uint8_t>(assembler.inputs()[1]);
    REQUIRE(got.size() == 9 * width);
    REQUIRE(masked.size() == 9 * width);
    std::string_view const real = "100100110";
    std::vector<std::uint8_t> const zero(width, 0);
    std::vector<std::uint8_t> one;
    for (std::size_t i = 0; i < 9; ++i) {
      void const* const wanted =
          real[i] == '1' ? static_cast<void const*>(bytes.data()) : padded.fill->data();
      CHECK(std::memcmp(got.data() + i * width, wanted, width) == 0);
      std::vector<std::uint8_t> const element(masked.begin() + static_cast<std::ptrdiff_t>(i * width),
                                              masked.begin() + static_cast<std::ptrdiff_t>((i + 1) * width));
      if (i == 0) one = element;
      CHECK(element == (real[i] == '1' ? one : zero));
    }
    CHECK(one != zero);
    CHECK(shape_of(assembler.inputs()[1]) == Shape{3, 1, 3});
  }
}

TEST_CASE("a mask of floating-point numbers holds ones") {
  PaddedAxis const axis{"tokens", {2}};
  auto padded = input(DType::f32, {items, Dim::named("tokens")});
  padded.fill = odd_element(DType::f32);
  std::vector<float> const x{5};
  auto const mask_of = [&](DType dtype) {
    std::vector const inputs{padded, input(dtype, {items, Dim::named("tokens")}, Assemble::mask)};
    Assembler assembler(inputs, Padding(std::span(&axis, 1), inputs));
    Pieces pieces(2);
    pieces.add(1)[0] = view(x, {1, 1});
    REQUIRE(assembler.gather(pieces, true));
    return values_of<std::uint8_t>(assembler.inputs()[1]);
  };
  CHECK(mask_of(DType::f16) == std::vector<std::uint8_t>{0x00, 0x3c, 0, 0});
  CHECK(mask_of(DType::bf16) == std::vector<std::uint8_t>{0x80, 0x3f, 0, 0});
  CHECK(mask_of(DType::f32) == std::vector<std::uint8_t>{0, 0, 0x80, 0x3f, 0, 0, 0, 0});
}

// mutant: only the last dimension of a tensor is padded
TEST_CASE("two axes are padded at once, wherever they stand") {
  std::vector<PaddedAxis> const axes{{"height", {3, 4}}, {"width", {2, 3}}};
  auto image =
      input(DType::f32, {items, Dim::named("height"), Dim::fixed(1), Dim::named("width"), Dim::fixed(2)});
  float const nine = 9;
  image.fill = Tensor::view(DType::f32, &nine, Shape{});
  std::vector const inputs{
      image, input(DType::boolean, {items, Dim::named("width"), Dim::named("height")}, Assemble::mask),
      input(DType::i32, {items, Dim::fixed(1)}, Assemble::length, "width")};
  Assembler assembler(inputs, Padding(axes, inputs));
  std::vector<float> const tall{1, 2, 3, 4, 5, 6};         // 3 x 1
  std::vector<float> const broad{1, 2, 3, 4, 5, 6, 7, 8};  // 2 x 2
  Pieces pieces(3);
  pieces.add(1)[0] = view(tall, {1, 3, 1, 1, 2});
  pieces.add(1)[0] = view(broad, {1, 2, 1, 2, 2});
  REQUIRE(assembler.gather(pieces, true));
  CHECK(shape_of(assembler.inputs()[0]) == Shape{2, 3, 1, 2, 2});
  CHECK(values_of<float>(assembler.inputs()[0]) ==
        std::vector<float>{1, 2, 9, 9, 3, 4, 9, 9, 5, 6, 9, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9});
  CHECK(values_of<std::uint8_t>(assembler.inputs()[1]) ==
        std::vector<std::uint8_t>{1, 1, 1, 0, 0, 0, 1, 1, 0, 1, 1, 0});
  CHECK(shape_of(assembler.inputs()[1]) == Shape{2, 2, 3});
  CHECK(values_of<std::int32_t>(assembler.inputs()[2]) == std::vector<std::int32_t>{1, 2});
  CHECK(shape_of(assembler.inputs()[2]) == Shape{2, 1});
  CHECK(assembler.widths() == PaddedLengths{3, 2});
  CHECK(assembler.lengths(0) == PaddedLengths{3, 1});
}

// mutant: the text that fills up is left out
TEST_CASE("texts are padded with a text, and keep their own") {
  PaddedAxis const axis{"words", {1, 3}};
  auto words = input(DType::bytes, {items, Dim::named("words")});
  words.fill = Tensor::text("<pad>");
  std::vector const inputs{words};
  Assembler assembler(inputs, Padding(std::span(&axis, 1), inputs));
  auto const pair = Tensor::copy_texts(std::vector<std::string_view>{"cut off", "a", "", "bb"}).value();
  auto const two = pair.rows(2, 2).reshaped(Shape{1, 2});
  auto const singles =
      Tensor::copy_texts(std::vector<std::string_view>{"c", "dd"}).value().reshaped(Shape{2, 1});
  Pieces pieces(1);
  pieces.add(1)[0] = to_view(two);
  pieces.add(2)[0] = to_view(singles);
  REQUIRE(assembler.gather(pieces, true));
  Tensor const got = from_view(assembler.inputs()[0]);
  REQUIRE(got.shape() == Shape{3, 3});
  std::vector<std::string_view> texts;
  for (std::int64_t i = 0; i < 9; ++i) texts.push_back(got.text_at(i));
  CHECK(texts ==
        std::vector<std::string_view>{"", "bb", "<pad>", "c", "<pad>", "<pad>", "dd", "<pad>", "<pad>"});
}

// mutant: the lengths of two inputs along one axis need not be equal
TEST_CASE("inputs along one axis are of one length in an item") {
  PaddedAxis const axis{"tokens", {4}};
  auto one = input(DType::f32, {items, Dim::named("tokens")});
  one.fill = odd_element(DType::f32);
  auto other = one;
  other.spec.name = "types";
  std::vector const inputs{one, other};
  Assembler assembler(inputs, Padding(std::span(&axis, 1), inputs));
  std::vector<float> const x{1, 2, 3};
  Pieces pieces(2);
  auto const tensors = pieces.add(1);
  tensors[0] = view(x, {1, 3});
  tensors[1] = to_view(Tensor::view(DType::f32, x.data(), Shape{1, 2}));
  auto const refused = assembler.gather(pieces, true);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().reason == Reason::shape);
  CHECK(refused.error().message == "types: axis 'tokens': expected length 3, got 2");
}

TEST_CASE("a batch is widened to the buckets of lengths that it does not hold") {
  PaddedAxis const axis{"tokens", {1, 2, 4}};
  auto padded = input(DType::f32, {items, Dim::named("tokens")});
  padded.fill = odd_element(DType::f32);
  std::vector const inputs{padded};
  Assembler assembler(inputs, Padding(std::span(&axis, 1), inputs));
  std::vector<float> const x{1};
  Pieces pieces(1);
  pieces.add(1)[0] = view(x, {1, 1});
  pieces.widen({3});
  REQUIRE(assembler.gather(pieces, true));
  CHECK(shape_of(assembler.inputs()[0]) == Shape{1, 4});
  pieces.clear();
  pieces.add(1)[0] = view(x, {1, 1});
  REQUIRE(assembler.gather(pieces, true));
  CHECK(shape_of(assembler.inputs()[0]) == Shape{1, 1});
}
