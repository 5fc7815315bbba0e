// A backend that runs what a test scripts for each batch, and an engine with one such model.
#pragma once

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <athanor/serving/engine.hpp>
#include <support/puppet.hpp>

namespace athanor_tests {

using namespace athanor;

// One run of a scripted model: which file, which instance, and memory for its outputs.
struct Run {
  ath_batch& batch;
  std::string file;
  std::size_t instance;
  std::vector<float>& memory;

  float* x() const { return static_cast<float*>(batch.inputs[0].data); }
  std::size_t count() const { return batch.inputs[0].size_bytes / sizeof(float); }
  // y = x + `number`, shaped like x.
  void add(float number) const {
    memory.assign(x(), x() + count());
    for (float& value : memory) value += number;
    batch.outputs[0] = batch.inputs[0];
    batch.outputs[0].data = memory.data();
  }
};

struct ScriptedBackend {
  static constexpr char const* name = "puppet";
  static constexpr RunsOn runs_on = RunsOn::any_thread;
  std::function<Result<void>(Run const&)> script;
  std::vector<std::int64_t> batches{};  // items of every run
  std::uint64_t loaded = 0;
  std::uint64_t unloaded = 0;

  struct Instance {
    ScriptedBackend& backend;
    std::string file;
    std::size_t number;
    std::vector<float> memory{};
    Result<void> run(ath_batch& batch) {
      backend.batches.push_back(batch.items);
      return backend.script(Run{batch, file, number, memory});
    }
  };
  struct Model {
    using Instance = ScriptedBackend::Instance;
    ScriptedBackend& backend;
    std::string file;
    std::size_t instances = 0;
    Model(ScriptedBackend& of, std::string from) : backend(of), file(std::move(from)) { ++backend.loaded; }
    Model(Model const&) = delete;
    Model& operator=(Model const&) = delete;
    ~Model() { ++backend.unloaded; }
    std::uint64_t footprint() const { return file == "a" ? 100 : 11; }
    Result<std::unique_ptr<Instance>> make_instance() {
      return std::make_unique<Instance>(Instance{backend, file, instances++});
    }
  };
  Result<std::unique_ptr<Model>> load(ModelSource const& source) {
    return std::make_unique<Model>(*this, std::filesystem::path(source.path).filename().string());
  }
};

// An engine with one scripted model, whose events it keeps.
struct Rig {
  ScriptedBackend backend;
  ath_backend_table table = make_table(backend);
  std::string log;
  Engine<> engine;

  explicit Rig(std::function<Result<void>(Run const&)> script)
      : backend{std::move(script)}, engine(Engine<>::create(options()).value()) {}

  EngineOptions options() {
    EngineOptions made;
    made.backends = {&table};
    made.sink.context = this;
    made.sink.log = [](void* context, Level, std::string_view text) noexcept {
      static_cast<Rig*>(context)->log += std::string(text) + "\n";
    };
    return made;
  }
  Error refusal(ModelFolder const& folder) {
    auto const model = engine.load(folder.path());
    REQUIRE_FALSE(model);
    CHECK(model.error().retry_after == Duration{0});
    CHECK(backend.unloaded == backend.loaded);
    return model.error();
  }
};

inline Result<void> done() { return {}; }

inline Result<void> add_one(Run const& run) {
  run.add(1);
  return {};
}

// A folder with the files of an ensemble and its manifest.
struct MembersFolder : ModelFolder {
  explicit MembersFolder(std::vector<std::string> const& files, std::string const& rest) {
    std::string members;
    for (auto const& file : files) {
      write(file, file);
      members += fmt::format(R"({}{{"file": "{}", "digest": "xxh128:{}"}})", members.empty() ? "" : ", ",
                             file, to_hex(*hash_file(path() + "/" + file)));
    }
    write("athanor.json",
          fmt::format(R"({{"athanor": 1, "name": "members", "version": "1.0.0", "backend": "puppet",
        "format": "any", {} "members": [{}]}})",
                      rest, members));
  }
};

}  // namespace athanor_tests
