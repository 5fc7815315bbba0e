// The callers of the simulated world.
#include <algorithm>
#include <new>
#include <vector>

#include <simulation/world.hpp>

namespace athanor_tests {

World::Caller& World::new_caller(SimulatedEvent const& event, std::uint32_t value, SequenceFacts* sequence) {
  Caller& caller = *callers_.emplace_back(std::make_unique<Caller>(*this, event));
  CallRecord& record = caller.record;
  record.model = event.model;
  record.value = value;
  record.items = items_of(value);
  record.cache = event.cache;
  record.sequence = sequence;
  record.of_many = event.kind == Kind::infer_many;
  record.began = simulation_.now();
  Duration const wait = event.deadline.count() < 0 ? script_.options.default_deadline : event.deadline;
  record.deadline = after(record.began, wait);
  caller.memory.fill(event.model, value);
  record.bytes = caller.memory.bytes(event.model, value);
  if (event.token == SimulatedEvent::own_token) caller.token = std::make_shared<Token>();
  if (event.token == 0 || event.token == 1)
    record.cancel_asked = cancel_begun_[static_cast<std::size_t>(event.token)];
  judge_.call_begins(record);
  return caller;
}

CallOptions World::options_of(Caller& caller) {
  SimulatedEvent const& event = caller.event;
  CallOptions options;
  if (event.deadline.count() >= 0) options.deadline = event.deadline;
  options.cache = event.cache;
  if (event.token == SimulatedEvent::own_token) {
    options.cancellation = caller.token.get();
  } else if (event.token >= 0) {
    options.cancellation = &tokens_[static_cast<std::size_t>(event.token)];
  }
  return options;
}

void World::infer(SimulatedEvent const& event) {
  auto const sequence = sequences_.take(event);
  if (keeps_state(event.model) && sequence.handle == nullptr) return;
  Caller& caller = new_caller(event, event.value, sequence.facts);
  Request const request = caller.memory.borrow(event.model, event.value);
  try {
    auto answer = [&] {
      Scope const scope(inside_call);
      FailingMemory const failing(event.memory);
      if (sequence.handle != nullptr) return sequence.handle->infer(request, options_of(caller));
      return model(event.model).infer(request, options_of(caller));
    }();
    end(caller, std::move(answer));
  } catch (std::bad_alloc const&) {
    end_with_exception(caller);
  }
}

// What the request's answer has, in the signature's order; nothing is given before all is.
void World::infer_into(SimulatedEvent const& event) {
  std::int64_t const items = items_of(event.value);
  constexpr float nothing = -1;
  std::vector<Tensor> outputs;
  for (Shape const& shape : {Shape{items, width_of(event.model, event.value)}, Shape{items}}) {
    if (outputs.size() == 1 && event.model != ModelKind::plain) break;
    outputs.push_back(Tensor::allocate(DType::f32, shape).value());
    std::ranges::fill(outputs.back().mutable_as<float>(), nothing);
  }
  if (event.model == ModelKind::ragged || event.model == ModelKind::graph) {  // refused before it is a call
    InputMemory memory;
    memory.fill(event.model, event.value);
    auto const report = model(event.model).infer_into(memory.borrow(event.model, event.value), outputs);
    if (report || report.error().reason != Reason::shape)
      return wrong("a ragged answer was written into a tensor");
    judge_.was_refused(event.model, report.error().code);
    return;
  }
  Caller& caller = new_caller(event, event.value);
  Request const request = caller.memory.borrow(event.model, event.value);
  try {
    auto const report = [&] {
      Scope const scope(inside_call);
      FailingMemory const failing(event.memory);
      return model(event.model).infer_into(request, outputs, options_of(caller));
    }();
    take_back(caller);
    if (!report) {
      judge_.call_ends(caller.record, report.error(), simulation_.now());
      for (Tensor const& output : outputs)
        for (float const value : output.as<float>())
          if (value != nothing) return wrong("a call that failed wrote into its caller's tensors");
      return;
    }
    Tensor const* const edition = outputs.size() > 1 ? &outputs[1] : nullptr;
    judge_.call_ends(caller.record, Given{.report = *report, .y = &outputs[0], .edition = edition},
                     simulation_.now());
  } catch (std::bad_alloc const&) {
    end_with_exception(caller);
  }
}

void World::infer_many(SimulatedEvent const& event) {
  std::vector<Caller*> callers;
  std::vector<Request> requests;
  for (std::uint32_t i = 0; i < event.count; ++i) {
    callers.push_back(&new_caller(event, event.value + i));
    requests.push_back(callers.back()->memory.borrow(event.model, event.value + i));
  }
  try {
    auto answers = [&] {
      Scope const scope(inside_call);
      FailingMemory const failing(event.memory);
      return model(event.model).infer_many(requests, options_of(*callers.front()));
    }();
    if (answers.size() != callers.size()) return wrong("infer_many gave another number of results");
    for (std::size_t i = 0; i < callers.size(); ++i) end(*callers[i], std::move(answers[i]));
  } catch (std::bad_alloc const&) {
    judge_.counts_are_lost(event.model);  // of the calls that had ended before
    for (Caller* const caller : callers) end_with_exception(*caller);
  }
}

void World::submit(SimulatedEvent const& event) {
  auto const sequence = sequences_.take(event);
  if (keeps_state(event.model) && sequence.handle == nullptr) return;
  Caller& caller = new_caller(event, event.value, sequence.facts);
  caller.model.emplace(model(event.model));
  caller.submits = true;
  Request request = event.borrows ? caller.memory.borrow(event.model, event.value)
                                  : caller.memory.copy(event.model, event.value);
  try {
    auto submission = [&] {
      Scope const scope(inside_call);
      FailingMemory const failing(event.memory);
      auto const completion = callback<&Caller::on_answer>(&caller);
      if (sequence.handle != nullptr)
        return sequence.handle->submit(std::move(request), options_of(caller), completion);
      return caller.model->submit(std::move(request), options_of(caller), completion);
    }();
    caller.submits = false;
    if (submission) {
      caller.submission.emplace(std::move(*submission));
    } else {
      end(caller, tl::unexpected(std::move(submission.error())));
    }
  } catch (std::bad_alloc const&) {
    caller.submits = false;
    end_with_exception(caller);
  }
  bool const at_once = event.handles == SimulatedEvent::Handles::dropped_at_once;
  if (at_once || caller.record.returned) drop_handles(caller);
}

/// Its caller takes the memory back at once: a job has copies of what it borrowed.
void World::submit_job(SimulatedEvent const& event) {
  Caller& caller = new_caller(event, event.value);
  caller.record.of_job = true;
  CallOptions options = options_of(caller);
  options.cancellation = nullptr;
  Request request = event.borrows ? caller.memory.borrow(event.model, event.value)
                                  : caller.memory.copy(event.model, event.value);
  Scope const scope(inside_call);
  jobs_.submit(event.target % job_keys, caller.record, model(event.model), std::move(request), options);
  take_back(caller);
}

/// Unless a thread uses them.
void World::drop_handles(Caller& caller) {
  if (caller.event.handles == SimulatedEvent::Handles::kept || caller.submits || caller.cancels > 0) return;
  caller.submission.reset();
  caller.model.reset();
}

void World::complete(Caller& caller, Result<Answer> answer) noexcept {
  SparedMemory const spared;
  // Where no thread can be started, nobody else could run it.
  if (inside_call > 0 && !judge_.refused_threads()) wrong("a completion inside a call of its thread");
  Scope const scope(inside_completion);
  end(caller, std::move(answer));
  if (auto const& inside = caller.event.inside) {
    SimulatedEvent event = caller.event;
    event.kind = *inside;
    event.inside.reset();
    event.memory = 0;
    Scope const calls(calling_);
    perform(event);
  }
  drop_handles(caller);
}

/// The call is over: its caller takes its memory back at once.
void World::end(Caller& caller, Result<Answer> answer) {
  take_back(caller);
  judge_.call_ends(caller.record, answer, simulation_.now());
  if (answer && caller.event.keeps_answer) caller.kept.emplace(std::move(*answer));
}

void World::end_with_exception(Caller& caller) {
  take_back(caller);
  judge_.call_throws(caller.record);
}

void World::take_back(Caller& caller) {
  caller.memory.overwrite();
  caller.memory = {};
  caller.token.reset();
}

void World::cancel_call(std::uint32_t target) {
  if (callers_.empty()) return;
  Caller& caller = *callers_[target % callers_.size()];
  caller.record.cancel_asked = true;
  if (caller.submission) {
    ++caller.cancels;
    caller.submission->cancel();
    --caller.cancels;
    if (caller.record.returned) drop_handles(caller);
  } else if (auto const token = caller.token; token != nullptr) {
    token->cancel();  // which may go on when the call is over
  } else {
    caller.record.cancel_asked = caller.event.token >= 0 && caller.record.cancel_asked;
  }
}

void World::cancel_token(std::size_t target) {
  cancel_begun_[target] = true;
  for (auto const& caller : callers_)
    if (caller->event.token == static_cast<int>(target)) caller->record.cancel_asked = true;
  tokens_[target].cancel();
}

}  // namespace athanor_tests
