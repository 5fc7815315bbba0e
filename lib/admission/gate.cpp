#include <athanor/admission/gate.hpp>

#include <algorithm>

namespace athanor::inline v1 {

namespace admission {

Result<void> validate(GateOptions const& options) {
  auto const too_small = [](char const* name, std::int64_t got) {
    return fail(Code::invalid_argument, Reason::option, "admission: {}: expected at least 1, got {}", name,
                got);
  };
  if (options.max_items < 1) return too_small("max_items", options.max_items);
  if (options.max_bytes < 1) return too_small("max_bytes", options.max_bytes);
  return {};
}

Result<void> admit_work(TimePoint predicted_completion, TimePoint latest_deadline, TimePoint now) {
  if (latest_deadline <= now)
    return fail(Code::deadline_exceeded, Reason::deadline_waiting,
                "admission: the deadline passed before the work began");
  if (predicted_completion <= latest_deadline) return {};
  auto const milliseconds = [now](TimePoint at) { return static_cast<double>((at - now).count()) * 1e-6; };
  auto refusal =
      fail(Code::resource_exhausted, Reason::expected_wait,
           "admission: the work is predicted to end in {:.3f} ms, after the latest deadline in {:.3f} ms",
           milliseconds(predicted_completion), milliseconds(latest_deadline));
  refusal.value().retry_after =
      std::clamp(predicted_completion - latest_deadline, shortest_retry, longest_retry);
  return refusal;
}

Duration retry_estimate(std::int64_t excess, double rate_per_second, std::uint64_t random) noexcept {
  constexpr double unknown_rate_wait = 0.1;
  double const seconds =
      rate_per_second > 0 ? static_cast<double>(excess) / rate_per_second : unknown_rate_wait;
  double const stretch = 1.0 + 0.5 * static_cast<double>(random >> 11) * 0x1p-53;
  double const shortest = std::chrono::duration<double>(shortest_retry).count();
  double const longest = std::chrono::duration<double>(longest_retry).count();
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(
      std::clamp(std::clamp(seconds, shortest, longest) * stretch, shortest, longest)));
}

}  // namespace admission

template class Gate<SystemEnv>;

}  // namespace athanor::inline v1
