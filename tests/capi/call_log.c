#include "call_log.h"

#include "check.h"
#include "puppet.h"

void event_set(event* of) {
  pthread_mutex_lock(&of->mutex);
  of->happened = 1;
  pthread_cond_broadcast(&of->changed);
  pthread_mutex_unlock(&of->mutex);
}

void event_wait(event* of) {
  pthread_mutex_lock(&of->mutex);
  while (!of->happened) pthread_cond_wait(&of->changed, &of->mutex);
  pthread_mutex_unlock(&of->mutex);
}

int event_happened(event* of) {
  int happened;
  pthread_mutex_lock(&of->mutex);
  happened = of->happened;
  pthread_mutex_unlock(&of->mutex);
  return happened;
}

void begin_log(call_log* log) {
  memset(log, 0, sizeof *log);
  log->report.struct_size = sizeof log->report;
  pthread_mutex_init(&log->mutex, NULL);
  pthread_cond_init(&log->changed, NULL);
  log->submitter = pthread_self();
}

void end_log(call_log* log) {
  pthread_mutex_destroy(&log->mutex);
  pthread_cond_destroy(&log->changed);
}

void on_answer(void* user_data, int32_t code, ath_response* response, ath_error* error) {
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

void on_end(void* user_data) {
  call_log* log = user_data;
  pthread_mutex_lock(&log->mutex);
  if (log->finalizers >= log->completions) ++log->after_finalizer;
  ++log->finalizers;
  pthread_cond_broadcast(&log->changed);
  pthread_mutex_unlock(&log->mutex);
}

void wait_for(call_log* log, int finalizers) {
  pthread_mutex_lock(&log->mutex);
  while (log->finalizers < finalizers) pthread_cond_wait(&log->changed, &log->mutex);
  pthread_mutex_unlock(&log->mutex);
}

const float hold[2] = {PUPPET_HOLD, 0};

void hold_instance(const ath_request* holding, call_log* log, ath_call** out_call) {
  ath_error* error = NULL;
  begin_log(log);
  CHECK_OK(ath_submit(holding, on_answer, log, on_end, out_call, &error));
  puppet_wait_until_held();
}
