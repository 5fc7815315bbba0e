#include <athanor/loading/load_functions.hpp>

#include <filesystem>

namespace athanor::inline v1 {

std::uint64_t expected_bytes_of_file(std::string const& path) {
  std::error_code failed;
  auto const size = std::filesystem::file_size(path, failed);
  return failed ? 0 : static_cast<std::uint64_t>(size) + static_cast<std::uint64_t>(size) / 5;
}

}  // namespace athanor::inline v1
