#include <array>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "guard.hpp"
#include "handles.hpp"
#include "options.hpp"

namespace athanor::capi {

namespace {

std::string description_json(ath_engine const& engine) {
  auto plugins = nlohmann::ordered_json::array();
  for (auto const& plugin : engine.plugins.states()) {
    nlohmann::ordered_json row{{"name", plugin.name}, {"open", !plugin.file.empty()}};
    if (!plugin.file.empty()) row["file"] = plugin.file;
    plugins.push_back(std::move(row));
  }
  std::string const text = plugins.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  return engine.engine.describe(
      std::array{JsonMember{"abi", std::to_string(ath_abi_version())}, JsonMember{"plugins", text}});
}

/// What describe, health and metrics have in common: `text_of(engine)` as an object of the caller's.
template <class TextOf>
std::int32_t give_text(char const* function, ath_engine const* engine, ath_text** out_text,
                       ath_error** out_error, TextOf text_of) noexcept {
  if (out_text != nullptr) *out_text = nullptr;
  return guard(out_error, [&]() -> Result<void> {
    if (auto given = need(function, {{"engine", engine}, {"out_text", out_text}}); !given) return given;
    if (auto own = engine->origin->check_process(function); !own) return own;
    // NOLINTNEXTLINE(bugprone-unhandled-exception-at-new): guard handles it
    *out_text = new ath_text{text_of(*engine)};
    return {};
  });
}

}  // namespace

}  // namespace athanor::capi

using namespace athanor;
using namespace athanor::capi;

std::int32_t ath_engine_create(const char* options_json, ath_engine** out_engine,
                               ath_error** out_error) noexcept {
  if (out_engine != nullptr) *out_engine = nullptr;
  return guard(out_error, [&]() -> Result<void> {
    if (auto given = need("ath_engine_create", {{"out_engine", out_engine}}); !given) return given;
    auto options = parse_options(options_json != nullptr ? options_json : "{}");
    if (!options) return tl::unexpected(std::move(options.error()));
    auto origin = std::make_shared<Origin>();
    auto engine = Engine<>::create(std::move(options->engine));
    if (!engine) return tl::unexpected(std::move(engine.error()));
    *out_engine =
        // NOLINTNEXTLINE(bugprone-unhandled-exception-at-new): guard handles it
        new ath_engine{std::move(*engine), Plugins(std::move(options->plugins)), std::move(origin)};
    return {};
  });
}

void ath_engine_destroy(ath_engine* engine) noexcept {
  if (engine == nullptr || engine->origin->forked()) return;
  // In a completion a worker calls back later.
  engine->engine.close([](void* closed) noexcept { delete static_cast<ath_engine*>(closed); }, engine);
}

std::int32_t ath_engine_stop(ath_engine* engine, std::int64_t grace_ns, std::uint64_t* out_abandoned,
                             ath_error** out_error) noexcept {
  if (out_abandoned != nullptr) *out_abandoned = 0;
  return guard(out_error, [&]() -> Result<void> {
    if (auto given = need("ath_engine_stop", {{"engine", engine}}); !given) return given;
    if (grace_ns < 0)
      return fail(Code::invalid_argument, Reason::value_range,
                  "ath_engine_stop: grace_ns: expected 0 or more, got {}", grace_ns);
    if (auto own = engine->origin->check_process("ath_engine_stop"); !own) return own;
    if (engine->origin->in_callback())
      return fail(
          Code::failed_precondition, Reason::reentrant,
          "ath_engine_stop: called from a callback of the same engine, where it would wait for itself");
    std::size_t const abandoned = engine->engine.stop(Duration(grace_ns));
    if (out_abandoned != nullptr) *out_abandoned = abandoned;
    return {};
  });
}

std::int32_t ath_engine_add_backend(ath_engine* engine, const ath_backend_table* table,
                                    ath_error** out_error) noexcept {
  return guard(out_error, [&]() -> Result<void> {
    if (auto given = need("ath_engine_add_backend", {{"engine", engine}, {"table", table}}); !given)
      return given;
    if (auto own = engine->origin->check_process("ath_engine_add_backend"); !own) return own;
    return engine->engine.add_backend(*table);
  });
}

std::int32_t ath_engine_add_processor(ath_engine* engine, const ath_processor_table* table,
                                      ath_error** out_error) noexcept {
  return guard(out_error, [&]() -> Result<void> {
    if (auto given = need("ath_engine_add_processor", {{"engine", engine}, {"table", table}}); !given)
      return given;
    if (auto own = engine->origin->check_process("ath_engine_add_processor"); !own) return own;
    return engine->engine.add_processor(*table);
  });
}

std::int32_t ath_engine_describe(const ath_engine* engine, ath_text** out_text,
                                 ath_error** out_error) noexcept {
  return give_text("ath_engine_describe", engine, out_text, out_error, description_json);
}

std::int32_t ath_engine_health(const ath_engine* engine, ath_text** out_text,
                               ath_error** out_error) noexcept {
  return give_text("ath_engine_health", engine, out_text, out_error,
                   [](ath_engine const& of) { return to_json(of.engine.health()); });
}

std::int32_t ath_engine_metrics(const ath_engine* engine, ath_text** out_text,
                                ath_error** out_error) noexcept {
  return give_text("ath_engine_metrics", engine, out_text, out_error,
                   [](ath_engine const& of) { return of.engine.metrics_text(); });
}
