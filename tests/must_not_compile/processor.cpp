// without NAME: a Processor has `static constexpr char const* name`
// without OUTPUT_NAMES: a Processor has `output_names`
// without OUTPUT_DTYPES: a Processor has `output_dtypes`
// without OPEN: a Processor has `open(folder, options)`
// without PREPARE: an Opened has `prepare(Tensor const&)`
#include <athanor/core/backend.hpp>

namespace {

struct MinimalOpened {
#ifndef WITHOUT_PREPARE
  athanor::Result<athanor::Preprocessed> prepare(athanor::Tensor const&) { return athanor::Preprocessed{}; }
#endif
};

struct MinimalProcessor {
  using Opened = MinimalOpened;
#ifndef WITHOUT_NAME
  static constexpr char const* name = "minimal";
#endif
#ifndef WITHOUT_OUTPUT_NAMES
  static constexpr std::array<char const*, 1> output_names{"x"};
#endif
#ifndef WITHOUT_OUTPUT_DTYPES
  static constexpr std::array<std::int32_t, 1> output_dtypes{0};
#endif
#ifndef WITHOUT_OPEN
  athanor::Result<std::unique_ptr<MinimalOpened>> open(std::string_view, std::string_view) {
    return std::make_unique<MinimalOpened>();
  }
#endif
};

}  // namespace

int main() {
  MinimalProcessor processor;
  static_cast<void>(athanor::make_table(processor));
}
