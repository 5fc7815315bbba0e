/// What a file is that could not be loaded as what the manifest says.
#pragma once

#include <string>
#include <string_view>

namespace athanor::inline v1::libtorch {

/// `expected ..., got ...` when the file is of another kind that PyTorch writes than `format` (torchscript or
/// pt2); empty when it is of that kind, or of none that is known. Throws nothing.
std::string describe_other_file(std::string const& path, std::string_view format) noexcept;

}  // namespace athanor::inline v1::libtorch
