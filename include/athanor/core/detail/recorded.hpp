/// What tells a test who writes the words that are not an Environment's: the reference counts of buffers and
/// the cells of metrics. Only a library configured with ATHANOR_RECORD_WRITES reports them; any other does
/// nothing here.
#pragma once

#ifdef ATHANOR_RECORDS_WRITES
#include <atomic>
#endif

namespace athanor::inline v1::detail {

#ifdef ATHANOR_RECORDS_WRITES

/// Null: writes are not recorded.
inline constinit std::atomic<void (*)(void const* at) noexcept> write_recorder{nullptr};

inline void record_write(void const* at) noexcept {
  if (auto* const record = write_recorder.load(std::memory_order_acquire)) record(at);
}

#else

inline void record_write(void const*) noexcept {}

#endif

}  // namespace athanor::inline v1::detail
