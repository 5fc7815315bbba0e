#include <athanor/loading/detail/loader_machine.hpp>

#include <algorithm>
#include <cassert>
#include <limits>

#include <fmt/format.h>

#include <athanor/core/detail/noexcept_error.hpp>

namespace athanor::inline v1::loading {

namespace {

double milliseconds(Duration duration) noexcept { return static_cast<double>(duration.count()) * 1e-6; }

/// Whether the same load may succeed later without any change.
bool waiting_helps(Error const& error) noexcept {
  switch (error.code) {
    case Code::invalid_argument:
    case Code::already_exists:
    case Code::permission_denied:
    case Code::failed_precondition:
    case Code::out_of_range:
    case Code::unimplemented:
    case Code::data_loss: return false;
    default: return error.reason != Reason::budget && error.reason != Reason::backend_contract;
  }
}

}  // namespace

LoaderMachine::LoaderMachine(ModelLoaderOptions const& options, ChooseVictims choose_victims)
    : options_(options),
      choose_victims_(std::move(choose_victims)),
      budget_(options.budget_bytes.value_or(std::numeric_limits<std::uint64_t>::max())) {}

LoaderMachine::Id LoaderMachine::add(std::string name, std::uint64_t expected_bytes) {
  auto place = vacant_ != 0 ? std::ranges::find(models_, true, &Model::vacant) : models_.end();
  if (place == models_.end()) {
    place = models_.emplace(place);
  } else {
    --vacant_;
  }
  *place = {};
  place->name = std::move(name);
  place->declared = place->expected = expected_bytes;
  return static_cast<Id>(place - models_.begin());
}

bool LoaderMachine::is_removable(Id id) const noexcept {
  Model const& model = models_[id];
  bool const at_rest = model.state == ModelState::unloaded || model.state == ModelState::failed;
  return at_rest && !model.late && !model.freeing;
}

void LoaderMachine::remove(Id id) noexcept {
  models_[id] = {};
  models_[id].vacant = true;
  ++vacant_;
}

void LoaderMachine::observe(Id id, bool pinned, TimePoint last_used) noexcept {
  models_[id].pinned = pinned;
  models_[id].last_used = last_used;
}

/// Victims of the policy's choice whose bytes together are at least `needed`; false if it names none such. An
/// index that is out of range or repeated is a fault of the policy: nothing is evicted.
bool LoaderMachine::find_victims(std::uint64_t needed, std::vector<Id>& victims) const {
  std::vector<Id> ids;
  std::vector<IdleModel> idle;
  for (Id id = 0; id < models_.size(); ++id) {
    Model const& model = models_[id];
    if (model.state != ModelState::ready || model.pinned) continue;
    ids.push_back(id);
    idle.push_back({model.charge, model.last_used});
  }
  std::vector<bool> chosen(ids.size());
  std::uint64_t gained = 0;
  for (std::size_t const index : choose_victims_({needed, idle})) {
    if (index >= ids.size() || chosen[index]) return false;
    chosen[index] = true;
    victims.push_back(ids[index]);
    gained = saturating_sum(gained, idle[index].bytes);
  }
  return gained >= needed;
}

Error LoaderMachine::larger_than_budget(Model const& model) const {
  return make_error(Code::resource_exhausted, Reason::budget,
                    "{}: expected at most the whole budget of {} bytes, the model needs {}", model.name,
                    budget_, model.expected);
}

std::optional<Error> LoaderMachine::obstacle(Id id) const {
  Model const& model = models_[id];
  if (model.state == ModelState::failed) return model.failure;
  if (model.state == ModelState::unloaded && model.expected > budget_) return larger_than_budget(model);
  return std::nullopt;
}

Error LoaderMachine::backoff_error(Model const& model, TimePoint now) const {
  Error error = model.failure;
  if (waiting_helps(error)) error.retry_after = std::max(model.retry_at - now, Duration{0});
  if (model.late) error.retry_after = std::max(error.retry_after, options_.busy_retry);
  return error;
}

LoaderMachine::Plan LoaderMachine::want(Id id, TimePoint now) const {
  Model const& model = models_[id];
  auto const refuse_while_busy = [this](Error error) {
    error.retry_after = options_.busy_retry;
    return Plan{Want::refuse, {}, std::move(error)};
  };
  switch (model.state) {
    case ModelState::ready: return {Want::ready, {}, {}};
    case ModelState::reserved:
    case ModelState::loading:
    case ModelState::warming: return {Want::join, {}, {}};
    case ModelState::draining:
      return refuse_while_busy(
          make_error(Code::unavailable, Reason::stopping, "{}: is being unloaded", model.name));
    case ModelState::unloaded:
    case ModelState::failed: break;
  }
  if (model.expected > budget_) return {Want::refuse, {}, larger_than_budget(model)};
  if (model.state == ModelState::failed && (model.late || now < model.retry_at))
    return {Want::refuse, {}, backoff_error(model, now)};
  if (model.late)
    return refuse_while_busy(make_error(Code::unavailable, Reason::model_load,
                                        "{}: a load that was given up is still running", model.name));
  Plan plan{Want::load, {}, {}};
  std::uint64_t const free = budget_ - committed_;
  if (model.expected > free && !find_victims(model.expected - free, plan.victims))
    return refuse_while_busy(make_error(Code::resource_exhausted, Reason::memory_full,
                                        "{}: needs {} bytes, {} of {} are free and the rest is in use",
                                        model.name, model.expected, free, budget_));
  return plan;
}

void LoaderMachine::evict(Id id) noexcept {
  Model& model = models_[id];
  model.state = ModelState::unloaded;
  model.freeing = true;
  model.leaving = model.charge;
  committed_ -= model.charge;
  model.charge = 0;
}

void LoaderMachine::reserve(Id id, std::vector<Id> const& victims, TimePoint now) {
  for (Id const victim : victims) evict(victim);
  statistics_.evictions += victims.size();
  Model& model = models_[id];
  assert(!model.late && model.charge == 0);
  model.state = ModelState::reserved;
  model.charge = model.expected;
  model.deadline = after(now, options_.load_deadline);
  model.ticket = next_ticket_++;
  committed_ += model.charge;
}

LoaderMachine::Id LoaderMachine::next_start() noexcept {
  Id best = none;
  for (Id id = 0; id < models_.size(); ++id) {
    Model const& model = models_[id];
    if (model.state != ModelState::reserved || model.freeing) continue;
    if (saturating_sum(saturating_sum(occupied_, pending_growth_), model.charge) > budget_) continue;
    if (best == none || model.ticket < models_[best].ticket) best = id;
  }
  if (best == none) return none;
  models_[best].state = ModelState::loading;
  occupied_ += models_[best].charge;
  ++statistics_.loads;
  return best;
}

LoaderMachine::Plan LoaderMachine::measured(Id id, std::uint64_t bytes) const {
  Model const& model = models_[id];
  if (bytes > budget_)
    return {Want::refuse,
            {},
            make_error(Code::resource_exhausted, Reason::budget,
                       "expected at most the whole budget of {} bytes, the loaded model holds {}", budget_,
                       bytes)};
  Plan plan{Want::load, {}, {}};
  if (bytes <= model.charge) return plan;
  std::uint64_t const held =
      saturating_sum(std::max(committed_, saturating_sum(occupied_, pending_growth_)), bytes - model.charge);
  if (held > budget_ && !find_victims(held - budget_, plan.victims))
    return {Want::refuse,
            {},
            make_error(Code::resource_exhausted, Reason::memory_full,
                       "{} bytes were reserved, the loaded model holds {} and the rest of the "
                       "budget of {} is in use",
                       model.charge, bytes, budget_)};
  return plan;
}

void LoaderMachine::reserve_growth(Id id, std::uint64_t bytes, std::vector<Id> const& victims) {
  for (Id const victim : victims) evict(victim);
  statistics_.evictions += victims.size();
  Model& model = models_[id];
  if (bytes <= model.charge) return;
  model.growth = bytes - model.charge;
  committed_ += model.growth;
  pending_growth_ += model.growth;
}

void LoaderMachine::charge_measured(Id id, std::uint64_t bytes) noexcept {
  Model& model = models_[id];
  if (bytes < model.charge) {
    committed_ -= model.charge - bytes;
    occupied_ -= model.charge - bytes;
  }
  occupied_ += model.growth;
  pending_growth_ -= model.growth;
  model.growth = 0;
  model.charge = bytes;
  if (model.state == ModelState::loading) model.state = ModelState::warming;
}

void LoaderMachine::mark_ready(Id id, TimePoint now) noexcept {
  Model& model = models_[id];
  model.state = ModelState::ready;
  model.pinned = false;
  model.last_used = now;
  model.failures = 0;
  model.failure = {};
  ++statistics_.loaded;
}

void LoaderMachine::return_charge(Model& model) noexcept {
  committed_ -= model.charge + model.growth;
  pending_growth_ -= model.growth;
  if (model.state != ModelState::reserved) occupied_ -= model.charge;
  model.charge = 0;
  model.growth = 0;
}

void LoaderMachine::record_failure(Model& model, Error error, TimePoint now, std::uint64_t random) noexcept {
  Duration backoff = options_.first_backoff;
  for (std::uint32_t i = 0; i < model.failures && backoff < options_.longest_backoff; ++i)
    backoff = saturating_product(backoff, 2);
  backoff = std::min(backoff, options_.longest_backoff);
  Duration const jitter{static_cast<std::int64_t>(static_cast<double>(backoff.count()) / 4 *
                                                  static_cast<double>(random >> 11) * 0x1p-53)};
  backoff = saturating_sum(backoff, jitter);
  ++model.failures;
  ++statistics_.failures;
  model.state = ModelState::failed;
  model.retry_at = after(now, backoff);
  error.message = detail::format("{}: {}", model.name, error.message);
  error.retry_after = waiting_helps(error) ? backoff : Duration{0};
  model.failure = std::move(error);
}

Error LoaderMachine::failed(Id id, Error const& error, TimePoint now, std::uint64_t random) {
  Model& model = models_[id];
  assert(!model.late);
  return_charge(model);
  record_failure(model, detail::copy_of(error), now, random);
  return detail::copy_of(model.failure);
}

void LoaderMachine::late_finish(Id id) noexcept {
  Model& model = models_[id];
  return_charge(model);
  model.late = false;
  ++statistics_.late;
}

bool LoaderMachine::overdue(Id id, TimePoint now, std::uint64_t random) {
  Model& model = models_[id];
  bool const begun = model.state == ModelState::loading || model.state == ModelState::warming;
  if ((!begun && model.state != ModelState::reserved) || now < model.deadline) return false;
  if (begun) {
    model.late = true;
  } else {
    return_charge(model);
  }
  record_failure(model,
                 make_error(Code::deadline_exceeded, Reason::model_load,
                            "the load did not end within {:.3f} ms", milliseconds(options_.load_deadline)),
                 now, random);
  return true;
}

LoaderMachine::Unload LoaderMachine::unload(Id id) noexcept {
  Model& model = models_[id];
  switch (model.state) {
    case ModelState::unloaded:
    case ModelState::draining: return Unload::nothing;
    case ModelState::failed:
      model.state = ModelState::unloaded;
      model.failures = 0;
      return Unload::nothing;
    case ModelState::ready: model.state = ModelState::draining; return Unload::drain;
    case ModelState::reserved: return_charge(model); break;
    case ModelState::loading:
    case ModelState::warming: model.late = true; break;
  }
  model.state = ModelState::unloaded;
  return Unload::abandon;
}

void LoaderMachine::retire(Id id) noexcept {
  evict(id);
  ++statistics_.unloads;
}

void LoaderMachine::freed(Id id) noexcept {
  occupied_ -= models_[id].leaving;
  models_[id].leaving = 0;
  models_[id].freeing = false;
}

void LoaderMachine::retry_now(Id id, std::optional<std::uint64_t> expected_bytes) noexcept {
  Model& model = models_[id];
  if (model.state == ModelState::failed) model.retry_at = TimePoint{};
  if (model.expected > budget_) model.expected = expected_bytes.value_or(model.declared);
}

ModelLoaderStatistics LoaderMachine::statistics() const noexcept {
  ModelLoaderStatistics statistics = statistics_;
  statistics.occupied_bytes = occupied_;
  statistics.ready_models =
      static_cast<std::uint64_t>(std::ranges::count(models_, ModelState::ready, &Model::state));
  return statistics;
}

}  // namespace athanor::inline v1::loading
