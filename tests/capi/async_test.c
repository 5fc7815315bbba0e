/* Calls that are answered later. */
/* NOLINTNEXTLINE(bugprone-reserved-identifier): POSIX says so */
#define _POSIX_C_SOURCE 200809L
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "check.h"
#include "puppet.h"

/* Something that happens once, on another thread. */
typedef struct event {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  int happened;
} event;
#define EVENT_INIT {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0}

static void event_set(event* of) {
  pthread_mutex_lock(&of->mutex);
  of->happened = 1;
  pthread_cond_broadcast(&of->changed);
  pthread_mutex_unlock(&of->mutex);
}

static void event_wait(event* of) {
  pthread_mutex_lock(&of->mutex);
  while (!of->happened) pthread_cond_wait(&of->changed, &of->mutex);
  pthread_mutex_unlock(&of->mutex);
}

static int event_happened(event* of) {
  int happened;
  pthread_mutex_lock(&of->mutex);
  happened = of->happened;
  pthread_mutex_unlock(&of->mutex);
  return happened;
}

/* What the callbacks of one test saw. */
typedef struct call_log {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  pthread_t submitter;
  int completions;
  int finalizers;
  int on_submitter;
  int after_finalizer;
  int answers;  /* completions with a response */
  int32_t code; /* of the last completion */
  float first;  /* of its output */
  ath_report report;
  ath_engine* engine;
  int32_t stop_code;
} call_log;

static void begin(call_log* log) {
  memset(log, 0, sizeof *log);
  log->report.struct_size = sizeof log->report;
  pthread_mutex_init(&log->mutex, NULL);
  pthread_cond_init(&log->changed, NULL);
  log->submitter = pthread_self();
}

static void end(call_log* log) {
  pthread_mutex_destroy(&log->mutex);
  pthread_cond_destroy(&log->changed);
}

static void on_answer(void* user_data, int32_t code, ath_response* response, ath_error* error) {
  call_log* log = user_data;
  ath_tensor_view view = ATH_TENSOR_VIEW_INIT;
  CHECK((response != NULL) == (code == ATH_OK) && (error != NULL) == (code != ATH_OK));
  CHECK(ath_error_code(error) == code);
  if (log->engine != NULL) {
    log->stop_code = ath_engine_stop(log->engine, 0, NULL, NULL);
    ath_engine_destroy(log->engine);
  }
  pthread_mutex_lock(&log->mutex);
  ++log->completions;
  log->code = code;
  if (response != NULL) ++log->answers;
  if (pthread_equal(pthread_self(), log->submitter)) ++log->on_submitter;
  if (response != NULL && ath_response_output(response, "y", &view) == ATH_OK)
    log->first = *(const float*)view.data;
  if (response != NULL) CHECK(ath_response_report(response, &log->report) == ATH_OK);
  pthread_mutex_unlock(&log->mutex);
  ath_response_destroy(response);
  ath_error_destroy(error);
}

static void on_end(void* user_data) {
  call_log* log = user_data;
  pthread_mutex_lock(&log->mutex);
  if (log->finalizers >= log->completions) ++log->after_finalizer;
  ++log->finalizers;
  pthread_cond_broadcast(&log->changed);
  pthread_mutex_unlock(&log->mutex);
}

static void wait_for(call_log* log, int finalizers) {
  pthread_mutex_lock(&log->mutex);
  while (log->finalizers < finalizers) pthread_cond_wait(&log->changed, &log->mutex);
  pthread_mutex_unlock(&log->mutex);
}

static const float hold[2] = {PUPPET_HOLD, 0};

/* Submits a request of `hold`, which holds the model's instance until puppet_let_go. */
static void hold_instance(const ath_request* holding, call_log* log, ath_call** out_call) {
  ath_error* error = NULL;
  begin(log);
  CHECK_OK(ath_submit(holding, on_answer, log, on_end, out_call, &error));
  puppet_wait_until_held();
}

/* mutant: an answer is completed although its submitter is still inside */
static void once_and_later(void) {
  static const float row[2] = {1, 2};
  puppet_world on = puppet_begin(NULL, row);
  ath_error* error = NULL;
  call_log log;
  int i;
  begin(&log);
  for (i = 1; i <= 20; ++i) {
    CHECK_OK(ath_submit(on.request, on_answer, &log, on_end, NULL, &error));
    wait_for(&log, i);
    CHECK(log.code == ATH_OK && log.first == 2 && log.completions == i);
  }
  CHECK(log.on_submitter == 0 && log.after_finalizer == 0);
  puppet_end(&on);
  CHECK(log.completions == 20 && log.finalizers == 20);
  end(&log);
}

/* mutant: a refused submit calls no finalizer */
static void refused(void) {
  puppet_world on = puppet_begin(NULL, NULL);
  ath_call* call = (ath_call*)1;
  ath_error* error = NULL;
  call_log log;
  begin(&log);
  CHECK_REFUSED(ath_submit(on.request, on_answer, &log, on_end, &call, &error), ATH_INVALID_ARGUMENT,
                ATH_REASON_MISSING_INPUT, "x");
  CHECK(call == NULL && log.completions == 0 && log.finalizers == 1);
  CHECK_REFUSED(ath_submit(NULL, on_answer, &log, on_end, &call, &error), ATH_INVALID_ARGUMENT,
                ATH_REASON_NONE, "request");
  CHECK(log.completions == 0 && log.finalizers == 2);
  puppet_end(&on);
  end(&log);
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
  begin(&log);
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
  end(&held_log);
  end(&log);
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
  end(&log);
}

/* mutant: a stop does not wait for completions */
static void destroy_answers_all(void) {
  static const float row[2] = {1, 2};
  int round;
  for (round = 0; round < 20; ++round) {
    puppet_world on = puppet_begin("{\"cache_bytes\": 0, \"threads\": 2}", row);
    ath_error* error = NULL;
    call_log log;
    int i;
    begin(&log);
    for (i = 0; i < 20; ++i) CHECK_OK(ath_submit(on.request, on_answer, &log, on_end, NULL, &error));
    puppet_end(&on);
    CHECK(log.completions == 20 && log.finalizers == 20 && log.after_finalizer == 0);
    end(&log);
  }
}

/* A completion that is still running when its engine is being destroyed by another thread. */
typedef struct slow_end {
  const ath_request* request;
  ath_call* call;
  event inside;
  event done;
} slow_end;

static void on_slow_answer(void* user_data, int32_t code, ath_response* response, ath_error* error) {
  slow_end* slow = user_data;
  int i;
  CHECK(code == ATH_CANCELLED && response == NULL);
  ath_error_destroy(error);
  event_set(&slow->inside);
  /* Refused as soon as the engine is stopping; then everything else that a destroy does gets its chance. */
  while (ath_submit(slow->request, on_slow_answer, slow, NULL, NULL, NULL) != ATH_UNAVAILABLE) sched_yield();
  for (i = 0; i < 20000; ++i) sched_yield();
  event_set(&slow->done);
}

static void* cancel_it(void* raw) {
  ath_call_cancel(((slow_end*)raw)->call);
  return NULL;
}

/* mutant: a stop does not wait for completions */
static void destroy_waits(void) {
  static const float row[2] = {1, 2};
  ath_engine* engine = puppet_engine("{\"threads\": 2}");
  ath_model* model = puppet_model(engine);
  ath_request* holding = puppet_request(model, hold);
  ath_request* request = puppet_request(model, row);
  ath_request* empty = ath_request_create(model);
  ath_error* error = NULL;
  pthread_t thread;
  call_log log;
  slow_end slow = {NULL, NULL, EVENT_INIT, EVENT_INIT};
  slow.request = empty;
  hold_instance(holding, &log, NULL);
  CHECK_OK(ath_submit(request, on_slow_answer, &slow, NULL, &slow.call, &error));
  pthread_create(&thread, NULL, cancel_it, &slow);
  event_wait(&slow.inside);
  puppet_let_go();
  ath_engine_destroy(engine);
  CHECK(event_happened(&slow.done));
  pthread_join(thread, NULL);
  ath_call_release(slow.call);
  ath_request_destroy(holding);
  ath_request_destroy(request);
  ath_request_destroy(empty);
  ath_model_release(model);
  end(&log);
}

/* A stop on another thread. */
typedef struct stopping {
  ath_engine* engine;
  int32_t code;
  uint64_t abandoned;
} stopping;

static void* stop_it(void* raw) {
  stopping* stop = raw;
  stop->code = ath_engine_stop(stop->engine, 30 * (int64_t)1000000000, &stop->abandoned, NULL);
  return NULL;
}

/* mutant: a stop gives queued calls no grace */
/* mutant: a second stop returns at once */
static void stop_drains(void) {
  enum { count = 64 };
  static float rows[count][2];
  puppet_world on = puppet_begin("{\"cache_bytes\": 0, \"threads\": 2}", NULL);
  ath_request* holding = puppet_request(on.model, hold);
  ath_request* requests[count];
  ath_error* error = NULL;
  call_log held_log;
  call_log log;
  stopping first = {NULL, ATH_UNKNOWN, 77};
  stopping second = {NULL, ATH_UNKNOWN, 77};
  pthread_t threads[2];
  int32_t code;
  int i;
  begin(&log);
  first.engine = second.engine = on.engine;
  hold_instance(holding, &held_log, NULL);
  for (i = 0; i < count; ++i) {
    rows[i][0] = 100.0F + (float)i; /* none is an order to the puppet */
    requests[i] = puppet_request(on.model, rows[i]);
    CHECK_OK(ath_submit(requests[i], on_answer, &log, on_end, NULL, &error));
  }
  pthread_create(&threads[0], NULL, stop_it, &first);
  while ((code = ath_submit(on.request, on_answer, &log, NULL, NULL, NULL)) == ATH_INVALID_ARGUMENT) sched_yield();
  CHECK(code == ATH_UNAVAILABLE);
  pthread_create(&threads[1], NULL, stop_it, &second);
  CHECK(log.completions == 0);
  puppet_let_go();
  pthread_join(threads[0], NULL);
  pthread_join(threads[1], NULL);
  CHECK(first.code == ATH_OK && first.abandoned == 0 && second.code == ATH_OK && second.abandoned == 0);
  CHECK(log.completions == count && log.finalizers == count && log.answers == count && held_log.answers == 1);
  for (i = 0; i < count; ++i) ath_request_destroy(requests[i]);
  ath_request_destroy(holding);
  puppet_end(&on);
  end(&held_log);
  end(&log);
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
  begin(&queued);
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
  end(&queued);
  end(&held);
}

/* mutant: a stop does not say how many threads it abandoned */
static void stops_agree(void) {
  puppet_world on = puppet_begin("{\"threads\": 2}", hold);
  ath_error* error = NULL;
  uint64_t abandoned = 77;
  call_log log;
  hold_instance(on.request, &log, NULL);
  CHECK_OK(ath_engine_stop(on.engine, 0, &abandoned, &error));
  CHECK(abandoned == 1 && log.finalizers == 1 && log.code == ATH_UNAVAILABLE);
  abandoned = 77;
  CHECK_OK(ath_engine_stop(on.engine, 0, &abandoned, &error));
  CHECK(abandoned == 1);
  puppet_let_go();
  puppet_end(&on);
  end(&log);
}

/* The release of a backend: its engine is gone. */
static void on_release(void* context) { event_set(context); }

/* mutant: an engine is not destroyed inside its callbacks */
static void destroyed_from_inside(void) {
  static const float row[2] = {1, 2};
  puppet_world on = puppet_begin(NULL, row);
  event released = EVENT_INIT;
  ath_backend_table table = puppet_table;
  ath_response* response = NULL;
  ath_error* error = NULL;
  call_log log;
  begin(&log);
  table.name = "last";
  table.context = &released;
  table.release = on_release;
  CHECK_OK(ath_engine_add_backend(on.engine, &table, &error));
  log.engine = on.engine;
  CHECK_OK(ath_submit(on.request, on_answer, &log, on_end, NULL, &error));
  wait_for(&log, 1);
  CHECK(log.stop_code == ATH_FAILED_PRECONDITION && log.code == ATH_OK);
  CHECK_REFUSED(ath_infer(on.request, &response, &error), ATH_UNAVAILABLE, ATH_REASON_STOPPING, "stopping");
  on.engine = NULL;
  puppet_end(&on);
  event_wait(&released);
  end(&log);
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
  begin(&seen.log);
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
  end(&seen.log);
}

/* The finalizer of a submit that is refused. */
typedef struct refused_end {
  ath_engine* engine;
  ath_request* request;
  int32_t stop_code;
  int32_t infer_code;
  int runs;
} refused_end;

static void on_refused_end(void* user_data) {
  refused_end* on = user_data;
  ath_response* response = NULL;
  ++on->runs;
  on->stop_code = ath_engine_stop(on->engine, 0, NULL, NULL);
  on->infer_code = ath_infer(on->request, &response, NULL);
  ath_engine_destroy(on->engine);
  ath_request_destroy(on->request);
}

/* mutant: the finalizer of a refused submit is no callback */
static void destroyed_from_a_refusal(void) {
  static const float row[2] = {1, 2};
  puppet_world on = puppet_begin(NULL, row);
  ath_response* response = NULL;
  ath_error* error = NULL;
  refused_end seen = {NULL, NULL, ATH_OK, ATH_OK, 0};
  seen.engine = on.engine;
  seen.request = ath_request_create(on.model);
  CHECK_REFUSED(ath_submit(seen.request, on_answer, &seen, on_refused_end, NULL, &error),
                ATH_INVALID_ARGUMENT, ATH_REASON_MISSING_INPUT, "x");
  CHECK(seen.runs == 1 && seen.stop_code == ATH_FAILED_PRECONDITION &&
        seen.infer_code == ATH_FAILED_PRECONDITION);
  CHECK_REFUSED(ath_infer(on.request, &response, &error), ATH_UNAVAILABLE, ATH_REASON_STOPPING, "stopping");
  on.engine = NULL;
  puppet_end(&on);
}

/* mutant: the deadline of a request is not passed on */
static void deadline(void) {
  ath_engine* engine = puppet_engine("{\"threads\": 2}");
  ath_model* model = puppet_model(engine);
  ath_request* request = puppet_request(model, hold);
  ath_error* error = NULL;
  call_log log;
  begin(&log);
  CHECK(ath_request_set_deadline_ns(request, 20000000) == ATH_OK);
  CHECK_OK(ath_submit(request, on_answer, &log, on_end, NULL, &error));
  ath_request_destroy(request);
  wait_for(&log, 1);
  CHECK(log.code == ATH_DEADLINE_EXCEEDED);
  puppet_let_go();
  ath_model_release(model);
  ath_engine_destroy(engine);
  CHECK(log.completions == 1);
  end(&log);
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
  begin(&log);
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
  end(&log);
}

const test async_tests[] = {
    {"a completion runs once, on another thread, and its finalizer after it", once_and_later},
    {"a submit that fails runs the finalizer and not the completion", refused},
    {"a call that waits is taken back at once", cancel},
    {"the completion of a call that is being cancelled may release it", released_inside_cancel},
    {"a destroyed engine has answered everybody", destroy_answers_all},
    {"a destroy waits for the completion that runs on another thread", destroy_waits},
    {"a stop answers what was accepted, and a second one waits for it", stop_drains},
    {"every stop tells how many threads were abandoned", stops_agree},
    {"a report tells the time in the queue from that in the model", tells_waiting_from_running},
    {"an engine that a callback destroys goes when its callbacks have ended", destroyed_from_inside},
    {"a callback cannot wait for its own engine, but can submit to it", no_wait_from_inside},
    {"the finalizer of a refused submit may destroy the engine, but not wait for it", destroyed_from_a_refusal},
    {"a call ends at its deadline while the model still runs", deadline},
    {"a load that is given up cancels the calls that wait for it", unload_gives_up_a_load},
    {NULL, NULL}};
