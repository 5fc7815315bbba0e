// Parameters of a request: what a signature allows, and what holds.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <string_view>

#include <athanor/core/hash.hpp>
#include <athanor/core/signature.hpp>

using namespace athanor;

namespace {

ParameterSpec spec_of(std::string name, ParameterType type, std::optional<ParameterValue> initial = {}) {
  ParameterSpec spec;
  spec.name = std::move(name);
  spec.type = type;
  spec.initial = std::move(initial);
  return spec;
}

// `x` f32 [items], and one parameter of each type.
Signature of_four() {
  Signature signature;
  signature.inputs.push_back(TensorSpec{"x", DType::f32, {Dim::named("items")}, {}, 0, {}, {}});
  signature.parameters = {
      spec_of("exact", ParameterType::boolean, false), spec_of("steps", ParameterType::i64, std::int64_t{10}),
      spec_of("threshold", ParameterType::f64), spec_of("mode", ParameterType::text, "fast")};
  signature.parameters[1].least = std::int64_t{1};
  signature.parameters[1].most = std::int64_t{100};
  signature.parameters[2].least = 0.0;
  signature.parameters[2].most = 1.0;
  signature.parameters[3].choices = {"fast", "best"};
  return signature;
}

float const one[1] = {1};
Tensor x() { return Tensor::view<float>(one, Shape{1}); }

std::string refusal(Request const& request, Reason reason, Signature const& signature = of_four()) {
  auto const checked = check(signature, request);
  REQUIRE_FALSE(checked);
  CHECK(checked.error().code == Code::invalid_argument);
  CHECK(checked.error().reason == reason);
  return checked.error().message;
}

ath_value value_of(Signature const& signature, Request const& request, std::size_t index) {
  auto const checked = check(signature, request);
  REQUIRE(checked);
  return parameter_of(signature, request, *checked, index);
}

}  // namespace

// mutant: left-out parameters are taken from the request's first entry
TEST_CASE("parameters that a request leaves out have their defaults") {
  Signature const signature = of_four();
  Request const request{{"x", x()}, {"threshold", 0.5}};
  CHECK(value_of(signature, request, 0).type == ATH_VALUE_BOOL);
  CHECK(value_of(signature, request, 0).integer == 0);
  CHECK(value_of(signature, request, 1).type == ATH_VALUE_I64);
  CHECK(value_of(signature, request, 1).integer == 10);
  CHECK(value_of(signature, request, 2).type == ATH_VALUE_F64);
  CHECK(value_of(signature, request, 2).real == 0.5);
  auto const mode = value_of(signature, request, 3);
  CHECK(mode.type == ATH_VALUE_TEXT);
  CHECK(std::string_view(mode.text, mode.length) == "fast");
}

TEST_CASE("a request sets parameters like inputs, in any order and in any spelling of a number") {
  Signature const signature = of_four();
  Request request{{"mode", "best"}, {"exact", true}, {"x", x()}, {"steps", 3}, {"threshold", 0.25F}};
  CHECK(value_of(signature, request, 0).integer == 1);
  CHECK(value_of(signature, request, 1).integer == 3);
  CHECK(value_of(signature, request, 2).real == 0.25);
  request.set("steps", std::uint16_t{7}).set("threshold", 1.0).set("mode", "fast").set("exact", false);
  CHECK(request.inputs().size() == 5);
  CHECK(value_of(signature, request, 0).integer == 0);
  CHECK(value_of(signature, request, 1).integer == 7);
  CHECK(value_of(signature, request, 2).real == 1.0);
  auto const mode = value_of(signature, request, 3);
  CHECK(std::string_view(mode.text, mode.length) == "fast");
  std::string const best = "best";
  auto const copied = Tensor::copy_texts(std::array<std::string_view, 1>{best}).value();
  CHECK(check(signature, request.set("mode", copied)));
  double const half[1] = {0.5};
  CHECK(check(signature, request.set("threshold", Tensor::view<double>(half, Shape{1}))));
}

// mutant: the upper bound of a parameter is not looked at
TEST_CASE("a parameter that is unknown, missing, of another type or out of range names itself") {
  CHECK(refusal({{"x", x()}}, Reason::missing_input) ==
        "threshold: expected f64 from 0 to 1, got no parameter of that name");
  CHECK(refusal({{"x", x()}, {"threshold", 0.5}, {"treshold", 0.5}}, Reason::extra_input) ==
        "treshold: neither an input nor a parameter of the model; the model takes x, exact, steps, "
        "threshold, mode");
  CHECK(refusal({{"x", x()}, {"threshold", 0.5}, {"threshold", 0.5}}, Reason::extra_input) ==
        "threshold: given more than once; the model takes x, exact, steps, threshold, mode");
  CHECK(refusal({{"x", x()}, {"threshold", (std::int64_t{1} << 53) + 1}}, Reason::dtype) ==
        "threshold: expected one f64, got i64");
  CHECK(refusal({{"x", x()}, {"threshold", 2}}, Reason::value_range) ==
        "threshold: expected a value from 0 to 1, got 2");
  CHECK(refusal({{"x", x()}, {"steps", 3.0}, {"threshold", 0.5}}, Reason::dtype) ==
        "steps: expected one i64, got f64");
  CHECK(refusal({{"x", x()}, {"threshold", "0.5"}}, Reason::dtype) ==
        "threshold: expected one f64, got text");
  CHECK(refusal({{"x", x()}, {"threshold", 0.5}, {"exact", 1}}, Reason::dtype) ==
        "exact: expected one bool, got i64");
  CHECK(refusal({{"x", x()}, {"threshold", 0.5}, {"mode", true}}, Reason::dtype) ==
        "mode: expected one text, got bool");
  double const two[2] = {0, 1};
  CHECK(refusal({{"x", x()}, {"threshold", Tensor::view<double>(two, Shape{2})}}, Reason::shape) ==
        "threshold: expected one f64, got f64 [2]");
  CHECK(refusal({{"x", x()}, {"threshold", Tensor::view<double>({two, 0}, Shape{0})}}, Reason::shape) ==
        "threshold: expected one f64, got f64 [0]");
  CHECK(refusal({{"x", x()}, {"threshold", 1.5}}, Reason::value_range) ==
        "threshold: expected a value from 0 to 1, got 1.5");
  CHECK(refusal({{"x", x()}, {"threshold", -0.5}}, Reason::value_range) ==
        "threshold: expected a value from 0 to 1, got -0.5");
  CHECK(refusal({{"x", x()}, {"threshold", 0.5}, {"steps", 101}}, Reason::value_range) ==
        "steps: expected a value from 1 to 100, got 101");
  CHECK(refusal({{"x", x()}, {"threshold", 0.5}, {"mode", "slow"}}, Reason::value_range) ==
        "mode: expected one of 'fast', 'best', got 'slow'");
  CHECK(refusal({{"x", x()}, {"threshold", std::nan("")}}, Reason::non_finite) ==
        "threshold: expected a finite value, got nan");
  CHECK(refusal({{"x", x()}, {"threshold", std::numeric_limits<double>::infinity()}}, Reason::non_finite) ==
        "threshold: expected a finite value, got inf");
}

// mutant: the bytes of a parameter's text are not looked at
TEST_CASE("the text of a parameter is UTF-8 without NUL, and not long") {
  Signature signature = of_four();
  signature.parameters = {spec_of("style", ParameterType::text, "")};
  CHECK(refusal({{"x", x()}, {"style", "a\xff"}}, Reason::syntax, signature) == "style: byte 1 is not UTF-8");
  CHECK(refusal({{"x", x()}, {"style", std::string_view("a\0b", 3)}}, Reason::syntax, signature) ==
        "style: expected text without NUL, got NUL at byte 1");
  std::string const longest(max_parameter_text, 'a');
  CHECK(check(signature, {{"x", x()}, {"style", longest}}));
  std::string const longer = longest + "a";
  CHECK(refusal({{"x", x()}, {"style", longer}}, Reason::too_large, signature) ==
        "style: expected at most 4096 bytes, got 4097");
  std::int64_t const outside[2] = {0, 9};
  CHECK(refusal({{"x", x()}, {"style", Tensor::texts(outside, "abc", Shape{1})}}, Reason::shape, signature) ==
        "style: expected offsets inside 3 bytes, got 0 to 9");
}

// mutant: a whole number for a real is read by its bits
TEST_CASE("a whole number that an f64 holds is one") {
  Signature const signature = of_four();
  auto const value = value_of(signature, {{"x", x()}, {"threshold", 1}}, 2);
  CHECK(value.type == ATH_VALUE_F64);
  CHECK(value.real == 1.0);
  Signature wide = of_four();
  wide.parameters[2].most.reset();
  CHECK(value_of(wide, {{"x", x()}, {"threshold", std::int64_t{1} << 53}}, 2).real == 9007199254740992.0);
}

// mutant: a parameter of -0.0 stays
TEST_CASE("a parameter of -0.0 is one of 0.0") {
  Signature const signature = of_four();
  Request const request{{"x", x()}, {"threshold", -0.0}};
  CHECK_FALSE(std::signbit(value_of(signature, request, 2).real));
}

// mutant: the key of a parameter's value is that of its integer
TEST_CASE("the key of a parameter's value holds its type and all of it") {
  auto const key_of = [](ParameterSpec const& spec) {
    KeyHasher hasher;
    hasher.add(effective_value(spec, nullptr));
    return hasher.finish();
  };
  auto const key = [&](ParameterType type, ParameterValue value) {
    return key_of(spec_of("p", type, std::move(value)));
  };
  CHECK(key(ParameterType::i64, std::int64_t{1}) == key(ParameterType::i64, std::int64_t{1}));
  CHECK(key(ParameterType::i64, std::int64_t{1}) != key(ParameterType::i64, std::int64_t{2}));
  CHECK(key(ParameterType::i64, std::int64_t{1}) != key(ParameterType::boolean, true));
  CHECK(key(ParameterType::f64, 1.0) != key(ParameterType::f64, 2.0));
  CHECK(key(ParameterType::text, "a") != key(ParameterType::text, "b"));
  CHECK(key(ParameterType::text, "a") == key(ParameterType::text, "a"));
  CHECK(key(ParameterType::f64, -0.0) == key(ParameterType::f64, 0.0));
}

// mutant: the name of a type that a later host has is looked for behind the list
TEST_CASE("a processor that asks for an undeclared parameter gets an error that names the declared one") {
  ath_value values[2] = {{}, {}};
  values[0].type = ATH_VALUE_F64;
  values[0].real = 0.5;
  values[1].type = 900;
  ath_item raw{};
  raw.struct_size = sizeof(raw);
  raw.parameters = values;
  raw.parameter_count = 2;
  Item const item(raw);
  CHECK(item.parameter<double>(0).value() == 0.5);
  auto const refusal_of = [&](std::size_t index) {
    return item.parameter<std::int64_t>(index).error().message;
  };
  CHECK(refusal_of(0) == "parameters[0]: the processor expected i64, the manifest declares f64");
  CHECK(refusal_of(1) == "parameters[1]: the processor expected i64, the manifest declares none");
  CHECK(refusal_of(2) == "parameters[2]: the processor expected i64, the manifest declares none");
}

// mutant: a parameter without memory is read
TEST_CASE("a parameter without memory is refused before it is read") {
  auto const refusal_of = [](ParameterType type, DType dtype) {
    auto const checked = check(spec_of("p", type, std::nullopt), Tensor::view(dtype, nullptr, Shape{}));
    REQUIRE_FALSE(checked);
    CHECK(checked.error().code == Code::invalid_argument);
    CHECK(checked.error().reason == Reason::shape);
    return checked.error().message;
  };
  CHECK(refusal_of(ParameterType::f64, DType::f64) == "p: expected memory of 8 bytes, got null");
  CHECK(refusal_of(ParameterType::f64, DType::i64) == "p: expected memory of 8 bytes, got null");
  CHECK(refusal_of(ParameterType::boolean, DType::boolean) == "p: expected memory of 1 bytes, got null");
}
