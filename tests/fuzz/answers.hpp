// What holds of every answer of the puppet's model, whatever its backend or its processor did.
#pragma once

#include <athanor/serving/engine.hpp>

#include "bytes.hpp"

namespace athanor_tests {

inline void check_answer(athanor::Result<athanor::Answer> const& answer) {
  if (!answer) {
    auto const code = static_cast<int>(answer.error().code);
    expect(code > 0 && code < 16, "an error has a code of the list");
    expect(!answer.error().message.empty(), "an error has a sentence");
    return;
  }
  athanor::Tensor const& output = answer->outputs["y"];
  expect(output.dtype() == athanor::DType::f32 && output.shape() == athanor::Shape({1, 2}) &&
             output.size_bytes() == 8,
         "an answer is what the manifest declares");
}

}  // namespace athanor_tests
