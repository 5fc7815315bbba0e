#pragma once

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>

#include <unistd.h>

namespace athanor_tests {

/// A new folder, removed with all that is in it at the end.
class Folder {
 public:
  Folder() {
    if (::mkdtemp(path_.data()) == nullptr) throw std::system_error(errno, std::generic_category(), path_);
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(Folder const&) = delete;
  Folder& operator=(Folder const&) = delete;

  std::string const& path() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return std::filesystem::path(path_) / name; }
  /// Returns the path of the file.
  std::string write(std::string_view name, std::string_view content) const {
    std::ofstream(*this / name, std::ios::binary) << content;
    return (*this / name).string();
  }

 private:
  std::string path_ = (std::filesystem::temp_directory_path() / "athanor-test-XXXXXX").string();
};

}  // namespace athanor_tests
