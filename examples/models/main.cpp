/// athanor-models FOLDER…: asks the models that export.py made, and prints for each
/// how far its answers are from Python's: each request alone, all together, and all
/// together in another order. Fails if one is further away than its tolerance.
///
/// athanor-models --callers COUNT FOLDER…: how many answers a
/// second so many threads get that ask one request at a time.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <functional>
#include <future>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <athanor/serving/engine.hpp>
#include <athanor/torch/backend.hpp>

#include "cases.hpp"

namespace {

using namespace athanor;
using models::Case;
using models::Cases;

constexpr int rounds = 3;

int failed(std::string const& folder, Error const& error) {
  std::fprintf(stderr, "%s: %s\n", folder.c_str(), error.message.c_str());
  return 1;
}

/// The largest difference of an answer; infinite for an error, which is printed.
double judge(Case const& asked, Result<Answer> const& answer) {
  if (!answer) {
    std::fprintf(stderr, "%s\n", answer.error().message.c_str());
    return std::numeric_limits<double>::infinity();
  }
  double largest = 0;
  for (auto const& [name, expected] : asked.expected) {
    auto const* got = answer->outputs.find(name);
    largest = std::max(largest, got == nullptr ? std::numeric_limits<double>::infinity()
                                               : models::difference(*got, expected));
  }
  return largest;
}

/// A call in flight.
struct Pending {
  std::promise<Result<Answer>> promise;
  void done(Result<Answer> answer) { promise.set_value(std::move(answer)); }
};

/// How the requests of a model are asked.
class Asking {
 public:
  Asking(Model<> model, Cases const& cases) : model_(std::move(model)), cases_(cases) {}
  virtual ~Asking() = default;
  virtual double alone() = 0;
  virtual double together(std::vector<std::size_t> const& order) = 0;
  /// The places of `order`, which `together` may get in any order.
  virtual std::size_t places() const = 0;

 protected:
  Model<> model_;
  Cases const& cases_;
};

class Separate final : public Asking {
 public:
  using Asking::Asking;

  std::size_t places() const override { return cases_.all.size(); }

  double alone() override {
    double largest = 0;
    for (Case const& each : cases_.all) largest = std::max(largest, judge(each, model_.infer(each.request)));
    return largest;
  }

  double together(std::vector<std::size_t> const& order) override {
    std::vector<Request> requests;
    for (std::size_t const place : order) requests.push_back(cases_.all[place].request);
    auto const answers = model_.infer_many(requests);
    double largest = 0;
    for (std::size_t i = 0; i < order.size(); ++i)
      largest = std::max(largest, judge(cases_.all[order[i]], answers[i]));
    return largest;
  }
};

/// Streams, each of which is a sequence whose calls come one after the other.
class Streams final : public Asking {
 public:
  Streams(Model<> model, Cases const& cases) : Asking(std::move(model), cases) {
    std::map<int, std::vector<Case const*>> sorted;
    for (Case const& each : cases.all) sorted[each.stream].push_back(&each);
    for (auto& [stream, steps] : sorted) streams_.push_back(std::move(steps));
  }

  std::size_t places() const override { return streams_.size(); }

  double alone() override {
    double largest = 0;
    for (auto const& steps : streams_) {
      auto const sequence = model_.open_sequence().value();
      for (Case const* step : steps) largest = std::max(largest, judge(*step, sequence.infer(step->request)));
    }
    return largest;
  }

  /// The streams side by side: all first steps, all second ones, and so on.
  double together(std::vector<std::size_t> const& order) override {
    std::vector<Sequence<>> sequences;
    std::ranges::generate_n(std::back_inserter(sequences), static_cast<std::ptrdiff_t>(order.size()),
                            [&] { return model_.open_sequence().value(); });
    double largest = 0;
    for (std::size_t step = 0; step < streams_[0].size(); ++step) {
      std::vector<std::unique_ptr<Pending>> pending;
      for (std::size_t i = 0; i < order.size(); ++i) {
        auto& call = *pending.emplace_back(std::make_unique<Pending>());
        auto accepted =
            sequences[i].submit(streams_[order[i]][step]->request, {}, callback<&Pending::done>(&call));
        if (!accepted) call.done(tl::unexpected(accepted.error()));
      }
      for (std::size_t i = 0; i < order.size(); ++i)
        largest = std::max(largest, judge(*streams_[order[i]][step], pending[i]->promise.get_future().get()));
    }
    return largest;
  }

 private:
  std::vector<std::vector<Case const*>> streams_;
};

int compare(Model<> const& model, Cases const& cases) {
  std::unique_ptr<Asking> asking;
  if (model.manifest().sequences) {
    asking = std::make_unique<Streams>(model, cases);
  } else {
    asking = std::make_unique<Separate>(model, cases);
  }
  double const alone = asking->alone();
  auto const before = model.statistics().value();
  std::vector<std::size_t> order(asking->places());
  std::iota(order.begin(), order.end(), std::size_t{0});
  double const together = asking->together(order);
  auto const after = model.statistics().value();
  std::ranges::shuffle(order, std::minstd_rand(1));
  double const permuted = asking->together(order);
  bool const within = std::max({alone, together, permuted}) <= cases.tolerance;
  auto const items = static_cast<double>(after.batch_items.sum - before.batch_items.sum);
  std::printf("%-15s %3zu requests: alone %.1e, together %.1e (%.1f in a batch), permuted %.1e: %s %.0e\n",
              model.manifest().name.c_str(), cases.all.size(), alone, together,
              items / static_cast<double>(after.batches - before.batches), permuted,
              within ? "within" : "NOT WITHIN", cases.tolerance);
  return within ? 0 : 1;
}

int measure(Model<> const& model, Cases const& cases, unsigned callers) {
  std::atomic<std::size_t> right{0};
  auto const began = std::chrono::steady_clock::now();
  std::vector<std::thread> threads;
  for (unsigned caller = 0; caller < callers; ++caller)
    threads.emplace_back([&, caller] {
      for (int round = 0; round < rounds; ++round)
        for (std::size_t i = caller; i < cases.all.size(); i += callers)
          if (judge(cases.all[i], model.infer(cases.all[i].request)) <= cases.tolerance) ++right;
    });
  for (auto& thread : threads) thread.join();
  std::chrono::duration<double> const took = std::chrono::steady_clock::now() - began;
  auto const seen = model.statistics().value();
  auto const positions = static_cast<double>(seen.positions + seen.padding);
  std::printf("%-15s %u callers: %.1f answers/s, %.1f in a batch, %.0f %% padding, %zu of %zu right\n",
              model.manifest().name.c_str(), callers, static_cast<double>(right) / took.count(),
              seen.batch_items.mean,
              positions > 0 ? 100 * static_cast<double>(seen.padding) / positions : 0.0, right.load(),
              rounds * cases.all.size());
  return right == rounds * cases.all.size() ? 0 : 1;
}

int run(std::string const& folder, unsigned callers) {
  auto const cases = models::read_cases(folder);
  if (!cases) return failed(folder, cases.error());
  auto engine = Engine<>::create({.backends = {&libtorch::backend()},
                                  .default_deadline = std::chrono::minutes(10),
                                  .cache_bytes = 0})
                    .value();
  auto const model = engine.load(folder);
  if (!model) return failed(folder, model.error());
  return callers == 0 ? compare(*model, *cases) : measure(*model, *cases, callers);
}

}  // namespace

int main(int count, char** arguments) {
  std::vector<std::string> folders(arguments + 1, arguments + count);
  unsigned callers = 0;
  if (folders.size() > 2 && folders[0] == "--callers") {
    callers = static_cast<unsigned>(std::max(1, std::atoi(folders[1].c_str())));
    folders.erase(folders.begin(), folders.begin() + 2);
  }
  if (folders.empty()) {
    std::fprintf(stderr, "usage: %s [--callers COUNT] FOLDER...\n", arguments[0]);
    return 2;
  }
  int worst = 0;
  for (auto const& folder : folders) worst = std::max(worst, run(folder, callers));
  return worst;
}
