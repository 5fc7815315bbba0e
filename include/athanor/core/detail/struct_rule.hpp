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

/// `*from`, which is not null, if it has every field that this version knows; otherwise a copy of it in
/// `room`, with the other fields zeroed. `what` names it in the error.
template <class Struct>
Result<Struct const*> see_struct(Struct const* from, Struct& room, std::string_view what) {
  std::size_t const size = from->struct_size;
  if (!is_size_of<Struct>(size)) return tl::unexpected(wrong_size<Struct>(what, size));
  auto const* bytes = reinterpret_cast<unsigned char const*>(from);
  if (size > sizeof(Struct) &&
      std::any_of(bytes + sizeof(Struct), bytes + size, [](unsigned char byte) { return byte != 0; }))
    return fail(Code::unimplemented, Reason::value_range,
                "{}: fields beyond byte {} are set, which this version of the library does not know", what,
                sizeof(Struct));
  if (size >= sizeof(Struct)) return from;
  room = {};
  std::memcpy(&room, from, size);
  return &room;
}

/// A copy of `*from`, as see_struct.
template <class Struct>
Result<Struct> read_struct(Struct const* from, std::string_view what) {
  Struct room;
  return see_struct(from, room, what).map([](Struct const* seen) { return *seen; });
}

/// Fills `*to` as far as it has room and keeps its struct_size. `fill(filled)` sets every field but that one.
/// False when that is impossible.
template <class Struct, class Fill>
bool fill_struct(Struct* to, Fill const& fill) noexcept {
  std::size_t const size = to->struct_size;
  if (!is_size_of<Struct>(size)) return false;
  if (size >= sizeof(Struct)) {
    fill(*to);
    if (size > sizeof(Struct))
      std::memset(reinterpret_cast<unsigned char*>(to) + sizeof(Struct), 0, size - sizeof(Struct));
  } else {
    Struct filled;
    fill(filled);
    std::memcpy(to, &filled, size);
  }
  to->struct_size = size;
  return true;
}

/// Copies as much of `from` as `*to` has room for, as fill_struct.
template <class Struct>
bool write_struct(Struct* to, Struct const& from) noexcept {
  return fill_struct(to, [&](Struct& filled) { filled = from; });
}

}  // namespace athanor::inline v1::detail
