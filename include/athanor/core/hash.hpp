/// 128-bit content hashing (XXH3): digests of files and keys of requests. Not a cryptographic hash; a hasher
/// with a secret of its own keeps outsiders from choosing inputs that collide.
#pragma once

#include <array>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include <athanor/core/error.hpp>
#include <athanor/core/tensor.hpp>

namespace athanor::inline v1 {

/// 128 bits of hash, ordered as a number.
struct Hash128 {
  std::uint64_t low = 0;
  std::uint64_t high = 0;

  bool operator==(Hash128 const&) const = default;
  std::strong_ordering operator<=>(Hash128 const& other) const noexcept {
    auto const order = high <=> other.high;
    return order != 0 ? order : low <=> other.low;
  }
};

/// 32 lower-case hexadecimal digits, high half first: the text that `xxh128sum` prints.
std::string to_hex(Hash128 hash);

/// The hash of these bytes, without a secret.
Hash128 hash128(std::span<std::byte const> bytes) noexcept;
Hash128 hash128(std::string_view text) noexcept;
/// The hash of a file's content, read in pieces. not_found or unavailable with Reason::file, naming the path.
Result<Hash128> hash_file(std::string const& path);

/// Builds a key from fields, in order: every field is delimited, so that no two different sequences of fields
/// of the same kinds encode alike. Never allocates; about 600 bytes, meant for the stack. One thread at a
/// time.
class KeyHasher {
 public:
  static constexpr std::size_t secret_size = 192;
  using Secret = std::array<std::byte, secret_size>;

  KeyHasher() noexcept;
  /// Keyed by high-entropy `secret`, which stays the caller's and outlives the hasher.
  explicit KeyHasher(Secret const& secret) noexcept;
  explicit KeyHasher(Secret&& secret) = delete;

  /// Integers take eight bytes, whatever their type: 1, 1U and int64 1 are one field. Wider ones are added in
  /// parts.
  template <std::integral Integer>
    requires(sizeof(Integer) <= sizeof(std::uint64_t))
  void add(Integer value) noexcept {
    add_word(static_cast<std::uint64_t>(value));
  }
  /// Bitwise: -0.0 and 0.0 differ, and so do NaNs of different payload.
  void add(double value) noexcept;
  /// Length and bytes.
  void add(std::string_view text) noexcept;
  void add(Hash128 hash) noexcept;
  /// Element type, rank, dimensions, byte length and bytes. A `bytes` tensor adds each text with its length,
  /// so that how its offsets are held does not matter. The tensor's bytes must be in host memory (checked by
  /// assert).
  void add(Tensor const& tensor) noexcept;

  /// The key of everything added since construction or reset; more may be added after it.
  Hash128 finish() const noexcept;
  /// Forgets all fields; the secret stays.
  void reset() noexcept;

 private:
  void add_word(std::uint64_t value) noexcept;
  void update(void const* data, std::size_t bytes) noexcept;

  static constexpr std::size_t state_size = 576;
  alignas(64) std::array<std::byte, state_size> state_;
  Secret const* secret_ = nullptr;
};

/// A secret from the environment's random numbers.
template <class Env>
KeyHasher::Secret random_secret() {
  KeyHasher::Secret secret;
  for (std::size_t i = 0; i < secret.size(); i += sizeof(std::uint64_t)) {
    std::uint64_t const random = Env::random();
    std::memcpy(&secret[i], &random, sizeof random);
  }
  return secret;
}

}  // namespace athanor::inline v1
