#pragma once

#include <algorithm>
#include <cstdlib>
#include <thread>

#include <athanor/manifest/model_name.hpp>
#include <athanor/serving/detail/engine_options.hpp>
#include <athanor/serving/detail/engine_state.hpp>

namespace athanor::inline v1::serving {

/// Spins of a blocking caller before it parks, on a machine with several cores.
inline constexpr int spins_before_parking = 200;

inline std::size_t thread_count(EngineOptions const& options) noexcept {
  if (options.threads != 0) return options.threads;
  return std::max<std::size_t>(std::thread::hardware_concurrency(), 2);
}

template <class T>
EngineState<T>::EngineState(EngineOptions options, Tables tables)
    : options_(std::move(options)),
      tables_(std::move(tables)),
      spins_before_parking_(Env::simulated || std::thread::hardware_concurrency() < 2 ? 0
                                                                                      : spins_before_parking),
      secret_(random_secret<Env>()),
      gate_(detail::Validated{},
            GateOptions{.max_items = options_.max_items, .max_bytes = options_.max_bytes}),
      cache_(ResponseCacheOptions{
          .capacity_bytes = options_.cache_bytes,
          .ttl = options_.cache_ttl,
          .max_waiters = static_cast<std::uint32_t>(std::min<std::int64_t>(options_.max_items, 1U << 31U))}),
      executor_(thread_count(options_)),
      loader_(detail::Validated{}, loader_options(options_), load_functions(), executor_) {}

template <class T>
EngineState<T>::~EngineState() {
  stop(Duration{0});
}

template <class T>
ModelLoaderOptions EngineState<T>::loader_options(EngineOptions const& options) {
  ModelLoaderOptions result;
  result.budget_bytes = options.model_bytes;
  result.load_deadline = options.load_deadline;
  return result;
}

template <class T>
LoadFunctions<LoadedModel> EngineState<T>::load_functions() {
  LoadFunctions<LoadedModel> functions;
  functions.load = [this](std::string_view id) -> Result<Loaded<LoadedModel>> {
    auto served = loading(id);
    if (!served) return tl::unexpected(std::move(served.error()));
    TimePoint const start = Env::now();
    auto model = LoadedModel::load((*served)->description(), (*served)->instances());
    (*served)->record_load(model.has_value());
    emit(options_.sink,
         Event{model ? EventKind::model_loaded : EventKind::model_load_failed,
               (*served)->description().manifest.name, (*served)->description().manifest.version,
               model ? detail::format("took {} ms", (Env::now() - start).count() / 1'000'000)
                     : model.error().message});
    if (!model) return tl::unexpected(std::move(model.error()));
    std::uint64_t const bytes = (*model)->bytes();
    return Loaded<LoadedModel>{std::shared_ptr<LoadedModel>(std::move(*model)), bytes};
  };
  functions.released = [this](std::string_view id, LoadedModel&) {
    if (auto served = loading(id))
      emit(options_.sink, Event{EventKind::model_unloaded,
                                (*served)->description().manifest.name,
                                (*served)->description().manifest.version,
                                {}});
  };
  functions.expected_bytes = [this](std::string_view id) -> std::uint64_t {
    auto served = loading(id);
    if (!served) return 0;
    return expected_bytes_of((*served)->description());
  };
  return functions;
}

template <class T>
Tables EngineState<T>::tables_now() {
  detail::Lock const lock(mutex_);
  return tables_;
}

template <class T>
Result<void> EngineState<T>::add_backend(ath_backend_table const& table) {
  detail::Lock const lock(mutex_);
  return tables_.add(table);
}

template <class T>
Result<void> EngineState<T>::add_processor(ath_processor_table const& table) {
  detail::Lock const lock(mutex_);
  return tables_.add(table);
}

template <class T>
Result<ServedModel<T>*> EngineState<T>::same_content(ModelType& known, Hash128 content) {
  if (known.description().content == content) return &known;
  return fail(Code::already_exists, Reason::manifest,
              "{}: a different manifest of that name and version is registered, from {}; give the new one "
              "its own version",
              known.description().id, known.description().folder);
}

template <class T>
Result<ServedModel<T>*> EngineState<T>::add(std::string const& folder) {
  auto description = describe_model(folder, tables_now());
  if (!description) return tl::unexpected(std::move(description.error()));
  std::string const id = description->id;
  Hash128 const content = description->content;
  std::string loaded_as = id;
  {
    detail::Lock const lock(mutex_);
    if (stopping()) return fail(Code::unavailable, Reason::stopping, "the engine is stopping");
    if (auto known = models_.find(id); known != models_.end()) {
      if (known->second->description().content == content || !known->second->has_only_failed_loads())
        return same_content(*known->second, content);
      auto const before =
          std::ranges::count(replaced_, id, [](auto const& old) { return old->description().id; });
      loaded_as = detail::format("{}#{}", id, before + 2);
    }
  }
  auto load_record = loader_.declare(loaded_as, expected_bytes_of(*description));
  if (!load_record) return tl::unexpected(std::move(load_record.error()));
  auto model = std::make_unique<ModelType>(*this, std::move(*description), **load_record);
  detail::Lock const lock(mutex_);
  auto& known = models_[id];
  if (known != nullptr && known->description().content != content && known->has_only_failed_loads())
    replaced_.push_back(std::exchange(known, nullptr));
  if (known == nullptr) known = std::move(model);
  return same_content(*known, content);
}

/// The model whose model the loader knows by that name.
template <class T>
Result<ServedModel<T>*> EngineState<T>::loading(std::string_view name) {
  detail::Lock const lock(mutex_);
  for (auto const& [id, model] : models_)
    if (model->load_record().name == name) return model.get();
  for (auto const& model : replaced_)
    if (model->load_record().name == name) return model.get();
  return fail(Code::not_found, Reason::model_missing, "{}: no model of that name is registered", name);
}

template <class T>
Result<ServedModel<T>*> EngineState<T>::find(std::string_view text) {
  auto name = parse_model_name(text);
  if (!name) return tl::unexpected(std::move(name.error()));
  detail::Lock const lock(mutex_);
  ModelType* best = nullptr;
  for (auto const& [id, model] : models_) {
    Manifest const& manifest = model->description().manifest;
    if (manifest.name != name->name || (!name->version.empty() && manifest.version != name->version))
      continue;
    if (best == nullptr || compare_versions(manifest.version, best->description().manifest.version) > 0)
      best = model.get();
  }
  if (best != nullptr) return best;
  return fail(Code::not_found, Reason::model_missing, "{}: no model of that name and version is registered",
              text);
}

template <class T>
typename EngineState<T>::CallType* EngineState<T>::take_call() {
  CallType* call = nullptr;
  if (pool_.pop(call)) return call;
  auto made = std::make_unique<CallType>();
  call = made.get();
  call->AnswerHolder::recycle = &EngineState::recycle;
  call->Continuation::run = &EngineState::on_task;
  call->Delivery::run = &EngineState::on_delivery;
  call->computed.reserve(max_tensors);
  call->word.store(call_bits::claimed);
  detail::Lock const lock(mutex_);
  calls_.push_back(std::move(made));
  pool_.reserve(1);
  return call;
}

/// Returns the call to the pool. The call may hold the last reference to the engine.
template <class T>
void EngineState<T>::recycle(AnswerHolder& holder) noexcept {
  auto& call = static_cast<CallType&>(holder);
  auto const engine = std::move(call.engine);
  call.request = nullptr;
  call.owned_request.clear();
  call.made.clear();
  call.stored.reset();
  call.flight_value.reset();
  engine->pool_.push(&call);
}

template <class T>
Result<void> EngineState<T>::choose_outputs(CallType& call, CallOptions const& options) {
  auto const& specs = call.model->description().signature.outputs;
  call.specs = &specs;
  if (options.outputs.empty()) {
    call.chosen_count = specs.size();
    for (std::size_t i = 0; i < specs.size(); ++i) call.chosen[i] = static_cast<std::uint8_t>(i);
    return {};
  }
  std::string missing;
  call.chosen_count = 0;
  for (auto const name : options.outputs) {
    auto const at = std::ranges::find(specs, name, &TensorSpec::name);
    if (at == specs.end()) {
      missing += (missing.empty() ? "" : ", ") + std::string(name);
    } else if (call.chosen_count == max_tensors) {
      return fail(Code::invalid_argument, Reason::option, "{}: expected at most {} outputs, got {}",
                  call.model->description().id, max_tensors, options.outputs.size());
    } else {
      call.chosen[call.chosen_count++] = static_cast<std::uint8_t>(at - specs.begin());
    }
  }
  if (missing.empty()) return {};
  std::string known;
  for (auto const& spec : specs) known += (known.empty() ? "" : ", ") + spec.name;
  return fail(Code::invalid_argument, Reason::output_missing, "{}: unknown output {}; expected one of {}",
              call.model->description().id, missing, known);
}

template <class T>
Result<Call<T>*> EngineState<T>::make_call(ModelType& model, Request const& request,
                                           CallOptions const& options, TimePoint now) {
  if (stopping()) return fail(Code::unavailable, Reason::stopping, "the engine is stopping");
  auto checked = check(model.description().signature, request);
  if (!checked) {
    model.record_refusal(checked.error());
    return tl::unexpected(std::move(checked.error()));
  }
  CallType& call = *take_call();
  call.engine = this->shared_from_this();
  routes_.fetch_add(1);
  call.owners.store(2, std::memory_order_relaxed);
  call.model = &model;
  call.request = &request;
  call.checked = *checked;
  call.began = now;
  call.deadline = after(now, options.deadline.count() < 0 ? options_.default_deadline : options.deadline);
  call.own_deadline = options.deadline.count() >= 0;
  call.cache_mode = options.cache;
  call.cancellation = options.cancellation;
  call.completion = {};
  call.leader = nullptr;
  call.report = {};
  call.report.model = model.description().id;
  call.step = RouteStep::join;
  call.role.store(caching::Join::bypass, std::memory_order_relaxed);
  call.inputs_gone = false;
  call.watch.store(DeadlineWatch::off, std::memory_order_relaxed);
  call.refused = false;
  call.failed = false;
  call.answer_failed = false;
  call.alone = false;
  call.outputs_state.store(0, std::memory_order_relaxed);
  call.running.store(false, std::memory_order_relaxed);
  call.tag = model.tag();
  call.borrowed = true;  // the request itself is the caller's
  Result<void> admitted = choose_outputs(call, options);
  if (admitted && call.deadline <= now)
    admitted = fail(Code::deadline_exceeded, Reason::deadline_waiting,
                    "{}: deadline already passed on arrival", model.description().id);
  if (admitted) admitted = gate_.admit_caller(call, checked->items, checked->bytes, now);
  if (admitted && call.cancellation != nullptr && call.cancellation->is_cancelled())
    admitted = tl::unexpected(taken_back(call));
  if (admitted) return &call;  // its word stays claimed until it starts: a stop skips it
  gate_.release_quota(call);
  end_of_route();
  model.record_refusal(admitted.error());
  call.unref();
  call.unref();
  return tl::unexpected(std::move(admitted.error()));
}

template <class T>
Result<Call<T>*> EngineState<T>::submit(ModelType& model, Request const& request, CallOptions const& options,
                                        Completion completion) {
  auto call = make_call(model, request, options, Env::now());
  if (!call) return call;
  return launch(**call, completion);
}

template <class T>
Result<Call<T>*> EngineState<T>::submit(ModelType& model, Request&& request, CallOptions const& options,
                                        Completion completion) {
  auto call = make_call(model, request, options, Env::now());
  if (!call) return call;
  (*call)->owned_request = std::move(request);
  (*call)->request = &(*call)->owned_request;
  (*call)->borrowed = std::ranges::any_of((*call)->owned_request.inputs(),
                                          [](NamedTensor const& input) { return !input.value.owned(); });
  return launch(**call, completion);
}

template <class T>
Result<Call<T>*> EngineState<T>::launch(CallType& call, Completion completion) noexcept {
  call.completion = completion;
  call.word.store(0);
  CallerScope const scope;
  advance(call, CallerKind::submitter, call.began);
  if (!call.refused) {
    watch(call);
    return &call;
  }
  Error error = std::move(call.answer_error);
  call.unref();
  return tl::unexpected(std::move(error));
}

template <class T>
void EngineState<T>::wait(CallType& call) noexcept {
  for (int spins = 0; spins < spins_before_parking_; ++spins) {
    if ((call.word.load() & call_bits::answered) != 0) return;
    Env::relax();
  }
  CallerScope const scope;
  for (;;) {
    std::uint32_t const seen = call.word.fetch_or(call_bits::parked) | call_bits::parked;
    if ((seen & call_bits::answered) != 0) return;
    if ((seen & call_bits::revoked) != 0 && (seen & call_bits::claimed) == 0) {
      abandon(call, taken_back(call));
    } else if (!call.word.wait_until(seen, call.deadline)) {
      abandon(call, late(call));
      // The thread that claimed it is about to answer.
      while ((call.word.load() & call_bits::answered) == 0)
        call.word.wait_until(call.word.load(), after(Env::now(), std::chrono::milliseconds(1)));
    }
  }
}

template <class T>
void EngineState<T>::start_group(std::span<CallType* const> calls) noexcept {
  CallType& leader = *calls.front();
  leader.unanswered.store(calls.size());
  for (CallType* call : calls) call->leader = &leader;
  for (CallType* call : calls) call->word.store(0);  // last: from here on a stop may answer them
  CallerScope const scope;
  for (CallType* call : calls) advance(*call, CallerKind::group, call->began);
  bool const here = options_.caller_runs == CallerRuns::when_idle;
  leader.model->lane().enter_all(leader.held, here ? batching::LendThread::yes : batching::LendThread::no,
                                 leader.began);
}

template <class T>
void EngineState<T>::run_group(std::span<CallType* const> calls, Cancellation* cancellation) noexcept {
  struct Hook : CancelHook {
    CallType& leader;
    explicit Hook(CallType& of) noexcept : leader(of) {}
  };
  CallType& leader = *calls.front();
  Hook hook(leader);
  hook.cancelled = [](CancelHook& self) noexcept { revoke(static_cast<Hook&>(self).leader); };
  start_group(calls);
  if (cancellation != nullptr && !cancellation->link(hook)) revoke(leader);
  wait_for_group(calls);
  if (cancellation != nullptr) cancellation->unlink(hook);
}

/// Like wait, with one park for all of them.
template <class T>
void EngineState<T>::wait_for_group(std::span<CallType* const> calls) noexcept {
  CallType& leader = *calls.front();
  CallerScope const scope;
  bool over = false;  // then the thread that claimed a call is about to answer it
  for (;;) {
    std::uint32_t const seen = leader.word.fetch_or(call_bits::parked) | call_bits::parked;
    if ((seen & call_bits::gathered) != 0) return;
    bool const revoked = !over && (seen & call_bits::revoked) != 0;
    if (!revoked && leader.word.wait_until(seen, over ? no_deadline : leader.deadline)) continue;
    over = true;
    for (CallType* call : calls)
      if ((call->word.load() & call_bits::claimed) == 0)
        abandon(*call, revoked ? taken_back(*call) : late(*call));
  }
}

template <class T>
Error EngineState<T>::taken_back(CallType const& call) {
  return make_error(Code::cancelled, Reason::cancelled, "{}: cancelled by the caller",
                    call.model->description().id);
}

template <class T>
Error EngineState<T>::late(CallType const& call) {
  bool const running = call.running.load(std::memory_order_relaxed);
  return make_error(Code::deadline_exceeded, running ? Reason::deadline_running : Reason::deadline_waiting,
                    "{}: no answer within {:.3g} ms; its work {}", call.model->description().id,
                    static_cast<double>((call.deadline - call.began).count()) / 1e6,
                    running ? "had begun" : "had not begun");
}

template <class T>
Result<Answer> EngineState<T>::collect(CallType& call) noexcept {
  if (call.answer_failed) {
    Error error = std::move(call.answer_error);
    if (!call.asynchronous()) call.unref();
    return tl::unexpected(std::move(error));
  }
  if (call.asynchronous()) call.owners.fetch_add(1, std::memory_order_relaxed);
  return Answer{Outputs(call), call.report};
}

template <class T>
void EngineState<T>::end_of_route() noexcept {
  if (routes_.fetch_sub(1) != 1 || !stopping()) return;
  drained_.store(1);
  drained_.wake_all();
}

/// Waits until no call is in flight, or until the deadline.
template <class T>
void EngineState<T>::drain(TimePoint deadline) noexcept {
  while (routes_.load() != 0 && Env::now() < deadline) {
    drained_.store(0);
    if (routes_.load() != 0) drained_.wait_until(0, deadline);
  }
}

template <class T>
std::size_t EngineState<T>::stop(Duration grace) noexcept {
  if (stopping_.exchange(true)) return 0;
  emit(options_.sink, Event{EventKind::engine_stopping, {}, {}, {}});
  TimePoint const deadline = after(Env::now(), grace);
  Error const stopping{Code::unavailable, Reason::stopping, "the engine is stopping", {}};
  for (auto* model : models()) model->lane().refuse_all(stopping);
  loader_.stop();
  drain(deadline);
  std::vector<CallType*> calls;
  {
    detail::Lock const lock(mutex_);
    for (auto const& call : calls_) calls.push_back(call.get());
  }
  for (auto* call : calls) {
    if (!call->try_ref()) continue;
    abandon(*call, stopping);
    call->unref();
  }
  std::size_t const abandoned = executor_.stop(deadline) + callers_in_backends_.load();
  if (abandoned != 0)
    emit(options_.sink, Event{EventKind::work_abandoned,
                              {},
                              {},
                              detail::format("{} threads are still inside a backend", abandoned)});
  return abandoned;
}

}  // namespace athanor::inline v1::serving
