#include <athanor/athanor.hpp>
#include <athanor/core/simulation.hpp>

#include <fmt/format.h>

// Who writes a policy tests it in the simulator.
static bool simulates() {
  athanor::Simulation world(1, {.order = athanor::Turns::Order::random, .switch_one_in = 2});
  athanor::SimulatedWord word;
  bool woken = false;
  world.spawn([&] {
    while (word.load() == 0) word.wait_until(0, athanor::no_deadline);
    woken = true;
  });
  world.spawn([&] {
    word.store(1);
    word.wake_all();
  });
  world.run_until_idle();
  return woken && world.actors() == 0;
}

// The engine and its templates are there to be used, and a missing model gets a sentence.
int main() {
  if (!simulates()) return 4;
  auto engine = athanor::Engine<>::create();
  if (!engine) return 1;
  auto const model = engine->load("no-such-folder");
  if (model || model.error().code != athanor::Code::not_found) return 2;
  fmt::print("{}\n", model.error().message);
  return engine->metrics_text().find("# HELP athanor_") == std::string::npos ? 3 : 0;
}
