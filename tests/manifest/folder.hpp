#pragma once

#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <string_view>

#include <fmt/format.h>

namespace athanor_tests {

/// A folder that is gone when the test ends.
struct Folder {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / fmt::format("athanor-{}", std::random_device{}());
  Folder() { std::filesystem::create_directories(path); }
  ~Folder() { std::filesystem::remove_all(path); }
  void write(std::string const& name, std::string_view content) const {
    std::ofstream(path / name) << content;
  }
};

}  // namespace athanor_tests
