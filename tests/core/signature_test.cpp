#include <athanor/core/signature.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <support/thread_memory.hpp>

#include <array>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace athanor;

TensorSpec spec_of(std::string name, DType dtype, std::vector<Dim> dims) {
  TensorSpec spec;
  spec.name = std::move(name);
  spec.dtype = dtype;
  spec.dims = std::move(dims);
  return spec;
}

Dim items() { return Dim::named(std::string(items_axis)); }

/// `text` bytes [items], each of at most eight bytes.
Signature of_text() {
  Signature signature;
  signature.inputs.push_back(spec_of("text", DType::bytes, {items()}));
  signature.inputs[0].max_bytes = 8;
  return signature;
}

/// `x` f32 [items, 3] and `mask` u8 [items, length], `weight` f64 [length].
Signature of_three() {
  Signature signature;
  signature.inputs.push_back(spec_of("x", DType::f32, {items(), Dim::fixed(3)}));
  signature.inputs.push_back(spec_of("mask", DType::u8, {items(), Dim::named("length")}));
  signature.inputs.push_back(spec_of("weight", DType::f64, {Dim::named("length")}));
  return signature;
}

struct ThreeInputs {
  std::array<float, 6> x{1, 2, 3, 4, 5, 6};
  std::array<std::uint8_t, 4> mask{1, 0, 1, 1};
  std::array<double, 2> weight{0.5, 0.25};

  /// Borrows the numbers of this object.
  Request request() const& {
    return Request{{"weight", Tensor::view<double>(weight, {2})},
                   {"x", Tensor::view<float>(x, {2, 3})},
                   {"mask", Tensor::view<std::uint8_t>(mask, {2, 2})}};
  }
  Request request() const&& = delete;
};

Request texts_of(std::vector<std::string_view> const& texts) {
  return Request{{"text", Tensor::copy_texts(texts).value()}};
}

/// The refusal of `request` must have this reason and this sentence.
void refused(Signature const& signature, Request const& request, Reason reason, std::string_view sentence) {
  auto const checked = check(signature, request);
  REQUIRE_FALSE(checked);
  CHECK(checked.error().code == Code::invalid_argument);
  CHECK(checked.error().reason == reason);
  CHECK(checked.error().message == sentence);
}

Request x_of(Tensor value) {
  static ThreeInputs const three;
  Request request = three.request();
  request.set("x", std::move(value));
  return request;
}

// mutant: the limit of a text is compared with all texts together
TEST_CASE("S1-6 a text over its limit is refused by its position in the batch, and the limit counts bytes") {
  auto const signature = of_text();
  for (std::size_t const position : {0U, 2U, 4U}) {
    std::vector<std::string_view> texts(5, "12345678");
    texts[position] = "123456789";
    refused(signature, texts_of(texts), Reason::too_large,
            fmt::format("text: element {}: expected at most 8 bytes, got 9", position));
  }
  CHECK(check(signature, texts_of({"\u00e9\u00e9\u00e9\u00e9"})));
  refused(signature, texts_of({"\u00e9\u00e9\u00e9\u00e9\u00e9"}), Reason::too_large,
          "text: element 0: expected at most 8 bytes, got 10");
  CHECK(check(signature, texts_of({"", " "})));
}

// mutant: overlong forms are taken for UTF-8
// mutant: what is no UTF-8 is told by its end
TEST_CASE("S1-6 a text that is not UTF-8 is refused by its position in the batch and its first bad byte") {
  struct Case {
    std::string_view text;
    std::size_t byte;
  };
  constexpr std::array<Case, 9> cases{{{"\x80", 0},
                                       {"ab\xff", 2},
                                       {"a\xc0\xaf", 1},
                                       {"\xe0\x80\xaf", 0},
                                       {"a\xed\xa0\x80", 1},
                                       {"\xf0\x80\x80\xaf", 0},
                                       {"\xf4\x90\x80\x80", 0},
                                       {"ok\xe2\x82", 2},
                                       {"\xf5", 0}}};
  auto const signature = of_text();
  for (auto const& bad : cases)
    for (std::size_t const position : {0U, 1U, 3U}) {
      std::vector<std::string_view> texts(4, "fine");
      texts[position] = bad.text;
      refused(signature, texts_of(texts), Reason::syntax,
              fmt::format("text: element {}: byte {} is not UTF-8", position, bad.byte));
    }
  CHECK(check(signature, texts_of({"\xed\x9f\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "\xe0\xa0\x80"})));
}

// mutant: bytes of any encoding are refused unless they are UTF-8
// mutant: texts are not looked through for UTF-8
TEST_CASE("bytes of any encoding pass, and are refused where text is expected") {
  using namespace std::string_view_literals;
  auto const jpeg = texts_of({"fine"sv, "\xff\xd8\xff\xe0"sv});
  auto signature = of_text();
  refused(signature, jpeg, Reason::syntax, "text: element 1: byte 0 is not UTF-8");
  signature.inputs[0].encoding = Encoding::any;
  CHECK(check(signature, jpeg));
  refused(signature, texts_of({"\xff\xd8\xff\xe0\0\x10JFIF"sv}), Reason::too_large,
          "text: element 0: expected at most 8 bytes, got 10");
}

// mutant: texts are not looked through for UTF-8
TEST_CASE("S1-6 one request of many texts is all or nothing, a request for each text fails one by one") {
  auto const signature = of_text();
  std::vector<std::string_view> const texts{"C", "CC", "far too long", "CCC", "\xff"};
  CHECK_FALSE(check(signature, texts_of(texts)));
  std::string passed;
  for (auto const text : texts) passed += check(signature, texts_of({text})) ? '1' : '0';
  CHECK(passed == "11010");
}

// mutant: negative lengths are let in
TEST_CASE("S4-2 a negative length is refused by its axis, whether the dimension is fixed, named or free") {
  Signature signature;
  signature.inputs.push_back(spec_of("x", DType::f32, {items(), Dim::any()}));
  std::array<float, 6> const x{};
  auto const shaped = [&](Shape const& shape) {
    return Request{{"x", Tensor::view(DType::f32, x.data(), shape)}};
  };
  CHECK(check(signature, shaped({2, 3})));
  refused(signature, shaped({-2, -3}), Reason::shape, "x: axis 0: expected a length, got -2");
  refused(signature, shaped({2, -3}), Reason::shape, "x: axis 1: expected a length, got -3");
  signature.inputs[0].dims[1] = Dim::fixed(3);
  refused(signature, shaped({2, -3}), Reason::shape, "x: axis 1: expected a length, got -3");
}

// mutant: a tensor may have fewer dimensions than its input
TEST_CASE("S4-2 a wrong rank, length or linked length is refused with the tensor, expected and got") {
  auto const signature = of_three();
  ThreeInputs const three;
  CHECK(check(signature, three.request()));
  refused(signature, x_of(Tensor::view<float>(three.x, {6})), Reason::shape,
          "x: expected f32 [items, 3], got f32 [6]");
  refused(signature, x_of(Tensor::view<float>(three.x, {1, 2, 3})), Reason::shape,
          "x: expected f32 [items, 3], got f32 [1, 2, 3]");
  refused(signature, x_of(Tensor::view<float>(three.x, {3, 2})), Reason::shape,
          "x: axis 1: expected 3, got 2 (shape [3, 2])");
  refused(signature, x_of(Tensor::view<float>(std::span(three.x).first<3>(), {1, 3})), Reason::shape,
          "mask: axis 0 (items): expected 1 as in x, got 2");
  Request other_length = three.request();
  other_length.set("weight", Tensor::view<double>(std::span(three.weight).first<1>(), {1}));
  refused(signature, other_length, Reason::shape, "weight: axis 0 (length): expected 2 as in mask, got 1");
}

// mutant: an empty batch is let in
TEST_CASE("S4-2 an empty batch is refused") {
  refused(of_three(), x_of(Tensor::view<float>({}, {0, 3})), Reason::shape,
          "x: an empty batch: expected at least 1 item, got 0");
  Request const no_texts{{"text", Tensor::copy_texts({}).value()}};
  refused(of_text(), no_texts, Reason::shape, "text: an empty batch: expected at least 1 item, got 0");
}

// mutant: element types are compared by their size
TEST_CASE("S4-2 a wrong element type is refused, also one of the same size") {
  ThreeInputs const three;
  refused(of_three(), x_of(Tensor::view(DType::i32, three.x.data(), {2, 3})), Reason::dtype,
          "x: expected f32, got i32");
  refused(of_three(), x_of(Tensor::text("1, 2, 3")), Reason::dtype, "x: expected f32, got bytes");
}

// mutant: an input without memory is read
// mutant: an empty tensor needs memory
TEST_CASE("S4-2 an input of some bytes without memory is refused before it is read") {
  ThreeInputs const three;
  refused(of_three(), x_of(Tensor::view(DType::f32, nullptr, {2, 3})), Reason::shape,
          "x: expected memory of 24 bytes, got null");
  std::array<std::int64_t, 2> const offsets{0, 3};
  Tensor const text = Tensor::texts(offsets, {static_cast<char const*>(nullptr), 0}, {1});
  refused(of_text(), Request{{"text", text}}, Reason::shape,
          "text: element 0: expected offsets inside 0 bytes, in ascending order, got 0 to 3");
  CHECK(check(of_text(), Request{{"text", Tensor::text({})}}));
  Signature empty;
  empty.inputs.push_back(spec_of("x", DType::f32, {items(), Dim::any()}));
  CHECK(check(empty, Request{{"x", Tensor::view(DType::f32, nullptr, {2, 0})}}));
}

// mutant: inputs that the model does not have are let in
TEST_CASE("S4-2 a missing, an extra and a doubled input are refused by name") {
  auto const signature = of_three();
  ThreeInputs const three;
  auto const x = Tensor::view<float>(three.x, {2, 3});
  auto const mask = Tensor::view<std::uint8_t>(three.mask, {2, 2});
  auto const weight = Tensor::view<double>(three.weight, {2});
  refused(signature, Request{{"x", x}, {"mask", mask}}, Reason::missing_input,
          "weight: expected f64 [length], got no input of that name");
  refused(signature, Request{{"x", x}, {"mask", mask}, {"weights", weight}}, Reason::missing_input,
          "weight: expected f64 [length], got no input of that name");
  refused(signature, Request{{"x", x}, {"mask", mask}, {"weight", weight}, {"bias", weight}},
          Reason::extra_input, "bias: not an input of the model; the model takes x, mask, weight");
  refused(signature, Request{{"x", x}, {"mask", mask}, {"weight", weight}, {"mask", mask}},
          Reason::extra_input, "mask: given more than once; the model takes x, mask, weight");
}

// mutant: the search for NaN and infinities leaves out the last number
TEST_CASE("S4-2 one number that is not finite is found at every place among many") {
  std::vector<float> values(131, std::numeric_limits<float>::max());
  std::vector<double> wide(values.size(), std::numeric_limits<double>::lowest());
  auto const first = [&](std::size_t skipped) {
    auto const left = static_cast<std::int64_t>(values.size() - skipped);
    return std::pair(first_non_finite(Tensor::view<float>(std::span(values).subspan(skipped), {left})),
                     first_non_finite(Tensor::view<double>(std::span(wide).subspan(skipped), {left})));
  };
  CHECK(first(0) == std::pair<std::int64_t, std::int64_t>(-1, -1));
  CHECK(first(values.size()) == std::pair<std::int64_t, std::int64_t>(-1, -1));
  for (std::size_t place = 0; place < values.size(); ++place) {
    float const kept = std::exchange(values[place], -std::numeric_limits<float>::infinity());
    double const wide_kept = std::exchange(wide[place], std::numeric_limits<double>::quiet_NaN());
    for (std::size_t skipped = 0; skipped <= std::min<std::size_t>(place, 5); ++skipped) {
      auto const at = static_cast<std::int64_t>(place - skipped);
      CHECK(first(skipped) == std::pair(at, at));
    }
    values[place] = kept;
    wide[place] = wide_kept;
  }
}

// mutant: bf16 is searched with the exponent of f16
TEST_CASE("S4-2 NaN and infinities are refused by position in every floating-point type") {
  auto const refused_at = [](DType dtype, Tensor const& value, int place) {
    Signature signature;
    signature.inputs.push_back(spec_of("x", dtype, {Dim::any()}));
    refused(signature, Request{{"x", value}}, Reason::non_finite,
            fmt::format("x: element {}: expected a finite value, got NaN or infinity", place));
    signature.inputs[0].non_finite = NonFinite::allow;
    CHECK(check(signature, Request{{"x", value}}));
  };
  constexpr auto nan_f32 = std::numeric_limits<float>::quiet_NaN();
  constexpr auto infinity = std::numeric_limits<float>::infinity();
  for (float const bad : {nan_f32, infinity, -infinity})
    for (std::size_t const place : {0U, 2U, 4U}) {
      std::array<float, 5> narrow{1, std::numeric_limits<float>::max(), std::numeric_limits<float>::lowest(),
                                  std::numeric_limits<float>::denorm_min(), 0};
      std::array<double, 5> wide{1, std::numeric_limits<double>::max(), 1e300, -1e300, 0};
      narrow[place] = bad;
      wide[place] = static_cast<double>(bad);
      refused_at(DType::f32, Tensor::view<float>(narrow, {5}), static_cast<int>(place));
      refused_at(DType::f64, Tensor::view<double>(wide, {5}), static_cast<int>(place));
    }
  // The largest finite half, then -infinity and a NaN; then the same in bfloat16.
  std::array<std::uint16_t, 3> const half{0x3c00, 0x7bff, 0xfc00};
  refused_at(DType::f16, Tensor::view(DType::f16, half.data(), {3}), 2);
  std::array<std::uint16_t, 2> const half_nan{0x7e01, 0x3c00};
  refused_at(DType::f16, Tensor::view(DType::f16, half_nan.data(), {2}), 0);
  std::array<std::uint16_t, 3> const brain{0x7f7f, 0x7c00, 0xff80};
  refused_at(DType::bf16, Tensor::view(DType::bf16, brain.data(), {3}), 2);
  std::array<std::uint16_t, 2> const brain_nan{0x3f80, 0x7fc0};
  refused_at(DType::bf16, Tensor::view(DType::bf16, brain_nan.data(), {2}), 1);
}

// mutant: offsets of a request's texts are not looked at
TEST_CASE(
    "S4-2 offsets that are missing, out of order or out of the bytes are refused before a text is read") {
  auto const signature = of_text();
  auto const with = [](std::vector<std::int64_t> const& offsets) {
    return Request{{"text", Tensor::texts(offsets, "abcdef", {2})}};
  };
  std::vector<std::int64_t> const good{0, 2, 6};
  std::vector<std::int64_t> const falling{0, 4, 2};
  std::vector<std::int64_t> const beyond{0, 2, 7};
  std::vector<std::int64_t> const negative{-1, 2, 6};
  CHECK(check(signature, with(good)));
  refused(signature, with(falling), Reason::shape,
          "text: element 1: expected offsets inside 6 bytes, in ascending order, got 4 to 2");
  refused(signature, with(beyond), Reason::shape,
          "text: element 1: expected offsets inside 6 bytes, in ascending order, got 2 to 7");
  refused(signature, with(negative), Reason::shape,
          "text: element 0: expected offsets inside 6 bytes, in ascending order, got -1 to 2");
  refused(signature, Request{{"text", Tensor::text("abcdef").reshaped({1})}, {"more", "x"}},
          Reason::extra_input, "more: not an input of the model; the model takes text");
}

// mutant: the names for a refusal are put together for every request
TEST_CASE("S4-2 a request that is right is checked without allocating") {
  auto const signature = of_three();
  ThreeInputs const three;
  Request const request = three.request();
  auto text_signature = of_text();
  text_signature.inputs[0].name = "a name that no string holds without an allocation";
  std::array<std::string_view, 2> const texts{"*CC*", "\u00e9"};
  Request const text_request{{text_signature.inputs[0].name, Tensor::copy_texts(texts).value()}};
  std::size_t const before = athanor_tests::thread_memory().allocations;
  auto const checked = check(signature, request);
  auto const checked_texts = check(text_signature, text_request);
  CHECK(athanor_tests::thread_memory().allocations == before);
  REQUIRE(checked);
  CHECK(checked_texts);
}

// mutant: an input is looked for at its own place
// mutant: the bytes of a request are not counted
TEST_CASE("a checked request tells where its inputs are, its items and its bytes") {
  ThreeInputs const three;
  Request const request = three.request();
  auto const checked = check(of_three(), request).value();
  CHECK(checked.index[0] == 1);
  CHECK(checked.index[1] == 2);
  CHECK(checked.index[2] == 0);
  CHECK(checked.items == 2);
  CHECK(checked.bytes == 24 + 4 + 16);
}

// mutant: defaults count no bytes
TEST_CASE("the bytes of a request include one default for each of its items") {
  Signature signature = of_three();
  signature.defaults.resize(3);
  signature.defaults[0] = Tensor::allocate(DType::f32, Shape{1, 3}).value();
  ThreeInputs const three;
  Request const request{{"weight", Tensor::view<double>(three.weight, {2})},
                        {"mask", Tensor::view<std::uint8_t>(three.mask, {2, 2})}};
  auto const checked = check(signature, request).value();
  CHECK(checked.items == 2);
  CHECK(checked.bytes == 2 * 12 + 4 + 16);
}

// mutant: an input that is set again is appended
TEST_CASE("setting an input again replaces it") {
  Request request;
  request.set("a", Tensor::text("first")).set("b", Tensor::text("other")).set("a", Tensor::text("second"));
  REQUIRE(request.inputs().size() == 2);
  CHECK(request.inputs()[0].value.text_at(0) == "second");
  request.clear();
  CHECK(request.inputs().empty());
}

// mutant: a dimension of any length is shown as 0
TEST_CASE("a specification is printed as it is read, and stacks along items only") {
  auto const spec = spec_of("x", DType::bf16, {items(), Dim::fixed(4), Dim::any()});
  CHECK(to_string(spec) == "bf16 [items, 4, ?]");
  CHECK(spec.stacks());
  CHECK_FALSE(spec_of("x", DType::f32, {Dim::named("length")}).stacks());
  CHECK_FALSE(spec_of("x", DType::f32, {}).stacks());
}

}  // namespace
