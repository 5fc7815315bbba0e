#include <fmt/format.h>
#include <athanor/athanor.hpp>

static_assert(FMT_VERSION >= 120000);

// A program with another fmt than the library's prints an error and a report.
int main() {
  auto engine = athanor::Engine<>::create();
  if (!engine) return 1;
  auto const model = engine->load("no-such-folder");
  if (model || fmt::format("{}", model.error()) != to_string(model.error())) return 2;
  fmt::print("{}\n{}\n", model.error(), athanor::Report{});
  return 0;
}
