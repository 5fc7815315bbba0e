// The text of a file or of standard input, a part of it at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <athanor/core/error.hpp>

#include "bytes.hpp"

namespace polymers {

// The signal that interrupted the program, or 0. Reading then ends as at the end
// of the file, and the loop over the rows ends after those that are under way.
inline std::atomic<int> interruption{0};

class Text {
 public:
  // A path of - is standard input. What gzip compressed is decompressed, and a mark of UTF-8 is no part of
  // the text. Fails when the file cannot be read, and for what is known to be no such text, which it names.
  static athanor::Result<Text> open(std::string const& path);

  // What is in memory from the place where reading is.
  std::string_view rest() const { return std::string_view(buffer_).substr(at_); }
  // Reads on; false at the end. Ends the life of the views that `rest` gave.
  athanor::Result<bool> more();
  // Moves on by so many bytes of `rest`.
  void take(std::size_t bytes);

  std::size_t byte() const { return byte_; }  // where reading is, from 0
  std::size_t line() const { return line_; }  // from 1
  // How much of the file has been read, 0 to 1; negative where that is not known.
  double fraction() const;
  std::string const& name() const { return name_; }

 private:
  Text(int file, std::string name, std::int64_t size)
      : bytes_(std::make_unique<Bytes>(file)), name_(std::move(name)), size_(size) {}

  std::unique_ptr<Bytes> bytes_;
  std::string name_;
  std::int64_t size_;  // bytes of the file, compressed as it is; 0 where it has no size
  std::string buffer_;
  std::size_t at_ = 0;
  std::size_t byte_ = 0;
  std::size_t line_ = 1;
};

// Whether both paths lead to one file, through links and
// folders too. A path of - is the stream of `standard`.
bool same_file(std::string const& one, int standard_of_one, std::string const& other, int standard_of_other);

}  // namespace polymers
