/// TorchScript modules made on the spot, so that the tests need neither Python nor files in the repository.
/// Names no LibTorch type: only scripts.cpp pays for its headers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <support/folder.hpp>

namespace athanor::tests {

/// A float parameter; element i of it is `parameter_value(i)`.
struct Parameter {
  std::string name;
  std::vector<std::int64_t> shape;
  bool listed = false;  ///< whether it is the only element of a list
};

inline float parameter_value(std::int64_t index) {
  return 0.125F * static_cast<float>((index * 7 + 3) % 11) - 0.5F;
}

/// What a perceptron of ten inputs, sixteen hidden values and one answer gives. `x`: the ten inputs. Its
/// parameters are w1 [10, 16], b1 [16], w2 [16, 1] and b2 [1].
inline double perceptron_by_hand(float const* x) {
  double answer = parameter_value(0);
  for (std::int64_t j = 0; j < 16; ++j) {
    double h = parameter_value(j);
    for (std::int64_t i = 0; i < 10; ++i) h += static_cast<double>(x[i]) * parameter_value(i * 16 + j);
    answer += std::max(h, 0.0) * parameter_value(j);
  }
  return answer;
}

/// Writes a module with these parameters and the methods of `source`, TorchScript text, to `path`. With
/// `frozen`, the parameters become constants before it is written.
void write_script(std::filesystem::path const& path, std::string const& source,
                  std::vector<Parameter> const& parameters = {}, bool frozen = false);

/// Writes the folder of a model: the module, and a manifest with `rest`, the members of the object that not
/// every manifest of such a module has, as `"inputs": [...], "outputs": [...]`.
void write_model(athanor_tests::Folder const& folder, std::string const& source, std::string const& rest,
                 std::vector<Parameter> const& parameters = {});

/// Writes an archive as LibTorch writes them, with these records and nothing in them.
void write_archive(std::filesystem::path const& path, std::vector<std::string> const& records);

/// The thread count that LibTorch would use on this thread.
int intra_op_threads();
void set_intra_op_threads(int count);

}  // namespace athanor::tests
