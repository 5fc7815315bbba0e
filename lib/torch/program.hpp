/// A model file once it is loaded, whichever format it has.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/ivalue.h>
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <athanor/core/error.hpp>
#include <athanor/core/tensor.hpp>

namespace athanor::inline v1::libtorch {

/// What a loader is told.
struct ProgramSource {
  std::string path;
  std::vector<std::string> inputs;     ///< their names, in the order of the manifest
  std::vector<DType> input_dtypes;     ///< of each
  std::vector<std::string> outputs;    ///< likewise
  std::string method;                  ///< of a TorchScript module
  bool autograd = false;               ///< whether it may compute gradients
  std::string reset;                   ///< the method that clears the state; empty: a file is saved with none
  std::vector<std::string> nones;      ///< arguments of the method that are None
  std::vector<std::string> optionals;  ///< inputs that may be None
  std::uint64_t slots = 0;             ///< of state; 0 for a model without
  c10::Device device{c10::DeviceType::CPU};
  /// Names the model in sentences: `torchscript model '/models/tg.pt'`.
  std::string subject;
};

/// A forward pass over shared weights. Functions may throw; any number of threads may be inside forward() at
/// once.
class Program {
 public:
  virtual ~Program() = default;

  /// Of the weights, and of the state of all slots as `make_state` gives it.
  virtual std::uint64_t weight_bytes() const = 0;
  /// Whether forward may write into the memory of its inputs.
  virtual bool writes_inputs() const = 0;
  /// The state of a sequence that begins, for a source with slots.
  virtual c10::IValue make_state() const { return {}; }
  /// A text is passed as the tensor of its bytes, None as an undefined tensor. `state` is what make_state
  /// returned and earlier calls have changed; none for a source without slots. Replaces the contents of
  /// `outputs`, in the order of the manifest. Fails with backend_contract when forward returns anything but
  /// tensors, and with invalid_argument / shape when an argument takes one value and is given several.
  virtual Result<void> forward(std::vector<at::Tensor> const& inputs, c10::IValue const& state,
                               std::vector<at::Tensor>& outputs) const = 0;
};

/// Both throw what LibTorch throws.
Result<std::unique_ptr<Program>> load_script(ProgramSource const& source);
Result<std::unique_ptr<Program>> load_package(ProgramSource const& source);

/// Fails unless a package compiled for `machine` (as uname spells it) with the vector instructions `isa`
/// (`AVX512 AVX512_VNNI`) can run on this processor. Empty strings are not checked.
Result<void> check_processor(std::string_view subject, std::string_view machine, std::string_view isa);

}  // namespace athanor::inline v1::libtorch
