#include <athanor/serving/detail/call_inputs.hpp>

#include <algorithm>
#include <new>
#include <utility>

namespace athanor::inline v1::serving {

void ParameterValues::assign(Signature const& signature, Request const& request,
                             CheckedRequest const& checked) {
  std::size_t const count = signature.parameters.size();
  clear();
  values_.reserve(count);
  texts_.reserve(count);  // the values point into the texts, which must not move
  for (std::size_t i = 0; i < count; ++i) {
    ath_value& value = values_.emplace_back(parameter_of(signature, request, checked, i));
    if (value.type == ATH_VALUE_TEXT) value.text = texts_.emplace_back(value.text, value.length).c_str();
  }
}

bool leaves_out_seed(Signature const& signature, CheckedRequest const& checked) noexcept {
  for (std::size_t i = 0; i < signature.parameters.size(); ++i)
    if (signature.parameters[i].seed && checked.parameter[i] == CheckedRequest::left_out) return true;
  return false;
}

void CallInputs::own(Request&& request) noexcept {
  if (request_ != &owned_) owned_ = std::move(request);
  request_ = &owned_;
  borrowed_ =
      std::ranges::any_of(owned_.inputs(), [](NamedTensor const& input) { return !input.value.owned(); });
  lent_ = borrowed_;
}

void CallInputs::complete(Signature const& signature) {
  owned_ = *request_;
  request_ = &owned_;
  add_defaults(signature, owned_, checked_);
}

std::optional<Request> CallInputs::copy() const noexcept try {
  Request copied;
  for (auto const& input : request_->inputs()) {
    auto tensor = input.value.clone();
    if (!tensor) return std::nullopt;
    copied.set(input.name, std::move(*tensor));
  }
  return copied;
} catch (std::bad_alloc const&) {
  return std::nullopt;
}

void CallInputs::detach(std::optional<Request> copied) noexcept {
  if (!borrowed_) return;
  gone_ = !copied;
  if (!copied) return;
  owned_ = std::move(*copied);
  request_ = &owned_;
  borrowed_ = false;
}

Result<std::vector<Tensor>> CallInputs::take(std::span<std::size_t const> indices, bool copy) const {
  if (gone_)
    return fail(Code::cancelled, Reason::cancelled,
                "the inputs cannot be read: their caller has been answered and may have freed them");
  std::vector<Tensor> inputs;
  inputs.reserve(indices.size());
  for (std::size_t const index : indices) {
    Tensor const& given = (*this)[index];
    Result<Tensor> input = copy ? given.clone() : Result<Tensor>(given);
    if (!input) return tl::unexpected(std::move(input.error()));
    inputs.push_back(std::move(*input));
  }
  return inputs;
}

}  // namespace athanor::inline v1::serving
