/* What is wrong is refused with a sentence, and nothing is handed out. */
#include <stdlib.h>

#include "check.h"
#include "puppet.h"

static void refuse_options(const char* json, const char* part) {
  ath_engine* engine = (ath_engine*)1;
  ath_error* error = NULL;
  CHECK_REFUSED(ath_engine_create(json, &engine, &error), ATH_INVALID_ARGUMENT, ATH_REASON_OPTION, part);
  CHECK(engine == NULL);
}

/* mutant: unknown options are skipped */
/* mutant: a time that no nanosecond holds is none at all */
/* mutant: minus zero is not a whole number */
/* mutant: the engine refuses a deadline of 0 under a name that C does not have */
static void options(void) {
  ath_engine* engine = NULL;
  ath_error* error = NULL;
  refuse_options("{\"thread\": 2}", "unknown key 'thread'; known: plugins, threads, caller_runs");
  refuse_options("{\"threads\": -1}", "threads: expected a whole number");
  refuse_options("{\"threads\": 2.5}", "threads: expected a whole number");
  refuse_options("{\"threads\": \"two\"}", "got \"two\"");
  refuse_options("{\"threads\": 5000}", "threads: expected at most 1024, got 5000");
  refuse_options("{\"threads\": 2, \"threads\": 3}", "options: expected every key once, got 'threads' again");
  refuse_options("{\"caller_runs\": \"often\"}",
                 "caller_runs: expected \"when_idle\" or \"never\", got \"often\"");
  refuse_options("{\"default_deadline_ms\": 0}",
                 "options: default_deadline_ms: expected milliseconds: 1e-6 to 9e12, got 0");
  refuse_options("{\"default_deadline_ms\": 1e300}", "options: default_deadline_ms: expected milliseconds");
  refuse_options("{\"load_deadline_ms\": -1}",
                 "options: load_deadline_ms: expected milliseconds: 1e-6 to 9e12");
  refuse_options("{\"load_deadline_ms\": 0}",
                 "options: load_deadline_ms: expected milliseconds: 1e-6 to 9e12, got 0");
  refuse_options("{\"load_threads\": 0}", "load_threads: expected 1 to 1024, got 0");
  refuse_options("{\"load_threads\": 1025}", "load_threads: expected 1 to 1024, got 1025");
  refuse_options("{\"cache_ttl_ms\": null}", "cache_ttl_ms");
  refuse_options("{\"cache_ttl_ms\": 1e-9}",
                 "cache_ttl_ms: expected milliseconds: 0, or 1e-6 to 9e12, got 1e-09");
  refuse_options("{\"max_items\": 0}", "max_items: expected 1 to 2147483647, got 0");
  refuse_options("{\"model_bytes\": 0}", "model_bytes: expected at least 1, or none for no limit, got 0");
  refuse_options("{\"max_bytes\": 1e99}", "max_bytes");
  refuse_options("{\"max_bytes\": 18446744073709551615}", "max_bytes");
  refuse_options("{\"breaker\": 1}", "breaker: expected true or false, got 1");
  refuse_options("{\"plugins\": \"torch\"}", "plugins: expected a list of texts");
  refuse_options("{\"plugins\": [1]}", "plugins: expected a list of texts");
  refuse_options("{\"plugins\": [\"\"]}", "plugins: expected a list of texts");
  refuse_options("[]", "expected a JSON object, got array");
  refuse_options("{\"threads\": ", "expected JSON, got something else at byte 12");
  refuse_options("", "expected JSON, got something else at byte 0");
  CHECK_OK(ath_engine_create(
      "{\"threads\": 2, \"caller_runs\": \"when_idle\", \"default_deadline_ms\": 0.5, \"max_items\": 1,"
      " \"max_bytes\": 1, \"cache_bytes\": -0, \"cache_ttl_ms\": 1.5, \"model_bytes\": 1,"
      " \"load_deadline_ms\": 1, \"load_threads\": 1, \"breaker\": false, \"plugins\": []}",
      &engine, &error));
  ath_engine_destroy(engine);
}

/* `depth` lists in one another as the value of an option. */
static void nested(int depth, const char* part) {
  const char before[] = "{\"threads\": ";
  const size_t start = sizeof(before) - 1;
  const size_t each = (size_t)depth;
  char* json = malloc(start + 2 * each + 2);
  memcpy(json, before, start);
  memset(json + start, '[', each);
  memset(json + start + each, ']', each);
  memcpy(json + start + 2 * each, "}", 2);
  refuse_options(json, part);
  free(json);
}

/* mutant: nesting has no limit */
/* mutant: a number that no double holds is told as a fault of grammar */
/* mutant: what an option got is cut inside a letter */
/* mutant: a control character is quoted as it is */
static void hostile_options(void) {
  char json[200] = "{\"caller_runs\": \"x";
  int i;
  nested(60, "threads: expected a whole number");
  nested(70, "options: threads: expected at most 64 levels of nesting, got more");
  nested(200000, "options: threads: expected at most 64 levels of nesting, got more");
  refuse_options("{\"breaker\": true, \"threads\": 1e999}",
                 "options: threads: expected a number that fits a double, got 1e999");
  refuse_options("{\"cache_bytes\": {\"a\": -1e999}}", "options: cache_bytes: expected a number");
  refuse_options("1e999", "options: expected a number that fits a double, got 1e999");
  refuse_options("{\"a\\u0000b\": 1}",
                 "options: unknown key 'a\xef\xbf\xbd"
                 "b'; known: ");
  for (i = 0; i < 40; ++i) strcat(json, "\xc3\xa9");
  refuse_options(strcat(json, "\"}"), "got \"x\\u00e9\\u00e9\\u00e9");
}

/* mutant: NULL is not looked for */
/* mutant: a setter without a request does not say which it is */
/* mutant: a negative grace stops at once */
static void nulls(void) {
  static const float row[2] = {1, 2};
  puppet_world on = puppet_begin(NULL, row);
  ath_model* other = on.model;
  ath_response* response = NULL;
  ath_text* text = NULL;
  ath_error* error = NULL;
  ath_tensor_view view = ATH_TENSOR_VIEW_INIT;
  const int32_t bad = ATH_INVALID_ARGUMENT;
  const char* const no_names[1] = {NULL};
  CHECK_REFUSED(ath_engine_create("{}", NULL, &error), bad, ATH_REASON_NONE, "ath_engine_create: out_engine");
  CHECK_REFUSED(ath_engine_describe(NULL, &text, &error), bad, ATH_REASON_NONE,
                "ath_engine_describe: engine");
  CHECK_REFUSED(ath_engine_health(on.engine, NULL, &error), bad, ATH_REASON_NONE,
                "ath_engine_health: out_text");
  CHECK_REFUSED(ath_engine_metrics(NULL, &text, &error), bad, ATH_REASON_NONE, "engine");
  CHECK_REFUSED(ath_engine_stop(NULL, 0, NULL, &error), bad, ATH_REASON_NONE, "engine");
  CHECK_REFUSED(ath_engine_stop(on.engine, -1, NULL, &error), bad, ATH_REASON_VALUE_RANGE, "grace_ns");
  CHECK_REFUSED(ath_engine_add_backend(on.engine, NULL, &error), bad, ATH_REASON_NONE, "table");
  CHECK_REFUSED(ath_engine_add_processor(NULL, &letters_table, &error), bad, ATH_REASON_NONE, "engine");
  CHECK_REFUSED(ath_model_load(NULL, "folder", &other, &error), bad, ATH_REASON_NONE, "engine");
  CHECK(other == NULL);
  CHECK_REFUSED(ath_model_load(on.engine, "folder", NULL, &error), bad, ATH_REASON_NONE, "out_model");
  CHECK_REFUSED(ath_model_add(on.engine, NULL, &other, &error), bad, ATH_REASON_NONE, "folder");
  CHECK_REFUSED(ath_model_find(on.engine, NULL, &other, &error), bad, ATH_REASON_NONE, "name");
  CHECK_OK(ath_model_find(on.engine, "puppet", &other, &error));
  ath_model_release(other);
  CHECK_REFUSED(ath_model_unload(NULL, &error), bad, ATH_REASON_NONE, "model");
  CHECK_REFUSED(ath_request_set_tensor(NULL, "x", &view, &error), bad, ATH_REASON_NONE,
                "ath_request_set_tensor: request");
  CHECK_REFUSED(ath_request_set_tensor(on.request, NULL, &view, &error), bad, ATH_REASON_NONE, "name");
  CHECK_REFUSED(ath_request_copy_tensor(on.request, "x", NULL, &error), bad, ATH_REASON_NONE, "view");
  CHECK_REFUSED(ath_infer(NULL, &response, &error), bad, ATH_REASON_NONE, "ath_infer: request");
  CHECK_REFUSED(ath_infer(on.request, NULL, &error), bad, ATH_REASON_NONE, "ath_infer: out_response");
  CHECK_REFUSED(ath_submit(on.request, NULL, NULL, NULL, NULL, &error), bad, ATH_REASON_NONE, "");
  CHECK(ath_request_create(NULL) == NULL);
  CHECK(ath_request_set_text(NULL, "x", "", 0) == bad &&
        ath_request_set_text(on.request, "x", NULL, 1) == bad);
  CHECK(ath_request_copy_texts(on.request, "x", NULL, NULL, 1) == bad);
  CHECK(ath_request_copy_texts(on.request, "x", no_names, NULL, 1) == bad);
  CHECK(ath_request_set_outputs(on.request, no_names, 1) == bad &&
        ath_request_set_outputs(NULL, NULL, 0) == bad);
  CHECK(ath_request_set_deadline_ns(NULL, 1) == bad && ath_request_set_cache_mode(NULL, 0) == bad);
  CHECK(ath_request_reset(NULL) == bad);
  CHECK(ath_response_output(NULL, "y", &view) == bad && ath_response_output_at(NULL, 0, NULL, &view) == bad);
  CHECK(ath_response_report(NULL, NULL) == bad && ath_response_output_count(NULL) == 0);
  CHECK(ath_model_id(NULL) == NULL && ath_model_input_count(NULL) == 0 && ath_model_output_count(NULL) == 0);
  CHECK(ath_model_input(NULL, 0, NULL) == bad && ath_model_output(on.model, 0, NULL) == bad);
  CHECK(ath_error_code(NULL) == ATH_OK && ath_error_reason(NULL) == 0 && ath_error_retry_after_ns(NULL) == 0);
  CHECK(strcmp(ath_error_message(NULL), "") == 0 && strcmp(ath_text_data(NULL), "") == 0 &&
        ath_text_size(NULL) == 0);
  ath_error_destroy(NULL);
  ath_text_destroy(NULL);
  ath_engine_destroy(NULL);
  ath_model_release(NULL);
  ath_request_destroy(NULL);
  ath_response_destroy(NULL);
  ath_call_cancel(NULL);
  ath_call_release(NULL);
  puppet_end(&on);
}

/* mutant: a plugin that cannot be opened is passed over */
/* mutant: a byte that is not UTF-8 is quoted as it is */
static void missing_files(void) {
  ath_engine* engine = puppet_engine(NULL);
  ath_model* model = NULL;
  ath_error* error = NULL;
  CHECK_REFUSED(ath_model_load(engine, "/nowhere/at/all", &model, &error), ATH_NOT_FOUND, ATH_REASON_FILE,
                "/nowhere/at/all");
  CHECK_REFUSED(ath_model_load(engine, "/nowhere/\xff\xc3\xa9\xc3", &model, &error), ATH_NOT_FOUND,
                ATH_REASON_FILE, "/nowhere/\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd/athanor.json");
  CHECK(model == NULL);
  ath_engine_destroy(engine);
  engine = puppet_engine("{\"plugins\": [\"telepathy\"]}");
  CHECK_REFUSED(ath_model_load(engine, "/nowhere", &model, &error), ATH_FAILED_PRECONDITION,
                ATH_REASON_MODEL_LOAD, "plugin 'telepathy': libathanor_telepathy.so could not be opened: ");
  CHECK_REFUSED(ath_model_add(engine, "/nowhere", &model, &error), ATH_FAILED_PRECONDITION,
                ATH_REASON_MODEL_LOAD, "ATHANOR_PLUGIN_PATH");
  ath_engine_destroy(engine);
  engine = puppet_engine("{\"plugins\": [\"/nowhere/plugin.so\"]}");
  CHECK_REFUSED(ath_model_load(engine, "/nowhere", &model, &error), ATH_FAILED_PRECONDITION,
                ATH_REASON_MODEL_LOAD, "/nowhere/plugin.so could not be opened: ");
  ath_engine_destroy(engine);
  engine = puppet_engine("{\"plugins\": [\"libm.so.6/../libm.so.6\"]}");
  CHECK(ath_model_load(engine, "/nowhere", &model, NULL) == ATH_FAILED_PRECONDITION);
  ath_engine_destroy(engine);
}

/* mutant: the border loses the time after which it is worth while to ask again */
static void open_breaker(void) {
  static const float row[2] = {PUPPET_FAIL, 0};
  puppet_world on = puppet_begin(NULL, row);
  int64_t retry_after = 0;
  int32_t reason = ATH_REASON_NONE;
  int i;
  for (i = 0; i < 100 && reason != ATH_REASON_BREAKER_OPEN; ++i) {
    ath_response* response = NULL;
    ath_error* error = NULL;
    CHECK(ath_infer(on.request, &response, &error) == ath_error_code(error) && response == NULL);
    reason = ath_error_reason(error);
    retry_after = ath_error_retry_after_ns(error);
    ath_error_destroy(error);
  }
  CHECK(reason == ATH_REASON_BREAKER_OPEN && retry_after > 0);
  puppet_end(&on);
}

static int releases = 0;
static void count_release(void* context) {
  (void)context;
  ++releases;
}

/* mutant: a table is not released */
static void finalizers(void) {
  ath_engine* engine = puppet_engine(NULL);
  ath_error* error = NULL;
  ath_backend_table table = puppet_table;
  ath_model* model = NULL;
  const char* folder = puppet_folder("puppet");
  table.name = "counted";
  table.release = count_release;
  releases = 0;
  table.runs_on = 77;
  CHECK_REFUSED(ath_engine_add_backend(engine, &table, &error), ATH_INVALID_ARGUMENT, ATH_REASON_OPTION,
                "runs_on");
  table.runs_on = ATH_RUNS_ON_ANY_THREAD;
  CHECK_OK(ath_engine_add_backend(engine, &table, &error));
  CHECK_OK(ath_engine_add_backend(engine, &table, &error));
  memset(&table, 0xff, sizeof table);
  CHECK_OK(ath_model_add(engine, folder, &model, &error));
  ath_engine_destroy(engine);
  CHECK(releases == 0);
  ath_model_release(model);
  CHECK(releases == 1);
  puppet_remove(folder);
}

/* mutant: any struct_size is accepted */
static void tables(void) {
  ath_engine* engine = puppet_engine(NULL);
  ath_error* error = NULL;
  ath_backend_table table = puppet_table;
  ath_processor_table letters = letters_table;
  table.context = &table;
  letters.context = &letters;
  CHECK_OK(ath_engine_add_backend(engine, &puppet_table, &error));
  CHECK_REFUSED(ath_engine_add_backend(engine, &table, &error), ATH_ALREADY_EXISTS, ATH_REASON_OPTION,
                "puppet");
  CHECK_REFUSED(ath_engine_add_processor(engine, &letters, &error), ATH_ALREADY_EXISTS, ATH_REASON_OPTION,
                "letters");
  table.run = NULL;
  CHECK_REFUSED(ath_engine_add_backend(engine, &table, &error), ATH_INVALID_ARGUMENT, ATH_REASON_OPTION,
                "run: expected a function, got NULL");
  table.struct_size = 8;
  CHECK_REFUSED(ath_engine_add_backend(engine, &table, &error), ATH_INVALID_ARGUMENT, ATH_REASON_OPTION,
                "struct_size");
  letters.name = "";
  CHECK_REFUSED(ath_engine_add_processor(engine, &letters, &error), ATH_INVALID_ARGUMENT, ATH_REASON_OPTION,
                "name");
  ath_engine_destroy(engine);
}

const test refusal_tests[] = {
    {"S3-22 unknown and impossible options are refused by name", options},
    {"options of any depth, size and script are refused with a sentence", hostile_options},
    {"NULL is refused where an object is needed, and fine where one is given back", nulls},
    {"a folder or a plugin that is not there is named", missing_files},
    {"tables that cannot work are refused", tables},
    {"an open breaker says when to come back", open_breaker},
    {"a table is released once, after its engine and models, and never when it is rejected", finalizers},
    {NULL, NULL}};
