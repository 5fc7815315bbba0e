#pragma once

#include <algorithm>

#include <athanor/core/detail/view.hpp>
#include <athanor/serving/detail/engine_state.hpp>
#include <athanor/serving/engine.hpp>

namespace athanor::inline v1 {

template <ServingTraits T>
Submission<T>::~Submission() {
  if (call_ != nullptr) call_->unref();
}

template <ServingTraits T>
void Submission<T>::cancel() noexcept {
  call_->engine->cancel(*call_);
}

template <ServingTraits T>
Model<T>::Model(std::shared_ptr<serving::EngineState<T>> const& engine, serving::ServedModel<T>& model)
    : model_(engine->handle_of(model)) {}

template <ServingTraits T>
std::string const& Model<T>::id() const noexcept {
  return model_->description().id;
}

template <ServingTraits T>
Signature const& Model<T>::signature() const noexcept {
  return model_->description().signature;
}

template <ServingTraits T>
Manifest const& Model<T>::manifest() const noexcept {
  return model_->description().manifest;
}

template <ServingTraits T>
Error Model<T>::reentrant() const {
  return make_error(Code::failed_precondition, Reason::reentrant,
                    "{}: a blocking call inside a backend of the same engine needs an idle instance of the "
                    "model; use submit",
                    id());
}

template <ServingTraits T>
Result<Answer> Model<T>::infer(Request const& request, CallOptions const& options) const {
  if (model_->would_wait_for_itself()) return model_->refused(reentrant());
  return finish_made(model_->engine().make_call(*model_, request, options, T::Env::now()));
}

template <ServingTraits T>
inline Result<Answer> Model<T>::finish_made(Result<serving::Call<T>*> call) const {
  if (!call) return tl::unexpected(std::move(call.error()));
  model_->engine().start(**call);
  model_->engine().wait(**call);
  return model_->engine().collect(**call);
}

template <ServingTraits T>
Result<void> Model<T>::check_room(std::span<Tensor const> outputs, CallOptions const& options) const {
  auto const is_asked_for = [&](TensorSpec const& output) {
    return options.outputs.empty() ||
           std::ranges::find(options.outputs, output.name) != options.outputs.end();
  };
  for (TensorSpec const& output : model_->description().signature.outputs)
    if ((!output.stacks() || output.dtype == DType::bytes) && is_asked_for(output))
      return fail(Code::invalid_argument, Reason::shape,
                  "{}: output {}: expected an output with one row of numbers per item, got {}: use infer",
                  id(), output.name, to_string(output));
  std::size_t const asked =
      options.outputs.empty() ? model_->description().signature.outputs.size() : options.outputs.size();
  if (outputs.size() != asked)
    return fail(Code::invalid_argument, Reason::shape, "{}: expected {} output tensors, got {}", id(), asked,
                outputs.size());
  for (std::size_t i = 0; i < outputs.size(); ++i)
    if (lacks_memory(outputs[i]))
      return fail(Code::invalid_argument, Reason::shape,
                  "{}: outputs[{}]: expected memory of {} bytes, got null", id(), i, outputs[i].size_bytes());
  return {};
}

template <ServingTraits T>
Result<Report> Model<T>::infer_into(Request const& request, std::span<Tensor> outputs,
                                    CallOptions const& options) const {
  if (auto fits = check_room(outputs, options); !fits) return model_->refused(std::move(fits.error()));
  if (model_->would_wait_for_itself()) return model_->refused(reentrant());
  auto& engine = model_->engine();
  auto call = engine.make_call(*model_, request, options, T::Env::now());
  if (!call) return tl::unexpected(std::move(call.error()));
  engine.start(**call);
  engine.wait(**call);
  engine.require_room(**call, outputs);
  auto answer = engine.collect(**call);
  if (!answer) return tl::unexpected(std::move(answer.error()));
  for (std::size_t i = 0; i < outputs.size(); ++i)
    std::ranges::copy(answer->outputs[i].bytes(), outputs[i].mutable_data());
  return answer->report;
}

template <ServingTraits T>
Result<Submission<T>> Model<T>::submit(Request request, CallOptions const& options,
                                       Completion completion) const {
  auto call = model_->engine().submit(model_, std::move(request), options, completion);
  if (!call) return tl::unexpected(std::move(call.error()));
  return Submission<T>(**call);
}

template <ServingTraits T>
std::vector<Result<Answer>> Model<T>::infer_many(std::span<Request const> requests,
                                                 CallOptions const& options) const {
  std::vector<Result<Answer>> results;
  results.reserve(requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i) results.emplace_back(Answer{});
  auto const refuse = [&](std::size_t index, Error error) {
    results[index] = model_->refused(std::move(error));
  };
  if (model_->would_wait_for_itself()) {
    for (std::size_t i = 0; i < requests.size(); ++i) refuse(i, reentrant());
    return results;
  }
  std::size_t const window =
      static_cast<std::size_t>(std::max<std::int64_t>(model_->engine().options().max_items / 4, 1));
  std::vector<serving::Call<T>*> calls;
  std::vector<std::size_t> indices;  // of these calls, in the results
  calls.reserve(std::min(window, requests.size()));
  indices.reserve(calls.capacity());
  TimePoint const deadline =
      after(T::Env::now(), options.deadline.value_or(model_->engine().options().default_deadline));
  // Gives back the calls of a window in which the next one could not even be refused for want of memory.
  struct Unstarted {
    serving::EngineState<T>& engine;
    std::vector<serving::Call<T>*>& calls;
    bool started = false;
    ~Unstarted() {
      for (auto* call : calls)
        if (!started) engine.give_back(*call);
    }
  };
  for (std::size_t next = 0; next < requests.size();) {
    calls.clear();
    indices.clear();
    Unstarted unstarted{model_->engine(), calls};
    TimePoint const now = T::Env::now();
    for (std::size_t const end = std::min(next + window, requests.size()); next < end; ++next) {
      auto call = model_->engine().try_call(*model_, requests[next], options, now, deadline);
      bool const full =
          !call && (call.error().reason == Reason::queue_full || call.error().reason == Reason::memory_full);
      bool const no_place = !call && call.error().reason == Reason::sequences_full;
      if ((full || no_place) && !calls.empty()) break;  // tried again when those before it are done
      if (full) call = model_->engine().await_call(*model_, requests[next], options, T::Env::now(), deadline);
      if (call) {
        calls.push_back(*call);
        indices.push_back(next);
      } else {
        refuse(next, std::move(call.error()));
      }
    }
    unstarted.started = true;
    if (!calls.empty()) model_->engine().run_group(calls, options.cancellation);
    std::size_t again = 0;  // so many are tried again: the first of `indices`
    for (std::size_t i = 0; i < calls.size(); ++i) {
      if (calls.size() > 1 && model_->engine().lacked_room(*calls[i])) {
        model_->engine().forgo(*calls[i]);
        indices[again++] = indices[i];
      } else {
        results[indices[i]] = model_->engine().collect(*calls[i]);
      }
    }
    // What was made of the others of the window has been given back.
    for (std::size_t const index : std::span(indices).first(again)) {
      auto call = model_->engine().await_call(*model_, requests[index], options, now, deadline);
      if (!call) {
        refuse(index, std::move(call.error()));
        continue;
      }
      model_->engine().run_group(std::span(&*call, 1), options.cancellation);
      results[index] = model_->engine().collect(**call);
    }
  }
  return results;
}

template <ServingTraits T>
Result<Sequence<T>> Model<T>::open_sequence() const {
  if (model_->engine().in_child()) return tl::unexpected(model_->engine().child_error());
  if (model_->engine().stopping()) return tl::unexpected(model_->engine().stop_error());
  if (model_->sequences() == nullptr)
    return fail(Code::failed_precondition, Reason::none, "{}: expected a model with state, got one without",
                id());
  if (model_->description().steps)
    return fail(Code::failed_precondition, Reason::none,
                "{}: the engine steps the sequences of this model: use infer or stream", id());
  TimePoint const now = T::Env::now();
  return model_->sequences()
      ->with([&](auto& places) { return places.open(now); })
      .map([&](serving::SequenceId const& opened) { return Sequence<T>(*this, opened); })
      .map_error([&](Error const& error) { return model_->engine().named(*model_, error); });
}

template <ServingTraits T>
Sequence<T>::~Sequence() {
  if (id_.number != 0) static_cast<void>(close());
}

template <ServingTraits T>
Result<Answer> Sequence<T>::infer(Request const& request, CallOptions const& options) const {
  auto& model = *model_.model_;
  if (model.would_wait_for_itself()) return model.refused(model_.reentrant());
  return model_.finish_made(model.engine().make_sequence_call(model, request, options, T::Env::now(), id_));
}

template <ServingTraits T>
Result<Submission<T>> Sequence<T>::submit(Request request, CallOptions const& options,
                                          Completion completion) const {
  auto call = model_.model_->engine().submit(model_.model_, std::move(request), options, completion, id_);
  if (!call) return tl::unexpected(std::move(call.error()));
  return Submission<T>(**call);
}

template <ServingTraits T>
Result<void> Sequence<T>::reset() const {
  auto& model = *model_.model_;
  if (model.engine().in_child()) return tl::unexpected(model.engine().child_error());
  TimePoint const now = T::Env::now();
  return model.sequences()
      ->with([&](auto& places) { return places.reset(id_, now); })
      .map_error([&](Error const& error) { return model.engine().named(model, error); });
}

template <ServingTraits T>
Result<void> Sequence<T>::close() const {
  auto& model = *model_.model_;
  if (model.engine().in_child()) return tl::unexpected(model.engine().child_error());
  return model.sequences()
      ->with([&](auto& places) { return places.close(id_); })
      .map_error([&](Error const& error) { return model.engine().named(model, error); });
}

template <ServingTraits T>
Result<void> Model<T>::load() const {
  if (model_->engine().in_child()) return tl::unexpected(model_->engine().child_error());
  return model_->engine().loader().load(model_->load_record(), model_->engine().options().load_deadline);
}

template <ServingTraits T>
Result<void> Model<T>::unload() const {
  if (model_->engine().in_child()) return tl::unexpected(model_->engine().child_error());
  model_->engine().loader().unload(model_->load_record());
  return {};
}

template <ServingTraits T>
void Model<T>::forget_answers() const noexcept {
  if (model_->engine().in_child()) return;
  model_->engine().cache().invalidate(model_->tag());
}

template <ServingTraits T>
Result<ModelStatistics> Model<T>::statistics() const {
  return model_->engine().statistics(*model_);
}

template <ServingTraits T>
Result<Engine<T>> Engine<T>::create(EngineOptions options) {
  if (auto valid = serving::validate(options); !valid) return tl::unexpected(std::move(valid.error()));
  auto tables = serving::register_tables(options);
  if (!tables) return tl::unexpected(std::move(tables.error()));
  auto engine = std::make_shared<serving::EngineState<T>>(std::move(options), std::move(*tables));
  engine->executor().keep_alive_with(engine);
  engine->loader().keep_alive_with(engine);
  return Engine(std::move(engine));
}

template <ServingTraits T>
Engine<T>::~Engine() {
  close();
}

template <ServingTraits T>
Result<Model<T>> Engine<T>::add(std::string const& folder) {
  auto model = engine_->add(folder);
  if (!model) return tl::unexpected(std::move(model.error()));
  return Model<T>(std::move(*model));
}

template <ServingTraits T>
Result<Model<T>> Engine<T>::load(std::string const& folder) {
  auto model = add(folder);
  if (!model) return model;
  if (auto loaded = model->load(); !loaded) return tl::unexpected(std::move(loaded.error()));
  return model;
}

template <ServingTraits T>
Result<Model<T>> Engine<T>::model(std::string_view name) const {
  auto model = engine_->find(name);
  if (!model) return tl::unexpected(std::move(model.error()));
  return Model<T>(std::move(*model));
}

template <ServingTraits T>
Result<void> Engine<T>::remove(std::string_view id) {
  return engine_->remove(id);
}

template <ServingTraits T>
std::size_t Engine<T>::stop(Duration grace) {
  auto const engine = engine_;  // this handle may be gone before the stop is over
  return engine->stop(grace);
}

template <ServingTraits T>
void Engine<T>::close(void (*closed)(void* context) noexcept, void* context) noexcept {
  auto const engine = std::move(engine_);
  if (engine != nullptr) engine->close(default_stop_grace, {closed, context});
}

template <ServingTraits T>
Health Engine<T>::health() const {
  return engine_->health();
}

template <ServingTraits T>
std::string Engine<T>::metrics_text() const {
  return engine_->metrics_text();
}

template <ServingTraits T>
std::string Engine<T>::describe(std::span<JsonMember const> more) const {
  return engine_->describe(more);
}

}  // namespace athanor::inline v1
