/// Modules of one method, written as TorchScript and loaded through the backend's table.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include <athanor/torch/backend.hpp>

#include "scripts.hpp"
#include "table.hpp"

namespace athanor::tests {

inline ath_backend_table const& table() { return libtorch::backend(); }

inline bool contains(std::string const& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

/// The first of `values`, as many as the shape holds.
inline Tensor floats(std::vector<float> const& values, Shape const& shape) {
  return Tensor::view(DType::f32, values.data(), shape);
}

/// Loads a module with this forward; fails the test when it cannot.
inline Model load(Folder const& folder, std::string const& source, Description description = {},
                  std::vector<Parameter> const& parameters = {}) {
  description.path = (folder / "model.pt").string();
  write_script(description.path, source, parameters);
  auto model = Model::load(table(), description);
  REQUIRE_MESSAGE(model, model.error().message);
  return *model;
}

inline constexpr char const* add_one = "def forward(self, x: Tensor) -> Tensor:\n  return x + 1\n";

inline Error load_error(Description const& description) {
  auto model = Model::load(table(), description);
  REQUIRE(!model);
  return model.error();
}

inline Error run_error(Model const& model, std::vector<Tensor> const& inputs) {
  auto outputs = Instance(model).run(inputs);
  REQUIRE(!outputs);
  return outputs.error();
}

}  // namespace athanor::tests
