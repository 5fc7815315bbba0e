// From rows to predictions through one engine.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <athanor/serving/engine.hpp>

#include "rows.hpp"

namespace polymers {

// Where a polymer stands to what the model was trained on.
enum class Domain : std::uint8_t {
  trained_on,  // a chain of its table of measured values, even one with surroundings that no other chain has
  in,          // all its atom environments and kinds of atoms and bonds occur in the training
  out,         // some do not
  no_repeat_unit,  // a molecule, of which the model has seen none, however well its atoms are known
  not_known        // the model does not tell
};
std::string_view to_string(Domain domain);

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

  Domain domain() const;
};

// A temperature in the unit that was asked for.
inline double shown(double kelvin, bool celsius) { return celsius ? kelvin - 273.15 : kelvin; }

// Answers by the time from their call to them, in buckets of a third of a decade from 100 ns on.
using LatencyHistogram = std::array<std::uint64_t, 21>;

struct Summary {
  std::size_t rows = 0;     // of the input
  std::size_t errors = 0;   // rows that have no prediction
  std::size_t answers = 0;  // more than rows where several callers ask for each
  double seconds = 0;
  std::uint64_t batches = 0;
  double mean_batch = 0;
  double hit_rate = 0;  // answered from the cache or by an equal call in flight
  LatencyHistogram latencies{};
};

struct Settings {
  std::string model_folder;
  std::size_t threads = 4;
  std::optional<std::int32_t> units;  // a capped oligomer of so many units in place of the endless chain
  bool plain = false;                 // predict small molecules and mixtures, too
};

// The engine with the model loaded.
class Predictor {
 public:
  // Fails too when the model does not give what a Prediction is made of.
  static athanor::Result<Predictor> open(Settings const& settings);

  // The share of polymers that the model's intervals are made for, from
  // calibration.json beside the model; without that file it is not known.
  std::optional<double> coverage() const { return coverage_; }

  // One prediction per row, in their order. The model never
  // sees a row that could not be read or is no polymer.
  std::vector<Prediction> predict(std::vector<Row> rows);
  // Every row `rounds` times by each of `threads` callers at once: one list of predictions per round, of the
  // first caller. Fails when a caller's thread cannot be started.
  athanor::Result<std::vector<std::vector<Prediction>>> rounds(std::vector<Row> const& rows,
                                                               std::size_t rounds, std::size_t threads);
  // Ends the engine, so that what it counted is final.
  Summary finish();

 private:
  Predictor(athanor::Engine<> engine, athanor::Model<> model, std::optional<double> coverage, bool plain)
      : engine_(std::move(engine)), model_(std::move(model)), coverage_(coverage), plain_(plain) {}
  void take_rows(std::vector<Prediction> const& predictions);
  void count(std::vector<Prediction> const& predictions);

  athanor::Engine<> engine_;
  athanor::Model<> model_;
  std::optional<double> coverage_;
  bool plain_;
  Summary summary_;
  std::size_t hits_ = 0;
};

}  // namespace polymers
