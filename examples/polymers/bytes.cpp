#include "bytes.hpp"

#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <system_error>
#include <utility>

#include "input.hpp"

namespace polymers {

namespace {

constexpr std::size_t part = 1 << 16;
constexpr int gzip_only = 16 + MAX_WBITS;

}  // namespace

void Bytes::End::operator()(z_stream_s* stream) const {
  inflateEnd(stream);
  delete stream;
}

Bytes::Bytes(int file) : file_(file), input_(part) {}

Bytes::~Bytes() { ::close(file_); }

std::size_t Bytes::read(std::span<char> room) {
  std::size_t count = 0;
  while (count < room.size() && failure_.empty()) {
    if (state_ != State::plain && state_ != State::inside && !begin()) break;
    if (!fill(1)) {
      if (state_ == State::inside && failure_.empty() && interruption.load() == 0)
        failure_ = "damaged gzip data: unexpected end of file";
      break;
    }
    auto const rest = room.subspan(count);
    count += state_ == State::plain ? copy(rest) : inflate(rest);
  }
  return count;
}

// Reads on until so many bytes are to be used; false when there are not so many.
bool Bytes::fill(std::size_t least) {
  while (end_ - at_ < least) {
    std::copy(input_.begin() + static_cast<std::ptrdiff_t>(at_),
              input_.begin() + static_cast<std::ptrdiff_t>(end_), input_.begin());
    end_ -= std::exchange(at_, 0);
    ssize_t const count = ::read(file_, input_.data() + end_, input_.size() - end_);
    if (count < 0 && errno == EINTR && interruption.load() == 0) continue;
    if (count < 0 && errno != EINTR) failure_ = std::generic_category().message(errno);
    if (count <= 0) return false;
    end_ += static_cast<std::size_t>(count);
    taken_ += static_cast<std::size_t>(count);
  }
  return true;
}

// At the beginning of the file, or behind a member of gzip: says what follows; false when nothing does.
bool Bytes::begin() {
  bool const behind = state_ == State::behind;
  while (behind && fill(1) && input_[at_] == '\0') ++at_;  // tapes are filled up with these
  bool const gzip = fill(2) && std::memcmp(&input_[at_], "\x1F\x8B", 2) == 0;
  if (!failure_.empty() || at_ == end_) return false;
  if (!gzip && behind) {
    failure_ = "damaged gzip data: what stands behind its end is no gzip";
    return false;
  }
  state_ = gzip ? State::inside : State::plain;
  if (!gzip) return true;
  stream_.reset(new z_stream_s{});
  if (inflateInit2(stream_.get(), gzip_only) != Z_OK) throw std::bad_alloc();
  return true;
}

std::size_t Bytes::copy(std::span<char> room) {
  std::size_t const count = std::min(room.size(), end_ - at_);
  std::memcpy(room.data(), &input_[at_], count);
  at_ += count;
  return count;
}

std::size_t Bytes::inflate(std::span<char> room) {
  stream_->next_in = reinterpret_cast<Bytef*>(&input_[at_]);
  stream_->avail_in = static_cast<uInt>(end_ - at_);
  stream_->next_out = reinterpret_cast<Bytef*>(room.data());
  stream_->avail_out = static_cast<uInt>(room.size());
  int const code = ::inflate(stream_.get(), Z_NO_FLUSH);
  at_ = end_ - stream_->avail_in;
  if (code == Z_STREAM_END)
    state_ = State::behind;
  else if (code == Z_MEM_ERROR)
    throw std::bad_alloc();
  else if (code != Z_OK)
    failure_ = std::string("damaged gzip data: ") + (stream_->msg != nullptr ? stream_->msg : zError(code));
  return room.size() - stream_->avail_out;
}

}  // namespace polymers
