// The terminal, or what stands in its place.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace polymers {

// Where `say` speaks: standard output, until that is asked to hold a file.
inline std::FILE* voice = stdout;

// Writes to a stream that keeps its error until it is checked at the end. fmt::print would throw,
// and its exception looks like that of a thread that cannot start.
template <class... Args>
void say(fmt::format_string<Args...> sentence, Args&&... args) {
  std::string const text = fmt::format(sentence, std::forward<Args>(args)...);
  std::fwrite(text.data(), 1, text.size(), voice);
}

// Columns of the terminal behind a stream; 80 where there is none.
std::size_t columns_of(std::FILE* stream);
// What is left of them for text beside `taken` others: 12
// at least, though a narrow terminal then breaks the lines.
std::size_t columns_beside(std::size_t taken, std::FILE* stream);

enum class Colour : std::uint8_t { bold, warning, refusal };
// `text` in that colour where the voice is a terminal that shows colours, and NO_COLOR is not set.
std::string painted(std::string text, Colour colour);

// Rows done, rows per second and the time that is left, in one line of standard error; silent unless that is
// a terminal.
class Progress {
 public:
  Progress();
  // `fraction` of the input has been read; negative where that is not known.
  void show(std::size_t rows, double fraction) const;
  void clear() const;

 private:
  bool terminal_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace polymers
