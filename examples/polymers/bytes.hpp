// The bytes of a file, decompressed where gzip compressed them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

struct z_stream_s;

namespace polymers {

class Bytes {
 public:
  // Reads the open file `file`, and closes it in the end.
  explicit Bytes(int file);
  ~Bytes();
  Bytes(Bytes const&) = delete;
  Bytes& operator=(Bytes const&) = delete;

  // Fills `room` as far as there are bytes, and tells how many these are: fewer
  // only at the end, behind a failure, and where the program is interrupted.
  std::size_t read(std::span<char> room);
  // Why no bytes follow; empty while there is no reason but the end.
  std::string const& failure() const { return failure_; }

  bool compressed() const { return state_ != State::unknown && state_ != State::plain; }
  // Of the file itself, how many bytes have been used.
  std::size_t used() const { return taken_ - (end_ - at_); }

 private:
  // Of gzip a file may have several members, one behind the other.
  enum class State : std::uint8_t { unknown, plain, inside, behind };
  struct End {
    void operator()(z_stream_s* stream) const;
  };

  bool fill(std::size_t least);
  bool begin();
  std::size_t copy(std::span<char> room);
  std::size_t inflate(std::span<char> room);

  int file_;
  State state_ = State::unknown;
  std::unique_ptr<z_stream_s, End> stream_;
  std::vector<char> input_;  // from the file, of which at_ to end_ are to be used
  std::size_t at_ = 0;
  std::size_t end_ = 0;
  std::size_t taken_ = 0;  // from the file
  std::string failure_;
};

}  // namespace polymers
