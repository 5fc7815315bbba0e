/// Turns the exception being handled into an Error, without ever asking LibTorch for a symbolized backtrace.
#pragma once

#include <string_view>

#include <athanor/core/error.hpp>

namespace athanor::inline v1::libtorch {

/// What was being done when it failed; decides the code of a failure that has no finer cause.
enum class Stage { load, run };

/// Call only inside a `catch` block. `subject` names the model in the sentence.
Error describe_current_exception(Stage stage, std::string_view subject) noexcept;

}  // namespace athanor::inline v1::libtorch
