/// The inputs of a call in flight.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <athanor/core/error.hpp>
#include <athanor/core/signature.hpp>

namespace athanor::inline v1::serving {

/// The parameters of a request, copied, in the signature's order. Empty if the model declares none.
class ParameterValues {
 public:
  ParameterValues() = default;
  ParameterValues(ParameterValues&&) = default;
  ParameterValues& operator=(ParameterValues&&) = default;

  void assign(Signature const& signature, Request const& request, CheckedRequest const& checked);
  void clear() noexcept {
    values_.clear();
    texts_.clear();
  }
  std::span<ath_value const> values() const noexcept { return values_; }

 private:
  std::vector<ath_value> values_{};
  std::vector<std::string> texts_{};
};

/// Whether a request leaves a seed out, so that its answer must not be shared.
bool leaves_out_seed(Signature const& signature, CheckedRequest const& checked) noexcept;

/// A checked request: the caller's own, or the call's. Borrowed inputs lie in memory that the caller takes
/// back once it is answered: then they are copied or gone. Not thread-safe: while the call runs, guarded by
/// its lock.
class CallInputs {
 public:
  /// Reads the caller's request, which must live until detach() or clear().
  void borrow(Request const& request, CheckedRequest const& checked) noexcept {
    request_ = &request;
    checked_ = checked;
    borrowed_ = true;
    lent_ = true;
    gone_ = false;
  }
  /// Takes over the borrowed request, unless completing it has copied it already. Its tensors stay borrowed
  /// unless they all own their memory.
  void own(Request&& request) noexcept;
  /// Adds the inputs that the borrowed request leaves out, in the call's memory. Throws std::bad_alloc.
  void complete(Signature const& signature);
  /// A copy of the borrowed request, or none if there is no memory for one. Needs no lock on the thread that
  /// detaches.
  std::optional<Request> copy() const noexcept;
  /// The caller takes its memory back: the call continues with the copy, or the inputs are gone. No-op when
  /// nothing is borrowed.
  void detach(std::optional<Request> copied) noexcept;
  /// Releases the request.
  void clear() noexcept {
    request_ = nullptr;
    owned_.clear();
  }

  /// The inputs of those signature indices, as copies or sharing memory. cancelled when they are gone.
  Result<std::vector<Tensor>> take(std::span<std::size_t const> indices, bool copy) const;

  Request const& request() const noexcept { return *request_; }
  CheckedRequest const& checked() const noexcept { return checked_; }
  bool borrowed() const noexcept { return borrowed_; }
  /// True when they were borrowed at first, so that detach() may change them. Never changes: needs no lock.
  bool lent() const noexcept { return lent_; }
  bool gone() const noexcept { return gone_; }
  /// The input of that signature index.
  Tensor const& operator[](std::size_t index) const noexcept {
    return request_->inputs()[checked_.index[index]].value;
  }

 private:
  Request const* request_ = nullptr;
  Request owned_{};
  CheckedRequest checked_{};
  bool borrowed_ = false;
  bool lent_ = false;
  bool gone_ = false;
};

}  // namespace athanor::inline v1::serving
