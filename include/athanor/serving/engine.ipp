#pragma once

#include <algorithm>

#include <athanor/serving/engine.hpp>

namespace athanor::inline v1 {

template <ServingTraits T>
void Submission<T>::cancel() noexcept {
  auto& call = *call_;
  call.core->leave(call, serving::Core<T>::taken_back(call));
}

template <ServingTraits T>
Result<Answer> Model<T>::infer(Request const& request, CallOptions const& options) {
  if (entry_->is_running_here() && entry_->lane().snapshot().idle_instances == 0)
    return fail(Code::failed_precondition, Reason::reentrant,
                "{}: a blocking call from inside the model's own backend would wait for itself; use submit",
                id());
  auto call = core_->make_call(*entry_, request, options);
  if (!call) return tl::unexpected(std::move(call.error()));
  core_->start(**call);
  core_->wait(**call);
  return core_->collect(**call);
}

template <ServingTraits T>
Result<Report> Model<T>::infer_into(Request const& request, std::span<Tensor> outputs,
                                    CallOptions const& options) {
  auto answer = infer(request, options);
  if (!answer) return tl::unexpected(std::move(answer.error()));
  if (outputs.size() != answer->outputs.size())
    return fail(Code::invalid_argument, Reason::shape, "{}: expected room for {} outputs, got {}", id(),
                answer->outputs.size(), outputs.size());
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    Tensor const& from = answer->outputs[i];
    if (outputs[i].dtype() != from.dtype() || outputs[i].shape() != from.shape())
      return fail(Code::invalid_argument, Reason::shape, "{}: output {}: expected room for {} {}, got {} {}",
                  id(), answer->outputs.spec(i).name, to_string(from.dtype()), to_string(from.shape()),
                  to_string(outputs[i].dtype()), to_string(outputs[i].shape()));
    std::memcpy(outputs[i].mutable_data(), from.data(), from.size_bytes());
  }
  return answer->report;
}

template <ServingTraits T>
Result<Submission<T>> Model<T>::submit(Request request, CallOptions const& options, Completion completion) {
  auto call = core_->submit(*entry_, std::move(request), options, completion);
  if (!call) return tl::unexpected(std::move(call.error()));
  return Submission<T>(**call);
}

namespace serving {

/// Where a window of infer_many meets its caller again.
template <class Env>
struct Gathering {
  struct Place {
    Gathering* gathering;
    std::size_t index;
  };
  std::vector<Result<Answer>>& results;
  std::vector<Place> places;
  typename Env::template Atomic<std::size_t> missing;
  typename Env::Word done{};

  Gathering(std::vector<Result<Answer>>& all, std::size_t first, std::size_t count)
      : results(all), missing(count + 1) {
    places.reserve(count);
    for (std::size_t i = 0; i < count; ++i) places.push_back({this, first + i});
  }
  void arrived() noexcept {
    if (missing.fetch_sub(1) != 1) return;
    done.store(1);
    done.wake_all();
  }
  static void on_answer(void* context, Result<Answer> answer) noexcept {
    auto& place = *static_cast<Place*>(context);
    place.gathering->results[place.index] = std::move(answer);
    place.gathering->arrived();
  }
};

}  // namespace serving

template <ServingTraits T>
std::vector<Result<Answer>> Model<T>::infer_many(std::span<Request const> requests,
                                                 CallOptions const& options) {
  using Env = typename T::Env;
  std::vector<Result<Answer>> results;
  results.reserve(requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i) results.emplace_back(Answer{});
  std::size_t const window =
      static_cast<std::size_t>(std::max<std::int64_t>(core_->options().max_items / 4, 1));
  for (std::size_t first = 0; first < requests.size();) {
    std::size_t const count = std::min(window, requests.size() - first);
    serving::Gathering<Env> gathering(results, first, count);
    std::size_t started = 0;
    std::size_t accepted = 0;
    for (; started < count; ++started) {
      auto call = core_->submit(*entry_, requests[first + started], options,
                                {&serving::Gathering<Env>::on_answer, &gathering.places[started]});
      if (call) {
        ++accepted;
        (*call)->release();
        continue;
      }
      bool const full =
          call.error().reason == Reason::queue_full || call.error().reason == Reason::memory_full;
      if (full && accepted != 0) break;  // tried again when those before it are done
      results[first + started] = tl::unexpected(std::move(call.error()));
      gathering.arrived();
    }
    for (std::size_t i = started; i < count; ++i) gathering.arrived();
    gathering.arrived();
    while (gathering.done.load() == 0) gathering.done.wait_until(0, no_deadline);
    first += started;
  }
  return results;
}

template <ServingTraits T>
Result<void> Model<T>::load() {
  return core_->loader().load(entry_->load_entry(), core_->options().load_deadline);
}

template <ServingTraits T>
Result<void> Model<T>::unload() {
  core_->loader().unload(entry_->load_entry());
  return {};
}

template <ServingTraits T>
void Model<T>::forget_answers() noexcept {
  core_->cache().invalidate(entry_->tag());
}

template <ServingTraits T>
Result<Engine<T>> Engine<T>::create(EngineOptions options) {
  if (auto valid = serving::validate(options); !valid) return tl::unexpected(std::move(valid.error()));
  auto core = std::make_shared<serving::Core<T>>(std::move(options));
  core->executor().keep_alive_with(core);
  return Engine(std::move(core));
}

template <ServingTraits T>
Engine<T>::~Engine() {
  if (core_ != nullptr) core_->stop(std::chrono::seconds(30));
}

template <ServingTraits T>
Result<Model<T>> Engine<T>::add(std::string const& folder) {
  auto entry = core_->add(folder);
  if (!entry) return tl::unexpected(std::move(entry.error()));
  return Model<T>(core_, **entry);
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
  auto entry = core_->find(name);
  if (!entry) return tl::unexpected(std::move(entry.error()));
  return Model<T>(core_, **entry);
}

template <ServingTraits T>
std::size_t Engine<T>::stop(Duration grace) {
  return core_->stop(grace);
}

template <ServingTraits T>
Health Engine<T>::health() const {
  return core_->health();
}

template <ServingTraits T>
std::string Engine<T>::metrics_text() const {
  return core_->metrics_text();
}

template <ServingTraits T>
std::string Engine<T>::describe() const {
  return core_->describe();
}

}  // namespace athanor::inline v1
