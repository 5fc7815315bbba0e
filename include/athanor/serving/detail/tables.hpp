/// The tables of backends and processors that an engine knows.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <athanor/core/backend.hpp>
#include <athanor/core/error.hpp>

namespace athanor::inline v1::serving {

/// A registered copy of a host's table and its name. The last owner runs the table's `release`: the engine, a
/// model, an instance, or a thread that a stop abandoned.
using BackendTable = std::shared_ptr<ath_backend_table const>;
using ProcessorTable = std::shared_ptr<ath_processor_table const>;

/// Not thread-safe: copied under the engine's lock, then read without it.
class Tables {
 public:
  /// Checks and copies a table. A no-op for an equal one (the same context, functions and name);
  /// already_exists / option when a different one has its name; invalid_argument / option for one that is too
  /// short, lacks its name or a function, or has an unknown value; unimplemented for what this version does
  /// not support. After an error the table is never released.
  Result<void> add(ath_backend_table const& table);
  Result<void> add(ath_processor_table const& table);

  /// Null when there is none of that name.
  BackendTable backend(std::string_view name) const noexcept;
  ProcessorTable processor(std::string_view name) const noexcept;

  std::vector<std::string> backend_names() const;
  std::vector<std::string> processor_names() const;

 private:
  std::vector<BackendTable> backends_;
  std::vector<ProcessorTable> processors_;
};

}  // namespace athanor::inline v1::serving
