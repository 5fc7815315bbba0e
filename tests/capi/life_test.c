/* What a host does from the creation of an engine to its end. */
/* NOLINTNEXTLINE(bugprone-reserved-identifier): POSIX says so */
#define _POSIX_C_SOURCE 200809L
#include <unistd.h>

#include "check.h"
#include "puppet.h"

static float first_output(const ath_response* response) {
  ath_tensor_view view = ATH_TENSOR_VIEW_INIT;
  CHECK(ath_response_output(response, "y", &view) == ATH_OK);
  CHECK(view.dtype == ATH_DTYPE_F32 && view.ndim == 2 && view.shape[1] == 2 && view.strides == NULL);
  CHECK(view.size_bytes == (uint64_t)view.shape[0] * 8 && view.device_type == ATH_DEVICE_CPU &&
        view.byte_offset == 0);
  return view.data != NULL ? *(const float*)view.data : -1;
}

/* mutant: a report does not say where its answer came from */
/* mutant: a report does not say when it was delivered */
static void infer(void) {
  static const float row[2] = {1, 2};
  puppet_world on = puppet_begin(NULL, row);
  ath_response* response = NULL;
  ath_error* error = NULL;
  ath_report report = ATH_REPORT_INIT;
  ath_tensor_view view = ATH_TENSOR_VIEW_INIT;
  const char* name = NULL;
  CHECK_OK(ath_infer(on.request, &response, &error));
  CHECK(first_output(response) == 2);
  CHECK(ath_response_output_count(response) == 1);
  CHECK(ath_response_output_at(response, 0, &name, &view) == ATH_OK && strcmp(name, "y") == 0);
  CHECK(ath_response_output_at(response, 1, &name, &view) == ATH_OUT_OF_RANGE && name == NULL);
  CHECK(ath_response_output(response, "z", &view) == ATH_NOT_FOUND);
  CHECK(ath_response_report(response, &report) == ATH_OK);
  CHECK(report.cache == ATH_CACHE_STATE_MISS && report.on_caller == 1 && report.batch_items == 1 &&
        report.attempts == 1);
  CHECK(report.members == 0 && report.total_ns > 0 && strcmp(report.model, "puppet@1.0.0") == 0);
  CHECK(report.delivered_ns >= report.total_ns && report.delivered_ns < 1000000000);
  report.struct_size = 72; /* as a program knows it that was built before the field was added */
  report.delivered_ns = -1;
  CHECK(ath_response_report(response, &report) == ATH_OK && report.delivered_ns == -1);
  report.struct_size = sizeof(report);
  ath_response_destroy(response);
  CHECK_OK(ath_infer(on.request, &response, &error));
  CHECK(ath_response_report(response, &report) == ATH_OK && report.cache == ATH_CACHE_STATE_HIT);
  CHECK(first_output(response) == 2);
  ath_response_destroy(response);
  CHECK(ath_request_set_cache_mode(on.request, ATH_CACHE_SKIP) == ATH_OK);
  CHECK_OK(ath_infer(on.request, &response, &error));
  CHECK(ath_response_report(response, &report) == ATH_OK && report.cache == ATH_CACHE_STATE_OFF);
  ath_response_destroy(response);
  puppet_end(&on);
}

/* mutant: a report does not say how many members have answered */
static void members(void) {
  static const float row[2] = {1, 2};
  ath_engine* engine = puppet_engine(NULL);
  ath_model* model = puppet_ensemble(engine);
  ath_request* request = puppet_request(model, row);
  ath_response* response = NULL;
  ath_error* error = NULL;
  ath_report report = ATH_REPORT_INIT;
  CHECK_OK(ath_infer(request, &response, &error));
  CHECK(first_output(response) == 2);
  CHECK(ath_response_report(response, &report) == ATH_OK && report.members == 2);
  ath_response_destroy(response);
  ath_request_destroy(request);
  ath_model_release(model);
  ath_engine_destroy(engine);
}

/* mutant: a reset keeps the chosen outputs */
/* mutant: a reset keeps the deadline */
/* mutant: a reset keeps the cache mode */
static void outputs_and_reset(void) {
  static const float row[2] = {3, 4};
  puppet_world on = puppet_begin(NULL, row);
  static const char* const names[] = {"y", "y"};
  static const char* const unknown[] = {"tg"};
  static const float other_row[2] = {5, 6};
  ath_tensor_view other = ATH_TENSOR_VIEW_INIT;
  ath_response* response = NULL;
  ath_error* error = NULL;
  other.data = other_row;
  other.dtype = ATH_DTYPE_F32;
  other.ndim = 2;
  other.shape[0] = 1;
  other.shape[1] = 2;
  CHECK(ath_request_set_outputs(on.request, names, 2) == ATH_OK);
  CHECK_OK(ath_infer(on.request, &response, &error));
  CHECK(ath_response_output_count(response) == 2);
  ath_response_destroy(response);
  CHECK(ath_request_set_outputs(on.request, unknown, 1) == ATH_OK);
  CHECK_REFUSED(ath_infer(on.request, &response, &error), ATH_INVALID_ARGUMENT, ATH_REASON_OUTPUT_MISSING,
                "tg");
  CHECK(response == NULL);
  CHECK(ath_request_set_deadline_ns(on.request, 0) == ATH_OK);
  CHECK(ath_request_set_outputs(on.request, NULL, 0) == ATH_OK);
  CHECK_REFUSED(ath_infer(on.request, &response, &error), ATH_DEADLINE_EXCEEDED, ATH_REASON_DEADLINE_WAITING,
                "deadline");
  CHECK(ath_request_set_outputs(on.request, names, 2) == ATH_OK);
  CHECK(ath_request_set_cache_mode(on.request, ATH_CACHE_ONLY_IF_CACHED) == ATH_OK);
  CHECK(ath_request_reset(on.request) == ATH_OK);
  CHECK_REFUSED(ath_infer(on.request, &response, &error), ATH_INVALID_ARGUMENT, ATH_REASON_MISSING_INPUT,
                "x");
  CHECK(ath_request_copy_tensor(on.request, "x", &other, &error) == ATH_OK);
  CHECK_OK(ath_infer(on.request, &response, &error));
  CHECK(ath_response_output_count(response) == 1 && first_output(response) == 6);
  ath_response_destroy(response);
  puppet_end(&on);
}

/* mutant: a request begins with the failures of the last one */
static void nothing_is_left(void) {
  static const float row[2] = {3, 4};
  static const char* const unknown[] = {"tg"};
  puppet_world on = puppet_begin(NULL, row);
  ath_response* response = NULL;
  ath_error* error = NULL;
  int i;
  for (i = 0; i < 3; ++i) {
    ath_request* request = ath_request_create(on.model);
    CHECK_OK(ath_request_error(request, &error));
    CHECK_REFUSED(ath_infer(request, &response, &error), ATH_INVALID_ARGUMENT, ATH_REASON_MISSING_INPUT, "x");
    CHECK(ath_request_set_text(request, "x", "text", 4) == ATH_OK);
    CHECK(ath_request_set_deadline_ns(request, 0) == ATH_OK);
    CHECK(ath_request_set_outputs(request, unknown, 1) == ATH_OK);
    CHECK(ath_request_set_cache_mode(request, 17) == ATH_INVALID_ARGUMENT);
    ath_request_destroy(request);
  }
  puppet_end(&on);
}

/* mutant: every negative deadline is the default */
static void deadlines(void) {
  static const float row[2] = {3, 4};
  static const int64_t past[] = {0, -1, -1000000000, INT64_MIN + 1};
  puppet_world on = puppet_begin(NULL, row);
  ath_response* response = NULL;
  ath_error* error = NULL;
  size_t i;
  for (i = 0; i < sizeof(past) / sizeof(past[0]); ++i) {
    CHECK(ath_request_set_deadline_ns(on.request, past[i]) == ATH_OK);
    CHECK_REFUSED(ath_infer(on.request, &response, &error), ATH_DEADLINE_EXCEEDED,
                  ATH_REASON_DEADLINE_WAITING, "deadline");
  }
  CHECK(ath_request_set_deadline_ns(on.request, ATH_DEADLINE_DEFAULT) == ATH_OK);
  CHECK_OK(ath_infer(on.request, &response, &error));
  ath_response_destroy(response);
  CHECK(ath_request_set_deadline_ns(on.request, INT64_MAX) == ATH_OK);
  CHECK_OK(ath_infer(on.request, &response, &error));
  ath_response_destroy(response);
  puppet_end(&on);
}

/* mutant: the folder of a model is kept as it was given */
static void relative_folder(void) {
  static const float row[2] = {3, 4};
  char before[1024];
  char parent[1024];
  const char* folder = puppet_folder("puppet");
  const char* name = strrchr(folder, '/') + 1;
  puppet_world on = {NULL, NULL, NULL};
  ath_response* response = NULL;
  ath_error* error = NULL;
  snprintf(parent, sizeof parent, "%.*s", (int)(name - folder), folder);
  CHECK(getcwd(before, sizeof before) != NULL && chdir(parent) == 0);
  on.engine = puppet_engine(NULL);
  CHECK_OK(ath_model_add(on.engine, name, &on.model, &error));
  CHECK(chdir("/") == 0);
  on.request = puppet_request(on.model, row);
  CHECK_OK(ath_infer(on.request, &response, &error));
  CHECK(chdir(before) == 0);
  ath_response_destroy(response);
  puppet_remove(folder);
  puppet_end(&on);
}

/* mutant: the lengths of texts are ignored */
/* mutant: a text is handed on with its end */
/* mutant: a processor in C is not told that nobody waits */
/* mutant: the encoding of texts is not described */
static void texts(void) {
  ath_engine* engine = puppet_engine(NULL);
  ath_model* model = puppet_text_model(engine);
  ath_request* request = ath_request_create(model);
  ath_response* response = NULL;
  ath_error* error = NULL;
  ath_text* description = NULL;
  ath_tensor_view view = ATH_TENSOR_VIEW_INIT;
  static const char* const words[] = {"banana", "sky", ""};
  static const size_t lengths[] = {3, 3, 0};
  const int asked_before = puppet_given_up();
  CHECK(ath_request_set_text(request, "words", "bananas", 6) == ATH_OK);
  CHECK_OK(ath_infer(request, &response, &error));
  CHECK(first_output(response) == 7);
  CHECK(ath_response_output(response, "y", &view) == ATH_OK && ((const float*)view.data)[1] == 4);
  ath_response_destroy(response);
  CHECK(ath_request_copy_texts(request, "words", words, NULL, 2) == ATH_OK);
  CHECK_OK(ath_infer(request, &response, &error));
  CHECK(ath_response_output(response, "y", &view) == ATH_OK && view.shape[0] == 2 &&
        ((const float*)view.data)[2] == 4);
  ath_response_destroy(response);
  CHECK(ath_request_copy_texts(request, "words", words, lengths, 2) == ATH_OK);
  CHECK_OK(ath_infer(request, &response, &error));
  CHECK(first_output(response) == 4);
  ath_response_destroy(response);
  CHECK(ath_request_set_text(request, "words", "oh!", 3) == ATH_OK);
  CHECK_REFUSED(ath_infer(request, &response, &error), ATH_INVALID_ARGUMENT, ATH_REASON_SYNTAX,
                "exclamation");
  CHECK(ath_request_set_text(request, "words", "\xff", 1) == ATH_OK);
  CHECK_REFUSED(ath_infer(request, &response, &error), ATH_INVALID_ARGUMENT, ATH_REASON_SYNTAX, "UTF-8");
  CHECK(ath_request_set_text(request, "words", "?", 1) == ATH_OK);
  CHECK(ath_request_set_deadline_ns(request, 1000000) == ATH_OK);
  CHECK_REFUSED(ath_infer(request, &response, &error), ATH_DEADLINE_EXCEEDED, ATH_REASON_DEADLINE_WAITING,
                "no answer within 1 ms");
  CHECK(puppet_given_up() == asked_before + 1);
  CHECK_OK(ath_engine_describe(engine, &description, &error));
  CHECK(strstr(ath_text_data(description), "\"encoding\": \"utf8\"") != NULL);
  ath_text_destroy(description);
  ath_request_destroy(request);
  ath_model_release(model);
  ath_engine_destroy(engine);
}

/* mutant: the outputs are given for the inputs */
static void signature(void) {
  puppet_world on = puppet_begin(NULL, NULL);
  ath_tensor_spec spec = ATH_TENSOR_SPEC_INIT;
  CHECK(strcmp(ath_model_id(on.model), "puppet@1.0.0") == 0);
  CHECK(ath_model_input_count(on.model) == 1 && ath_model_output_count(on.model) == 1);
  CHECK(ath_model_input(on.model, 0, &spec) == ATH_OK);
  CHECK(strcmp(spec.name, "x") == 0 && strcmp(spec.unit, "") == 0 && spec.dtype == ATH_DTYPE_F32 &&
        spec.ndim == 2);
  CHECK(spec.shape[0] == ATH_DIM_ANY && strcmp(spec.dim_names[0], "items") == 0);
  CHECK(spec.shape[1] == 2 && spec.dim_names[1] == NULL && spec.allows_non_finite == 0 && spec.reserved == 0);
  CHECK(ath_model_output(on.model, 0, &spec) == ATH_OK && strcmp(spec.name, "y") == 0 &&
        strcmp(spec.unit, "K") == 0);
  CHECK(ath_model_input(on.model, 1, &spec) == ATH_OUT_OF_RANGE);
  puppet_end(&on);
}

/* mutant: a model is not unloaded */
static void find_and_unload(void) {
  puppet_world on = puppet_begin(NULL, NULL);
  ath_model* found = NULL;
  ath_error* error = NULL;
  ath_text* text = NULL;
  CHECK_OK(ath_model_find(on.engine, "puppet", &found, &error));
  CHECK(strcmp(ath_model_id(found), "puppet@1.0.0") == 0);
  CHECK_OK(ath_model_unload(found, &error));
  CHECK_OK(ath_engine_health(on.engine, &text, &error));
  CHECK(strstr(ath_text_data(text), "\"unloaded\"") != NULL);
  CHECK(strlen(ath_text_data(text)) == ath_text_size(text));
  ath_text_destroy(text);
  ath_model_release(found);
  CHECK_REFUSED(ath_model_find(on.engine, "nobody", &found, &error), ATH_NOT_FOUND, ATH_REASON_MODEL_MISSING,
                "nobody");
  CHECK(found == NULL);
  puppet_end(&on);
}

/* mutant: milliseconds of an option lose their fraction */
/* mutant: the plugins of an engine are not described */
static void describe(void) {
  static const char* const settings[] = {
      "\"threads\": 3",        "\"caller_runs\": \"never\"", "\"default_deadline_ms\": 4.0",
      "\"max_items\": 5",      "\"max_bytes\": 6000",        "\"cache_bytes\": 7",
      "\"cache_ttl_ms\": 8.0", "\"model_bytes\": 9",         "\"load_deadline_ms\": 10.5",
      "\"load_threads\": 11",  "\"breaker\": false"};
  char json[400] = "{\"plugins\": [\"torch\"]";
  ath_engine* engine;
  size_t i;
  ath_error* error = NULL;
  ath_text* text = NULL;
  for (i = 0; i < sizeof(settings) / sizeof(settings[0]); ++i) strcat(strcat(json, ", "), settings[i]);
  engine = puppet_engine(strcat(json, "}"));
  CHECK_OK(ath_engine_describe(engine, &text, &error));
  for (i = 0; i < sizeof(settings) / sizeof(settings[0]); ++i)
    CHECK(strstr(ath_text_data(text), settings[i]) != NULL);
  CHECK(strstr(ath_text_data(text), "\"puppet\"") != NULL &&
        strstr(ath_text_data(text), "\"letters\"") != NULL);
  CHECK(strstr(ath_text_data(text), "\"open\": false") != NULL &&
        strstr(ath_text_data(text), "\"abi\": 2") != NULL);
  ath_text_destroy(text);
  CHECK_OK(ath_engine_health(engine, &text, &error));
  CHECK(strstr(ath_text_data(text), "\"ready\": false") != NULL);
  CHECK(strstr(ath_text_data(text), "no model is registered") != NULL);
  ath_text_destroy(text);
  ath_engine_destroy(engine);
}

static void two_engines(void) {
  ath_engine* busy = puppet_engine(NULL);
  ath_engine* idle = puppet_engine(NULL);
  ath_model* busy_model = puppet_model(busy);
  ath_model* idle_model = puppet_model(idle);
  const float row[2] = {5, 6};
  ath_request* request = puppet_request(busy_model, row);
  ath_response* response = NULL;
  ath_error* error = NULL;
  ath_text* text = NULL;
  CHECK_OK(ath_infer(request, &response, &error));
  CHECK_OK(ath_engine_metrics(busy, &text, &error));
  CHECK(strstr(ath_text_data(text), "athanor_batches_total{model=\"puppet\",version=\"1.0.0\"} 1\n") != NULL);
  ath_text_destroy(text);
  CHECK_OK(ath_engine_metrics(idle, &text, &error));
  CHECK(strstr(ath_text_data(text), "athanor_batches_total{model=\"puppet\",version=\"1.0.0\"} 0\n") != NULL);
  ath_text_destroy(text);
  ath_response_destroy(response);
  ath_request_destroy(request);
  ath_model_release(busy_model);
  ath_model_release(idle_model);
  ath_engine_destroy(busy);
  ath_engine_destroy(idle);
}

static void outliving(void) {
  static const float row[2] = {5, 6};
  puppet_world on = puppet_begin(NULL, row);
  ath_response* response = NULL;
  ath_response* refused = NULL;
  ath_error* error = NULL;
  ath_report report = ATH_REPORT_INIT;
  ath_tensor_spec spec = ATH_TENSOR_SPEC_INIT;
  CHECK_OK(ath_infer(on.request, &response, &error));
  CHECK(ath_model_input(on.model, 0, &spec) == ATH_OK);
  ath_engine_destroy(on.engine);
  on.engine = NULL;
  CHECK_REFUSED(ath_infer(on.request, &refused, &error), ATH_UNAVAILABLE, ATH_REASON_STOPPING, "stopping");
  CHECK_OK(ath_model_unload(on.model, &error));
  CHECK(strcmp(spec.name, "x") == 0 && strcmp(ath_model_id(on.model), "puppet@1.0.0") == 0);
  puppet_end(&on);
  CHECK(first_output(response) == 6);
  CHECK(ath_response_report(response, &report) == ATH_OK && strcmp(report.model, "puppet@1.0.0") == 0);
  ath_response_destroy(response);
}

static void many_engines(void) {
  int i;
  for (i = 0; i < 100; ++i) {
    ath_engine* engine = puppet_engine("{\"threads\": 2}");
    ath_model* model = i % 10 == 0 ? puppet_model(engine) : NULL;
    ath_model_release(model);
    ath_engine_destroy(engine);
  }
}

/* mutant: a backend's sentence is lost */
static void backend_failure(void) {
  static const float row[2] = {PUPPET_FAIL, 0};
  puppet_world on = puppet_begin(NULL, row);
  ath_response* response = NULL;
  ath_error* error = NULL;
  CHECK_REFUSED(ath_infer(on.request, &response, &error), ATH_INTERNAL, ATH_REASON_BACKEND_FAILURE,
                "told to fail");
  CHECK(ath_infer(on.request, &response, NULL) == ATH_INTERNAL && response == NULL);
  puppet_end(&on);
}

/* mutant: a backend is never told that nobody waits */
/* mutant: a backend that asks is told that somebody waits */
static void given_up(void) {
  static const float row[2] = {PUPPET_ASK, 0};
  const int before = puppet_given_up();
  puppet_world on = puppet_begin(NULL, row);
  ath_response* response = NULL;
  ath_error* error = NULL;
  CHECK(ath_request_set_deadline_ns(on.request, 20000000) == ATH_OK);
  CHECK(ath_infer(on.request, &response, &error) == ATH_DEADLINE_EXCEEDED);
  ath_error_destroy(error);
  puppet_end(&on); /* waits for the run */
  CHECK(puppet_given_up() == before + 1);
}

/* mutant: a stop stops nothing */
static void stop(void) {
  static const float row[2] = {7, 8};
  puppet_world on = puppet_begin(NULL, row);
  ath_response* response = NULL;
  ath_error* error = NULL;
  uint64_t abandoned = 77;
  CHECK_OK(ath_engine_stop(on.engine, 1000000000, &abandoned, &error));
  CHECK(abandoned == 0);
  CHECK_OK(ath_engine_stop(on.engine, 0, NULL, &error));
  CHECK_REFUSED(ath_infer(on.request, &response, &error), ATH_UNAVAILABLE, ATH_REASON_STOPPING, "stopping");
  puppet_end(&on);
}

const test life_tests[] = {
    {"a model is loaded and answers, with outputs and a report", infer},
    {"a report says how many members of an ensemble have answered", members},
    {"outputs are chosen by name, and a reset request is empty", outputs_and_reset},
    {"of a request that was destroyed nothing is left in the next one", nothing_is_left},
    {"a deadline in the past has passed; the default is a value of its own", deadlines},
    {"a relative folder survives a change of the working directory", relative_folder},
    {"texts go through a processor, one or many at a time", texts},
    {"a model tells its signature", signature},
    {"a model is found by name and unloaded", find_and_unload},
    {"an engine describes itself and its health", describe},
    {"S3-23 two engines count for themselves", two_engines},
    {"what an engine made can be read when it is gone", outliving},
    {"a hundred engines come and go", many_engines},
    {"a model that fails says why", backend_failure},
    {"a backend is told that nobody waits for its batch", given_up},
    {"a stopped engine refuses", stop},
    {NULL, NULL}};
