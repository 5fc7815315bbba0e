// What a lone call costs through libathanor.so: with a null backend, 16 bytes in and 16
// bytes out; and as a hit of the cache, by the size of its input. Every answer is checked.
#include <athanor.h>
#include <athanor/plugin.h>

#include <cstring>
#include <string>
#include <vector>

#include <serving/subject.hpp>
#include <support/executed.hpp>
#include <support/figure.hpp>

namespace {

using namespace athanor::benchmarks;

/// A model of an engine, and a request that is sent again and again.
class Asked {
 public:
  Asked(bool cached, std::size_t floats) : values_(floats, 1.5F) {
    std::string const options =
        R"({"max_items": 65536, "cache_bytes": )" + std::string(cached ? "268435456}" : "0}");
    bool const made = ath_engine_create(options.c_str(), &engine_, nullptr) == ATH_OK &&
                      ath_engine_add_backend(engine_, &table_, nullptr) == ATH_OK &&
                      ath_model_load(engine_, folder_.path().c_str(), &model_, nullptr) == ATH_OK;
    if (!made) return;
    request_ = ath_request_create(model_);
    ath_tensor_view view = ATH_TENSOR_VIEW_INIT;
    view.data = values_.data();
    view.size_bytes = values_.size() * sizeof(float);
    view.ndim = 2;
    view.shape[0] = static_cast<std::int64_t>(floats / width);
    view.shape[1] = width;
    view.dtype = ATH_DTYPE_F32;
    ath_request_set_tensor(request_, "x", &view, nullptr);
  }
  ~Asked() {
    ath_request_destroy(request_);
    ath_model_release(model_);
    ath_engine_destroy(engine_);
  }
  Asked(Asked const&) = delete;
  Asked& operator=(Asked const&) = delete;

  bool ask() {
    ath_response* response = nullptr;
    if (ath_infer(request_, &response, nullptr) != ATH_OK) return false;
    ath_tensor_view view = ATH_TENSOR_VIEW_INIT;
    ath_response_output_at(response, 0, nullptr, &view);
    bool const right = view.size_bytes == values_.size() * sizeof(float) &&
                       static_cast<float const*>(view.data)[values_.size() - 1] == values_.back();
    ath_response_destroy(response);
    return right;
  }

 private:
  NullBackend backend_;
  ath_backend_table table_ = athanor::make_table(backend_);
  athanor_tests::ModelFolder folder_ = null_folder("null", R"("batching": {"max_items": 65536},)");
  std::vector<float> values_;
  ath_engine* engine_ = nullptr;
  ath_model* model_ = nullptr;
  ath_request* request_ = nullptr;
};

void measure(Figures& figures, std::string const& name, bool cached, std::size_t floats, int calls,
             std::optional<Aim> aim) {
  if (!figures.wants(name)) return;
  Asked asked(cached, floats);
  auto const sample = median_microseconds(calls, [&] { return asked.ask(); });
  if (!sample) return figures.fail(name, "a wrong answer");
  figures.report(
      {.name = name, .value = sample->median, .unit = "us p50", .spread = sample->spread, .aim = aim});
}

}  // namespace

int main(int argc, char** argv) {
  Figures figures(argc, argv);
  measure(figures, "capi.idle-latency", false, width, 50'000, at_most(0.34));
  measure(figures, "capi.hit", true, 16, 50'000, std::nullopt);
  measure(figures, "capi.hit-64k", true, 16'384, 2'000, std::nullopt);
  measure(figures, "capi.hit-602k", true, 150'528, 300, std::nullopt);
  measure_executed(figures, "capi.", [] {
    auto* const asked = new Asked(false, width);  // lives until the child ends
    for (int i = 0; i < 1000; ++i) asked->ask();
    return [asked] { return asked->ask(); };
  });
  return figures.exit_code();
}
