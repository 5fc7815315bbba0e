/* Calls that are answered later. */
/* NOLINTNEXTLINE(bugprone-reserved-identifier): POSIX says so */
#define _POSIX_C_SOURCE 200809L
#include <malloc.h>
#include <sched.h>
#include <time.h>

#include "call_log.h"
#include "check.h"
#include "puppet.h"

/* mutant: an answer is completed although its submitter is still inside */
static void once_and_later(void) {
  static const float row[2] = {1, 2};
  puppet_world on = puppet_begin(NULL, row);
  ath_error* error = NULL;
  call_log log;
  int i;
  begin_log(&log);
  for (i = 1; i <= 20; ++i) {
    CHECK_OK(ath_submit(on.request, on_answer, &log, on_end, NULL, &error));
    wait_for(&log, i);
    CHECK(log.code == ATH_OK && log.first == 2 && log.completions == i);
  }
  CHECK(log.on_submitter == 0 && log.after_finalizer == 0);
  puppet_end(&on);
  CHECK(log.completions == 20 && log.finalizers == 20);
  end_log(&log);
}

/* mutant: a refused submit calls no finalizer */
static void refused(void) {
  puppet_world on = puppet_begin(NULL, NULL);
  ath_call* call = (ath_call*)1;
  ath_error* error = NULL;
  call_log log;
  begin_log(&log);
  CHECK_REFUSED(ath_submit(on.request, on_answer, &log, on_end, &call, &error), ATH_INVALID_ARGUMENT,
                ATH_REASON_MISSING_INPUT, "x");
  CHECK(call == NULL && log.completions == 0 && log.finalizers == 1);
  CHECK_REFUSED(ath_submit(NULL, on_answer, &log, on_end, &call, &error), ATH_INVALID_ARGUMENT,
                ATH_REASON_NONE, "request");
  CHECK(log.completions == 0 && log.finalizers == 2);
  puppet_end(&on);
  end_log(&log);
}

/* mutant: a cancelled call goes on */
static void cancel(void) {
  static const float row[2] = {1, 2};
  puppet_world on = puppet_begin("{\"threads\": 2}", row);
  ath_request* holding = puppet_request(on.model, hold);
  ath_call* held = NULL;
  ath_call* call = NULL;
  ath_error* error = NULL;
  call_log held_log;
  call_log log;
  const int before = puppet_runs();
  begin_log(&log);
  hold_instance(holding, &held_log, &held);
  CHECK_OK(ath_submit(on.request, on_answer, &log, on_end, &call, &error));
  ath_call_cancel(call);
  wait_for(&log, 1);
  CHECK(log.code == ATH_CANCELLED && log.completions == 1);
  ath_call_cancel(call);
  CHECK(log.completions == 1);
  puppet_let_go();
  wait_for(&held_log, 1);
  CHECK(held_log.code == ATH_OK && held_log.first == PUPPET_HOLD + 1);
  ath_request_destroy(holding);
  puppet_end(&on);
  CHECK(puppet_runs() == before + 1);
  ath_call_cancel(call);
  ath_call_release(call);
  ath_call_release(held);
  CHECK(log.completions == 1 && held_log.completions == 1);
  end_log(&held_log);
  end_log(&log);
}

static void on_cancelled(void* user_data, int32_t code, ath_response* response, ath_error* error) {
  CHECK(code == ATH_CANCELLED && response == NULL);
  ath_error_destroy(error);
  ath_call_release(*(ath_call**)user_data);
}

/* mutant: a cancelled call is read when its completion has returned */
static void released_inside_cancel(void) {
  enum { count = 100 }; /* more than are kept for reuse */
  static const float row[2] = {1, 2};
  puppet_world on = puppet_begin("{\"threads\": 2, \"cache_bytes\": 0}", row);
  ath_request* holding = puppet_request(on.model, hold);
  ath_call* calls[count];
  ath_error* error = NULL;
  call_log log;
  int i;
  hold_instance(holding, &log, NULL);
  for (i = 0; i < count; ++i)
    CHECK_OK(ath_submit(on.request, on_cancelled, &calls[i], NULL, &calls[i], &error));
  mallopt(M_PERTURB, 0x55); /* memory that is freed is overwritten */
  for (i = 0; i < count; ++i) ath_call_cancel(calls[i]);
  mallopt(M_PERTURB, 0);
  puppet_let_go();
  wait_for(&log, 1);
  ath_request_destroy(holding);
  puppet_end(&on);
  end_log(&log);
}

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* mutant: a report takes the time in the queue for that in the model */
/* mutant: a report takes the time in the model for that in the queue */
static void tells_waiting_from_running(void) {
  static const float row[2] = {1, 2};
  puppet_world on = puppet_begin("{\"threads\": 2}", hold);
  ath_request* behind = puppet_request(on.model, row);
  ath_error* error = NULL;
  call_log held;
  call_log queued;
  int64_t from;
  int64_t waited;
  begin_log(&queued);
  hold_instance(on.request, &held, NULL);
  CHECK_OK(ath_submit(behind, on_answer, &queued, on_end, NULL, &error));
  from = now_ns();
  do {
    sched_yield();
    waited = now_ns() - from;
  } while (waited < 10000000);
  puppet_let_go();
  wait_for(&held, 1);
  wait_for(&queued, 1);
  CHECK(held.report.compute_ns >= waited && queued.report.queue_ns >= waited);
  ath_request_destroy(behind);
  puppet_end(&on);
  end_log(&queued);
  end_log(&held);
}

/* A completion that calls its own engine again. */
typedef struct again {
  call_log log;
  const ath_request* request; /* not the one that is being answered */
  ath_engine* engine;
  const char* folder; /* of a model that is not known yet */
  int32_t load_code;
  int32_t load_reason;
  int32_t infer_code;
  int32_t infer_reason;
  int32_t submit_code;
} again;

static void on_answer_again(void* user_data, int32_t code, ath_response* response, ath_error* error) {
  again* on = user_data;
  ath_response* inner = (ath_response*)1;
  ath_model* model = NULL;
  ath_error* refusal = NULL;
  CHECK(code == ATH_OK);
  ath_response_destroy(response);
  ath_error_destroy(error);
  on->infer_code = ath_infer(on->request, &inner, &refusal);
  on->infer_reason = ath_error_reason(refusal);
  CHECK(inner == NULL);
  ath_error_destroy(refusal);
  on->load_code = ath_model_load(on->engine, on->folder, &model, &refusal);
  on->load_reason = ath_error_reason(refusal);
  ath_error_destroy(refusal);
  CHECK(model == NULL && ath_model_add(on->engine, on->folder, &model, NULL) == ATH_OK);
  ath_model_release(model);
  on->submit_code = ath_submit(on->request, on_answer, &on->log, on_end, NULL, NULL);
}

/* mutant: a blocking call inside a callback is let through */
/* mutant: a load inside a callback is let through */
static void no_wait_from_inside(void) {
  static const float row[2] = {1, 2};
  static const float other_row[2] = {3, 4};
  puppet_world on = puppet_begin("{\"threads\": 1, \"load_deadline_ms\": 2000}", row);
  ath_request* other = puppet_request(on.model, other_row);
  ath_response* response = NULL;
  ath_error* error = NULL;
  again seen;
  memset(&seen, 0, sizeof seen);
  begin_log(&seen.log);
  seen.request = other;
  seen.engine = on.engine;
  seen.folder = puppet_folder("later");
  CHECK(ath_request_set_deadline_ns(other, 2 * (int64_t)1000000000) == ATH_OK);
  CHECK_OK(ath_submit(on.request, on_answer_again, &seen, NULL, NULL, &error));
  wait_for(&seen.log, 1);
  CHECK(seen.infer_code == ATH_FAILED_PRECONDITION && seen.infer_reason == ATH_REASON_REENTRANT);
  CHECK(seen.load_code == ATH_FAILED_PRECONDITION && seen.load_reason == ATH_REASON_REENTRANT);
  CHECK(seen.submit_code == ATH_OK && seen.log.code == ATH_OK && seen.log.first == 4);
  CHECK_OK(ath_infer(other, &response, &error));
  puppet_remove(seen.folder);
  ath_response_destroy(response);
  ath_request_destroy(other);
  puppet_end(&on);
  end_log(&seen.log);
}

/* mutant: the deadline of a request is not passed on */
static void deadline(void) {
  ath_engine* engine = puppet_engine("{\"threads\": 2}");
  ath_model* model = puppet_model(engine);
  ath_request* request = puppet_request(model, hold);
  ath_error* error = NULL;
  call_log log;
  begin_log(&log);
  CHECK(ath_request_set_deadline_ns(request, 20000000) == ATH_OK);
  CHECK_OK(ath_submit(request, on_answer, &log, on_end, NULL, &error));
  ath_request_destroy(request);
  wait_for(&log, 1);
  CHECK(log.code == ATH_DEADLINE_EXCEEDED);
  puppet_let_go();
  ath_model_release(model);
  ath_engine_destroy(engine);
  CHECK(log.completions == 1);
  end_log(&log);
}

/* A load that takes as long as the test wants. */
typedef struct slow_load {
  event inside;
  event let_go;
} slow_load;

static int32_t load_slowly(void* context, const ath_model_source* source, void** out_model,
                           ath_failure* failure) {
  slow_load* slow = context;
  event_set(&slow->inside);
  event_wait(&slow->let_go);
  return puppet_table.load(NULL, source, out_model, failure);
}

/* mutant: an unload leaves those who wait for the load */
static void unload_gives_up_a_load(void) {
  static const float row[2] = {1, 2};
  slow_load slow = {EVENT_INIT, EVENT_INIT};
  ath_backend_table table = puppet_table;
  const char* folder = puppet_folder("puppet");
  puppet_world on = {NULL, NULL, NULL};
  ath_response* response = NULL;
  ath_error* error = NULL;
  call_log log;
  int32_t code;
  begin_log(&log);
  table.context = &slow;
  table.load = load_slowly;
  CHECK_OK(ath_engine_create(NULL, &on.engine, &error));
  CHECK_OK(ath_engine_add_backend(on.engine, &table, &error));
  CHECK_OK(ath_model_add(on.engine, folder, &on.model, &error));
  on.request = puppet_request(on.model, row);
  CHECK_OK(ath_submit(on.request, on_answer, &log, on_end, NULL, &error));
  event_wait(&slow.inside);
  CHECK_OK(ath_model_unload(on.model, &error));
  wait_for(&log, 1);
  CHECK(log.completions == 1 && log.code == ATH_CANCELLED);
  CHECK_REFUSED(ath_infer(on.request, &response, &error), ATH_UNAVAILABLE, ATH_REASON_MODEL_LOAD,
                "given up is still running");
  event_set(&slow.let_go);
  while ((code = ath_infer(on.request, &response, NULL)) == ATH_UNAVAILABLE) sched_yield();
  CHECK(code == ATH_OK);
  ath_response_destroy(response);
  puppet_remove(folder);
  puppet_end(&on);
  end_log(&log);
}

const test async_tests[] = {
    {"a completion runs once, on another thread, and its finalizer after it", once_and_later},
    {"a submit that fails runs the finalizer and not the completion", refused},
    {"a call that waits is taken back at once", cancel},
    {"the completion of a call that is being cancelled may release it", released_inside_cancel},
    {"a report tells the time in the queue from that in the model", tells_waiting_from_running},
    {"a callback cannot wait for its own engine, but can submit to it", no_wait_from_inside},
    {"a call ends at its deadline while the model still runs", deadline},
    {"a load that is given up cancels the calls that wait for it", unload_gives_up_a_load},
    {NULL, NULL}};
