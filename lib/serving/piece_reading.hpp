/// How an assembler reads the pieces of a batch.
#pragma once

#include <cstddef>
#include <cstdint>

#include <athanor/core/error.hpp>
#include <athanor/serving/detail/assembler.hpp>

namespace athanor::inline v1::serving {

/// Where the texts of a tensor lie in its memory, which may hold more than them.
struct TextRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

inline TextRange range_of(TensorView const& texts, std::int64_t count) noexcept {
  if (count == 0) return {};
  if (texts.offsets == nullptr) return {0, static_cast<std::int64_t>(texts.size_bytes)};
  return {texts.offsets[0], texts.offsets[count]};
}

/// Reads one piece while it lives.
class Reading {
 public:
  Reading(PieceAccess const& access, std::size_t piece) noexcept
      : access_(access),
        piece_(piece),
        there_(access.begin == nullptr || access.begin(access.context, piece)) {}
  ~Reading() {
    if (there_ && access_.end != nullptr) access_.end(access_.context, piece_);
  }
  Reading(Reading const&) = delete;
  Reading& operator=(Reading const&) = delete;
  bool lost() const noexcept { return !there_; }

 private:
  PieceAccess const& access_;
  std::size_t piece_;
  bool there_;
};

inline tl::unexpected<Error> lost_piece() {
  return fail(Code::aborted, Reason::cancelled, "batch: a caller left before its inputs had been read");
}

}  // namespace athanor::inline v1::serving
