/* What a child process can do with an engine that its parent made: nothing, at once. */
/* NOLINTNEXTLINE(bugprone-reserved-identifier): POSIX says so */
#define _POSIX_C_SOURCE 200809L
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "puppet.h"

static int ends = 0;

static void on_answer(void* user_data, int32_t code, ath_response* response, ath_error* error) {
  (void)user_data;
  (void)code;
  ath_response_destroy(response);
  ath_error_destroy(error);
}

static void on_end(void* user_data) {
  (void)user_data;
  ++ends;
}

static void refused_in_a_child(puppet_world* on, ath_call* call, const ath_response* before) {
  static const char fork_part[] = "created before a fork";
  const int32_t bad = ATH_FAILED_PRECONDITION;
  ath_response* response = NULL;
  ath_model* model = NULL;
  ath_text* text = NULL;
  ath_error* error = NULL;
  ath_tensor_view view = ATH_TENSOR_VIEW_INIT;
  CHECK_REFUSED(ath_infer(on->request, &response, &error), bad, ATH_REASON_NONE, fork_part);
  CHECK_REFUSED(ath_submit(on->request, on_answer, NULL, on_end, NULL, &error), bad, ATH_REASON_NONE, fork_part);
  CHECK(ends == 1);
  CHECK_REFUSED(ath_model_load(on->engine, "/nowhere", &model, &error), bad, ATH_REASON_NONE, fork_part);
  CHECK_REFUSED(ath_model_find(on->engine, "puppet", &model, &error), bad, ATH_REASON_NONE, fork_part);
  CHECK_REFUSED(ath_model_unload(on->model, &error), bad, ATH_REASON_NONE, fork_part);
  CHECK_REFUSED(ath_engine_health(on->engine, &text, &error), bad, ATH_REASON_NONE, fork_part);
  CHECK_REFUSED(ath_engine_add_backend(on->engine, &puppet_table, &error), bad, ATH_REASON_NONE, fork_part);
  CHECK_REFUSED(ath_engine_stop(on->engine, 1000000000, NULL, &error), bad, ATH_REASON_NONE, fork_part);
  CHECK(ath_response_output(before, "y", &view) == ATH_OK && *(const float*)view.data == 2);
  ath_call_cancel(call);
  ath_call_release(call);
  puppet_end(on);
}

/* ThreadSanitizer lets no child of a process with threads start threads of its own. */
#ifndef __SANITIZE_THREAD__
static void works_in_a_child(void) {
  static const float row[2] = {3, 4};
  puppet_world on = puppet_begin(NULL, row);
  ath_response* response = NULL;
  ath_error* error = NULL;
  CHECK_OK(ath_infer(on.request, &response, &error));
  ath_response_destroy(response);
  puppet_end(&on);
}
#endif

/* mutant: a child of a fork asks the engine of its parent */
static void forked(void) {
  static const float row[2] = {1, 2};
  static const float hold[2] = {PUPPET_HOLD, 0};
  puppet_world on = puppet_begin("{\"threads\": 2}", row);
  ath_request* holding = puppet_request(on.model, hold);
  ath_response* response = NULL;
  ath_call* call = NULL;
  ath_error* error = NULL;
  pid_t child;
  int status = -1;
  CHECK_OK(ath_infer(on.request, &response, &error));
  CHECK_OK(ath_submit(holding, on_answer, NULL, NULL, &call, &error));
  puppet_wait_until_held();
  child = fork();
  if (child == 0) {
    failed_checks = 0;
    alarm(60); /* a child that hangs is a failure, not a wait */
    refused_in_a_child(&on, call, response);
#ifndef __SANITIZE_THREAD__
    works_in_a_child();
#endif
    _exit(failed_checks);
  }
  CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
  puppet_let_go();
  ath_response_destroy(response);
  CHECK_OK(ath_infer(on.request, &response, &error));
  ath_response_destroy(response);
  ath_call_release(call);
  ath_request_destroy(holding);
  puppet_end(&on);
}

const test fork_tests[] = {{"a child of a fork is refused at once by its parent's engine, and makes its own", forked},
                           {NULL, NULL}};
