#include "file_kind.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <vector>

#include <caffe2/serialize/inline_container.h>
#include <fmt/format.h>

namespace athanor::inline v1::libtorch {

namespace {

constexpr std::string_view torchscript = "a module of torch.jit.save";
constexpr std::string_view package = "a package of torch._inductor.aoti_compile_and_package";
constexpr std::string_view pickle =
    "a file of torch.save (a state_dict or a pickled module), which holds no program";
constexpr std::string_view exported = "a program of torch.export.save, which is not compiled";

/// Pickles of protocol 2 and later begin so; older torch.save wrote nothing around them.
bool is_bare_pickle(std::string const& path) {
  std::array<char, 2> head{};
  std::ifstream(path, std::ios::binary).read(head.data(), head.size());
  return head[0] == '\x80' && head[1] >= 2 && head[1] <= 5;
}

/// Which of the kinds above, by the records of the archive; empty for another archive. Throws for no archive.
std::string_view kind_of_archive(std::string const& path) {
  ::caffe2::serialize::PyTorchStreamReader reader(path);
  auto const records = reader.getAllRecords();
  auto const has = [&](std::string_view prefix) {
    return std::ranges::any_of(records,
                               [&](std::string const& record) { return record.starts_with(prefix); });
  };
  if (has("data/aotinductor/")) return package;
  if (has("models/")) return exported;
  if (has("constants.pkl")) return torchscript;
  return has("data.pkl") ? pickle : std::string_view();
}

}  // namespace

std::string describe_other_file(std::string const& path, std::string_view format) noexcept {
  try {
    auto const expected = format == "pt2" ? package : torchscript;
    auto const kind = is_bare_pickle(path) ? pickle : kind_of_archive(path);
    if (kind.empty() || kind == expected) return {};
    return fmt::format("expected {}, got {}", expected, kind);
  } catch (...) {
    return {};  // no archive: what LibTorch said of it stands
  }
}

}  // namespace athanor::inline v1::libtorch
