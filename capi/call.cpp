#include <optional>

#include "guard.hpp"
#include "handles.hpp"
#include "kept.hpp"
#include "structs.hpp"
#include "tensor_view.hpp"

using namespace athanor;
using namespace athanor::capi;

namespace {

struct GiveResponseBack {
  void operator()(ath_response* response) const noexcept {
    response->answer.outputs = {};
    Kept<ath_response>::give_back(response);
  }
};
using ResponsePointer = std::unique_ptr<ath_response, GiveResponseBack>;

/// Throws std::bad_alloc.
ResponsePointer make_response() { return ResponsePointer(Kept<ath_response>::take()); }

}  // namespace

/// Owned twice: by the host until it releases it, and by the engine until the completion has run.
struct ath_call {
  std::atomic<std::uint32_t> owners{2};
  std::shared_ptr<Origin> origin;
  ath_completion completion = nullptr;
  void* user_data = nullptr;
  ath_finalizer finalizer = nullptr;
  ResponsePointer response;                                // made beforehand: an answer always finds memory
  std::optional<Submission<DefaultServing>> submission{};  // set before the host is given the call

  void release() noexcept {
    if (owners.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
};

namespace {

static_assert(static_cast<int>(CacheState::off) == ATH_CACHE_STATE_OFF &&
              static_cast<int>(CacheState::miss) == ATH_CACHE_STATE_MISS &&
              static_cast<int>(CacheState::hit) == ATH_CACHE_STATE_HIT &&
              static_cast<int>(CacheState::joined) == ATH_CACHE_STATE_JOINED &&
              static_cast<int>(CacheState::refreshed) == ATH_CACHE_STATE_REFRESHED);
static_assert(sizeof(ath_report) % 8 == 0 && offsetof(ath_report, model) == sizeof(std::size_t));

Result<void> check_request(char const* function, ath_request const* request) {
  if (auto given = need(function, {{"request", request}}); !given) return given;
  if (auto own = request->origin().check_process(function); !own) return own;
  return request->refusals.check();
}

void on_answer(void* context, Result<Answer> answer) noexcept {
  auto& call = *static_cast<ath_call*>(context);
  {
    Inside<Origin, SystemEnv> const inside(call.origin.get());
    if (answer) {
      call.response->answer = std::move(*answer);
      call.completion(call.user_data, ATH_OK, call.response.release(), nullptr);
    } else {
      ath_error* error = nullptr;
      std::int32_t const code = give_error(&error, answer.error());
      call.completion(call.user_data, code, nullptr, error);
    }
    if (call.finalizer != nullptr) call.finalizer(call.user_data);
  }
  call.release();
}

/// The call under way; it holds one ownership for the host.
Result<ath_call*> start(ath_request const& request, ath_completion completion, void* user_data,
                        ath_finalizer finalizer) {
  auto call = std::make_unique<ath_call>();
  call->origin = request.source->origin;
  call->completion = completion;
  call->user_data = user_data;
  call->finalizer = finalizer;
  call->response = make_response();
  auto submission = request.model().submit(request.inputs, request.options(), {&on_answer, call.get()});
  if (!submission) return tl::unexpected(std::move(submission.error()));
  call->submission.emplace(std::move(*submission));
  return call.release();
}

/// The finalizer of a call that was not accepted: a callback of the request's engine like any other.
void finish_refused(ath_request const* request, ath_finalizer finalizer, void* user_data) noexcept {
  if (request == nullptr) return finalizer(user_data);
  auto const origin = request->source->origin;  // the finalizer may destroy the request
  Inside<Origin, SystemEnv> const inside(origin.get());
  finalizer(user_data);
}

}  // namespace

std::int32_t ath_infer(const ath_request* request, ath_response** out_response,
                       ath_error** out_error) noexcept {
  if (out_response != nullptr) *out_response = nullptr;
  return guard(out_error, [&]() -> Result<void> {
    if (auto given = need("ath_infer", {{"out_response", out_response}}); !given) return given;
    if (auto valid = check_request("ath_infer", request); !valid) return valid;
    if (request->origin().in_callback())
      return fail(Code::failed_precondition, Reason::reentrant,
                  "ath_infer: called from a callback of the same engine, where it would wait for itself; use "
                  "ath_submit");
    ResponsePointer response = make_response();
    auto answer = request->model().infer(request->inputs, request->options());
    if (!answer) return tl::unexpected(std::move(answer.error()));
    response->answer = std::move(*answer);
    *out_response = response.release();
    return {};
  });
}

std::int32_t ath_submit(const ath_request* request, ath_completion completion, void* user_data,
                        ath_finalizer finalizer, ath_call** out_call, ath_error** out_error) noexcept {
  if (out_call != nullptr) *out_call = nullptr;
  bool accepted = false;
  std::int32_t const code = guard(out_error, [&]() -> Result<void> {
    if (auto valid = check_request("ath_submit", request); !valid) return valid;
    if (auto given = need("ath_submit", {{"completion", reinterpret_cast<void const*>(completion)}}); !given)
      return given;
    auto call = start(*request, completion, user_data, finalizer);
    if (!call) return tl::unexpected(std::move(call.error()));
    accepted = true;
    if (out_call != nullptr) {
      *out_call = *call;
    } else {
      (*call)->release();
    }
    return {};
  });
  if (!accepted && finalizer != nullptr) finish_refused(request, finalizer, user_data);
  return code;
}

void ath_call_cancel(ath_call* call) noexcept {
  if (call != nullptr && !call->origin->forked()) call->submission->cancel();
}

void ath_call_release(ath_call* call) noexcept {
  if (call != nullptr && !call->origin->forked()) call->release();
}

std::size_t ath_response_output_count(const ath_response* response) noexcept {
  return response != nullptr ? response->answer.outputs.size() : 0;
}

std::int32_t ath_response_output(const ath_response* response, const char* name,
                                 ath_tensor_view* view) noexcept {
  if (response == nullptr || name == nullptr || view == nullptr) return ATH_INVALID_ARGUMENT;
  Tensor const* const tensor = response->answer.outputs.find(name);
  if (tensor == nullptr) return ATH_NOT_FOUND;
  return fill_view(view, *tensor) ? ATH_OK : ATH_INVALID_ARGUMENT;
}

std::int32_t ath_response_output_at(const ath_response* response, std::size_t index, const char** out_name,
                                    ath_tensor_view* view) noexcept {
  if (out_name != nullptr) *out_name = nullptr;
  if (response == nullptr || view == nullptr) return ATH_INVALID_ARGUMENT;
  if (index >= response->answer.outputs.size()) return ATH_OUT_OF_RANGE;
  if (!fill_view(view, response->answer.outputs[index])) return ATH_INVALID_ARGUMENT;
  if (out_name != nullptr) *out_name = response->answer.outputs.spec(index).name.c_str();
  return ATH_OK;
}

std::int32_t ath_response_report(const ath_response* response, ath_report* out) noexcept {
  if (response == nullptr || out == nullptr) return ATH_INVALID_ARGUMENT;
  Report const& report = response->answer.report;
  ath_report filled = ATH_REPORT_INIT;
  filled.model = report.model.data() != nullptr ? report.model.data() : "";
  filled.prepare_ns = report.prepare.count();
  filled.queue_ns = report.queue.count();
  filled.compute_ns = report.compute.count();
  filled.total_ns = report.total.count();
  filled.delivered_ns = report.delivered.count();
  filled.cache = static_cast<std::int32_t>(report.cache);
  filled.on_caller = report.on_caller ? 1 : 0;
  filled.attempts = report.attempts;
  filled.batch_items = report.batch_items;
  filled.members = report.members;
  return write_struct(out, filled) ? ATH_OK : ATH_INVALID_ARGUMENT;
}

void ath_response_destroy(ath_response* response) noexcept {
  if (response != nullptr) GiveResponseBack{}(response);
}
