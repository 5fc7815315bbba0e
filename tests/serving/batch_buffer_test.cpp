#include <athanor/serving/detail/batch_buffer.hpp>

#include <doctest/doctest.h>

#include <cstring>

#include <support/thread_memory.hpp>

using namespace athanor::serving;
using namespace athanor_tests;

namespace {

constexpr std::size_t mebibyte = std::size_t{1} << 20;
constexpr auto small_uses = BatchBuffer::uses_to_shrink;

/// Uses it so often. True if its memory stayed where it was.
bool stays(BatchBuffer& buffer, std::size_t bytes, std::uint32_t uses) {
  std::byte* const before = buffer.make(bytes);
  bool same = true;
  for (std::uint32_t use = 1; use < uses; ++use) same = buffer.make(bytes) == before && same;
  return same;
}

}  // namespace

// mutant: the memory of a huge batch is never given back
TEST_CASE("memory of an instance is kept, and given back when it has been much too large for a while") {
  BatchBuffer buffer;
  std::byte* const huge = buffer.make(64 * mebibyte);
  std::memset(huge, 1, 64 * mebibyte);
  CHECK(buffer.make(64 * mebibyte) == huge);
  CHECK(stays(buffer, mebibyte, small_uses - 1));
  CHECK(buffer.make(3 * mebibyte) != huge);
  std::byte* const less = buffer.make(3 * mebibyte);
  std::memset(less, 1, 3 * mebibyte);
  CHECK(stays(buffer, 3 * mebibyte, 100));
}

// mutant: a large batch now and then does not count
TEST_CASE("memory that is needed now and then stays") {
  BatchBuffer buffer;
  std::byte* const large = buffer.make(64 * mebibyte);
  for (int round = 0; round < 3; ++round) {
    CHECK(stays(buffer, mebibyte, small_uses - 1));
    CHECK(buffer.make(32 * mebibyte) == large);
  }
}

// mutant: little memory is given back
TEST_CASE("little memory stays, however little of it is needed") {
  BatchBuffer buffer;
  std::byte* const little = buffer.make(mebibyte / 2);
  CHECK(stays(buffer, 1, 10 * small_uses));
  CHECK(buffer.make(1) == little);
}

#ifndef ATHANOR_OPERATOR_NEW_IS_TAKEN
// mutant: what cannot be exchanged for less is lost
TEST_CASE("memory that cannot be exchanged for less stays") {
  BatchBuffer buffer;
  std::byte* const huge = buffer.make(64 * mebibyte);
  CHECK(stays(buffer, mebibyte, small_uses - 1));
  FailingMemory const fails(1);
  CHECK(buffer.make(mebibyte) == huge);
}
#endif
