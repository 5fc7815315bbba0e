/// The first error while a request was being filled, kept so that the call reports it if the caller ignored
/// it.
#pragma once

#include <new>
#include <string>
#include <string_view>
#include <vector>

#include <athanor/core/detail/noexcept_error.hpp>

namespace athanor::capi {

/// The setters whose last try failed, by the name of what they set; while one is left, the request is
/// refused.
class Refusals {
 public:
  /// Nothing throws: where memory for an entry is lacking, the request is refused from then on.
  void keep(std::string_view name, Error const& error) noexcept {
    try {
      forget(name);
      rows_.push_back({std::string(name), error});
    } catch (...) {
      lost_ = true;
    }
  }

  /// Inside a catch block: keeps what was caught.
  void keep_caught(std::string_view name) noexcept {
    try {
      keep(name, caught(name));
    } catch (...) {
      lost_ = true;
    }
  }

  void forget(std::string_view name) noexcept {
    std::erase_if(rows_, [&](Row const& row) { return row.name == name; });
  }

  /// The failure that stands longest.
  Result<void> check() const {
    if (!rows_.empty()) return tl::unexpected(rows_.front().error);
    if (lost_)
      return fail(
          Code::resource_exhausted, Reason::out_of_memory,
          "request: a setter failed and its error could not be stored for lack of memory; reset the request");
    return {};
  }

 private:
  struct Row {
    std::string name;
    Error error;
  };

  static Error caught(std::string_view name) {
    try {
      throw;
    } catch (std::bad_alloc const&) {
      return make_error(Code::resource_exhausted, Reason::out_of_memory, "{}: out of memory", name);
    } catch (...) {
      return detail::caught(Code::internal, Reason::none, detail::format("{}: could not be set", name));
    }
  }

  std::vector<Row> rows_;
  bool lost_ = false;
};

}  // namespace athanor::capi
