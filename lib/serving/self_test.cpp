#include <athanor/serving/detail/self_test.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <set>
#include <span>

#include <fmt/format.h>

#include <athanor/batching/policy.hpp>
#include <athanor/core/detail/view.hpp>
#include <athanor/serving/detail/contract.hpp>
#include <athanor/serving/detail/loaded_model.hpp>
#include <athanor/serving/detail/pieces.hpp>

#include "made_up.hpp"
#include "ragged_trial.hpp"
#include "trial.hpp"

namespace athanor::inline v1::serving {

namespace {

template <class... Args>
tl::unexpected<Error> refuse(fmt::format_string<Args...> sentence, Args&&... args) {
  return fail(Code::failed_precondition, Reason::model_load, "{}",
              fmt::format(sentence, std::forward<Args>(args)...));
}

/// The results of postprocess for the first `items` items of the sample.
Result<std::vector<MadeItem>> postprocess_batch(ModelDescription const& description, BatchRows const& ran,
                                                Sample const& sample, std::int64_t items) {
  std::vector<MadeItem> made;
  if (!description.postprocesses) return made;
  std::vector<Tensor> rows;
  for (TensorView const& output : std::span(ran.views).subspan(description.signature.outputs.size()))
    rows.push_back(from_view(output));
  for (std::int64_t row = 0; row < items; ++row) {
    auto const item = row % sample.checked.items;
    MadeItem const* const kept = sample.made.empty() ? nullptr : &sample.made[static_cast<std::size_t>(item)];
    auto answer = postprocess_item(description, sample.inputs, {sample.parameters.values()}, kept, rows,
                                   sample.longest, item, row);
    if (!answer) return tl::unexpected(std::move(answer.error()));
    for (OutputPlan const& plan : description.plan.outputs)
      if (plan.from == OutputPlan::From::postprocess && plan.has_item_rows() &&
          !is_row_of(plan.spec, answer->tensor(plan.index)))
        return fail(Code::internal, Reason::backend_contract,
                    "output {}: expected one row of {}, the processor returned {}", plan.spec.name,
                    to_string(plan.spec), to_string(shape_of(answer->tensor(plan.index))));
    made.push_back(std::move(*answer));
  }
  return made;
}

/// Compares a batch of `items` items of the sample, from its first on, with the answers of the self-test.
Result<void> compare(ModelDescription const& description, BatchRows const& ran,
                     manifest::SelfTest const& test, Sample const& sample, std::span<MadeItem const> post,
                     std::int64_t items, std::string const& where) {
  for (auto const& [name, value] : test.outputs) {
    auto const planned = std::ranges::find(description.plan.outputs, name,
                                           [](OutputPlan const& plan) { return plan.spec.name; });
    OutputPlan const& plan = *planned;
    if (!plan.has_item_rows() || plan.from == OutputPlan::From::made_rows) continue;
    auto const output = static_cast<std::size_t>(planned - description.plan.outputs.begin());
    TensorView const expected = to_view(value);
    auto const tested = static_cast<std::size_t>(sample.checked.items);
    auto const width = static_cast<std::size_t>(value.shape().elements()) / tested;
    bool const from_processor = plan.is_processed();
    bool const last = plan.from == OutputPlan::From::postprocess;
    for (std::size_t row = 0; row < static_cast<std::size_t>(items); ++row) {
      TensorView const& got = !from_processor ? ran.views[output]
                              : last          ? post[row].tensor(plan.index)
                                              : sample.made[row % tested].tensor(plan.index);
      std::size_t const rows = from_processor ? 1 : static_cast<std::size_t>(items);
      auto const elements = static_cast<std::size_t>(shape_of(got).elements());
      if (got.dtype != expected.dtype || elements != rows * width)
        return refuse("{}: output {}: expected {} {}, got {} elements of {}", where, name,
                      to_string(value.dtype()), to_string(value.shape()), elements, to_string(dtype_of(got)));
      for (std::size_t i = 0; i < width; ++i) {
        std::size_t const at = (from_processor ? 0 : row * width) + i;
        std::size_t const index = (row % tested) * width + i;
        if (auto const difference = find_difference(got, at, expected, index, test.tolerance))
          return refuse("{}: output {}: element {}: {}", where, name, row * width + i, *difference);
      }
    }
  }
  return compare_ragged(description, ran, test, sample, post, items, where);
}

/// Runs `items` items of a self-test in one batch and compares them with its answers.
Result<void> run_test(ModelDescription const& description, Worker& worker, manifest::SelfTest const& test,
                      std::int64_t items, std::string const& where) {
  auto const named = [&](Error error) {
    error.message = fmt::format("{}: {}", where, error.message);
    return tl::unexpected(std::move(error));
  };
  auto const sample = make_sample(description, test.inputs);
  if (!sample) return named(sample.error());
  if (items == 0) items = sample->checked.items;
  auto const ran = run_samples(description, worker, {&*sample, 1}, 0, items);
  if (!ran) return named(ran.error());
  auto const post = postprocess_batch(description, *ran, *sample, items);
  if (!post) return named(post.error());
  return compare(description, *ran, test, *sample, *post, items, where);
}

constexpr std::int64_t most_trial_items = 4096;
/// What a position along padded axes is taken to hold.
constexpr std::int64_t bytes_of_a_position = 8;
/// How many items are run alone.
constexpr std::size_t most_alone = 8;

/// How many items of the samples the largest batch of their dry run holds.
std::int64_t largest_batch(ModelDescription const& description, std::span<Sample const> samples) {
  auto const& batching = description.manifest.batching;
  std::int64_t bytes = 1;
  std::int64_t cost = 1;
  for (Sample const& sample : samples) {
    bytes =
        std::max(bytes, bytes_of_items(description, sample.request, sample.checked) / sample.checked.items);
    if (sample.made.empty()) cost = std::max(cost, bytes);
    for (MadeItem const& made : sample.made) cost = std::max(cost, made.cost());
  }
  Padding const& padding = description.plan.padding;
  if (!padding.empty()) {
    cost = padding.positions_of(padding.buckets_of(samples[0].longest));
    bytes = std::max(bytes, cost * bytes_of_a_position);
  }
  std::int64_t items = std::min<std::int64_t>(policy_settings(batching).max_items, most_trial_items);
  if (batching.max_cost) items = std::min(items, *batching.max_cost / cost);
  if (auto const& sequences = description.manifest.sequences) items = std::min(items, sequences->max);
  return std::min(items, std::max<std::int64_t>(most_trial_bytes / bytes, 2));
}

/// The rows of a batch, kept.
struct KeptRows {
  std::vector<TensorView> views;
  std::vector<std::vector<std::byte>> memory;

  explicit KeptRows(BatchRows const& rows) {
    for (TensorView const& view : rows.views) {
      auto const* data = static_cast<std::byte const*>(view.data);
      memory.emplace_back(data, data + view.size_bytes);
      views.push_back(view);
      views.back().data = memory.back().data();
    }
  }
};

/// How far the same row may be from itself in another batch: kernels for other sizes round otherwise.
double tolerance_of(DType dtype, double stated) noexcept {
  if (dtype == DType::f16) return std::max(stated, 1e-2);
  if (dtype == DType::bf16) return std::max(stated, 5e-2);
  return std::max(stated, 1e-4);
}

/// Compares the rows of a batch of `items` items, which are `tested` items again and again, with those that
/// each gave alone.
Result<void> compare_company(ModelDescription const& description, BatchRows const& ran,
                             std::span<KeptRows const> alone, std::size_t tested, std::int64_t items,
                             double tolerance) {
  for (std::size_t output = 0; output < description.plan.outputs.size(); ++output) {
    OutputPlan const& plan = description.plan.outputs[output];
    if (plan.is_processed()) continue;
    TensorView const& got = ran.views[output];
    for (std::size_t row = 0; row < static_cast<std::size_t>(items); ++row) {
      std::size_t const item = row % tested;
      if (item >= alone.size()) continue;
      TensorView const& expected = alone[item].views[output];
      if (!plan.has_item_rows()) {
        auto const difference = find_ragged_difference(description, ran, output, row, expected,
                                                       tolerance_of(plan.spec.dtype, tolerance));
        if (!difference) continue;
        return refuse("output {}: item {} of {}: as for the item alone, {}", plan.spec.name, row, items,
                      *difference);
      }
      auto const width = static_cast<std::size_t>(shape_of(expected).elements());
      if (got.size_bytes != expected.size_bytes * static_cast<std::size_t>(items))
        return refuse("output {}: expected rows of {} bytes as for an item alone, got {} bytes for {} items",
                      plan.spec.name, expected.size_bytes, got.size_bytes, items);
      for (std::size_t i = 0; i < width; ++i)
        if (auto const difference =
                find_difference(got, row * width + i, expected, i, tolerance_of(plan.spec.dtype, tolerance)))
          return refuse("output {}: element {} of item {} of {}: as for the item alone, {}", plan.spec.name,
                        i, row, items, *difference);
    }
  }
  return {};
}

/// Whether what fails an item alone is no fault of made-up values: whatever a model is given, its outputs are
/// what its manifest declares, and its inputs stay as they are.
bool is_broken_promise(Error const& error) noexcept {
  return error.reason == Reason::backend_contract || is_written_input(error);
}

/// The items that are tried: those of samples that may share batches.
struct Company {
  std::vector<Sample> samples{};
  double tolerance = 0;           ///< of the self-tests that they are from
  std::vector<KeptRows> alone{};  ///< what the first of them gave, each alone
  bool differs = false;           ///< whether that is not the same for all of these
  bool halved = false;            ///< whether the second is half of the first

  std::size_t items() const noexcept { return static_cast<std::size_t>(items_of(samples)); }
};

/// Equal for samples whose items may share a batch that is padded to those lengths.
std::uint64_t key_of(ModelDescription const& description, Worker const& worker, Sample const& sample,
                     PaddedLengths const& lengths) {
  std::array<TensorView, max_tensors> tensors;
  fill_piece(description,
             {sample.request, sample.checked, sample.made, sample.parameters.values(), &worker.state}, 0, 1,
             tensors);
  if (Padding const& padding = description.plan.padding; !padding.empty())
    padding.widen(tensors, padding.buckets_of(lengths));
  return shape_key(description.plan.inputs, tensors) ^ content_key(description.plan.inputs, tensors);
}

/// Adds the items of a request, unless they may not share a batch with those that are there.
Result<void> join(ModelDescription const& description, Worker const& worker, Request const& request,
                  Company& company) {
  auto sample = make_sample(description, request);
  if (!sample) return tl::unexpected(std::move(sample.error()));
  auto& samples = company.samples;
  PaddedLengths const longest =
      samples.empty() ? sample->longest : longest_of(samples[0].longest, sample->longest);
  if (!samples.empty() &&
      key_of(description, worker, *sample, longest) != key_of(description, worker, samples[0], longest))
    return {};
  samples.push_back(std::move(*sample));
  for (Sample& each : samples) each.longest = longest;
  return {};
}

/// Items of the self-tests, or made-up ones. Fails if there is none, for a reason that is no fault of the
/// model.
Result<Company> gather(ModelDescription const& description, Worker const& worker) {
  Company company;
  for (auto const& test : description.manifest.self_tests) {
    if (company.items() >= most_alone) break;
    std::size_t const before = company.samples.size();
    if (auto joined = join(description, worker, test.inputs, company); !joined)
      return tl::unexpected(std::move(joined.error()));
    if (company.samples.size() > before) company.tolerance = std::max(company.tolerance, test.tolerance);
  }
  if (!company.samples.empty()) return company;
  auto const made = make_up_requests(description);
  if (!made) return tl::unexpected(made.error());
  for (Request const& request : *made)
    if (auto joined = join(description, worker, request, company); !joined && company.samples.empty())
      return tl::unexpected(std::move(joined.error()));
  return company;
}

/// What a dry run has used of its time.
class Stopwatch {
 public:
  explicit Stopwatch(TrialTime const& time) noexcept : time_(time), began_(time.now()) {}
  bool is_over() const noexcept { return used() >= time_.most; }
  /// So many items ran alone since it was made.
  void ran_alone(std::size_t items) noexcept { of_an_item_ = used() / static_cast<std::int64_t>(items); }
  bool allows(std::int64_t items) const noexcept {
    return of_an_item_ == Duration{0} || items <= (time_.most - used()) / of_an_item_;
  }
  /// Why it does not.
  std::string left_out(std::int64_t items) const {
    using Milliseconds = std::chrono::duration<double, std::milli>;
    return fmt::format(
        "batches of {} and more items were not tried: expected at most {:.3g} ms for the dry run, got {:.3g} "
        "ms "
        "for an item alone",
        items, Milliseconds(time_.most).count(), Milliseconds(of_an_item_).count());
  }

 private:
  Duration used() const noexcept { return time_.now() - began_; }

  TrialTime time_;
  TimePoint began_;
  Duration of_an_item_{};
};

/// Runs the first items alone, the third and later ones while there is time. A model that refuses one of a
/// later sample is tried with the first sample only.
Result<void> run_alone(ModelDescription const& description, Worker& worker, Company& company,
                       Stopwatch const& watch) {
  company.alone.clear();
  company.differs = false;
  auto const first = static_cast<std::size_t>(company.samples[0].checked.items);
  for (std::size_t item = 0; item < std::min(company.items(), most_alone); ++item) {
    if (item >= 2 && watch.is_over()) break;
    auto const ran = run_samples(description, worker, company.samples, static_cast<std::int64_t>(item), 1);
    if (!ran && (item < first || is_written_input(ran.error()))) return tl::unexpected(ran.error());
    if (!ran) {
      company.samples.erase(company.samples.begin() + 1, company.samples.end());
      return run_alone(description, worker, company, watch);
    }
    if (item > 0 &&
        !compare_company(description, *ran, std::span(company.alone).first(1), 1, 1, company.tolerance))
      company.differs = true;
    company.alone.emplace_back(*ran);
  }
  return {};
}

/// Puts the first item of a self-test together with half of itself, where its self-tests have no two items
/// whose answers differ. Nothing changes for a model that refuses it, or that gives both the same answer.
Result<void> halve_first(ModelDescription const& description, Worker& worker, Company& company,
                         Stopwatch const& watch) {
  auto const& tests = description.manifest.self_tests;
  if (company.differs || tests.empty()) return {};
  Request const first = first_item(description, tests[0].inputs);
  auto const half = halve(description, first);
  Company pair{.tolerance = company.tolerance, .halved = true};
  if (!half || !join(description, worker, first, pair) || !join(description, worker, *half, pair)) return {};
  auto ran = run_alone(description, worker, pair, watch);
  if (!ran && is_written_input(ran.error())) return ran;
  if (ran && pair.differs) company = std::move(pair);
  return {};
}

/// Refuses a model that fails on an item alone, as `error` says, and on no pair: its rows depend on company.
Result<void> check_fails_together(ModelDescription const& description, Worker& worker, Company const& company,
                                  Error const& error) {
  if (error.reason == Reason::out_of_memory || largest_batch(description, company.samples) < 2) return {};
  auto const runs = [&](std::int64_t items) {
    return run_samples(description, worker, company.samples, 0, items).has_value();
  };
  if (!runs(2) || runs(1)) return {};
  return refuse(
      "dry run of one item: {}; expected a model that answers an item alone, got one that answers two "
      "together",
      error.message);
}

/// Runs the first item a second time, for a model that no company shows to keep state.
Result<void> try_again(ModelDescription const& description, Worker& worker, Company const& company) {
  auto const same =
      run_samples(description, worker, company.samples, 0, 1).and_then([&](BatchRows const& ran) {
        return compare_company(description, ran, company.alone, company.items(), 1, company.tolerance);
      });
  if (same || same.error().reason == Reason::out_of_memory) return {};
  return refuse("second dry run of an item: {}; a model may not keep state between calls",
                same.error().message);
}

/// Runs the first item padded to the next buckets, which may not show: in which one it runs depends on its
/// company.
Result<void> try_padding(ModelDescription const& description, Worker& worker, Company const& company) {
  Padding const& padding = description.plan.padding;
  if (padding.empty()) return {};
  PaddedLengths const usual = padding.buckets_of(company.samples[0].longest);
  PaddedLengths next = usual;
  for (std::size_t axis = 0; axis < padding.axes().size(); ++axis)
    next[axis] = std::min(usual[axis] + 1, padding.axes()[axis].buckets.back());
  if (next == usual) return {};
  if (padding.positions_of(padding.buckets_of(next)) > most_trial_bytes / bytes_of_a_position) return {};
  auto const same =
      run_samples(description, worker, company.samples, 0, 1, next).and_then([&](BatchRows const& ran) {
        return compare_company(description, ran, company.alone, company.items(), 1, company.tolerance);
      });
  if (same || same.error().reason == Reason::out_of_memory) return {};
  return refuse(
      "dry run of an item with more padding: {}; a model that gets padding must recognise it, by a mask or "
      "lengths",
      same.error().message);
}

constexpr std::string_view advice =
    "; for a model that takes one item at a time, set \"batching\": {\"max_items\": 1}; for certain batch "
    "sizes, \"sizes\"";
constexpr std::string_view advice_on_half =
    "; every second item was the first item of self_test[0], halved, because the self-tests have no "
    "two items with different answers";
constexpr std::string_view nothing_seen =
    "no two items with different answers shared a batch, so it is unknown whether a row depends on other "
    "items; add self-tests of two items whose answers differ";

}  // namespace

Result<void> check_processor_rows(ModelDescription const& description) {
  auto const& outputs = description.plan.outputs;
  bool const taken = std::ranges::count(outputs, OutputPlan::From::preprocess, &OutputPlan::from) != 0;
  if (!taken || description.manifest.self_tests.empty()) return {};
  auto const sample = make_sample(description, description.manifest.self_tests[0].inputs);
  if (!sample)
    return fail(Code::invalid_argument, Reason::manifest, "{}: self_test[0]: {}", description.id,
                sample.error().message);
  for (OutputPlan const& output : outputs) {
    if (output.from != OutputPlan::From::preprocess) continue;
    TensorView const& row = sample->made[0].tensor(output.index);
    if (is_row_of(output.spec, row)) continue;
    return fail(Code::invalid_argument, Reason::manifest,
                "{}: output {}: expected one row of {}, the processor returned {}", description.id,
                output.spec.name, to_string(output.spec), to_string(shape_of(row)));
  }
  return {};
}

Result<void> prove(ModelDescription const& description, Worker& worker) {
  auto const& tests = description.manifest.self_tests;
  for (std::size_t i = 0; i < tests.size(); ++i)
    if (auto right = run_test(description, worker, tests[i], 0, fmt::format("self_test[{}]", i)); !right)
      return right;
  if (tests.empty()) return {};
  for (std::int64_t const batch : description.manifest.warm_up_batches)
    if (auto right = run_test(description, worker, tests[0], batch,
                              fmt::format("warm_up: a batch of {} items", batch));
        !right)
      return right;
  return {};
}

Result<std::string> try_company(ModelDescription const& description, Worker& worker, TrialTime const& time) {
  auto company = gather(description, worker);
  if (!company) return company.error().message;
  Stopwatch watch(time);
  if (auto const ran = run_alone(description, worker, *company, watch); !ran) {
    if (is_broken_promise(ran.error())) return refuse("dry run of one item: {}", ran.error().message);
    return check_fails_together(description, worker, *company, ran.error()).map([&] {
      return ran.error().message;  // made-up values may be none that the model takes
    });
  }
  watch.ran_alone(company->alone.size());
  if (auto same = try_padding(description, worker, *company); !same)
    return tl::unexpected(std::move(same.error()));
  std::int64_t const largest = largest_batch(description, company->samples);
  if (largest <= 1) {
    auto same = try_again(description, worker, *company);
    return same ? Result<std::string>("") : tl::unexpected(std::move(same.error()));
  }
  if (auto unwritten = halve_first(description, worker, *company, watch); !unwritten)
    return tl::unexpected(std::move(unwritten.error()));
  std::set<std::int64_t> batches{2, largest};
  batches.insert(description.manifest.batching.sizes.begin(), description.manifest.batching.sizes.end());
  std::string_view const on_half = company->halved ? advice_on_half : "";
  std::string note(company->differs ? "" : nothing_seen);
  for (std::int64_t const items : batches) {
    if (items > largest || items < 2) continue;
    if (items > 2 && !watch.allows(items)) {
      note += (note.empty() ? "" : "; ") + watch.left_out(items);
      break;
    }
    auto const same =
        run_samples(description, worker, company->samples, 0, items).and_then([&](BatchRows const& ran) {
          return compare_company(description, ran, company->alone, company->items(), items,
                                 company->tolerance);
        });
    if (!same && same.error().reason == Reason::out_of_memory) return same.error().message;
    if (!same) return refuse("dry run of {} items: {}{}{}", items, same.error().message, advice, on_half);
  }
  return note;
}

}  // namespace athanor::inline v1::serving
