#include "predict.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <fstream>
#include <system_error>
#include <thread>

#include <nlohmann/json.hpp>

#include <athanor/chem/processor.hpp>
#include <athanor/torch/backend.hpp>

namespace polymers {

using namespace athanor;

namespace {

// The chemistry processor with a number of units that the command line chose. The model's self-test knows
// endless chains, so these are what it gets until the model is loaded.
class OligomerProcessor {
 public:
  struct Opened {
    std::unique_ptr<chem::PolymerGraphProcessor::Opened> endless;
    std::unique_ptr<chem::PolymerGraphProcessor::Opened> oligomer;
    std::atomic<bool> const& loaded;

    std::span<Port const> made() const noexcept { return endless->made(); }
    Result<Preprocessed> preprocess(Item const& item) const {
      return (loaded.load() ? oligomer : endless)->preprocess(item);
    }
  };
  static constexpr char const* name = chem::PolymerGraphProcessor::name;

  std::int64_t units = 1;
  std::atomic<bool> loaded{false};

  Result<std::unique_ptr<Opened>> open(std::string_view folder, std::string_view options) const {
    auto own = nlohmann::json::parse(options);
    auto endless = chem::PolymerGraphProcessor().open(folder, own.dump());
    if (!endless) return tl::unexpected(std::move(endless.error()));
    own["units"] = units;
    auto oligomer = chem::PolymerGraphProcessor().open(folder, own.dump());
    if (!oligomer) return tl::unexpected(std::move(oligomer.error()));
    return std::make_unique<Opened>(Opened{std::move(*endless), std::move(*oligomer), loaded});
  }
};

// What `predicted` reads of an answer: one value per row of each.
struct Output {
  char const* name;
  DType dtype;
};
constexpr std::array<Output, 8> needed{{{"tg_mean", DType::f32},
                                        {"tg_std", DType::f32},
                                        {"tg_low", DType::f32},
                                        {"tg_high", DType::f32},
                                        {"unknown_tokens", DType::i64},
                                        {"unseen_identifiers", DType::i64},
                                        {"repeat_unit", DType::i64},
                                        {"in_table", DType::i64}}};

Result<void> check_outputs(Model<> const& model) {
  auto const& outputs = model.signature().outputs;
  for (auto const& [name, dtype] : needed) {
    TensorSpec expected;
    expected.name = name;
    expected.dtype = dtype;
    expected.dims = {Dim::named(std::string(items_axis))};
    auto const at = std::ranges::find(outputs, expected.name, &TensorSpec::name);
    if (at != outputs.end() && at->dtype == expected.dtype && at->dims == expected.dims) continue;
    return fail(Code::failed_precondition, Reason::output_missing,
                "{}: this program needs an output {} of {}, and the model has {}", model.id(), name,
                to_string(expected), at == outputs.end() ? "none of that name" : to_string(*at));
  }
  return {};
}

Prediction unpredicted(Row const& row, Error const& error) {
  Prediction prediction;
  prediction.row = row;
  prediction.error = error;
  return prediction;
}

Prediction predicted(Row const& row, Result<Answer> const& answer) {
  if (!answer) return unpredicted(row, answer.error());
  Prediction prediction;
  prediction.row = row;
  auto const& outputs = answer->outputs;
  prediction.tg_k = static_cast<double>(outputs["tg_mean"].as<float>()[0]);
  prediction.spread_k = static_cast<double>(outputs["tg_std"].as<float>()[0]);
  prediction.low_k = static_cast<double>(outputs["tg_low"].as<float>()[0]);
  prediction.high_k = static_cast<double>(outputs["tg_high"].as<float>()[0]);
  prediction.unknown_tokens = outputs["unknown_tokens"].as<std::int64_t>()[0];
  prediction.unseen_identifiers = outputs["unseen_identifiers"].as<std::int64_t>()[0];
  prediction.repeat_unit = outputs["repeat_unit"].as<std::int64_t>()[0] != 0;
  prediction.in_table = outputs["in_table"].as<std::int64_t>()[0] == 1;
  prediction.report = answer->report;
  return prediction;
}

std::optional<double> read_coverage(std::string const& folder) {
  std::ifstream file(folder + "/calibration.json");
  auto const json = nlohmann::json::parse(file, nullptr, false);
  if (!json.is_object() || !json.contains("coverage") || !json["coverage"].is_number()) return std::nullopt;
  double const coverage = json["coverage"].get<double>();
  return coverage > 0 && coverage < 1 ? std::optional(coverage) : std::nullopt;
}

}  // namespace

Result<Predictor> Predictor::open(Settings const& settings) {
  static OligomerProcessor oligomers;
  static ath_processor_table const oligomer_table = make_table(oligomers);
  if (settings.units) oligomers.units = *settings.units;
  EngineOptions options;
  options.backends = {&libtorch::backend()};
  options.processors = {settings.units ? &oligomer_table : &chem::processor()};
  options.threads = settings.threads;
  auto engine = Engine<>::create(std::move(options));
  if (!engine) return tl::unexpected(std::move(engine.error()));
  auto model = engine->load(settings.model_folder);
  if (!model) return tl::unexpected(std::move(model.error()));
  if (auto const fit = check_outputs(*model); !fit) return tl::unexpected(fit.error());
  oligomers.loaded.store(true);
  return Predictor(std::move(*engine), std::move(*model), read_coverage(settings.model_folder));
}

void Predictor::count(std::vector<Prediction> const& predictions) {
  summary_.rows += predictions.size();
  for (auto const& prediction : predictions) {
    if (prediction.error) {
      ++summary_.errors;
      continue;
    }
    summary_.latencies.push_back(prediction.report.total);
    auto const cache = prediction.report.cache;
    if (cache == CacheState::hit || cache == CacheState::joined) ++hits_;
  }
}

void Predictor::predict_window(std::span<Row const> rows, std::vector<Prediction>& predictions) {
  std::vector<Request> requests;
  for (auto const& row : rows)
    if (!row.error) requests.push_back({{"smiles", row.smiles}});
  auto const answers = model_.infer_many(requests, {.deadline = std::chrono::minutes(10)});
  auto answer = answers.begin();
  for (auto const& row : rows)
    predictions.push_back(row.error ? unpredicted(row, *row.error) : predicted(row, *answer++));
}

std::vector<Prediction> Predictor::predict(std::vector<Row> const& rows,
                                           std::function<void(std::size_t)> const& progress) {
  constexpr std::size_t window = 256;
  auto const start = std::chrono::steady_clock::now();
  std::vector<Prediction> predictions;
  for (std::size_t first = 0; first < rows.size(); first += window) {
    predict_window(std::span(rows).subspan(first, std::min(window, rows.size() - first)), predictions);
    progress(predictions.size());
  }
  summary_.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  count(predictions);
  return predictions;
}

Result<std::vector<std::vector<Prediction>>> Predictor::rounds(std::vector<Row> const& rows,
                                                               std::size_t rounds, std::size_t threads) {
  auto const start = std::chrono::steady_clock::now();
  std::vector<std::vector<std::vector<Prediction>>> seen(threads,
                                                         std::vector<std::vector<Prediction>>(rounds));
  auto const call = [&](std::size_t caller) {
    for (auto& round : seen[caller]) {
      round.resize(rows.size());
      // Each caller starts elsewhere, so that callers meet in batches and not only in equal requests.
      for (std::size_t i = 0; i < rows.size(); ++i) {
        std::size_t const at = (i + caller * rows.size() / threads) % rows.size();
        round[at] = predicted(rows[at], model_.infer({{"smiles", rows[at].smiles}}));
      }
    }
  };
  try {
    std::vector<std::jthread> callers;
    for (std::size_t caller = 0; caller < threads; ++caller) callers.emplace_back(call, caller);
  } catch (std::system_error const& error) {
    return fail(Code::resource_exhausted, Reason::none, "a thread for each of {} callers: {}", threads,
                error.code().message());
  }
  summary_.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  for (auto const& caller : seen)
    for (auto const& round : caller) count(round);
  return std::move(seen.front());
}

Summary Predictor::finish() {
  engine_.stop(std::chrono::seconds(10));
  Summary summary = summary_;
  auto const statistics = model_.statistics().value();
  summary.batches = statistics.batches;
  summary.mean_batch = statistics.batch_items.mean;
  summary.hit_rate = summary.rows == 0 ? 0 : static_cast<double>(hits_) / static_cast<double>(summary.rows);
  return summary;
}

}  // namespace polymers
