/// 128-bit content hashes (XXH3): digests of files and keys of requests. Not cryptographic; with a secret,
/// outsiders cannot construct inputs whose keys collide.
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

#include <athanor/plugin.h>
#include <athanor/core/error.hpp>
#include <athanor/core/tensor.hpp>

namespace athanor::inline v1 {

/// A 128-bit hash, ordered as a number.
struct Hash128 {
  std::uint64_t low = 0;
  std::uint64_t high = 0;

  bool operator==(Hash128 const&) const = default;
  std::strong_ordering operator<=>(Hash128 const& other) const noexcept {
    auto const order = high <=> other.high;
    return order != 0 ? order : low <=> other.low;
  }
};

/// 32 lower-case hexadecimal digits, high half first, as `xxh128sum` prints them.
std::string to_hex(Hash128 hash);

/// The hash of bytes, without a secret.
Hash128 hash128(std::span<std::byte const> bytes) noexcept;
Hash128 hash128(std::string_view text) noexcept;
/// The hash of a file's content, read in pieces. Fails with not_found or unavailable and Reason::file, naming
/// the path.
Result<Hash128> hash_file(std::string const& path);

/// Computes a key from a sequence of fields. Fields are delimited: different sequences of fields of the same
/// types have different encodings. Never allocates; about 600 bytes, meant for the stack. Not thread-safe.
class KeyHasher {
 public:
  static constexpr std::size_t secret_size = 192;
  using Secret = std::array<std::byte, secret_size>;

  KeyHasher() noexcept;
  /// Keyed by `secret`, which must be random and outlive the hasher.
  explicit KeyHasher(Secret const& secret) noexcept;
  explicit KeyHasher(Secret&& secret) = delete;

  /// An integer of any type is encoded in eight bytes: 1, 1U and std::int64_t{1} are equal fields.
  template <std::integral Integer>
    requires(sizeof(Integer) <= sizeof(std::uint64_t))
  void add(Integer value) noexcept {
    add_word(static_cast<std::uint64_t>(value));
  }
  /// Encoded bitwise: -0.0 and 0.0 differ, and so do NaNs with different payloads.
  void add(double value) noexcept;
  /// Encoded as length and bytes.
  void add(std::string_view text) noexcept;
  void add(Hash128 const& hash) noexcept;
  /// Encoded as type and value.
  void add(ath_value const& value) noexcept;
  /// Encoded as element type, rank, dimensions, byte length and bytes; the elements of a `bytes` tensor each
  /// with their length, so that the representation of its offsets does not matter. Precondition: in host
  /// memory (asserted).
  void add(Tensor const& tensor) noexcept;

  /// As add(tensor), and looks for NaN and infinities in the same pass over memory: the index of the first
  /// one, after which the key is of no use, or -1.
  std::int64_t add_finite(Tensor const& tensor) noexcept;

  /// The key of all fields since construction or reset(). More fields may be added afterwards.
  Hash128 finish() const noexcept;
  /// Removes all fields; keeps the secret.
  void reset() noexcept;

 private:
  void add_word(std::uint64_t value) noexcept;
  void add_head(Tensor const& tensor) noexcept;
  void update(void const* data, std::size_t bytes) noexcept;

  void begin_state() noexcept;

  static constexpr std::size_t state_size = 576;
  static constexpr std::size_t short_key = 240;  // bytes
  // Fields are gathered here and hashed at once, until there are more than make a short key: then it is the
  // library's state, whose preparation takes longer than the hash of a short key.
  alignas(64) std::array<std::byte, state_size> state_;
  std::size_t gathered_ = 0;
  bool streams_ = false;  // state_ is the library's
  Secret const* secret_ = nullptr;
};

/// A secret from the random numbers of the environment.
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
