/// The rule for C structs that begin with `struct_size`: one smaller than the first version is rejected; of a
/// larger one, the bytes that this library does not know must be zero when it is read, and are zeroed when it
/// is written.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string_view>

#include <athanor/plugin.h>
#include <athanor/core/error.hpp>

namespace athanor::inline v1::detail {

/// The size that a struct had when its first version was released, on machines with 64-bit pointers. Frozen:
/// a program compiled against that version passes it for ever, however much the struct grows.
template <class Struct>
inline constexpr std::size_t first_size = 0;
template <>
inline constexpr std::size_t first_size<ath_backend_table> = 96;
template <>
inline constexpr std::size_t first_size<ath_processor_table> = 72;
template <>
inline constexpr std::size_t first_size<ath_plugin> = 48;

/// The largest `struct_size` that makes sense.
inline constexpr std::size_t largest_struct = 4096;

/// Whether a `struct_size` can be one of this struct.
template <class Struct>
constexpr bool is_size_of(std::size_t size) noexcept {
  static_assert(first_size<Struct> != 0, "the frozen first size of this struct is not listed");
  static_assert(sizeof(void*) != 8 || sizeof(Struct) >= first_size<Struct>, "a struct never shrinks");
  return size >= first_size<Struct> && size <= largest_struct;
}

/// The error for a `struct_size` that no version of this struct has. `what` names the struct.
template <class Struct>
Error wrong_size(std::string_view what, std::size_t size) {
  return make_error(Code::invalid_argument, Reason::value_range, "{}: struct_size: expected {} to {}, got {}",
                    what, first_size<Struct>, largest_struct, size);
}

/// A copy of `*from`, which is not null, with the fields of later versions zeroed. `what` names it in the error.
template <class Struct>
Result<Struct> read_struct(Struct const* from, std::string_view what) {
  std::size_t const size = from->struct_size;
  if (!is_size_of<Struct>(size)) return tl::unexpected(wrong_size<Struct>(what, size));
  auto const* bytes = reinterpret_cast<unsigned char const*>(from);
  if (size > sizeof(Struct) &&
      std::any_of(bytes + sizeof(Struct), bytes + size, [](unsigned char byte) { return byte != 0; }))
    return fail(Code::unimplemented, Reason::value_range,
                "{}: fields beyond byte {} are set, which this version of the library does not know", what,
                sizeof(Struct));
  Struct copy{};
  std::memcpy(&copy, from, std::min(size, sizeof(Struct)));
  return copy;
}

/// Copies as much of `from` as `*to` has room for and keeps its struct_size. False when that is impossible.
template <class Struct>
bool write_struct(Struct* to, Struct from) noexcept {
  std::size_t const size = to->struct_size;
  if (!is_size_of<Struct>(size)) return false;
  from.struct_size = size;
  std::memcpy(to, &from, std::min(size, sizeof(Struct)));
  if (size > sizeof(Struct))
    std::memset(reinterpret_cast<unsigned char*>(to) + sizeof(Struct), 0, size - sizeof(Struct));
  return true;
}

}  // namespace athanor::inline v1::detail
