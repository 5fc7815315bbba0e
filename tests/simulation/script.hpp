// What happens in one simulated run: the engine's options, the faults of the
// backend, and the events in their order. All of it is drawn from a seed
// beforehand, so that an event can be dropped and the rest stay as it is.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <athanor/core/simulation.hpp>
#include <athanor/serving/jobs.hpp>
#include <athanor/serving/options.hpp>

namespace athanor_tests {

using namespace athanor;

// The models of the world, by their place in model_traits (stage.hpp).
enum class ModelKind : std::uint8_t {
  plain,
  texts,
  made,
  ensemble,
  single,
  padded,
  ragged,
  carried,
  held,
  graph
};
inline constexpr std::size_t model_kinds = 10;
constexpr bool keeps_state(ModelKind kind) noexcept {
  return kind == ModelKind::carried || kind == ModelKind::held;
}

constexpr bool is_processed(ModelKind kind) noexcept {
  return kind == ModelKind::made || kind == ModelKind::graph;
}

struct SimulatedEvent {
  enum class Kind : std::uint8_t {
    infer,
    infer_into,
    infer_many,
    submit,
    job,
    cancel_call,
    cancel_token,
    load,
    unload,
    forget,
    replace,  // removes the model and adds it again
    drop_answers,
    leap,
    end_hangs,
    threads,  // from now on there are some, or none
    fork,
    reset_sequence,
    close_sequence,
    wait_job,
    look_at_job,
    cancel_job,
    forget_job,
    drop_jobs,  // the table of jobs ends, and another begins
    stop,
  };
  // When the caller of a submit gives up its handles of the model and of the call.
  enum class Handles : std::uint8_t { kept, dropped_at_once, dropped_when_answered };
  Kind kind = Kind::infer;
  Duration gap{0};  // before it begins
  ModelKind model = ModelKind::plain;
  std::uint32_t value = 0;  // decides the inputs and the number of items
  std::uint32_t count = 1;  // infer_many: calls, of the values from `value` on
  Duration deadline{-1};
  CacheMode cache = CacheMode::use;
  int token = -1;        // -1 none, else the number of a Cancellation that calls share; own_token: its own
  bool borrows = false;  // submit: the inputs lie in the caller's memory, which it takes back when answered
  bool keeps_answer = false;        // until the end of the run; replace: keeps the handle
  Handles handles = Handles::kept;  // of a submit
  std::optional<Kind> inside{};     // a submit's completion does this, too
  std::uint32_t target = 0;         // cancel_call, cancel_token; which sequence; which job
  Duration time{0};                 // stop: grace; leap: how far; wait_job: how long
  std::uint32_t memory = 0;         // the allocation of the event's own thread that fails; 0: none

  static constexpr int own_token = 100;
};

// Which faults the backend and the loader may have; each has about one chance in `rare` per execution.
struct Faults {
  bool error = false;
  bool throws = false;
  bool no_memory = false;
  bool short_rows = false;
  bool long_rows = false;
  bool slow = false;
  bool hang = false;
  bool load_fails = false;
  bool load_stalls = false;
  bool memory = false;      // allocations of callers and of those who run batches and loads
  bool no_threads = false;  // none can be started at first
  std::uint32_t rare = 12;
  std::uint32_t first_runs = 0;  // so many of the first runs fail, so that breakers open
};

struct Script {
  std::uint64_t seed = 0;
  Turns turns;
  std::vector<ModelKind> models;
  EngineOptions options;
  JobOptions jobs;
  Faults faults;
  std::vector<SimulatedEvent> events;
};

// What a run may be made of.
struct Scope {
  std::uint32_t interrupts_one_in =
      4;  // so many schedules interrupt actors between any two operations; 0: none
};

Script make_script(std::uint64_t seed, Scope const& scope);
// For people.
std::string to_string(Script const& script);
// The smallest script, made by dropping events, for which `fails` still holds.
Script shrink(Script script, std::function<bool(Script const&)> const& fails);

// Values, and what they mean. One is a content, which decides the inputs,
// and a parameter: requests of one content may have three values.
inline constexpr std::uint32_t contents = 4096;
constexpr std::uint32_t content_of(std::uint32_t value) noexcept { return value % contents; }
std::uint32_t items_of(std::uint32_t value) noexcept;
// The parameter of a request, which leaves it out where it
// is 0, the default. An answer has a quarter of it added.
constexpr std::uint32_t shift_of(std::uint32_t value) noexcept {
  return (content_of(value) + value / contents) % 3;
}
constexpr std::uint32_t value_of(std::uint32_t content, std::uint32_t shift) noexcept {
  return content + contents * ((shift + 3 - content % 3) % 3);
}
constexpr bool has_shift(ModelKind kind) noexcept {
  return kind != ModelKind::ensemble && kind != ModelKind::padded && kind != ModelKind::ragged;
}
constexpr float shift_in_answer(ModelKind kind, std::uint32_t value) noexcept {
  return has_shift(kind) ? 0.25F * static_cast<float>(shift_of(value)) : 0.0F;
}
// How long the items of a request are: of `padded`, all of them; of `made`, each, as its processor makes it.
constexpr std::int64_t length_of(std::uint32_t value) noexcept { return 2 + value % 4; }
constexpr std::int64_t made_length_of(std::uint32_t row) noexcept { return 4 + row % 3; }
// How many rows an item has in an answer of `ragged`.
constexpr std::int64_t rows_of(std::uint32_t value, std::uint32_t row) noexcept { return (value + row) % 4; }
constexpr bool is_poison(std::uint32_t value) noexcept { return value % 16 == 15; }
constexpr bool is_refused_by_processor(std::uint32_t value) noexcept { return value % 16 == 14; }
inline constexpr std::uint32_t job_keys = 4;
inline constexpr std::uint32_t shared_values = 8;  // values below it are asked for again and again

}  // namespace athanor_tests
