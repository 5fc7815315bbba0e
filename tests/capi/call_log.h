/* What callbacks of calls see, on whichever thread they run, and waiting for that. */
#ifndef ATHANOR_TESTS_CALL_LOG_H
#define ATHANOR_TESTS_CALL_LOG_H

#include <pthread.h>

#include <athanor.h>

/* Something that happens once, on another thread. */
typedef struct event {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  int happened;
} event;
#define EVENT_INIT \
  { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 }

void event_set(event* of);
void event_wait(event* of);
int event_happened(event* of);

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

void begin_log(call_log* log);
void end_log(call_log* log);

/* A completion and a finalizer, both with a call_log as their user data. */
void on_answer(void* user_data, int32_t code, ath_response* response, ath_error* error);
void on_end(void* user_data);
/* Until so many finalizers have run. */
void wait_for(call_log* log, int finalizers);

/* The input of a request that holds the model's instance until puppet_let_go. */
extern const float hold[2];
/* Submits a request of `hold`, and waits until it holds the instance. */
void hold_instance(const ath_request* holding, call_log* log, ath_call** out_call);

#endif
