// Runs a fuzz target once on each file of the folders that are named, where
// libFuzzer is not there to do it. Options, which begin with '-', are libFuzzer's.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "bytes.hpp"

int main(int count, char** arguments) {
  int inputs = 0;
  for (int i = 1; i < count; ++i) {
    if (arguments[i][0] == '-') continue;
    for (auto const& entry : std::filesystem::directory_iterator(arguments[i])) {
      std::ifstream file(entry.path(), std::ios::binary);
      std::vector<char> const content{std::istreambuf_iterator<char>(file), {}};
      // Of exactly its size, so that a sanitizer sees one byte too many.
      std::vector<std::uint8_t> const bytes(content.begin(), content.end());
      LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
      ++inputs;
    }
  }
  std::printf("%d inputs\n", inputs);
  return inputs > 0 ? 0 : 1;
}
