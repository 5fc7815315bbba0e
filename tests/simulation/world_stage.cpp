// What the backend and the processor of the simulated world do.
#include <algorithm>

#include <simulation/world.hpp>

namespace athanor_tests {

Result<void> World::load(ModelKind kind, std::uint32_t) {
  Scope const scope(inside_);
  judge_.file_load_begins(kind);
  struct End {
    Judge& judge;
    ModelKind kind;
    ~End() { judge.file_load_ends(kind); }
  } const end{judge_, kind};
  if (script_.faults.slow) simulation_.sleep(Duration(simulation_.below(3'000'000)));
  if (happens(script_.faults.load_stalls)) {
    judge_.load_failed(kind);
    simulation_.sleep(std::chrono::milliseconds(20 + simulation_.below(80)));
  }
  if (happens(script_.faults.load_fails)) {
    judge_.load_failed(kind);
    return fail(Code::internal, Reason::model_load, "a load that fails");
  }
  ++loads_;
  return {};
}

RunEnd World::run(ModelKind kind, std::uint32_t member, std::vector<SeenRow> const& rows) {
  auto const index = static_cast<std::size_t>(kind);
  ModelTraits const& traits = traits_of(kind);
  Execution execution{kind, member, {}, simulation_.now(), judge_.tick()};
  for (SeenRow const& row : rows)
    if (std::ranges::find(execution.values, row.value) == execution.values.end())
      execution.values.push_back(row.value);
  if (rows.size() > static_cast<std::size_t>(traits.max_items)) wrong("a batch above its limit");
  ++inside_;
  if (++inside_of_[index] > static_cast<int>(traits.instances) * (1 + replacements_))
    wrong("more batches at once than instances");
  if (script_.faults.slow && simulation_.below(2) == 0)
    simulation_.sleep(Duration(simulation_.below(1'500'000)));
  if (happens(script_.faults.hang)) hangs_end_.wait_until(0, no_deadline);
  RunEnd end;
  Faults const& faults = script_.faults;
  bool const poisoned = std::ranges::any_of(execution.values, is_poison);
  if (poisoned) {
    end.result = fail(Code::internal, Reason::backend_failure, "poison");
  } else if (happens(faults.error) || failing_runs_ > 0) {
    failing_runs_ -= std::min(failing_runs_, 1U);
    end.result = fail(Code::internal, Reason::backend_failure, "a passing failure");
  } else if (happens(faults.no_memory)) {
    end.result = fail(Code::resource_exhausted, Reason::out_of_memory, "no memory");
  } else if (happens(faults.throws)) {
    end.throws = true;
    execution.error = Error{Code::internal, Reason::backend_failure, "thrown", {}};
  } else if (happens(faults.short_rows) || happens(faults.long_rows)) {
    end.rows_too_many = faults.short_rows ? -1 : 1;
    execution.error = Error{Code::internal, Reason::backend_contract, "rows", {}};
  }
  if (!end.result) execution.error = end.result.error();
  --inside_of_[index];
  --inside_;
  execution.ended = simulation_.now();
  execution.until = judge_.tick();
  judge_.notice_memory();
  judge_.run_ends(execution);
  end.memory = next_failure();
  return end;
}

// The time that a processor takes.
void World::dawdle() {
  ++inside_;
  if (script_.faults.slow && simulation_.below(4) == 0)
    simulation_.sleep(Duration(simulation_.below(400'000)));
  --inside_;
}

Result<void> World::preprocess(std::uint32_t value) {
  dawdle();
  if (is_refused_by_processor(value))
    return fail(Code::invalid_argument, Reason::syntax, "not for this processor");
  return {};
}

}  // namespace athanor_tests
