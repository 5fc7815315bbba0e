/* How an engine stops and is destroyed: it answers everybody and waits for their callbacks. */
#include <pthread.h>
#include <sched.h>

#include "call_log.h"
#include "check.h"
#include "puppet.h"

/* mutant: a stop does not wait for completions */
static void destroy_answers_all(void) {
  static const float row[2] = {1, 2};
  int round;
  for (round = 0; round < 20; ++round) {
    puppet_world on = puppet_begin("{\"cache_bytes\": 0, \"threads\": 2}", row);
    ath_error* error = NULL;
    call_log log;
    int i;
    begin_log(&log);
    for (i = 0; i < 20; ++i) CHECK_OK(ath_submit(on.request, on_answer, &log, on_end, NULL, &error));
    puppet_end(&on);
    CHECK(log.completions == 20 && log.finalizers == 20 && log.after_finalizer == 0);
    end_log(&log);
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
  end_log(&log);
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
  begin_log(&log);
  first.engine = second.engine = on.engine;
  hold_instance(holding, &held_log, NULL);
  for (i = 0; i < count; ++i) {
    rows[i][0] = 100.0F + (float)i; /* none is an order to the puppet */
    requests[i] = puppet_request(on.model, rows[i]);
    CHECK_OK(ath_submit(requests[i], on_answer, &log, on_end, NULL, &error));
  }
  pthread_create(&threads[0], NULL, stop_it, &first);
  while ((code = ath_submit(on.request, on_answer, &log, NULL, NULL, NULL)) == ATH_INVALID_ARGUMENT)
    sched_yield();
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
  end_log(&held_log);
  end_log(&log);
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
  end_log(&log);
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
  begin_log(&log);
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
  end_log(&log);
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

const test stop_tests[] = {
    {"a destroyed engine has answered everybody", destroy_answers_all},
    {"a destroy waits for the completion that runs on another thread", destroy_waits},
    {"a stop answers what was accepted, and a second one waits for it", stop_drains},
    {"every stop tells how many threads were abandoned", stops_agree},
    {"an engine that a callback destroys goes when its callbacks have ended", destroyed_from_inside},
    {"the finalizer of a refused submit may destroy the engine, but not wait for it",
     destroyed_from_a_refusal},
    {NULL, NULL}};
