#include <athanor/core/hash.hpp>

#include <doctest/doctest.h>

#include <unistd.h>
#include <array>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using namespace athanor;

template <class... Fields>
Hash128 key_of(Fields const&... fields) {
  KeyHasher hasher;
  (hasher.add(fields), ...);
  return hasher.finish();
}

// mutant: the halves of a hash are printed in the wrong order
TEST_CASE("hash: the text is the one that xxh128sum prints") {
  CHECK(to_hex(hash128(std::string_view(""))) == "99aa06d3014798d86001c324468d497f");
  CHECK(to_hex(hash128(std::string_view("abc"))) == "06b05ab6733a618578af5f94892f3950");
}

// mutant: a hash by AVX2 has its halves swapped
// mutant: an update by AVX2 leaves out the last byte
// mutant: a key that is no longer short loses what it began with
TEST_CASE("hash: large inputs are hashed as small ones, however they are divided") {
  KeyHasher::Secret secret{};
  for (std::size_t i = 0; i < secret.size(); ++i) secret[i] = static_cast<std::byte>(7 * i + 1);
  for (std::size_t const words : {1U, 28U, 29U, 30U, 32U, 33U, 100U, 128U, 129U, 20'000U}) {
    CAPTURE(words);
    std::string text;
    auto const in_words = [&](KeyHasher&& hasher) {
      hasher.add(std::uint64_t{8 * words});
      for (std::uint64_t word = 0; word < words; ++word) hasher.add(word * 0x9e3779b97f4a7c15);
      return hasher.finish();
    };
    auto const at_once = [&](KeyHasher&& hasher) {
      hasher.add(std::string_view(text));
      return hasher.finish();
    };
    auto const append = [&text](std::uint64_t word) {
      for (int i = 0; i < 8; ++i) text += static_cast<char>(word >> (8 * i));
    };
    for (std::uint64_t word = 0; word < words; ++word) append(word * 0x9e3779b97f4a7c15);
    CHECK(at_once(KeyHasher{}) == in_words(KeyHasher{}));
    CHECK(at_once(KeyHasher{secret}) == in_words(KeyHasher{secret}));
    auto const key = at_once(KeyHasher{});
    std::string const content = std::exchange(text, {});
    append(8 * words);
    CHECK(hash128(std::string_view(text + content)) == key);
  }
}

// mutant: numbers that are not finite are looked for in the first block of a large tensor only
// mutant: a number that is not finite is named by its place in a block
TEST_CASE("hash: a number that is not finite is found wherever it lies while its tensor is hashed") {
  constexpr std::size_t block = std::size_t{16} << 10;
  auto const check_type = [](DType dtype, auto bad) {
    std::size_t const width = sizeof(bad);
    for (std::size_t const bytes :
         {width, block - width, block, block + width, 3 * block - width, 3 * block + 24}) {
      CAPTURE(bytes);
      std::vector<std::byte> memory(bytes);
      for (std::size_t i = 0; i < bytes; ++i)
        memory[i] = static_cast<std::byte>(i * 7 % 100);  // no exponent of ones
      auto const count = static_cast<std::int64_t>(bytes / width);
      auto const tensor = Tensor::view(dtype, memory.data(), Shape{count});
      KeyHasher hasher;
      CHECK(hasher.add_finite(tensor) == -1);
      CHECK(hasher.finish() == key_of(tensor));
      auto const in_block = static_cast<std::int64_t>(block / width);
      for (std::int64_t const border : {std::int64_t{0}, in_block, 2 * in_block, 3 * in_block, count})
        for (std::int64_t const place : {border - 1, border}) {
          if (place < 0 || place >= count) continue;
          CAPTURE(place);
          auto* const at = memory.data() + static_cast<std::size_t>(place) * width;
          std::array<std::byte, sizeof(bad)> kept;
          std::memcpy(kept.data(), at, width);
          std::memcpy(at, &bad, width);
          CHECK(KeyHasher().add_finite(tensor) == place);
          std::memcpy(at, kept.data(), width);
        }
    }
  };
  check_type(DType::f16, std::uint16_t{0x7c00});
  check_type(DType::f16, std::uint16_t{0xfe01});
  check_type(DType::bf16, std::uint16_t{0xff80});
  check_type(DType::f32, -std::numeric_limits<float>::infinity());
  check_type(DType::f32, std::numeric_limits<float>::quiet_NaN());
  check_type(DType::f64, std::numeric_limits<double>::infinity());
  check_type(DType::f64, std::numeric_limits<double>::quiet_NaN());
}

TEST_CASE("hash: what holds no floating-point numbers is hashed as ever where they are looked for") {
  std::vector<std::int32_t> const ones(10'000, -1);
  auto const integers = Tensor::view<std::int32_t>(ones, Shape{10'000});
  auto const texts = Tensor::copy_texts(std::vector<std::string_view>{"a", "", "bc"}).value();
  for (Tensor const& tensor : {integers, texts}) {
    KeyHasher hasher;
    CHECK(hasher.add_finite(tensor) == -1);
    CHECK(hasher.finish() == key_of(tensor));
  }
}

// mutant: texts are hashed without their lengths
TEST_CASE("hash: fields are delimited, and their order matters") {
  CHECK(key_of(std::string_view("ab"), std::string_view("c")) !=
        key_of(std::string_view("a"), std::string_view("bc")));
  CHECK(key_of(std::string_view("ab"), std::string_view("")) !=
        key_of(std::string_view(""), std::string_view("ab")));
  CHECK(key_of(1, 2) != key_of(2, 1));
  CHECK(key_of(std::int64_t{7}) == key_of(std::uint64_t{7}));
  CHECK(key_of(0.0) != key_of(-0.0));
}

// mutant: the element type of a tensor is not hashed
// mutant: the shape of a tensor is not hashed
TEST_CASE("hash: a reshaped or retyped tensor is another key") {
  std::vector<float> const values{1, 2, 3, 4, 5, 6};
  auto const flat = Tensor::view(std::span<float const>(values), {6});
  auto const wide = Tensor::view(std::span<float const>(values), {2, 3});
  auto const tall = Tensor::view(std::span<float const>(values), {3, 2});
  auto const punned = Tensor::view(DType::i32, values.data(), {6});
  CHECK(key_of(flat) != key_of(wide));
  CHECK(key_of(wide) != key_of(tall));
  CHECK(key_of(flat) != key_of(punned));
  CHECK(key_of(flat) == key_of(flat.clone().value()));
}

// mutant: texts of a tensor are hashed as one
TEST_CASE("hash: texts count one by one, however their offsets are held") {
  std::vector<std::int64_t> const one_two{0, 1, 3};
  std::vector<std::int64_t> const two_one{0, 2, 3};
  auto const a = Tensor::texts(one_two, "abc", {2});
  auto const b = Tensor::texts(two_one, "abc", {2});
  CHECK(key_of(a) != key_of(b));
  std::vector<std::string_view> const texts{"a", "bc"};
  CHECK(key_of(a) == key_of(Tensor::copy_texts(texts).value()));
  std::vector<std::int64_t> const whole{0, 3};
  CHECK(key_of(Tensor::text("abc")) == key_of(Tensor::texts(whole, "abc", {1})));
}

// mutant: a hasher forgets its secret
// mutant: a short key is hashed without the secret
// mutant: a reset hasher goes on with its former state
TEST_CASE("hash: a secret changes every key and survives reset") {
  KeyHasher::Secret secret;
  for (std::size_t i = 0; i < secret.size(); ++i) secret[i] = static_cast<std::byte>(i * 37 + 11);
  KeyHasher keyed(secret);
  for (std::size_t const length : {1'000U, 4U, 1'000U}) {
    CAPTURE(length);
    std::string const text(length, 't');
    keyed.reset();
    keyed.add(std::string_view(text));
    auto const first = keyed.finish();
    CHECK(first != key_of(std::string_view(text)));
    keyed.reset();
    keyed.add(std::string_view(text));
    CHECK(keyed.finish() == first);
    KeyHasher other(secret);
    other.add(std::string_view(text));
    CHECK(other.finish() == first);
    KeyHasher const copy = keyed;
    CHECK(copy.finish() == first);
  }
}

// mutant: a file is hashed up to its first piece
TEST_CASE("hash: a file's hash is that of its content, and a missing file is named") {
  std::string const path = "/tmp/athanor-hash-" + std::to_string(::getpid());
  std::string content(700'001, 'x');
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 31 + i / 251);
  std::FILE* file = std::fopen(path.c_str(), "wb");
  REQUIRE(file != nullptr);
  REQUIRE(std::fwrite(content.data(), 1, content.size(), file) == content.size());
  REQUIRE(std::fclose(file) == 0);
  CHECK(hash_file(path).value() == hash128(content));
  REQUIRE(std::remove(path.c_str()) == 0);

  auto const missing = hash_file(path);
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code == Code::not_found);
  CHECK(missing.error().reason == Reason::file);
  CHECK(missing.error().message.find(path) != std::string::npos);
  CHECK(hash_file("/tmp").error().reason == Reason::file);
}

}  // namespace
