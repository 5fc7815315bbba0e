/// TorchScript modules made on the spot, so that the tests need neither Python nor files in the repository.
/// Names no LibTorch type: only scripts.cpp pays for its headers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace athanor::tests {

/// A float parameter; element i of it is `parameter_value(i)`.
struct Parameter {
  std::string name;
  std::vector<std::int64_t> shape;
};

inline float parameter_value(std::int64_t index) {
  return 0.125F * static_cast<float>((index * 7 + 3) % 11) - 0.5F;
}

/// Writes a module with these parameters and the methods of `source`, TorchScript text, to `path`. With
/// `frozen`, the parameters become constants before it is written.
void write_script(std::filesystem::path const& path, std::string const& source,
                  std::vector<Parameter> const& parameters = {}, bool frozen = false);

/// Writes an archive as LibTorch writes them, with these records and nothing in them.
void write_archive(std::filesystem::path const& path, std::vector<std::string> const& records);

/// The thread count that LibTorch would use on this thread.
int intra_op_threads();
void set_intra_op_threads(int count);

}  // namespace athanor::tests
