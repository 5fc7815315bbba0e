#pragma once

#include <algorithm>

#include <athanor/core/detail/inside.hpp>
#include <athanor/manifest/model_name.hpp>
#include <athanor/serving/detail/engine_options.hpp>
#include <athanor/serving/detail/engine_state.hpp>
#include <athanor/serving/detail/outputs.hpp>

namespace athanor::inline v1::serving {

// The models of an engine, and the backends and processors that they may name.

template <class T>
Tables EngineState<T>::tables_now() {
  detail::Lock const lock(mutex_);
  return tables_;
}

template <class T>
Result<void> EngineState<T>::add_backend(ath_backend_table const& table) {
  if (in_child()) return tl::unexpected(child_error());
  detail::Lock const lock(mutex_);
  return tables_.add(table);
}

template <class T>
Result<void> EngineState<T>::add_processor(ath_processor_table const& table) {
  if (in_child()) return tl::unexpected(child_error());
  detail::Lock const lock(mutex_);
  return tables_.add(table);
}

template <class T>
Result<std::shared_ptr<ServedModel<T>>> EngineState<T>::add(std::string const& folder) {
  if (in_child()) return tl::unexpected(child_error());
  auto description = describe_model(folder, tables_now());
  if (!description) return tl::unexpected(std::move(description.error()));
  std::string const id = description->id;
  Hash128 const content = description->content;
  {
    ModelPointer handle;
    detail::Lock const lock(mutex_);
    if (stopping()) return tl::unexpected(stop_error());
    if (auto known = models_.find(id); known != models_.end()) {
      ModelType& registered = *known->second;
      handle = handle_locked(registered);
      if (registered.description().content == content || !registered.has_only_failed_loads())
        return check_same_content(registered.description(), content).transform([&] { return handle; });
    }
  }
  auto policy = ModelType::configure_policy(*description);
  if (!policy) return tl::unexpected(std::move(policy.error()));
  auto context = std::make_shared<LoadContext<Env>>(std::move(*description));
  auto load_record = loader_.add(id, expected_bytes_of(context->description), context);
  if (!load_record) return tl::unexpected(std::move(load_record.error()));
  auto model = std::make_unique<ModelType>(*this, std::move(context), std::move(*policy), **load_record);
  ModelPointer registered;
  ModelPointer replaced;
  {
    detail::Lock const lock(mutex_);
    auto& known = models_[id];
    if (known != nullptr && known->description().content != content && known->has_only_failed_loads())
      replaced = take_out(known);
    if (known == nullptr) known = std::move(model);
    registered = handle_locked(*known);
  }
  // Another thread was faster. NOLINTNEXTLINE(bugprone-use-after-move): what was moved from is null
  if (model != nullptr) loader_.forget(model->load_record());
  return check_same_content(registered->description(), content).transform([&] { return registered; });
}

template <class T>
Error EngineState<T>::unknown_model(std::string_view name) {
  return make_error(Code::not_found, Reason::model_missing,
                    "{}: no model of that name and version is registered", name);
}

template <class T>
Result<std::shared_ptr<ServedModel<T>>> EngineState<T>::find(std::string_view text) {
  if (in_child()) return tl::unexpected(child_error());
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
  if (best != nullptr) return handle_locked(*best);
  return tl::unexpected(unknown_model(text));
}

template <class T>
Result<void> EngineState<T>::remove(std::string_view id) {
  if (in_child()) return tl::unexpected(child_error());
  ModelPointer removed;  // dropped after the lock: destroys the model if it is unused
  detail::Lock const lock(mutex_);
  auto const known = models_.find(id);
  if (known == models_.end()) return tl::unexpected(unknown_model(id));
  removed = take_out(known->second);
  models_.erase(known);
  return {};
}

template <class T>
std::shared_ptr<ServedModel<T>> EngineState<T>::handle_of(ModelType& model) {
  detail::Lock const lock(mutex_);
  return handle_locked(model);
}

template <class T>
std::shared_ptr<ServedModel<T>> EngineState<T>::handle_locked(ModelType& model) {
  if (auto handle = model.handles.lock()) return handle;
  auto shared = std::make_shared<ModelHandle>(this->weak_from_this().lock(), model);
  ++model.generations;
  ModelPointer handle(std::move(shared), &model);
  model.handles = handle;
  return handle;
}

/// Moves a model from the registry to the removed ones. Without the handle that is returned, and others, it
/// is let go.
template <class T>
std::shared_ptr<ServedModel<T>> EngineState<T>::take_out(std::unique_ptr<ModelType>& registered) {
  // Allocated first, so that a failure drops no handle inside the lock, and let_go() cannot fail.
  removed_.reserve(removed_.size() + 1);
  dead_.reserve(models_.size() + removed_.size() + dead_.size());
  ModelPointer handle = handle_locked(*registered);
  removed_.push_back(std::move(registered));
  return handle;
}

/// Keeps the model of a call on its route alive, as its caller may be answered and release the model before
/// the route ends. Until it is answered, the caller of a blocking call has a handle; afterwards the call has
/// its own.
template <class T>
std::shared_ptr<ServedModel<T>> EngineState<T>::keep_model(CallType const& call) noexcept {
  return call.asynchronous() ? call.handle : handle_of(*call.model);
}

/// The last handle of a generation is gone. Others may live.
template <class T>
void EngineState<T>::let_go(ModelType& model) noexcept {
  if (in_child()) return;
  {
    detail::Lock const lock(mutex_);
    if (--model.generations != 0) return;
    auto const found = std::ranges::find(removed_, &model, &std::unique_ptr<ModelType>::get);
    if (found == removed_.end()) return;
    dead_.push_back(std::move(*found));
    removed_.erase(found);
  }
  reap();
}

/// Has the dead destroyed, if there are any.
template <class T>
void EngineState<T>::reap() noexcept {
  {
    detail::Lock const lock(mutex_);
    due_ = dead_.size();
    if (due_ == 0 || keeps_dead_ || std::exchange(reaping_, true)) return;
  }
  if (executor_.post(reaper_)) return;
  detail::Lock const lock(mutex_);  // the next one that is let go, or the end of the engine, takes it along
  reaping_ = false;
}

/// Destroys the dead. Those whose lane an executor thread has not left yet stay, until the last such thread
/// calls `reap` again: with a single worker, what brings it may be queued behind this task.
template <class T>
void EngineState<T>::on_reap(Task& task) noexcept {
  EngineState& engine = static_cast<OwnTask&>(task).engine;
  while (auto model = engine.take_dead()) {
    auto& record = model->load_record();
    model.reset();
    engine.loader_.forget(record);
  }
}

template <class T>
void EngineState<T>::on_lane_left(Task& task) noexcept {
  static_cast<OwnTask&>(task).engine.reap();
}

/// The next one that can be destroyed without waiting. None: the reaper ends.
template <class T>
std::unique_ptr<typename EngineState<T>::ModelType> EngineState<T>::take_dead() noexcept {
  detail::Lock const lock(mutex_);
  while (due_ != 0 && !keeps_dead_) {
    --due_;
    std::rotate(dead_.begin(), dead_.begin() + 1, dead_.end());
    if (!dead_.back()->lane().retire(lane_left_)) continue;
    auto model = std::move(dead_.back());
    dead_.pop_back();
    return model;
  }
  reaping_ = false;
  return nullptr;
}

/// Visits the registered models and the removed ones without memory, and destroys none meanwhile. For the one
/// stop.
template <class T>
template <class Visit>
void EngineState<T>::visit_models(Visit visit) noexcept {
  ModelType* next = nullptr;
  {
    detail::Lock const lock(mutex_);
    keeps_dead_ = true;
    for (auto const& [id, model] : models_) model->next_visited = std::exchange(next, model.get());
    for (auto const& model : removed_) model->next_visited = std::exchange(next, model.get());
  }
  while (next != nullptr) visit(*std::exchange(next, next->next_visited));
  {
    detail::Lock const lock(mutex_);
    keeps_dead_ = false;
  }
  reap();
}

template <class T>
LoadFunctions<LoadedModel> EngineState<T>::load_functions() {
  auto const context_of = [](LoadTarget const& target) -> LoadContext<Env>& {
    return *static_cast<LoadContext<Env>*>(target.context);
  };
  LoadFunctions<LoadedModel> functions;
  functions.load = [this, context_of](LoadTarget const& target) -> Result<Loaded<LoadedModel>> {
    auto& context = context_of(target);
    Manifest const& manifest = context.description.manifest;
    Inside<EngineState, Env> const here(this);  // calls may wait for the load
    TimePoint const start = Env::now();
    TrialTime const trial{.most = options_.load_deadline / 10, .now = &Env::now};
    auto model = LoadedModel::load(context.description, context.instances(), trial);
    if (model) context.set_note((*model)->note());
    (model ? context.worked : context.failed).store(true);
    emit(
        options_.sink,
        Event{model ? EventKind::model_loaded : EventKind::model_load_failed, manifest.name, manifest.version,
              model ? detail::format("took {} ms{}{}", (Env::now() - start).count() / 1'000'000,
                                     (*model)->note().empty() ? "" : "; its dry run: ", (*model)->note())
                    : model.error().message});
    if (!model) return tl::unexpected(std::move(model.error()));
    (*model)->number = context.loads.fetch_add(1) + 1;
    std::uint64_t const bytes = (*model)->bytes();
    return Loaded<LoadedModel>{std::shared_ptr<LoadedModel>(std::move(*model)), bytes};
  };
  functions.released = [this, context_of](LoadTarget const& target, LoadedModel&) {
    Manifest const& manifest = context_of(target).description.manifest;
    emit(options_.sink, Event{EventKind::model_unloaded, manifest.name, manifest.version, {}});
  };
  functions.expected_bytes = [context_of](LoadTarget const& target) {
    return expected_bytes_of(context_of(target).description);
  };
  return functions;
}

}  // namespace athanor::inline v1::serving
