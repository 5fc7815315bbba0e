// From rows to predictions through one engine.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <athanor/serving/engine.hpp>

#include "rows.hpp"

namespace polymers {

struct Prediction {
  Row row;
  std::optional<athanor::Error> error;
  double tg_k = 0;
  double low_k = 0;  // ends of the interval
  double high_k = 0;
  double spread_k = 0;
  std::int64_t unseen_identifiers = 0;  // -1: not computed
  std::int64_t unknown_tokens = 0;
  bool repeat_unit = false;
  bool in_table = false;  // the model's list of training chains holds this one
  athanor::Report report{};
};

struct Summary {
  std::size_t rows = 0;
  std::size_t errors = 0;
  double seconds = 0;
  std::uint64_t batches = 0;
  double mean_batch = 0;
  double hit_rate = 0;                         // answered from the cache or by an equal call in flight
  std::vector<athanor::Duration> latencies{};  // from call to answer, of every row that was predicted
};

struct Settings {
  std::string model_folder;
  std::size_t threads = 4;
  std::optional<std::int64_t> units;  // a capped oligomer of so many units in place of the endless chain
};

// The engine with the model loaded. `progress(done)` is called now and then from one thread.
class Predictor {
 public:
  // Fails too when the model does not give what a Prediction is made of.
  static athanor::Result<Predictor> open(Settings const& settings);

  // The share of polymers that the model's intervals are made for, from calibration.json beside the model; without
  // that file it is not known.
  std::optional<double> coverage() const { return coverage_; }

  // All rows, in their order, in large windows. The model never sees a row that could not be read.
  std::vector<Prediction> predict(std::vector<Row> const& rows,
                                  std::function<void(std::size_t)> const& progress);
  // Every row `rounds` times by each of `threads` callers at once: one list of predictions per round, of the
  // first caller. Fails when a caller's thread cannot be started.
  athanor::Result<std::vector<std::vector<Prediction>>> rounds(std::vector<Row> const& rows,
                                                               std::size_t rounds, std::size_t threads);
  // Ends the engine, so that what it counted is final.
  Summary finish();

 private:
  Predictor(athanor::Engine<> engine, athanor::Model<> model, std::optional<double> coverage)
      : engine_(std::move(engine)), model_(std::move(model)), coverage_(coverage) {}
  void count(std::vector<Prediction> const& predictions);
  // Appends one prediction per row.
  void predict_window(std::span<Row const> rows, std::vector<Prediction>& predictions);

  athanor::Engine<> engine_;
  athanor::Model<> model_;
  std::optional<double> coverage_;
  Summary summary_;
  std::size_t hits_ = 0;
};

}  // namespace polymers
