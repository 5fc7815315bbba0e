// A backend that does what a test tells it, and folders with manifests for it.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <athanor/core/backend.hpp>
#include <athanor/core/hash.hpp>
#include <athanor/core/signature.hpp>
#include <support/folder.hpp>

namespace athanor_tests {

using namespace athanor;

// What one puppet is told and what it saw. Set it up before calls are made; counters may be read at any time.
struct PuppetControl {
  std::function<Result<void>(std::string_view path)> on_load = [](std::string_view) {
    return Result<void>{};
  };
  // Called inside run, before anything is computed; an error fails the batch.
  std::function<Result<void>(ath_batch const& batch)> on_run = [](ath_batch const&) {
    return Result<void>{};
  };
  // Called when a model is freed.
  std::function<void()> on_unload = [] {};
  std::atomic<std::int64_t> rows_too_many{0};  // added to the rows of every answer
  std::atomic<std::uint64_t> loads{0};
  std::atomic<std::uint64_t> unloads{0};
  std::atomic<std::uint64_t> runs{0};
  std::atomic<std::uint64_t> items{0};
  std::atomic<std::int64_t> inside{0};
  std::atomic<std::int64_t> most_inside{0};
  std::atomic<std::int64_t> largest_batch{0};
  std::uint64_t bytes = 1000;
};

// y = x + 1 on f32 [items, …]; a second output, if the manifest has one, is x * 2.
class PuppetBackend {
 public:
  static constexpr char const* name = "puppet";
  static constexpr RunsOn runs_on = RunsOn::any_thread;

  explicit PuppetBackend(PuppetControl& control) : control_(control) {}

  struct Instance {
    PuppetControl& control;
    std::vector<std::vector<float>> memory;

    Result<void> run(ath_batch& batch) {
      if (is_made_up(batch)) {
        compute(batch);
        return {};
      }
      Inside const inside{control};
      raise(control.most_inside, control.inside.load());
      raise(control.largest_batch, batch.items);
      control.runs.fetch_add(1);
      control.items.fetch_add(static_cast<std::uint64_t>(batch.items));
      auto told = control.on_run(batch);
      if (told) compute(batch);
      return told;
    }

   private:
    // An engine tries every model with made-up inputs before it
    // serves, which no test means: they are answered and seen nowhere.
    static bool is_made_up(ath_batch const& batch) {
      auto const& x = batch.inputs[0];
      if (x.size_bytes < sizeof(float)) return false;
      float const first = *static_cast<float const*>(x.data);
      return first == 0.015625F || first == 0.03125F;
    }
    struct Inside {
      PuppetControl& control;
      explicit Inside(PuppetControl& told) : control(told) { control.inside.fetch_add(1); }
      ~Inside() { control.inside.fetch_sub(1); }
    };
    static void raise(std::atomic<std::int64_t>& most, std::int64_t seen) {
      auto known = most.load();
      while (known < seen && !most.compare_exchange_weak(known, seen)) {
      }
    }
    void compute(ath_batch& batch) {
      memory.resize(batch.output_count);
      auto const& input = batch.inputs[0];
      std::size_t const count = input.size_bytes / sizeof(float);
      std::size_t const width = count / static_cast<std::size_t>(batch.items);
      std::int64_t const rows = batch.items + control.rows_too_many.load();
      auto const* x = static_cast<float const*>(input.data);
      for (std::size_t o = 0; o < batch.output_count; ++o) {
        auto& y = memory[o];
        y.assign(static_cast<std::size_t>(std::max<std::int64_t>(rows, 0)) * width, 0.0F);
        for (std::size_t i = 0; i < std::min(count, y.size()); ++i) y[i] = o == 0 ? x[i] + 1 : x[i] * 2;
        batch.outputs[o] = input;
        batch.outputs[o].data = y.data();
        batch.outputs[o].shape[0] = rows;
        batch.outputs[o].size_bytes = y.size() * sizeof(float);
      }
    }
  };

  struct Model {
    using Instance = PuppetBackend::Instance;
    PuppetControl& control;
    explicit Model(PuppetControl& told) : control(told) {}
    Model(Model const&) = delete;
    Model& operator=(Model const&) = delete;
    ~Model() {
      control.on_unload();
      control.unloads.fetch_add(1);  // last: who waits for it may destroy the control
    }
    std::uint64_t footprint() const { return control.bytes; }
    Result<std::unique_ptr<Instance>> make_instance() {
      return std::make_unique<Instance>(Instance{control, {}});
    }
  };

  Result<std::unique_ptr<Model>> load(ModelSource const& source) {
    control_.loads.fetch_add(1);
    if (auto told = control_.on_load(source.path); !told) return tl::unexpected(told.error());
    return std::make_unique<Model>(control_);
  }

 private:
  PuppetControl& control_;
};

static_assert(Backend<PuppetBackend>);

// A puppet and the table that an engine is given.
struct Puppet {
  PuppetControl control;
  PuppetBackend backend{control};
  ath_backend_table table = make_table(backend);
};

// Keeps batches inside the backend, on real threads, until they are let go.
class Held {
 public:
  explicit Held(PuppetControl& control) {
    control.on_run = [this](ath_batch const&) {
      inside_ = true;
      inside_.notify_all();
      let_go_.wait(false);
      left_ = true;
      return Result<void>();
    };
  }
  void wait_until_inside() const { inside_.wait(false); }
  void let_go() {
    let_go_ = true;
    let_go_.notify_all();
  }
  bool left() const { return left_; }

 private:
  std::atomic<bool> inside_{false};
  std::atomic<bool> let_go_{false};
  std::atomic<bool> left_{false};
};

// A request for one item, with memory of its own.
inline Request row(float first, float second = 0) {
  float const values[2] = {first, second};
  return Request{{"x", Tensor::view<float>(values, Shape{1, 2}).clone().value()}};
}

// What a puppet's manifest says of its tensors, where a test has no tensors of its own.
inline constexpr std::string_view puppet_tensors =
    R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
      "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]}],)";

// A folder with one model file and its manifest.
struct ModelFolder : Folder {
  explicit ModelFolder(std::string_view extra = "", std::string_view name = "puppet",
                       std::string_view version = "1.0.0", std::string_view tensors = puppet_tensors) {
    write("model.bin", "weights");
    write("athanor.json", std::string(R"({"athanor": 1, "name": ")") + std::string(name) +
                              R"(", "version": ")" + std::string(version) +
                              R"(", "backend": "puppet", "format": "puppet", )" + std::string(tensors) +
                              std::string(extra) +
                              R"( "members": [{"file": "model.bin", "digest": "xxh128:)" +
                              to_hex(*hash_file(path() + "/model.bin")) + R"("}]})");
  }
};

// A model whose answer is the mean of two puppets.
struct MeanFolder : ModelFolder {
  MeanFolder() {
    std::string const digest = to_hex(*hash_file(path() + "/model.bin"));
    write("second.bin", "weights");
    write("athanor.json", R"({"athanor": 1, "name": "mean", "version": "1.0.0", "backend": "puppet",
        "format": "puppet", "inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
        "model_outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]}],
        "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2], "from": "mean:y"}],
        "members": [{"file": "model.bin", "digest": "xxh128:)" +
                              digest + R"("}, {"file": "second.bin", "digest": "xxh128:)" + digest + "\"}]}");
  }
};

}  // namespace athanor_tests
