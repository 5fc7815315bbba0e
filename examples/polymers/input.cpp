#include "input.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <span>
#include <system_error>

#include <fmt/format.h>

#include "columns.hpp"

namespace polymers {

using athanor::Code;
using athanor::fail;
using athanor::Reason;
using athanor::Result;
using namespace std::string_view_literals;

namespace {

constexpr std::size_t part = 1 << 16;

// Files that people take for a table of text, by how they begin.
struct Kind {
  std::string_view beginning;
  std::string_view words;
};
constexpr std::array kinds{
    Kind{"\xFF\xFE"sv, "UTF-16 text (Excel calls it Unicode text); save it as CSV UTF-8"},
    Kind{"\xFE\xFF"sv, "UTF-16 text; save it as CSV UTF-8"},
    Kind{"PK\x03\x04"sv, "a workbook such as .xlsx, or another zip archive; save the sheet as CSV"},
    Kind{"\xD0\xCF\x11\xE0"sv, "an Excel 97-2003 workbook (.xls); save the sheet as CSV"},
    Kind{"version https://git-lfs.github.com/spec/"sv,
         "a pointer of Git LFS in place of the data; fetch them with: git lfs pull"},
    Kind{"PAR1"sv, "a Parquet file; write it as CSV"},
    Kind{"%PDF-"sv, "a PDF; save its table as CSV"},
    Kind{"\x1F\x8B"sv, "compressed by gzip more than once; decompress it with: gunzip"},
    Kind{"BZh"sv, "compressed by bzip2; only gzip is read"},
    Kind{"\xFD\x37zXZ"sv, "compressed by xz; only gzip is read"},
    Kind{"\x28\xB5\x2F\xFD"sv, "compressed by zstd; only gzip is read"},
};

std::string_view kind_of(std::string_view text) {
  for (auto const& [beginning, words] : kinds)
    if (text.starts_with(beginning)) return words;
  for (auto const tag : {"<!doctype html"sv, "<html"sv})
    if (same_name(trimmed(text).substr(0, tag.size()), tag))
      return "a page of the web, not the data; some links give one in place of a file";
  auto const nul = [&](std::size_t at) { return text[at] == '\0'; };
  bool const every_second_is_nul =
      text.size() >= 4 && nul(0) == nul(2) && nul(1) == nul(3) && nul(0) != nul(1);
  return every_second_is_nul ? "UTF-16 text; save it as CSV UTF-8" : "";
}

std::optional<struct ::stat> status_of(std::string const& path, int standard) {
  struct ::stat status {};
  bool const known = (path == "-" ? ::fstat(standard, &status) : ::stat(path.c_str(), &status)) == 0;
  return known && S_ISREG(status.st_mode) ? std::optional(status) : std::nullopt;
}

}  // namespace

Result<Text> Text::open(std::string const& path) {
  bool const standard = path == "-";
  std::string const name = standard ? "standard input" : path;
  int const file = standard ? ::dup(STDIN_FILENO) : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return fail(Code::not_found, Reason::file, "{}: cannot be read: {}", name,
                std::generic_category().message(errno));
  auto const status = status_of(path, STDIN_FILENO);
  Text text(file, name, status ? status->st_size : 0);
  auto const first = text.more();
  if (!first) return tl::unexpected(first.error());
  if (auto const words = kind_of(text.rest()); !words.empty())
    return fail(Code::invalid_argument, Reason::syntax, "{}: this is {}", name, words);
  // Spreadsheets and editors mark UTF-8 with three bytes that belong to no column or line.
  while (text.rest().starts_with("\xEF\xBB\xBF")) text.take(3);
  return text;
}

Result<bool> Text::more() {
  if (interruption.load() != 0) return false;
  buffer_.erase(0, at_);
  at_ = 0;
  std::size_t const before = buffer_.size();
  buffer_.resize(before + part);
  std::size_t const count = bytes_->read(std::span(buffer_).subspan(before));
  buffer_.resize(before + count);
  if (interruption.load() != 0) return false;
  // What was read before the failure is told first.
  if (count > 0 || bytes_->failure().empty()) return count > 0;
  return fail(Code::not_found, Reason::file, "{}: cannot be read{}: {}", name_, byte_ == 0 ? "" : " further",
              bytes_->failure());
}

void Text::take(std::size_t bytes) {
  auto const taken = rest().substr(0, bytes);
  line_ += static_cast<std::size_t>(std::ranges::count(taken, '\n'));
  byte_ += bytes;
  at_ += bytes;
}

double Text::fraction() const {
  if (size_ <= 0) return -1;
  auto const unread = static_cast<double>(buffer_.size() - at_);
  double const read = static_cast<double>(bytes_->used()) - (bytes_->compressed() ? 0 : unread);
  return std::clamp(read / static_cast<double>(size_), 0.0, 1.0);
}

bool same_file(std::string const& one, int standard_of_one, std::string const& other, int standard_of_other) {
  auto const first = status_of(one, standard_of_one);
  auto const second = status_of(other, standard_of_other);
  if (first && second) return first->st_dev == second->st_dev && first->st_ino == second->st_ino;
  if (first || second || one == "-" || other == "-") return false;
  std::error_code unknown;
  // Of a file that is not there yet, the path is all there is; a relative one says nothing of its folder.
  auto const place = [&](std::string const& path) {
    return std::filesystem::weakly_canonical(std::filesystem::absolute(path, unknown), unknown);
  };
  return place(one) == place(other) && !unknown;
}

}  // namespace polymers
