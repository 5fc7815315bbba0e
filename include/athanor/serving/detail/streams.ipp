#pragma once

#include <athanor/core/detail/noexcept_error.hpp>
#include <athanor/serving/detail/engine_state.hpp>
#include <athanor/serving/stream.hpp>

namespace athanor::inline v1 {

namespace serving {

template <class T>
Result<Call<T>*> EngineState<T>::stream(ModelPointer const& model, Request&& request, CallOptions options,
                                        std::shared_ptr<PartQueue<T>> queue) {
  if (options.cache == CacheMode::only_if_cached)
    return model->refused(make_error(Code::not_found, Reason::not_cached,
                                     "{}: a stream is not cached, and the call reads the cache only",
                                     model->description().id));
  options.cache = CacheMode::skip;
  auto call = make_call(*model, request, options, Env::now());
  if (!call) return call;
  (*call)->handle = model;
  (*call)->inputs.own(std::move(request));
  (*call)->stream = std::move(queue);
  return launch(**call, {&EngineState::on_stream_end, *call});
}

/// The completion of a stream's call. Like any user's, the callback or coroutine that reads runs here: every
/// worker may be busy until long after the deadline.
template <class T>
void EngineState<T>::on_stream_end(void* context, Result<Answer> answer) noexcept {
  auto& ended = *static_cast<CallType*>(context);
  // Its model may fail with the codes of a deadline, a cancellation or a stop.
  bool const given_up =
      !answer && (is_over(ended) || (answer.error().reason == Reason::stopping && ended.engine->stopping()));
  if (CallType* const waiting = ended.stream->end(std::move(answer), given_up)) {
    EngineState& engine = *waiting->engine;
    engine.end_route(*waiting, make_error(Code::cancelled, Reason::cancelled,
                                          "the call was given up while its parts waited for their reader"));
    engine.finish_step(*waiting, CallerKind::worker, Env::now());
  }
  ended.stream->call_waiter();
}

/// The completion runs no user's code any more, so this thread, which may be inside a completion of a user's,
/// may run it or wait for the thread that does.
template <class T>
void EngineState<T>::end_for_reader(CallType& call, Error error) noexcept {
  abandon(call, std::move(error));
  wait_for(call, call_bits::answered);  // the thread that claimed it is about to answer
  auto const references = complete(call);
  // Its end is the completion's last act that the host could notice, and this thread may be inside what
  // follows it.
  if (!call.stream->ready()) wait_for(call, call_bits::completed);
  if (references != 0) call.unref(references);
}

template <class T>
bool EngineState<T>::reader_gave_up(CallType const& call) noexcept {
  return (call.cancellation != nullptr && call.cancellation->is_cancelled()) || Env::now() > call.deadline;
}

/// Of a stream, the thread that keeps time ends the call: callbacks and coroutines run on threads of the
/// engine. It gives them no part, because what waits is dropped before.
template <class T>
void EngineState<T>::cancel(CallType& call) noexcept {
  if (in_child()) return;
  revoke(call);
  // The completion may give up the last handle of the call; only the one of a stream stays with its caller.
  if (call.stream == nullptr) return abandon(call, taken_back(call));
  call.stream->cut_off(taken_back(call));
  on_cancelled(call);
}

template <class T>
void EngineState<T>::wait_for_part(PartQueue<T>& queue) noexcept {
  CallerScope<Env> const scope;
  queue.wait(spins_before_parking_);
}

/// Reads a stream for callbacks, and is gone after the last of them.
template <class T>
struct StreamPump {
  Stream<T> stream;
  StreamCallbacks callbacks;

  static void run(void* context) noexcept {
    auto& self = *static_cast<StreamPump*>(context);
    while (auto part = self.stream.next()) {
      self.callbacks.part(self.callbacks.context, std::move(*part));
      if (self.wait()) return;
    }
    auto const callbacks = self.callbacks;
    Stream<T> const stream = std::move(self.stream);  // the outcome names its model
    delete &self;
    callbacks.end(callbacks.context, stream.outcome());
  }
  /// False if there is something to read.
  bool wait(bool always = false) noexcept;
};

}  // namespace serving

template <ServingTraits T>
Stream<T>::~Stream() {
  if (call_ == nullptr) return;
  if (!outcome_) leave(model_->engine().taken_back(*call_));
  call_->unref();
}

template <ServingTraits T>
void Stream<T>::cancel() const noexcept {
  model_->engine().cancel(*call_);
}

/// Its call ends, and touches nothing of the host's any more.
template <ServingTraits T>
void Stream<T>::leave(Error error) const noexcept {
  auto& engine = model_->engine();
  if (engine.in_child()) return;
  queue_->leave();  // first: nobody who waited is called any more
  engine.end_for_reader(*call_, std::move(error));
}

/// Ends it for the reader, whatever its call does.
template <ServingTraits T>
void Stream<T>::end_with(Error error) noexcept {
  leave(detail::copy_of(error));
  outcome_.emplace(tl::unexpected(std::move(error)));
}

/// A call that was left to the reader goes on without it.
template <ServingTraits T>
void Stream<T>::resume_left() const noexcept {
  if (auto* const call = queue_->take_left()) model_->engine().resume_steps(*call, batching::LendThread::no);
}

template <ServingTraits T>
bool Stream<T>::ready() const noexcept {
  if (outcome_ || model_->engine().in_child() || queue_->ready()) return true;
  resume_left();
  return false;
}

template <ServingTraits T>
bool Stream<T>::call_when_ready(serving::StreamWaiter waiter, bool always) const noexcept {
  resume_left();
  auto const queue = queue_;
  return queue->call_when_ready(waiter, always);
}

template <ServingTraits T>
std::optional<Outputs> Stream<T>::next() noexcept {
  if (outcome_) return std::nullopt;
  auto& engine = model_->engine();
  if (engine.in_child()) {
    end_with(engine.child_error());
    return std::nullopt;
  }
  for (;;) {
    auto taken = queue_->take();
    if (taken.outcome) {
      outcome_ = std::move(taken.outcome);
      return std::nullopt;
    }
    if (taken.cut_off) {
      end_with(std::move(*taken.cut_off));
      return std::nullopt;
    }
    if (taken.parked != nullptr)
      engine.resume_steps(*taken.parked, taken.part ? batching::LendThread::no : batching::LendThread::yes);
    if (taken.part) {
      auto finished = taken.raw ? engine.finish_part(*call_, *taken.part) : Result<void>();
      if (finished && !engine.reader_gave_up(*call_)) return std::move(taken.part);
      end_with(finished ? engine.end_of_wait(*call_) : std::move(finished.error()));
      return std::nullopt;
    }
    if (taken.parked != nullptr) continue;
    if (model_->would_wait_for_itself()) {
      end_with(Model<T>(model_).reentrant());
      return std::nullopt;
    }
    engine.wait_for_part(*queue_);
  }
}

template <ServingTraits T>
Result<Report> Stream<T>::outcome() const noexcept {
  if (!outcome_)
    return fail(Code::failed_precondition, Reason::none, "{}: expected a stream that was read to its end",
                model_->description().id);
  if (!*outcome_) return tl::unexpected(detail::copy_of(outcome_->error()));
  return **outcome_;
}

template <ServingTraits T>
Result<Stream<T>> Model<T>::stream(Request request, CallOptions const& options) const {
  auto queue = std::make_shared<serving::PartQueue<T>>(model_->engine());
  auto call = model_->engine().stream(model_, std::move(request), options, queue);
  if (!call) return tl::unexpected(std::move(call.error()));
  return Stream<T>(model_, **call, std::move(queue));
}

template <ServingTraits T>
Result<Submission<T>> Model<T>::stream(Request request, CallOptions const& options,
                                       StreamCallbacks callbacks) const {
  if (callbacks.part == nullptr || callbacks.end == nullptr)
    return model_->refused(make_error(Code::invalid_argument, Reason::option,
                                      "{}: stream: expected two callbacks, got null", id()));
  auto opened = stream(std::move(request), options);
  if (!opened) return tl::unexpected(std::move(opened.error()));
  serving::Call<T>& call = *opened->call_;
  auto* const pump = new serving::StreamPump<T>{std::move(*opened), callbacks};
  call.owners.fetch_add(1);
  Submission<T> submission(call);
  pump->wait(true);
  return submission;
}

namespace serving {

template <class T>
bool StreamPump<T>::wait(bool always) noexcept {
  return stream.call_when_ready({&StreamPump::run, this}, always);
}

}  // namespace serving

}  // namespace athanor::inline v1
