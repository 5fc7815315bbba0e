/// Jobs: calls that are identified by a key and outlive the function that submitted them. Any thread that has
/// the key can ask for the state, wait for the end, or cancel; a finished job is kept for a time.
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

/// The state of a job. A job starts as pending and changes its state once; the other states are final.
enum class JobState : std::uint8_t {
  pending,    ///< accepted, not yet answered
  succeeded,  ///< answered
  failed,     ///< ended with an error
  cancelled,  ///< cancelled before it was answered
};
/// The enumerator's name.
std::string_view to_string(JobState state) noexcept;

/// Options of a table of jobs.
struct JobOptions {
  /// How long a finished job is kept. More than 0.
  Duration retention = std::chrono::hours(24);
  /// Maximum number of jobs kept, pending or finished, at least 1. In a full table an accepted job replaces
  /// the one that finished first; it is rejected if all are pending.
  std::size_t max_jobs = 10'000;
};

/// A snapshot of one job.
struct JobStatus {
  JobState state = JobState::pending;
  TimePoint submitted{};  ///< when `submit` accepted the job
  TimePoint finished{};   ///< when it was answered, failed or cancelled; undefined while pending
  /// The answer or the error; null while the job is pending. Remains valid after the table has dropped the
  /// job.
  std::shared_ptr<Result<Answer> const> outcome{};
};

namespace serving {
/// invalid_argument (Reason::option) naming the option, its value and what it may be.
Result<void> validate(JobOptions const& options);

template <ServingTraits T>
class JobTable;
}  // namespace serving

/// A table of jobs, which may call models of several engines. Thread-safe. In a child of a fork, every
/// function that returns a Result fails with failed_precondition.
template <ServingTraits T = DefaultServing>
class Jobs {
 public:
  /// Checks the options.
  static Result<Jobs> create(JobOptions const& options = {});
  Jobs(Jobs&&) noexcept = default;
  /// Cancels the pending jobs of the table that this object held, as the destructor does.
  Jobs& operator=(Jobs&& other) noexcept {
    Jobs old(std::move(other));
    std::swap(table_, old.table_);
    return *this;
  }
  /// Cancels the pending jobs. Does not wait for them.
  ~Jobs();

  /// Submits `request` under `key` and returns true. If there already is a job of that key, pending or
  /// finished, returns false and starts nothing: however many threads submit one key, there is one job. The
  /// job can be found before its call begins. Borrowed tensors of the request are copied. Fails like
  /// Model::submit, and then keeps no job; with invalid_argument for an empty key or a non-null
  /// `options.cancellation`, as a job is cancelled by its key; and with resource_exhausted if the table is
  /// full of pending jobs.
  Result<bool> submit(std::string key, Model<T> const& model, Request request,
                      CallOptions const& options = {});
  /// The job as it is now. This and the functions below fail with not_found if there is no job of that key.
  Result<JobStatus> status(std::string_view key) const;
  /// Blocks until the job is finished or `time` has passed; in the latter case the state is `pending`. Any
  /// number of threads may wait for one job. Like every blocking call, must not be called inside a backend or
  /// a completion of the job's engine.
  Result<JobStatus> wait(std::string_view key, Duration time) const;
  /// Cancels the job if it is pending. Returns its final state: `cancelled`, even if an answer arrives later,
  /// or the state in which it had already finished.
  Result<JobState> cancel(std::string_view key);
  /// Drops a finished job, so that its key may be used again. Fails with failed_precondition while it is
  /// pending.
  [[nodiscard]] Result<void> forget(std::string_view key);
  /// The number of jobs kept, pending or finished.
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
