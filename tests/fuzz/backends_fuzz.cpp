// A backend that answers anything, in memory of the stated
// size: the caller gets the declared output or one typed error.
#include <string>
#include <vector>

#include <athanor.h>

#include <athanor/serving/engine.hpp>
#include <support/puppet.hpp>

#include "answers.hpp"
#include "bytes.hpp"

using namespace athanor;

namespace {

struct Answering {
  std::string input{};
  std::vector<std::uint8_t> memory{};
  ath_backend_table table{};
  athanor_tests::PuppetControl control{};
  athanor_tests::PuppetBackend backend{control};

  Answering() {
    table = make_table(backend);
    table.context = this;
    table.load = [](void*, ath_model_source const*, void** out, ath_failure*) -> std::int32_t {
      *out = out;
      return 0;
    };
    table.unload = [](void*, void*) {};
    table.footprint = [](void*, void*) -> std::uint64_t { return 1; };
    table.make_instance = [](void*, void*, void** out, ath_failure*) -> std::int32_t {
      *out = out;
      return 0;
    };
    table.destroy_instance = [](void*, void*) {};
    table.run = [](void* context, void*, ath_batch* batch, ath_failure* failure) {
      return static_cast<Answering*>(context)->run(*batch, *failure);
    };
  }

  std::int32_t run(ath_batch& batch, ath_failure& failure) {
    athanor_tests::Bytes bytes(reinterpret_cast<std::uint8_t const*>(input.data()), input.size());
    auto const flags = bytes.take<std::uint8_t>();
    if ((flags & 1U) != 0) {
      failure.reason = bytes.take<std::int32_t>();
      return (flags & 2U) != 0 ? bytes.take<std::int32_t>() : bytes.take<std::uint8_t>();
    }
    ath_tensor& output = batch.outputs[0];
    output.dtype = (flags & 2U) != 0 ? ATH_DTYPE_F32 : bytes.take<std::int32_t>();
    output.device_type = (flags & 4U) != 0 ? ATH_DEVICE_CPU : bytes.take<std::int32_t>();
    output.ndim = (flags & 8U) != 0 ? 2 : bytes.take<std::int32_t>();
    for (auto& length : output.shape) length = bytes.take_length();
    std::string const rest = bytes.rest();
    memory.assign(rest.begin(), rest.end());
    output.size_bytes = memory.size();
    output.data = (flags & 16U) != 0 ? nullptr : memory.data();
    if ((flags & 32U) != 0) batch.output_count = bytes.take<std::uint8_t>();
    return 0;
  }
};

}  // namespace

int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  static Answering answering;
  static athanor_tests::ModelFolder const folder;
  static Engine<> engine =
      Engine<>::create({.backends = {&answering.table}, .cache_bytes = 0, .breaker = false}).value();
  static Model<> model = engine.add(folder.path()).value();
  answering.input.assign(reinterpret_cast<char const*>(data), size);
  auto const answer = model.infer(athanor_tests::row(1, 2));
  athanor_tests::check_answer(answer);
  return 0;
}
