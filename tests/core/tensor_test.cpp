#include <athanor/core/tensor.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include <support/death.hpp>

namespace {

using namespace athanor;

/// Counts how often its memory is freed, and that it is the memory it was given.
struct Freed {
  std::array<std::byte, 64> memory{};
  int times = 0;
  static void free(void* data, void* context) noexcept {
    auto* self = static_cast<Freed*>(context);
    if (data == self->memory.data()) ++self->times;
  }
};

// mutant: two element types have each other's size
TEST_CASE("every element type has its number, its name and its size") {
  struct Row {
    DType dtype;
    int number;
    std::string_view name;
    std::size_t size;
  };
  constexpr std::array<Row, 14> rows{{{DType::boolean, 1, "bool", 1},
                                      {DType::u8, 2, "u8", 1},
                                      {DType::i8, 3, "i8", 1},
                                      {DType::i16, 4, "i16", 2},
                                      {DType::i32, 5, "i32", 4},
                                      {DType::i64, 6, "i64", 8},
                                      {DType::f16, 7, "f16", 2},
                                      {DType::bf16, 8, "bf16", 2},
                                      {DType::f32, 9, "f32", 4},
                                      {DType::f64, 10, "f64", 8},
                                      {DType::bytes, 11, "bytes", 0},
                                      {DType::u16, 12, "u16", 2},
                                      {DType::u32, 13, "u32", 4},
                                      {DType::u64, 14, "u64", 8}}};
  for (auto const& row : rows) {
    CHECK(static_cast<int>(row.dtype) == row.number);
    CHECK(to_string(row.dtype) == row.name);
    CHECK(parse_dtype(row.name).value() == row.dtype);
    CHECK(element_size(row.dtype) == row.size);
    CHECK(is_dtype(row.number));
  }
  CHECK_FALSE(is_dtype(0));
  CHECK_FALSE(is_dtype(15));
  CHECK(to_string(static_cast<DType>(99)) == "unknown");
  auto const unknown = parse_dtype("float");
  REQUIRE_FALSE(unknown);
  CHECK(unknown.error().reason == Reason::dtype);
  CHECK(unknown.error().message.ends_with("got 'float'"));
  CHECK(parse_dtype("c64").error().message.ends_with("got 'c64' (complex numbers are not supported)"));
  CHECK(parse_dtype("complex64").error().message.ends_with("(complex numbers are not supported)"));
}

// mutant: what follows the number of a device is not looked at
TEST_CASE("devices are read as they are printed, and what is no device is refused") {
  CHECK(parse_device("cpu").value() == Device{});
  CHECK(parse_device("cuda").value() == Device{DeviceType::cuda, 0});
  CHECK(to_string(parse_device("cuda:3").value()) == "cuda:3");
  CHECK(to_string(Device{}) == "cpu");
  for (auto const* text : {"", "cuda:", "cuda:-1", "cuda:1x", "CPU", "cuda:99999999999", "gpu"}) {
    auto const refused = parse_device(text);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message.find(fmt::format("'{}'", text)) != std::string::npos);
  }
}

// mutant: shapes of unlike ranks may be equal
TEST_CASE("shapes count their elements, and rank zero is one element") {
  CHECK(Shape{}.elements() == 1);
  CHECK(Shape{}.rank() == 0);
  CHECK(Shape{2, 0, 3}.elements() == 0);
  CHECK(Shape{2, 5}.elements() == 10);
  CHECK(Shape{2, 5} != Shape{2, 5, 0});
  CHECK(Shape{0} != Shape{});
  Shape grown;
  grown.append(2);
  grown.append(5);
  CHECK(grown == Shape{2, 5});
  CHECK(to_string(Shape{2, 10}) == "[2, 10]");
  CHECK(to_string(Shape{}) == "[]");
}

// mutant: allocated memory is not rounded up
TEST_CASE("allocated memory is aligned to 64 bytes and owned") {
  for (std::size_t const bytes : {0U, 1U, 64U, 65U, 1000U}) {
    auto const buffer = Buffer::allocate(bytes);
    REQUIRE(buffer);
    CHECK(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64 == 0);
    CHECK(buffer.capacity() >= bytes);
    CHECK(buffer.capacity() % 64 == 0);
  }
  CHECK_FALSE(Buffer());
  CHECK(Buffer().data() == nullptr);
  CHECK(Buffer().capacity() == 0);
  CHECK_FALSE(Buffer().unique());
}

// mutant: a negative length has bytes
// mutant: a negative length is told as a lack of memory
// mutant: the bytes of a shape overflow
TEST_CASE("a shape that no memory can hold is refused") {
  constexpr std::int64_t huge = std::int64_t{1} << 62;
  for (auto const& shape : {Shape{huge}, Shape{huge, huge}}) {
    auto const refused = Tensor::allocate(DType::f32, shape);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().reason == Reason::out_of_memory);
    CHECK(refused.error().message.find(to_string(shape)) != std::string::npos);
  }
  for (auto const& shape : {Shape{-1}, Shape{4, -2}, Shape{0, -1}}) {
    auto const refused = Tensor::allocate(DType::f32, shape);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Code::invalid_argument);
    CHECK(refused.error().message == "tensor f32 " + to_string(shape) + ": expected lengths of at least 0");
  }
  CHECK(Tensor::allocate(DType::f32, Shape{0, huge}));
}

// mutant: memory is allocated for texts that nobody has given
TEST_CASE("a tensor of texts is not allocated without them") {
  auto const refused = Tensor::allocate(DType::bytes, Shape{1});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::invalid_argument);
  CHECK(refused.error().reason == Reason::dtype);
}

// mutant: a copy of a buffer does not count
TEST_CASE("the last owner of adopted memory frees it, once") {
  Freed freed;
  {
    Buffer first = Buffer::adopt(freed.memory.data(), freed.memory.size(), &Freed::free, &freed);
    CHECK(first.unique());
    CHECK(first.capacity() == 64);
    Buffer second = first;
    CHECK_FALSE(first.unique());
    CHECK(second.data() == freed.memory.data());
    Buffer third = std::move(second);
    third = Buffer();
    CHECK(first.unique());
    CHECK(freed.times == 0);
    Buffer& same = first;
    first = same;
    CHECK(first.unique());
  }
  CHECK(freed.times == 1);
}

// mutant: a reshaped tensor does not share its memory
TEST_CASE("copies of an owned tensor share its bytes, a clone has its own") {
  auto tensor = Tensor::allocate(DType::i32, {2, 3}).value();
  std::array<std::int32_t, 6> const values{1, 2, 3, 4, 5, 6};
  std::memcpy(tensor.mutable_data(), values.data(), sizeof values);
  CHECK(tensor.owned());
  CHECK(tensor.buffer().unique());
  CHECK(tensor.size_bytes() == 24);

  auto const copy = tensor.reshaped({3, 2});
  CHECK(copy.shape() == Shape{3, 2});
  CHECK(copy.data() == tensor.data());
  CHECK_FALSE(tensor.buffer().unique());

  auto clone = copy.clone().value();
  CHECK(clone.buffer().unique());
  CHECK(clone.shape() == Shape{3, 2});
  clone.mutable_data()[0] = std::byte{9};
  CHECK(tensor.as<std::int32_t>()[0] == 1);
  CHECK(clone.as<std::int32_t>()[5] == 6);
  tensor = Tensor();
  CHECK(copy.as<std::int32_t>()[5] == 6);
  CHECK(copy.buffer().unique());
}

TEST_CASE("a view borrows, and its clone owns") {
  std::array<float, 4> values{1, 2, 3, 4};
  auto const view = Tensor::view<float>(values, {2, 2});
  CHECK_FALSE(view.owned());
  CHECK(view.dtype() == DType::f32);
  CHECK(view.device() == Device{});
  values[3] = 8;
  CHECK(view.as<float>()[3] == 8);
  CHECK(view.bytes().size() == 16);
  auto const clone = view.clone().value();
  values[3] = 9;
  CHECK(clone.as<float>()[3] == 8);
  CHECK(Tensor().shape() == Shape{0});
  CHECK(Tensor().clone().value().size_bytes() == 0);
}

// mutant: rows begin as many elements into a tensor
TEST_CASE("rows are views along axis 0") {
  std::array<std::int16_t, 12> values{};
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::int16_t>(i);
  auto const tensor = Tensor::view<std::int16_t>(values, {3, 2, 2}).clone().value();
  auto const last = tensor.rows(1, 2);
  CHECK(last.shape() == Shape{2, 2, 2});
  CHECK(last.size_bytes() == 16);
  CHECK(last.as<std::int16_t>()[0] == 4);
  CHECK(last.data() == tensor.data() + 8);
  CHECK_FALSE(last.owned());
  CHECK(tensor.rows(0, 3).data() == tensor.data());
  CHECK_FALSE(tensor.rows(0, 3).owned());
  CHECK(tensor.buffer().unique());
  CHECK(tensor.rows(3, 0).shape().elements() == 0);
}

// mutant: every text is as long as the first
TEST_CASE("texts are read one by one, from offsets or without") {
  std::vector<std::int64_t> const offsets{0, 1, 1, 4, 6};
  auto const texts = Tensor::texts(offsets, "abcdef", {2, 2});
  CHECK(texts.dtype() == DType::bytes);
  CHECK(texts.text_at(0) == "a");
  CHECK(texts.text_at(1).empty());
  CHECK(texts.text_at(2) == "bcd");
  CHECK(texts.text_at(3) == "ef");
  auto const second = texts.rows(1, 1);
  CHECK(second.shape() == Shape{1, 2});
  CHECK(second.text_at(0) == "bcd");
  CHECK(second.text_at(1) == "ef");
  auto const clone = second.clone().value();
  CHECK(clone.shape() == Shape{1, 2});
  CHECK(clone.size_bytes() == 5);
  CHECK(clone.offsets()[0] == 0);
  CHECK(clone.text_at(1) == "ef");

  auto const one = Tensor::text("*CC*");
  CHECK(one.offsets() == nullptr);
  CHECK(one.text_at(0) == "*CC*");
  CHECK(one.rows(0, 1).text_at(0) == "*CC*");
}

// mutant: copied texts are not filled in
TEST_CASE("copied texts outlive what they were copied from") {
  std::string first(100, 'x');
  std::vector<std::string_view> const views{first, "", std::string_view("a\0b", 3)};
  auto const copy = Tensor::copy_texts(views).value();
  first.assign(100, 'y');
  CHECK(copy.owned());
  CHECK(copy.shape() == Shape{3});
  CHECK(copy.text_at(0) == std::string(100, 'x'));
  CHECK(copy.text_at(1).empty());
  CHECK(copy.text_at(2) == std::string_view("a\0b", 3));
  CHECK(copy.size_bytes() == 103);
}

}  // namespace

// mutant: a precondition that does not hold is passed over
TEST_CASE("a precondition that does not hold ends the process with a sentence, in every build") {
  std::array<float, 2> const values{1, 2};
  Tensor const tensor = Tensor::view<float>(values, Shape{2});
  CHECK(athanor_tests::last_words([&] { static_cast<void>(tensor.as<double>()); }) ==
        "athanor: Tensor::as: expected the tensor's element type f32, got f64\n");
  CHECK(athanor_tests::last_words([&] { static_cast<void>(Tensor::view<float>(values, Shape{3})); }) ==
        "athanor: Tensor::view: expected as many values as the shape has elements, got another number\n");
  CHECK(athanor_tests::last_words([&] { static_cast<void>(tensor.rows(1, 2)); }) ==
        "athanor: Tensor::rows: expected a range inside axis 0, got one outside it\n");
  CHECK(athanor_tests::last_words([&] { static_cast<void>(tensor.rows(1, INT64_MAX)); }) ==
        "athanor: Tensor::rows: expected a range inside axis 0, got one outside it\n");
  CHECK(athanor_tests::last_words([&] { static_cast<void>(tensor.text_at(0)); }) ==
        "athanor: Tensor::text_at: expected the index of an element of a bytes tensor, got another\n");
  CHECK(athanor_tests::last_words([&] { static_cast<void>(tensor.reshaped(Shape{3})); }) ==
        "athanor: Tensor::reshaped: expected a shape with as many elements, got another\n");
  std::array<std::int64_t, 9> const dims{1, 1, 1, 1, 1, 1, 1, 1, 1};
  CHECK(athanor_tests::last_words([&] { static_cast<void>(Shape(std::span<std::int64_t const>(dims))); }) ==
        "athanor: Shape: expected at most 8 dimensions, got more\n");
}
