// The real engine over a puppet in a simulated world: what happens when is the test's to say.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <support/puppet.hpp>
#include <support/simulated_serving.hpp>

namespace athanor_tests {

class SimulatedEngine : public Puppet {
 public:
  using State = serving::EngineState<SimulatedServing>;
  using CallType = serving::Call<SimulatedServing>;

  Simulation world;
  ModelFolder folder;
  std::shared_ptr<State> state;
  serving::ServedModel<SimulatedServing>* served;

  explicit SimulatedEngine(std::string_view manifest = "", EngineOptions options = {}, std::uint64_t seed = 1,
                           Turns const& turns = {}, std::string_view tensors = puppet_tensors)
      : world(seed, turns), folder(manifest, "puppet", "1.0.0", tensors) {
    state = std::make_shared<State>(options);
    [[maybe_unused]] bool const added = state->add_backend(table).has_value();
    served = state->add(folder.path()).value().get();
  }
  ~SimulatedEngine() { state->stop(Duration{0}); }

  // One asynchronous call and what came of it.
  struct Ticket {
    std::optional<Result<Answer>> answer;
    std::optional<Error> refusal;
    CallType* call = nullptr;
    ~Ticket() {
      if (call != nullptr) call->unref();
    }
    bool done() const { return answer.has_value() || refusal.has_value(); }
    bool has_value() const { return answer.has_value() && answer->has_value(); }
    Error const& error() const { return refusal ? *refusal : answer->error(); }
    float y(std::size_t index = 0) const { return (*answer)->outputs["y"].as<float>()[index]; }
  };

  std::unique_ptr<Ticket> submit(Request request, CallOptions const& options = {}) {
    auto ticket = std::make_unique<Ticket>();
    auto call =
        state->submit(state->handle_of(*served), std::move(request), options, {&on_answer, ticket.get()});
    if (call) {
      ticket->call = *call;
    } else {
      ticket->refusal = call.error();
    }
    return ticket;
  }
  // All of them, until nothing is left to do.
  std::vector<std::unique_ptr<Ticket>> submit_all(std::vector<Request> requests) {
    std::vector<std::unique_ptr<Ticket>> tickets;
    for (auto& request : requests) tickets.push_back(submit(std::move(request)));
    world.run_until_idle();
    return tickets;
  }
  // A blocking call; others act while it waits.
  Result<Answer> infer(Request const& request, CallOptions const& options = {}) {
    auto call = state->make_call(*served, request, options, SimulatedEnv::now());
    if (!call) return tl::unexpected(call.error());
    state->start(**call);
    state->wait(**call);
    return state->collect(**call);
  }
  void cancel(Ticket& ticket) { state->abandon(*ticket.call, State::taken_back(*ticket.call)); }

 private:
  static void on_answer(void* context, Result<Answer> answer) noexcept {
    static_cast<Ticket*>(context)->answer.emplace(std::move(answer));
  }
};

}  // namespace athanor_tests
