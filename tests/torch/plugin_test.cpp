#include <array>
#include <cstdio>

#include <doctest/doctest.h>

#include "scripts.hpp"
#include "table.hpp"

using namespace athanor::tests;

// mutant: the plugin of torch refuses every struct
TEST_CASE("a host without LibTorch runs a model through the plugin") {
  Folder const folder;
  auto const path = (folder / "model.pt").string();
  write_script(path, "def forward(self, x: Tensor) -> Tensor:\n  return x.sum(1, keepdim=True)\n");
  auto const command = std::string(ATHANOR_PLUGIN_HOST " " ATHANOR_TORCH_PLUGIN " ") + path + " torchscript";
  auto* const host = ::popen(command.c_str(), "r");
  REQUIRE(host != nullptr);
  std::array<char, 600> printed{};
  auto const length = std::fread(printed.data(), 1, printed.size() - 1, host);
  CHECK(::pclose(host) == 0);
  CHECK(std::string(printed.data(), length) == "45.0000 145.0000 \n");
}
