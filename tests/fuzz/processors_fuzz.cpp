// A processor that makes anything of an item, in memory of the stated size: the caller gets what the model makes of it, or
// one typed error, and what was made is released once.
#include <memory>
#include <string>
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

/// What one preprocess made; gone after its release, so that a sanitizer sees who reads it later.
struct Made {
  Making& making;
  std::vector<std::uint8_t> memory{};
  std::vector<ath_tensor> tensors{};
};

struct Making {
  std::string input{};
  float first[2] = {};  // the numbers of the last tensor that was whole
  int unreleased = 0;

  static std::int32_t open(void* context, char const*, char const*, void** out, ath_ports* ports,
                           ath_failure*) {
    static char const* const names[] = {"x"};
    static std::int32_t const dtypes[] = {ATH_DTYPE_F32};
    *out = context;
    ports->made_names = names;
    ports->made_dtypes = dtypes;
    ports->made_count = 1;
    return 0;
  }

  std::int32_t preprocess(ath_made& out, ath_failure& failure) {
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
    for (auto& each : made->tensors) {
      each.size_bytes = made->memory.size();
      each.data = (flags & 16U) != 0 ? nullptr : made->memory.data();
    }
    if (rest.size() == sizeof(first)) std::memcpy(first, rest.data(), sizeof(first));
    out.tensors = (flags & 128U) != 0 ? nullptr : made->tensors.data();
    out.tensor_count = made->tensors.size();
    out.owner = made.release();
    out.release = [](void* owner) {
      std::unique_ptr<Made> const gone(static_cast<Made*>(owner));
      --gone->making.unreleased;
    };
    ++unreleased;
    return 0;
  }

  ath_processor_table table() {
    ath_processor_table table{};
    table.struct_size = sizeof(table);
    table.context = this;
    table.name = "making";
    table.open = open;
    table.close = [](void*, void*) {};
    table.preprocess = [](void* context, void*, ath_item const*, ath_made* out, ath_failure* failure) {
      return static_cast<Making*>(context)->preprocess(*out, *failure);
    };
    return table;
  }
};

char const* const text_tensors = R"("inputs": [{"name": "text", "dtype": "bytes", "shape": ["items"]}],
    "processor": {"name": "making"}, "cache": false,
    "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
    "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]}],)";

bool is_next(float answer, float made) { return answer == made + 1 || (answer != answer && made != made); }

}  // namespace

int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  static Making making;
  static ath_processor_table const processor = making.table();
  static athanor_tests::Puppet puppet;
  static athanor_tests::ModelFolder const folder("", "making", "1.0.0", text_tensors);
  static Engine<> engine =
      Engine<>::create(
          {.backends = {&puppet.table}, .processors = {&processor}, .cache_bytes = 0, .breaker = false})
          .value();
  static Model<> model = engine.load(folder.path()).value();
  making.input.assign(reinterpret_cast<char const*>(data), size);
  auto const answer = model.infer({{"text", "a"}});
  expect(making.unreleased == 0, "what was made is released once");
  athanor_tests::check_answer(answer);
  if (!answer) return 0;
  Tensor const& output = answer->outputs["y"];
  float answered[2];
  std::memcpy(answered, output.data(), sizeof(answered));
  expect(is_next(answered[0], making.first[0]) && is_next(answered[1], making.first[1]),
         "the model read what the processor made");
  return 0;
}
