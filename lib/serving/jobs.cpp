#include <athanor/serving/jobs.hpp>

namespace athanor::inline v1 {

std::string_view to_string(JobState state) noexcept {
  switch (state) {
    case JobState::pending: return "pending";
    case JobState::succeeded: return "succeeded";
    case JobState::failed: return "failed";
    case JobState::cancelled: return "cancelled";
  }
  return "unknown";
}

Result<void> serving::validate(JobOptions const& options) {
  if (options.retention.count() <= 0)
    return fail(Code::invalid_argument, Reason::option, "jobs: retention: expected more than 0 ns, got {}",
                options.retention.count());
  if (options.max_jobs < 1)
    return fail(Code::invalid_argument, Reason::option, "jobs: max_jobs: expected at least 1, got {}",
                options.max_jobs);
  return {};
}

template class serving::JobTable<DefaultServing>;
template class Jobs<DefaultServing>;

}  // namespace athanor::inline v1
