#include "predict.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <fstream>
#include <system_error>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <athanor/chem/polymer.hpp>
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

// Serves the rows that a file repeats; with the default, a long file of distinct
// polymers takes 100 MB more, most of it fragments between the answers.
constexpr std::size_t cache_bytes = std::size_t{8} << 20;

// What `take` reads of an answer: one value per row of each.
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

// The model answers for any molecule that it can read, but its training says
// nothing about those that are no polymer. What cannot be read is told as that.
std::optional<Error> refusal(std::string_view smiles) {
  auto const facts = chem::check_smiles(smiles);
  std::string const why = facts ? chem::no_polymer(*facts) : "";
  if (why.empty()) return std::nullopt;
  if (auto const fault = chem::find_fault(smiles)) return fault->error;
  return Error{
      Code::invalid_argument,
      Reason::chemistry,
      facts->stars > 0
          ? fmt::format("not a polymer alone: this is {}; --plain predicts it all the same", why)
          : fmt::format(
                "not a polymer: this is {}; a repeat unit has two *, and --plain predicts it all the same",
                why),
      {}};
}

void take(Result<Answer> const& answer, Prediction& prediction) {
  if (!answer) {
    prediction.error = answer.error();
    return;
  }
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
}

std::optional<double> read_coverage(std::string const& folder) {
  std::ifstream file(folder + "/calibration.json");
  auto const json = nlohmann::json::parse(file, nullptr, false);
  if (!json.is_object() || !json.contains("coverage") || !json["coverage"].is_number()) return std::nullopt;
  double const coverage = json["coverage"].get<double>();
  return coverage > 0 && coverage < 1 ? std::optional(coverage) : std::nullopt;
}

}  // namespace

std::string_view to_string(Domain domain) {
  switch (domain) {
    case Domain::trained_on: return "trained on";
    case Domain::in: return "in";
    case Domain::out: return "out";
    case Domain::no_repeat_unit: return "no repeat unit";
    case Domain::not_known: break;
  }
  return "not known";
}

Domain Prediction::domain() const {
  if (!repeat_unit) return Domain::no_repeat_unit;
  if (unseen_identifiers < 0) return Domain::not_known;
  if (in_table) return Domain::trained_on;
  return unseen_identifiers > 0 || unknown_tokens > 0 ? Domain::out : Domain::in;
}

Result<Predictor> Predictor::open(Settings const& settings) {
  static OligomerProcessor oligomers;
  static ath_processor_table const oligomer_table = make_table(oligomers);
  if (settings.units) oligomers.units = *settings.units;
  EngineOptions options;
  options.backends = {&libtorch::backend()};
  options.processors = {settings.units ? &oligomer_table : &chem::processor()};
  options.threads = settings.threads;
  options.cache_bytes = cache_bytes;
  auto engine = Engine<>::create(std::move(options));
  if (!engine) return tl::unexpected(std::move(engine.error()));
  auto model = engine->load(settings.model_folder);
  if (!model) return tl::unexpected(std::move(model.error()));
  if (auto const fit = check_outputs(*model); !fit) return tl::unexpected(fit.error());
  oligomers.loaded.store(true);
  return Predictor(std::move(*engine), std::move(*model), read_coverage(settings.model_folder),
                   settings.plain);
}

void Predictor::take_rows(std::vector<Prediction> const& predictions) {
  summary_.rows += predictions.size();
  summary_.errors += static_cast<std::size_t>(
      std::ranges::count_if(predictions, [](Prediction const& one) { return one.error.has_value(); }));
}

void Predictor::count(std::vector<Prediction> const& predictions) {
  for (auto const& prediction : predictions) {
    if (prediction.error) continue;
    ++summary_.answers;
    double const hundreds = std::max(static_cast<double>(prediction.report.total.count()) / 100, 1.0);
    auto const bucket = static_cast<std::size_t>(std::log10(hundreds) * 3);
    ++summary_.latencies[std::min(bucket, summary_.latencies.size() - 1)];
    auto const cache = prediction.report.cache;
    if (cache == CacheState::hit || cache == CacheState::joined) ++hits_;
  }
}

std::vector<Prediction> Predictor::predict(std::vector<Row> rows) {
  auto const start = std::chrono::steady_clock::now();
  std::vector<Request> requests;
  std::vector<Prediction> predictions(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    predictions[i].row = std::move(rows[i]);
    auto const& row = predictions[i].row;
    predictions[i].error = row.error || plain_ ? row.error : refusal(row.smiles);
    if (!predictions[i].error) requests.push_back({{"smiles", row.smiles}});
  }
  auto const answers = model_.infer_many(requests, {.deadline = std::chrono::minutes(10)});
  auto answer = answers.begin();
  for (auto& prediction : predictions)
    if (!prediction.error) take(*answer++, prediction);
  summary_.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  take_rows(predictions);
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
        round[at].row = rows[at];
        take(model_.infer({{"smiles", rows[at].smiles}}), round[at]);
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
  take_rows(seen.front().front());
  return std::move(seen.front());
}

Summary Predictor::finish() {
  engine_.stop(std::chrono::seconds(10));
  Summary summary = summary_;
  auto const statistics = model_.statistics().value();
  summary.batches = statistics.batches;
  summary.mean_batch = statistics.batch_items.mean;
  summary.hit_rate =
      summary.answers == 0 ? 0 : static_cast<double>(hits_) / static_cast<double>(summary.answers);
  return summary;
}

}  // namespace polymers
