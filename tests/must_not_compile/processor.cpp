// without NAME: a Processor has `static constexpr char const* name`
// without OPEN: a Processor has `open(folder, options)`
// without MADE: an Opened has `made()`
// without PREPROCESS: an Opened has `preprocess(Item const&)`
#include <athanor/core/backend.hpp>

namespace {

struct MinimalOpened {
#ifndef WITHOUT_MADE
  std::span<athanor::Port const> made() const { return {}; }
#endif
#ifndef WITHOUT_PREPROCESS
  athanor::Result<athanor::Preprocessed> preprocess(athanor::Item const&) { return athanor::Preprocessed{}; }
#endif
};

struct MinimalProcessor {
  using Opened = MinimalOpened;
#ifndef WITHOUT_NAME
  static constexpr char const* name = "minimal";
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
