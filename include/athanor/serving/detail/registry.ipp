#pragma once

#include <algorithm>

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
  detail::Lock const lock(mutex_);
  return tables_.add(table);
}

template <class T>
Result<void> EngineState<T>::add_processor(ath_processor_table const& table) {
  detail::Lock const lock(mutex_);
  return tables_.add(table);
}

template <class T>
Result<ServedModel<T>*> EngineState<T>::add(std::string const& folder) {
  auto description = describe_model(folder, tables_now());
  if (!description) return tl::unexpected(std::move(description.error()));
  std::string const id = description->id;
  Hash128 const content = description->content;
  {
    detail::Lock const lock(mutex_);
    if (stopping()) return fail(Code::unavailable, Reason::stopping, "the engine is stopping");
    if (auto known = models_.find(id); known != models_.end()) {
      ModelType& registered = *known->second;
      if (registered.description().content == content || !registered.has_only_failed_loads())
        return check_same_content(registered.description(), content).transform([&] { return &registered; });
    }
  }
  auto policy = ModelType::configure_policy(*description);
  if (!policy) return tl::unexpected(std::move(policy.error()));
  auto context = std::make_shared<LoadContext<Env>>(std::move(*description));
  auto load_record = loader_.add(id, expected_bytes_of(context->description), context);
  if (!load_record) return tl::unexpected(std::move(load_record.error()));
  auto model = std::make_unique<ModelType>(*this, std::move(context), std::move(*policy), **load_record);
  ModelType* registered = nullptr;
  {
    detail::Lock const lock(mutex_);
    auto& known = models_[id];
    if (known != nullptr && known->description().content != content && known->has_only_failed_loads())
      replaced_.push_back(std::exchange(known, nullptr));
    if (known == nullptr) known = std::move(model);
    registered = known.get();
  }
  if (model != nullptr) loader_.forget(model->load_record());  // another thread was faster
  return check_same_content(registered->description(), content).transform([&] { return registered; });
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
LoadFunctions<LoadedModel> EngineState<T>::load_functions() {
  auto const context_of = [](LoadTarget const& target) -> LoadContext<Env>& {
    return *static_cast<LoadContext<Env>*>(target.context);
  };
  LoadFunctions<LoadedModel> functions;
  functions.load = [this, context_of](LoadTarget const& target) -> Result<Loaded<LoadedModel>> {
    auto& context = context_of(target);
    Manifest const& manifest = context.description.manifest;
    TimePoint const start = Env::now();
    auto model = LoadedModel::load(context.description, context.instances());
    (model ? context.worked : context.failed).store(true);
    emit(options_.sink, Event{model ? EventKind::model_loaded : EventKind::model_load_failed, manifest.name,
                              manifest.version,
                              model ? detail::format("took {} ms", (Env::now() - start).count() / 1'000'000)
                                    : model.error().message});
    if (!model) return tl::unexpected(std::move(model.error()));
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
