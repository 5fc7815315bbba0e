#include "console.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace polymers {

namespace {

bool shows_colours(std::FILE* stream) {
  auto const setting = [](char const* name) {
    char const* const value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): the program never sets it
    return std::string_view(value == nullptr ? "" : value);
  };
  return ::isatty(::fileno(stream)) == 1 && setting("NO_COLOR").empty() && setting("TERM") != "dumb";
}

}  // namespace

std::size_t columns_of(std::FILE* stream) {
  winsize size{};
  bool const known = ::ioctl(::fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  return known ? size.ws_col : 80;
}

std::size_t columns_beside(std::size_t taken, std::FILE* stream) {
  constexpr std::size_t least = 12;
  return std::max(columns_of(stream), taken + least) - taken;
}

std::string painted(std::string text, Colour colour) {
  if (!shows_colours(voice)) return text;
  char const* code = "1";
  if (colour == Colour::warning) code = "33";
  if (colour == Colour::refusal) code = "31";
  return fmt::format("\x1b[{}m{}\x1b[0m", code, text);
}

Progress::Progress() : terminal_(::isatty(STDERR_FILENO) == 1), start_(std::chrono::steady_clock::now()) {}

void Progress::show(std::size_t rows, double fraction) const {
  if (!terminal_) return;
  double const seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  auto line = fmt::format("{} rows", rows);
  if (rows > 0 && seconds > 0) line += fmt::format("  {:.0f} rows/s", static_cast<double>(rows) / seconds);
  if (rows > 0 && fraction > 0) line += fmt::format("  {:.0f} s left", seconds * (1 - fraction) / fraction);
  // A line that the terminal has to break cannot be drawn over: the bar takes the columns that are left.
  std::size_t const room = columns_of(stderr) - 1;
  if (fraction >= 0 && line.size() + 4 <= room) {
    std::size_t const width = std::min<std::size_t>(30, room - line.size() - 3);
    auto const full = static_cast<std::size_t>(static_cast<double>(width) * fraction);
    line = fmt::format("[{:#<{}}{:.<{}}] {}", "", full, "", width - full, line);
  }
  std::fputs(("\r" + line.substr(0, room) + "\x1b[K").c_str(), stderr);
}

void Progress::clear() const {
  if (terminal_) std::fputs("\r\x1b[K", stderr);
}

}  // namespace polymers
