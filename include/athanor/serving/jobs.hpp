/// Jobs: calls that are known by a key and outlive the function that submitted them. Whoever knows the key asks for
/// the state, waits for the end, or cancels; a finished job is kept for a while.
///
///     auto jobs = athanor::Jobs<>::create({.retention = 1h}).value();
///     jobs.submit("order-17", model, {{"smiles", "*CC(*)c1ccccc1"}}, {.deadline = 10min}).value();
///     auto job = jobs.wait("order-17", 30s).value();
///     if (job.state == athanor::JobState::succeeded) use((*job.outcome)->outputs);
///
/// Jobs are held in memory only: they are lost when the process ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <athanor/serving/engine.hpp>

namespace athanor::inline v1 {

/// What a job has come to. A job is pending first and has one of the other states once; none is ever left.
enum class JobState : std::uint8_t {
  pending,    ///< accepted, and not answered yet
  succeeded,  ///< answered
  failed,     ///< ended with an error
  cancelled,  ///< cancelled before it was answered
};
/// The enumerator's name.
std::string_view to_string(JobState state) noexcept;

/// Options of a table of jobs.
struct JobOptions {
  /// How long a finished job is kept, more than 0.
  Duration retention = std::chrono::hours(24);
  /// How many jobs are kept at once, pending or finished, at least 1. One more takes the place of the job that has
  /// been finished for the longest time once its call is accepted, and is rejected when that many are pending.
  std::size_t max_jobs = 10'000;
};

/// A job at one moment.
struct JobStatus {
  JobState state = JobState::pending;
  TimePoint submitted{};  ///< when `submit` accepted the job
  TimePoint finished{};   ///< when it left `pending`; meaningless before
  /// The answer or the error; null while the job is pending. Stays valid when the table drops the job.
  std::shared_ptr<Result<Answer> const> outcome{};
};

namespace serving {
/// invalid_argument (Reason::option) naming the option, its value and what it may be.
Result<void> validate(JobOptions const& options);

template <ServingTraits T>
class JobTable;
}  // namespace serving

/// A table of jobs, for models of any number of engines. Thread-safe. In a child of a fork each function that returns a
/// Result fails with failed_precondition.
template <ServingTraits T = DefaultServing>
class Jobs {
 public:
  /// Checks the options.
  static Result<Jobs> create(JobOptions const& options = {});
  Jobs(Jobs&&) noexcept = default;
  /// Cancels the pending jobs of the table that this handle held, like the destructor.
  Jobs& operator=(Jobs&& other) noexcept {
    Jobs old(std::move(other));
    std::swap(table_, old.table_);
    return *this;
  }
  /// Cancels the pending jobs. Does not wait for them.
  ~Jobs();

  /// Submits `request` under `key` and returns true. If there is a job of that key already, pending or finished, returns
  /// false and starts nothing: any number of threads that submit one key make one job. The job can be found from before
  /// its call begins. Borrowed tensors of the request are copied. Fails like Model::submit, and then keeps nothing; with
  /// invalid_argument for an empty key and for `options.cancellation`, since a job is cancelled by its key; and with
  /// resource_exhausted when the table is full of pending jobs.
  Result<bool> submit(std::string key, Model<T> const& model, Request request,
                      CallOptions const& options = {});
  /// The job as it is now. This and the functions below fail with not_found when there is no job of that key.
  Result<JobStatus> status(std::string_view key) const;
  /// Blocks until the job is finished or `time` has passed; in the second case the state is `pending`. Any number of
  /// threads may wait for one job. As with any blocking call, not from inside a backend or a completion of its engine.
  Result<JobStatus> wait(std::string_view key, Duration time) const;
  /// Cancels the job if it is pending and returns the state that it has then for good: `cancelled`, also when an answer
  /// arrives afterwards, or what the job had finished with before.
  Result<JobState> cancel(std::string_view key);
  /// Drops a finished job, so that its key may be used again. Fails with failed_precondition while it is pending.
  [[nodiscard]] Result<void> forget(std::string_view key);
  /// How many jobs are kept, pending or finished.
  std::size_t size() const;

 private:
  explicit Jobs(std::shared_ptr<serving::JobTable<T>> table) noexcept : table_(std::move(table)) {}
  std::shared_ptr<serving::JobTable<T>> table_;
};

}  // namespace athanor::inline v1

#include <athanor/serving/detail/jobs.ipp>

namespace athanor::inline v1 {

extern template class serving::JobTable<DefaultServing>;
extern template class Jobs<DefaultServing>;

}  // namespace athanor::inline v1
