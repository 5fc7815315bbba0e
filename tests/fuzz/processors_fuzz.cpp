// A processor one of whose halves makes anything of an item, in memory of the stated size: the caller gets
// what the model makes of it, or what is made of what the model has made, or one typed error, and what was
// made is released once. Each input is for the first half of one model and for the second half of another.
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <athanor.h>

#include <athanor/serving/engine.hpp>
#include <support/puppet.hpp>

#include "answers.hpp"
#include "bytes.hpp"

using namespace athanor;
using athanor_tests::expect;

namespace {

struct Making;

/// What one half made; gone after its release, so that a sanitizer sees who reads it later.
struct Made {
  Making& making;
  std::vector<std::uint8_t> memory{};
  std::vector<ath_tensor> tensors{};
};

struct Making {
  char const* const name;
  bool const ends;  // it has a second half, and that is the one that makes anything
  std::string input{};
  float first[2] = {};  // the numbers of the last tensor that was whole
  int unreleased = 0;

  static std::int32_t open(void* context, char const*, char const*, void** out, ath_ports* ports,
                           ath_failure*) {
    static char const* const made[] = {"x"};
    static char const* const answers[] = {"y"};
    static std::int32_t const dtypes[] = {ATH_DTYPE_F32};
    *out = context;
    ports->made_names = made;
    ports->made_dtypes = dtypes;
    ports->made_count = 1;
    ports->output_names = answers;
    ports->output_dtypes = dtypes;
    ports->output_count = static_cast<Making*>(context)->ends ? 1 : 0;
    return 0;
  }

  /// Gives away what is to be released.
  void give(std::unique_ptr<Made> made, ath_made& out) {
    for (auto& each : made->tensors) {
      each.size_bytes = made->memory.size();
      each.data = made->memory.data();
    }
    out.tensors = made->tensors.data();
    out.tensor_count = made->tensors.size();
    out.owner = made.release();
    out.release = [](void* owner) {
      std::unique_ptr<Made> const gone(static_cast<Made*>(owner));
      --gone->making.unreleased;
    };
    ++unreleased;
  }

  /// One item of the model: 0 and 0.
  void make_right(ath_made& out) {
    auto made = std::make_unique<Made>(Made{*this});
    ath_tensor tensor{};
    tensor.dtype = ATH_DTYPE_F32;
    tensor.device_type = ATH_DEVICE_CPU;
    tensor.ndim = 2;
    tensor.shape[0] = 1;
    tensor.shape[1] = 2;
    made->tensors.assign(1, tensor);
    made->memory.resize(sizeof(first));
    out.cost = 1;
    give(std::move(made), out);
  }

  std::int32_t make_anything(ath_made& out, ath_failure& failure) {
    athanor_tests::Bytes bytes(reinterpret_cast<std::uint8_t const*>(input.data()), input.size());
    auto const flags = bytes.take<std::uint8_t>();
    if ((flags & 1U) != 0) {
      failure.reason = bytes.take<std::int32_t>();
      return (flags & 2U) != 0 ? bytes.take<std::int32_t>() : bytes.take<std::uint8_t>();
    }
    auto made = std::make_unique<Made>(Made{*this});
    ath_tensor tensor{};
    tensor.dtype = (flags & 2U) != 0 ? ATH_DTYPE_F32 : bytes.take<std::int32_t>();
    tensor.device_type = (flags & 4U) != 0 ? ATH_DEVICE_CPU : bytes.take<std::int32_t>();
    tensor.ndim = (flags & 8U) != 0 ? 2 : bytes.take<std::int32_t>();
    for (auto& length : tensor.shape) length = bytes.take_length();
    out.cost = (flags & 64U) != 0 ? bytes.take<std::int64_t>() : 1;
    made->tensors.resize((flags & 32U) != 0 ? bytes.take<std::uint8_t>() % 4 : 1, tensor);
    std::string const rest = bytes.rest();
    made->memory.assign(rest.begin(), rest.end());
    if (rest.size() == sizeof(first)) std::memcpy(first, rest.data(), sizeof(first));
    auto& tensors = made->tensors;
    give(std::move(made), out);
    for (auto& each : tensors)
      if ((flags & 16U) != 0) each.data = nullptr;
    if ((flags & 128U) != 0) out.tensors = nullptr;
    return 0;
  }

  std::int32_t postprocess(void* state, std::span<ath_tensor const> rows, ath_made& out,
                           ath_failure& failure) {
    expect(state != nullptr && &static_cast<Made*>(state)->making == this && unreleased == 1,
           "the second half has what the first half kept");
    expect(rows.size() == 1 && rows[0].ndim == 2 && rows[0].shape[0] == 1 && rows[0].shape[1] == 2 &&
               static_cast<float const*>(rows[0].data)[0] == 1,
           "the second half has the model's row of its item");
    return make_anything(out, failure);
  }

  ath_processor_table table() {
    ath_processor_table table{};
    table.struct_size = sizeof(table);
    table.context = this;
    table.name = name;
    table.open = open;
    table.close = [](void*, void*) {};
    table.preprocess = [](void* context, void*, ath_item const*, ath_made* out, ath_failure* failure) {
      auto& making = *static_cast<Making*>(context);
      if (!making.ends) return making.make_anything(*out, *failure);
      making.make_right(*out);
      return std::int32_t{0};
    };
    if (ends)
      table.postprocess = [](void* context, void*, ath_item const*, void* state, ath_tensor const* rows,
                             std::size_t count, ath_made* out, ath_failure* failure) {
        return static_cast<Making*>(context)->postprocess(state, {rows, count}, *out, *failure);
      };
    return table;
  }
};

constexpr std::string_view text_in =
    R"("inputs": [{"name": "text", "dtype": "bytes", "shape": ["items"]}], "cache": false,
    "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],)";
constexpr std::string_view first_half = R"("processor": {"name": "beginning"},
    "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]}],)";
constexpr std::string_view second_half = R"("processor": {"name": "ending"},
    "model_outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]}],
    "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2], "from": "processor:y"}],)";

/// Numbers that are not finite may come out of a model that has its own word about them.
bool is_same(float answer, float expected) {
  return answer == expected || (answer != answer && expected != expected);
}

/// What the answer is, if there is one, is `more` than what was made.
void check_model(Model<> const& model, Making& making, float more, std::string_view input) {
  making.input = input;
  auto const answer = model.infer({{"text", "a"}});
  expect(making.unreleased == 0, "what was made is released once");
  athanor_tests::check_answer(answer);
  if (!answer) return;
  float answered[2];
  std::memcpy(answered, answer->outputs["y"].data(), sizeof(answered));
  expect(is_same(answered[0], making.first[0] + more) && is_same(answered[1], making.first[1] + more),
         "the answer is what was made of what was made");
}

}  // namespace

int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  static Making beginning{"beginning", false};
  static Making ending{"ending", true};
  static ath_processor_table const beginning_table = beginning.table();
  static ath_processor_table const ending_table = ending.table();
  static athanor_tests::Puppet puppet;
  static athanor_tests::ModelFolder const begun("", "beginning", "1.0.0",
                                                std::string(text_in) + std::string(first_half));
  static athanor_tests::ModelFolder const ended("", "ending", "1.0.0",
                                                std::string(text_in) + std::string(second_half));
  static Engine<> engine = Engine<>::create({.backends = {&puppet.table},
                                             .processors = {&beginning_table, &ending_table},
                                             .cache_bytes = 0,
                                             .breaker = false})
                               .value();
  static Model<> first = engine.load(begun.path()).value();
  static Model<> second = engine.load(ended.path()).value();
  std::string_view const input(reinterpret_cast<char const*>(data), size);
  check_model(first, beginning, 1, input);
  check_model(second, ending, 0, input);
  return 0;
}
