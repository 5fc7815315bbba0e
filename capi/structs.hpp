/// How structs with a `struct_size` are read and written: shorter than the first version is refused; of a
/// longer one, what this library does not know must be zero when it is read, and is made zero when it is
/// written.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

#include <athanor/core/error.hpp>

namespace athanor::capi {

/// A copy of `*from`, which is not null. `what` names it in the error.
template <class Struct>
Result<Struct> read_struct(Struct const* from, char const* what) {
  std::size_t const size = from->struct_size;
  if (size < sizeof(Struct))
    return fail(Code::invalid_argument, Reason::value_range, "{}: struct_size: expected at least {}, got {}",
                what, sizeof(Struct), size);
  constexpr std::size_t largest = 4096;
  if (size > largest)
    return fail(Code::invalid_argument, Reason::value_range, "{}: struct_size: expected at most {}, got {}",
                what, largest, size);
  auto const* bytes = reinterpret_cast<unsigned char const*>(from);
  if (std::any_of(bytes + sizeof(Struct), bytes + size, [](unsigned char byte) { return byte != 0; }))
    return fail(Code::unimplemented, Reason::value_range,
                "{}: fields beyond byte {} are set, which this version of the library does not know", what,
                sizeof(Struct));
  return *from;
}

/// Copies `from` over `*to` and keeps its struct_size. False when that is too small or makes no sense.
template <class Struct>
bool write_struct(Struct* to, Struct from) noexcept {
  std::size_t const size = to->struct_size;
  if (size < sizeof(Struct) || size > 4096) return false;
  from.struct_size = size;
  *to = from;
  std::memset(reinterpret_cast<unsigned char*>(to) + sizeof(Struct), 0, size - sizeof(Struct));
  return true;
}

}  // namespace athanor::capi
