// What a fuzz target makes of its input: numbers from the front, and the rest.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size);

namespace athanor_tests {

/// Ends the process: what libFuzzer keeps the input of.
inline void expect(bool holds, char const* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

class Bytes {
 public:
  Bytes(std::uint8_t const* data, std::size_t size) : left_(data, size) {}

  /// Zero once the input is used up.
  template <class Number>
  Number take() {
    Number number{};
    std::size_t const count = std::min(sizeof(number), left_.size());
    std::memcpy(&number, left_.data(), count);
    left_ = left_.subspan(count);
    return number;
  }
  /// Small most of the time, and now and then any number.
  std::int64_t take_length() {
    auto const kind = take<std::uint8_t>();
    return kind < 240 ? kind % 8 : take<std::int64_t>();
  }
  std::string rest() const { return {reinterpret_cast<char const*>(left_.data()), left_.size()}; }

 private:
  std::span<std::uint8_t const> left_;
};

}  // namespace athanor_tests
