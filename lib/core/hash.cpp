#include <athanor/core/hash.hpp>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <system_error>

#include <fmt/format.h>
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

#include "finite.hpp"
#include "hash_avx2.hpp"

namespace athanor::inline v1 {

namespace {

Hash128 from_library(XXH128_hash_t hash) noexcept { return {hash.low64, hash.high64}; }

template <class Bytes>
XXH3_state_t* library_state(Bytes& state) noexcept {
  return reinterpret_cast<XXH3_state_t*>(state.data());
}

/// The same bytes on every machine.
std::uint64_t little_endian(std::uint64_t value) noexcept {
  if constexpr (std::endian::native == std::endian::little) return value;
  std::array<unsigned char, 8> bytes;
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<unsigned char>(value >> (8 * i));
  return std::bit_cast<std::uint64_t>(bytes);
}

#if defined(ATHANOR_HASH_AVX2)
/// Whether to hash so many bytes with AVX2: what fits into the state's buffer is only copied.
bool use_avx2(std::size_t bytes) noexcept {
  static bool const supported = __builtin_cpu_supports("avx2") != 0;
  return bytes > XXH3_INTERNALBUFFER_SIZE && supported;
}
#endif

void update_state(XXH3_state_t& state, void const* data, std::size_t bytes) noexcept {
#if defined(ATHANOR_HASH_AVX2)
  if (use_avx2(bytes)) return detail::update_with_avx2(&state, data, bytes);
#endif
  XXH3_128bits_update(&state, data, bytes);
}

Hash128 hash_bytes(void const* data, std::size_t bytes) noexcept {
#if defined(ATHANOR_HASH_AVX2)
  if (use_avx2(bytes)) {
    Hash128 hash;
    detail::hash_with_avx2(data, bytes, hash.low, hash.high);
    return hash;
  }
#endif
  return from_library(XXH3_128bits(data, bytes));
}

struct CloseFile {
  void operator()(std::FILE* file) const noexcept { static_cast<void>(std::fclose(file)); }
};

}  // namespace

std::string to_hex(Hash128 hash) { return fmt::format("{:016x}{:016x}", hash.high, hash.low); }

Hash128 hash128(std::span<std::byte const> bytes) noexcept { return hash_bytes(bytes.data(), bytes.size()); }

Hash128 hash128(std::string_view text) noexcept { return hash_bytes(text.data(), text.size()); }

Result<Hash128> hash_file(std::string const& path) {
  std::unique_ptr<std::FILE, CloseFile> file(std::fopen(path.c_str(), "rb"));
  if (file == nullptr) {
    int const error = errno;
    return fail(error == ENOENT ? Code::not_found : Code::unavailable, Reason::file,
                "file {}: cannot be opened: {}", path, std::generic_category().message(error));
  }
  constexpr std::size_t piece = std::size_t{1} << 18;
  auto const buffer = std::make_unique_for_overwrite<unsigned char[]>(piece);
  alignas(64) XXH3_state_t state;
  XXH3_128bits_reset(&state);
  for (;;) {
    errno = 0;
    std::size_t const count = std::fread(buffer.get(), 1, piece, file.get());
    update_state(state, buffer.get(), count);
    if (count == piece) continue;
    if (std::ferror(file.get()) != 0) {
      return fail(Code::unavailable, Reason::file, "file {}: cannot be read: {}", path,
                  std::generic_category().message(errno));
    }
    return from_library(XXH3_128bits_digest(&state));
  }
}

KeyHasher::KeyHasher() noexcept {
  static_assert(sizeof(XXH3_state_t) <= state_size && alignof(XXH3_state_t) <= 64);
  static_assert(secret_size >= XXH3_SECRET_SIZE_MIN);
}

KeyHasher::KeyHasher(Secret const& secret) noexcept : secret_(&secret) {}

void KeyHasher::reset() noexcept {
  gathered_ = 0;
  streams_ = false;
}

/// The same fields give the same key by either way: a streamed hash is that of all its bytes.
void KeyHasher::begin_state() noexcept {
  std::array<std::byte, short_key> begun;
  std::memcpy(begun.data(), state_.data(), gathered_);
  auto* const state = new (state_.data()) XXH3_state_t;
  if (secret_ == nullptr) {
    XXH3_128bits_reset(state);
  } else {
    XXH3_128bits_reset_withSecret(state, secret_->data(), secret_->size());
  }
  XXH3_128bits_update(state, begun.data(), gathered_);
  streams_ = true;
}

void KeyHasher::update(void const* data, std::size_t bytes) noexcept {
  if (bytes == 0) return;
  if (!streams_ && bytes <= short_key - gathered_) {
    std::memcpy(&state_[gathered_], data, bytes);
    gathered_ += bytes;
    return;
  }
  if (!streams_) begin_state();
  update_state(*library_state(state_), data, bytes);
}

void KeyHasher::add_word(std::uint64_t value) noexcept {
  std::uint64_t const word = little_endian(value);
  update(&word, sizeof(word));
}

void KeyHasher::add(double value) noexcept { add_word(std::bit_cast<std::uint64_t>(value)); }

void KeyHasher::add(std::string_view text) noexcept {
  add_word(text.size());
  update(text.data(), text.size());
}

void KeyHasher::add(Hash128 const& hash) noexcept {
  std::array const words{little_endian(hash.low), little_endian(hash.high)};
  update(words.data(), sizeof(words));
}

void KeyHasher::add(ath_value const& value) noexcept {
  add(value.type);
  if (value.type == ATH_VALUE_TEXT) return add(std::string_view(value.text, value.length));
  if (value.type == ATH_VALUE_F64) return add(value.real);
  add(value.integer);
}

/// All that precedes the bytes, or the texts.
void KeyHasher::add_head(Tensor const& tensor) noexcept {
  assert(tensor.device().type == DeviceType::cpu);
  // Words that follow one another are added at once.
  std::array<std::uint64_t, Shape::max_rank + 3> words;
  std::size_t count = 0;
  auto const put = [&](std::uint64_t value) { words[count++] = little_endian(value); };
  put(static_cast<std::uint64_t>(tensor.dtype()));
  put(tensor.shape().rank());
  for (auto dim : tensor.shape().dims()) put(static_cast<std::uint64_t>(dim));
  if (tensor.dtype() != DType::bytes) put(tensor.size_bytes());
  update(words.data(), count * sizeof(std::uint64_t));
}

void KeyHasher::add(Tensor const& tensor) noexcept {
  add_head(tensor);
  if (tensor.dtype() != DType::bytes) return update(tensor.data(), tensor.size_bytes());
  auto const elements = tensor.shape().elements();
  for (std::int64_t i = 0; i < elements; ++i) add(tensor.text_at(i));
}

/// A block is looked at while the first cache still holds it.
std::int64_t KeyHasher::add_finite(Tensor const& tensor) noexcept {
  constexpr std::size_t block = std::size_t{16} << 10;  // a multiple of each element's size
  if (tensor.dtype() == DType::bytes) {
    add(tensor);
    return -1;
  }
  add_head(tensor);
  for (std::size_t done = 0; done < tensor.size_bytes(); done += block) {
    std::size_t const bytes = std::min(block, tensor.size_bytes() - done);
    update(tensor.data() + done, bytes);
    if (auto const at = detail::first_non_finite(tensor.dtype(), tensor.data() + done, bytes); at >= 0)
      return at + static_cast<std::int64_t>(done / element_size(tensor.dtype()));
  }
  return -1;
}

Hash128 KeyHasher::finish() const noexcept {
  if (!streams_)
    return secret_ == nullptr ? hash_bytes(state_.data(), gathered_)
                              : from_library(XXH3_128bits_withSecret(state_.data(), gathered_,
                                                                     secret_->data(), secret_->size()));
  auto* bytes = const_cast<std::byte*>(state_.data());  // the library's digest does not write
  return from_library(XXH3_128bits_digest(reinterpret_cast<XXH3_state_t*>(bytes)));
}

}  // namespace athanor::inline v1
