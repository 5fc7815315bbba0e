/// The requests of a folder that export.py made, and what Python answers.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <athanor/core/error.hpp>
#include <athanor/core/signature.hpp>
#include <athanor/core/tensor.hpp>

namespace models {

/// One item.
struct Case {
  int stream = -1;           ///< the sequence to which it belongs; -1 for none
  athanor::Request request;  ///< borrows the bytes of Cases
  std::vector<std::pair<std::string, athanor::Tensor>> expected;
};

struct Cases {
  std::string bytes;  ///< of all tensors
  double tolerance = 0;
  std::vector<Case> all;
};

/// Reads cases.json and cases.bin.
athanor::Result<Cases> read_cases(std::string const& folder);

/// The largest difference between two tensors, relative, and
/// absolute below 1; infinite when they differ in type or shape.
double difference(athanor::Tensor const& got, athanor::Tensor const& expected);

}  // namespace models
