// Submits, watches and cancels the jobs of the simulated world, and judges what their table says.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <athanor/core/simulation.hpp>
#include <athanor/serving/jobs.hpp>
#include <simulation/judge.hpp>

namespace athanor_tests {

// One job, as its submitter knows it.
struct JobFacts {
  CallRecord* call = nullptr;
  std::uint32_t key = 0;
  std::uint64_t table = 0;
  TimePoint began{};  // its submission,
  Order from = 0;
  TimePoint ended{};  // which has ended when `until` is not 0
  Order until = 0;
  bool accepted = false;
  bool cancel_asked = false;           // or about to be
  bool to_be_forgotten = false;        // or it may have been
  Order forgotten = 0;                 // since then it is gone for certain; 0: it may be there
  JobState state = JobState::pending;  // as it was seen
  Order seen = 0;                      // that it is not pending
  TimePoint finished{};
  Order settled = 0;  // its end was seen, or nobody will see it
};

template <class T>
class JobDesk {
 public:
  JobDesk(Simulation& simulation, Judge& judge, JobOptions const& options)
      : simulation_(simulation), judge_(judge), options_(options) {}

  // Who uses a table keeps it.
  std::shared_ptr<Jobs<T>> open() {
    if (table_ == nullptr) table_ = std::make_shared<Jobs<T>>(Jobs<T>::create(options_).value());
    return table_;
  }

  // `call` is its record, which has begun, and must outlive the desk.
  void submit(std::uint32_t key, CallRecord& call, Model<T> const& model, Request request,
              CallOptions const& options) {
    JobFacts& job = jobs_.emplace_back();
    job = {.call = &call, .key = key, .table = tables_, .began = call.began, .from = call.from};
    auto const table = open();
    auto const submitted = table->submit(name_of(key), model, std::move(request), options);
    job.ended = simulation_.now();
    job.until = judge_.tick();
    job.accepted = submitted && *submitted;
    if (job.accepted) {
      judge_accepted(job);
      if (job.table != tables_) settle(job);
      return;
    }
    job.settled = job.until;
    if (!submitted && !is_of_table(submitted.error()))
      return judge_.call_ends(call, submitted.error(), job.ended);
    judge_.call_is_none(call);
    if (!submitted) return judge_refused(job);
    if (std::ranges::none_of(jobs_, [&](JobFacts const& other) {
          return &other != &job && is_there(other, Look{job.key, job.table, job.from, job.began});
        }))
      judge_.wrong("a job was not begun, and there is none of its key");
  }

  void look(SimulatedEvent const& event) {
    auto const table = open();
    Look const look = begin(event);
    judge_status(look, table->status(name_of(look.key)));
  }

  void wait(SimulatedEvent const& event) {
    auto const table = open();
    Look const look = begin(event);
    auto const status = table->wait(name_of(look.key), event.time);
    if (status && status->state == JobState::pending && simulation_.now() < after(look.at, event.time))
      judge_.wrong("a wait for a job ended before it, and before its time");
    judge_status(look, status);
  }

  // Once cancelled, a job stays so.
  void cancel(SimulatedEvent const& event) {
    auto const table = open();
    Look const look = begin(event);
    auto const mark = [&] {
      for (JobFacts& job : jobs_)
        if (is_there(job, look)) job.cancel_asked = job.call->cancel_asked = true;
    };
    mark();
    ++cancelling_[look.key];
    auto const state = table->cancel(name_of(look.key));
    --cancelling_[look.key];
    mark();  // also those that have come since
    if (!state) return judge_missing(look, state.error());
    if (*state == JobState::pending) judge_.wrong("a cancelled job is pending");
    if (JobFacts* const job = only_one(look)) {
      if (has_changed(*job, look, *state))
        judge_.wrong("a job that had ended ended again, by a cancellation");
      if (*state == JobState::cancelled) see(*job, *state);
    }
    judge_status(look, table->status(name_of(look.key)));
  }

  void forget(SimulatedEvent const& event) {
    auto const table = open();
    Look const look = begin(event);
    ++forgetting_[look.key];
    auto const forgotten = table->forget(name_of(look.key));
    --forgetting_[look.key];
    for (JobFacts& job : jobs_)
      if (is_there(job, look)) job.to_be_forgotten = true;
    JobFacts* const job = only_one(look);
    if (forgotten) {
      if (job != nullptr && job->until != 0) job->forgotten = judge_.tick();
      return;
    }
    if (forgotten.error().code != Code::failed_precondition) return judge_missing(look, forgotten.error());
    if (job != nullptr && job->settled != 0 && job->settled < look.from)
      judge_.wrong("a job that has ended was not forgotten: " + to_string(forgotten.error()));
  }

  // Its jobs are cancelled, and nobody sees what comes of their calls.
  void drop() {
    for (JobFacts& job : jobs_)
      if (job.table == tables_) job.cancel_asked = job.call->cancel_asked = true;
    auto const old = std::exchange(table_, nullptr);
    std::uint64_t const number = tables_++;
    for (JobFacts& job : jobs_)
      if (job.table == number && job.accepted) settle(job);
  }

  // When nobody acts. What is looked at so early is known when it ends.
  void look_at_all() {
    if (table_ == nullptr) return;
    for (std::uint32_t key = 0; key < job_keys; ++key) {
      if (std::ranges::none_of(jobs_,
                               [&](JobFacts const& job) { return job.key == key && job.table == tables_; }))
        continue;
      Look const look = begin(key);
      auto const status = table_->status(name_of(key));
      judge_status(look, status);
      settle_others(key, status ? &*status : nullptr);
    }
  }

  static bool refuses_child(std::shared_ptr<Jobs<T>> const& table, Model<T> const& model,
                            Request const& request) {
    auto const refused = [](auto const& result) {
      return !result && result.error().code == Code::failed_precondition;
    };
    return refused(table->submit("child", model, request)) && refused(table->status("child")) &&
           refused(table->wait("child", Duration{0})) && refused(table->cancel("child")) &&
           refused(table->forget("child")) && table->size() == 0;
  }

 private:
  // A question to the table, as it begins.
  struct Look {
    std::uint32_t key;
    std::uint64_t table;
    Order from;
    TimePoint at;
  };
  Look begin(std::uint32_t key) { return {key, tables_, judge_.tick(), simulation_.now()}; }
  Look begin(SimulatedEvent const& event) { return begin(event.target % job_keys); }

  static std::string name_of(std::uint32_t key) { return "job-" + std::to_string(key); }
  static bool is_of_table(Error const& error) {
    return error.reason == Reason::queue_full && error.message.starts_with("job ");
  }

  // Whether the table may have it then or later.
  bool is_there(JobFacts const& job, Look const& look) const {
    if (job.key != look.key || job.table != look.table) return false;
    if (job.until != 0 && !job.accepted)
      return job.until > look.from;  // one that was refused was there until then
    bool const expired = job.finished != TimePoint{} && after(job.finished, options_.retention) <= look.at;
    return !expired && (job.forgotten == 0 || job.forgotten > look.from);
  }
  // Whether the table must have it until now.
  bool is_certain(JobFacts const& job, Look const& look) const {
    bool const kept = !job.to_be_forgotten && forgetting_[job.key] == 0 &&
                      simulation_.now() < after(job.began, options_.retention);
    // A full table makes place for others.
    return job.key == look.key && job.table == look.table && job.table == tables_ && job.accepted &&
           job.until < look.from && kept && options_.max_jobs > jobs_.size();
  }
  JobFacts* only_one(Look const& look) {
    JobFacts* found = nullptr;
    for (JobFacts& job : jobs_) {
      if (!is_there(job, look)) continue;
      if (found != nullptr) return nullptr;
      found = &job;
    }
    return found;
  }

  void judge_accepted(JobFacts& job) {
    Look const look{job.key, job.table, job.from, job.began};
    for (JobFacts const& other : jobs_)
      if (&other != &job && is_certain(other, look)) judge_.wrong("two jobs of one key");
  }

  void judge_refused(JobFacts const& job) {
    auto const may_be_pending = [&](JobFacts const& other) {
      return &other != &job && other.table == job.table && (other.settled == 0 || other.settled > job.from);
    };
    if (static_cast<std::size_t>(std::ranges::count_if(jobs_, may_be_pending)) < options_.max_jobs)
      judge_.wrong("a table of jobs that is not full is full");
  }

  void judge_missing(Look const& look, Error const& error) {
    if (error.code != Code::not_found) return judge_.wrong("a table of jobs: " + to_string(error));
    for (JobFacts const& job : jobs_)
      if (is_certain(job, look)) judge_.wrong("a job is lost: " + to_string(error));
  }

  void judge_status(Look const& look, Result<JobStatus> const& status) {
    if (!status) return judge_missing(look, status.error());
    bool const pending = status->state == JobState::pending;
    if (pending != (status->outcome == nullptr))
      return judge_.wrong("a job with an outcome, or none, too early");
    if (!pending) {
      auto const& outcome = *status->outcome;
      if (outcome.has_value() != (status->state == JobState::succeeded) ||
          (status->state == JobState::cancelled && outcome.error().code != Code::cancelled))
        judge_.wrong("a job whose outcome is not what its state says");
      if (status->finished < status->submitted || status->finished > simulation_.now())
        judge_.wrong("a job that finished before it began, or later than now");
    }
    if (std::ranges::none_of(jobs_, [&](JobFacts const& job) { return is_there(job, look); }))
      return judge_.wrong("a job that nobody submitted, or that was to be forgotten");
    JobFacts* const job = only_one(look);
    if (job == nullptr || job->table != tables_) return;
    if (has_changed(*job, look, status->state))
      return judge_.wrong("a job that had ended changed its state to " +
                          std::string(to_string(status->state)));
    if (status->state == JobState::cancelled && !job->cancel_asked && cancelling_[look.key] == 0)
      judge_.wrong("a job was cancelled, and by nobody");
    if (pending || job->settled != 0 || job->until == 0) return;
    see(*job, status->state);
    job->finished = status->finished;
    if (status->state == JobState::cancelled) return settle(*job);
    job->settled = judge_.tick();
    judge_.call_ends(*job->call, *status->outcome, simulation_.now());
  }

  void see(JobFacts& job, JobState state) {
    if (job.seen == 0) job.seen = judge_.tick();
    job.state = state;
  }
  // Whether it had been seen to end otherwise before that look.
  static bool has_changed(JobFacts const& job, Look const& look, JobState state) {
    return job.seen != 0 && job.seen < look.from && job.state != state;
  }

  // Of a key's accepted jobs, the table has at most the one of `status`. One whose submit took so long that
  // it may have been accepted when that one was cannot be told from it: of neither anything is expected.
  void settle_others(std::uint32_t key, JobStatus const* status) {
    auto const is_of_key = [&](JobFacts const& job) {
      return job.key == key && job.table == tables_ && job.accepted;
    };
    auto const may_be_it = [&](JobFacts const& job) {
      return is_of_key(job) && status != nullptr && job.began <= status->submitted &&
             status->submitted <= job.ended;
    };
    bool const is_known = std::ranges::count_if(jobs_, may_be_it) == 1;
    for (JobFacts& job : jobs_) {
      if (may_be_it(job)) {
        if (!is_known) settle(job);
      } else if (is_of_key(job)) {
        be_gone(job);
      }
    }
  }

  void be_gone(JobFacts& job) {
    settle(job);
    if (job.forgotten == 0) job.forgotten = judge_.tick();
  }

  // Nobody will see what comes of its call.
  void settle(JobFacts& job) {
    if (job.settled != 0) return;
    job.settled = judge_.tick();
    judge_.call_is_unseen(*job.call);
  }

  Simulation& simulation_;
  Judge& judge_;
  JobOptions const options_;
  std::shared_ptr<Jobs<T>> table_;
  std::uint64_t tables_ = 0;  // that have ended
  std::array<int, job_keys> cancelling_{};
  std::array<int, job_keys> forgetting_{};
  std::deque<JobFacts> jobs_;
};

}  // namespace athanor_tests
