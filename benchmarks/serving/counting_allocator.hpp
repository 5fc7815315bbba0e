// Counts every call of operator new in the process.
#pragma once

#include <cstdint>

namespace athanor::benchmarks {

/// Allocations so far, by all threads.
std::uint64_t allocations() noexcept;

}  // namespace athanor::benchmarks
