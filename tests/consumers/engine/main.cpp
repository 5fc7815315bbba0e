#include <athanor/athanor.hpp>

#include <fmt/format.h>

// The engine and its templates are there to be used, and a missing model gets a sentence.
int main() {
  auto engine = athanor::Engine<>::create();
  if (!engine) return 1;
  auto const model = engine->load("no-such-folder");
  if (model || model.error().code != athanor::Code::not_found) return 2;
  fmt::print("{}\n", model.error().message);
  return engine->metrics_text().find("# HELP athanor_") == std::string::npos ? 3 : 0;
}
