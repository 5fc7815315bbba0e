/* NOLINTNEXTLINE(bugprone-reserved-identifier): POSIX says so */
#define _POSIX_C_SOURCE 200809L
#include "puppet.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int runs = 0;
static int given_up = 0;
static int held = 0;
static int let_go = 0;

static int32_t refuse(ath_failure* failure, int32_t code, int32_t reason, const char* message) {
  failure->code = code;
  failure->reason = reason;
  snprintf(failure->message, sizeof failure->message, "%s", message);
  return code;
}

static int32_t load(void* context, const ath_model_source* source, void** out_model, ath_failure* failure) {
  FILE* file = fopen(source->path, "rb");
  (void)context;
  if (file == NULL) return refuse(failure, ATH_NOT_FOUND, ATH_REASON_FILE, "the puppet finds no file");
  fclose(file);
  *out_model = malloc(1);
  return ATH_OK;
}

static void unload(void* context, void* model) {
  (void)context;
  free(model);
}

static uint64_t footprint(void* context, void* model) {
  (void)context;
  (void)model;
  return 1000;
}

typedef struct instance {
  float* memory;
} instance;

static int32_t make_instance(void* context, void* model, void** out_instance, ath_failure* failure) {
  (void)context;
  (void)model;
  (void)failure;
  *out_instance = calloc(1, sizeof(instance));
  return ATH_OK;
}

static void destroy_instance(void* context, void* raw) {
  instance* made = raw;
  (void)context;
  free(made->memory);
  free(made);
}

/* Asks whether nobody waits, until that is so; more often than anybody can in a millisecond, for less than a minute. */
static int32_t ask(int32_t (*is_cancelled)(const void* asked), const void* asked, ath_failure* failure) {
  int32_t told = 0;
  int i;
  for (i = 0; i < 100000000 && !told; ++i) told = is_cancelled(asked);
  pthread_mutex_lock(&mutex);
  given_up += told != 0;
  pthread_mutex_unlock(&mutex);
  return refuse(failure, ATH_INTERNAL, ATH_REASON_NONE, "given up");
}

static int holds(const float* x, size_t count, float order) {
  size_t i;
  for (i = 0; i < count; ++i)
    if (x[i] == order) return 1;
  return 0;
}

static int32_t run(void* context, void* raw, ath_batch* batch, ath_failure* failure) {
  instance* made = raw;
  const ath_tensor* input = &batch->inputs[0];
  const float* x = input->data;
  const size_t count = (size_t)(input->size_bytes / sizeof(float));
  const float shift = batch->input_count > 1 ? *(const float*)batch->inputs[1].data : 0;
  size_t i;
  (void)context;
  pthread_mutex_lock(&mutex);
  runs += !PUPPET_IS_MADE_UP(x[0]);
  if (holds(x, count, PUPPET_HOLD)) {
    ++held;
    pthread_cond_broadcast(&changed);
    while (!let_go) pthread_cond_wait(&changed, &mutex);
    if (--held == 0) {
      let_go = 0;
      pthread_cond_broadcast(&changed);
    }
  }
  pthread_mutex_unlock(&mutex);
  if (holds(x, count, PUPPET_ASK)) return ask(batch->is_cancelled, batch->work, failure);
  if (holds(x, count, PUPPET_FAIL))
    return refuse(failure, ATH_INTERNAL, ATH_REASON_BACKEND_FAILURE, "the puppet was told to fail");
  free(made->memory);
  made->memory = malloc(count * sizeof(float));
  for (i = 0; i < count; ++i) made->memory[i] = x[i] + 1 + shift;
  batch->outputs[0] = *input;
  batch->outputs[0].data = made->memory;
  return ATH_OK;
}

const ath_backend_table puppet_table = {sizeof(ath_backend_table),
                                        NULL,
                                        "puppet",
                                        ATH_RUNS_ON_ANY_THREAD,
                                        0,
                                        load,
                                        unload,
                                        footprint,
                                        make_instance,
                                        destroy_instance,
                                        run,
                                        NULL,
                                        NULL};

int puppet_runs(void) {
  int seen;
  pthread_mutex_lock(&mutex);
  seen = runs;
  pthread_mutex_unlock(&mutex);
  return seen;
}

int puppet_given_up(void) {
  int seen;
  pthread_mutex_lock(&mutex);
  seen = given_up;
  pthread_mutex_unlock(&mutex);
  return seen;
}

void puppet_wait_until_held(void) {
  pthread_mutex_lock(&mutex);
  while (held == 0) pthread_cond_wait(&changed, &mutex);
  pthread_mutex_unlock(&mutex);
}

void puppet_let_go(void) {
  pthread_mutex_lock(&mutex);
  if (held > 0) let_go = 1;
  pthread_cond_broadcast(&changed);
  while (let_go) pthread_cond_wait(&changed, &mutex);
  pthread_mutex_unlock(&mutex);
}

static const char* const letter_names[] = {"x"};
static const int32_t letter_dtypes[] = {ATH_DTYPE_F32};

static int32_t open_letters(void* context, const char* folder, const char* options, void** out_processor,
                            ath_ports* ports, ath_failure* failure) {
  (void)context;
  (void)folder;
  (void)options;
  (void)failure;
  ports->made_names = letter_names;
  ports->made_dtypes = letter_dtypes;
  ports->made_count = 1;
  *out_processor = malloc(1);
  return ATH_OK;
}

static void close_letters(void* context, void* processor) {
  (void)context;
  free(processor);
}

typedef struct letters {
  ath_tensor tensor;
  float counts[2];
} letters;

static int32_t count_letters(void* context, void* processor, const ath_item* item, ath_made* out,
                             ath_failure* failure) {
  const char* text = item->inputs[0].data;
  const uint64_t length = item->inputs[0].size_bytes;
  letters* made;
  uint64_t i;
  (void)context;
  (void)processor;
  for (i = 0; i < length; ++i)
    if (text[i] == '!')
      return refuse(failure, ATH_INVALID_ARGUMENT, ATH_REASON_SYNTAX, "an exclamation mark");
  if (length > 0 && text[0] == '?') return ask(item->is_cancelled, item->call, failure);
  made = calloc(1, sizeof *made);
  for (i = 0; i < length; ++i) made->counts[1] += text[i] == 'a' ? 1.0F : 0.0F;
  made->counts[0] = (float)length;
  made->tensor.data = made->counts;
  made->tensor.size_bytes = sizeof made->counts;
  made->tensor.ndim = 2;
  made->tensor.shape[0] = 1;
  made->tensor.shape[1] = 2;
  made->tensor.dtype = ATH_DTYPE_F32;
  made->tensor.device_type = ATH_DEVICE_CPU;
  out->tensors = &made->tensor;
  out->tensor_count = 1;
  out->cost = 1;
  out->owner = made;
  out->release = free;
  return ATH_OK;
}

const ath_processor_table letters_table = {sizeof(ath_processor_table),
                                           NULL,
                                           "letters",
                                           ATH_RUNS_ON_ANY_THREAD,
                                           0,
                                           open_letters,
                                           close_letters,
                                           count_letters,
                                           NULL,
                                           NULL};

static const char* const spelling_names[] = {"label", "word"};
static const int32_t spelling_dtypes[] = {ATH_DTYPE_BYTES, ATH_DTYPE_BYTES};
enum { most_letters = 9 };

static int32_t open_spelling(void* context, const char* folder, const char* options, void** out_processor,
                             ath_ports* ports, ath_failure* failure) {
  (void)context;
  (void)folder;
  (void)options;
  (void)failure;
  ports->output_names = spelling_names;
  ports->output_dtypes = spelling_dtypes;
  ports->output_count = 2;
  *out_processor = malloc(1);
  return ATH_OK;
}

typedef struct spelling {
  ath_tensor tensors[2];
  char label[most_letters + 1];
  char words[2 * most_letters + 1];
  int64_t offsets[most_letters + 1];
} spelling;

static int32_t spell(void* context, void* processor, const ath_item* item, void* state,
                     const ath_tensor* rows, size_t row_count, ath_made* out, ath_failure* failure) {
  const float* y = rows[0].data;
  const int64_t words = (int64_t)y[1];
  spelling* made = calloc(1, sizeof *made);
  int64_t i;
  (void)context;
  (void)processor;
  (void)item;
  (void)state;
  (void)row_count;
  (void)failure;
  memset(made->label, 'a', (size_t)y[0]);
  made->tensors[0].data = made->label;
  made->tensors[0].size_bytes = (uint64_t)y[0];
  made->tensors[0].shape[0] = 1;
  for (i = 0; i < words; ++i) {
    made->words[2 * i] = 'w';
    made->words[2 * i + 1] = (char)('0' + i);
    made->offsets[i + 1] = 2 * (i + 1);
  }
  made->tensors[1].data = made->words;
  made->tensors[1].offsets = made->offsets;
  made->tensors[1].size_bytes = (uint64_t)(2 * words);
  made->tensors[1].shape[0] = words;
  for (i = 0; i < 2; ++i) {
    made->tensors[i].ndim = 1;
    made->tensors[i].dtype = ATH_DTYPE_BYTES;
    made->tensors[i].device_type = ATH_DEVICE_CPU;
  }
  out->tensors = made->tensors;
  out->tensor_count = 2;
  out->owner = made;
  out->release = free;
  return ATH_OK;
}

const ath_processor_table spelling_table = {sizeof(ath_processor_table),
                                            NULL,
                                            "spelling",
                                            ATH_RUNS_ON_ANY_THREAD,
                                            0,
                                            open_spelling,
                                            close_letters,
                                            NULL,
                                            spell,
                                            NULL};

static const char one_member[] =
    "{\"file\": \"model.bin\", \"digest\": \"xxh128:bdbda1eb6e05adc4800d98e5524fefbc\"}";

/* `from` is the rest of what is said of the output, and further outputs. */
static const char* write_folder(const char* name, const char* inputs, const char* from, int members) {
  static char folder[256];
  char path[300];
  /* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody sets variables here */
  const char* base = getenv("TMPDIR");
  FILE* file;
  snprintf(folder, sizeof folder, "%s/athanor-capi-XXXXXX", base != NULL ? base : "/tmp");
  if (mkdtemp(folder) == NULL) abort();
  snprintf(path, sizeof path, "%s/model.bin", folder);
  file = fopen(path, "wb");
  fputs("weights", file);
  fclose(file);
  snprintf(path, sizeof path, "%s/athanor.json", folder);
  file = fopen(path, "wb");
  fprintf(
      file,
      "{\"athanor\": 1, \"name\": \"%s\", \"version\": \"1.0.0\", \"backend\": \"puppet\", \"format\": "
      "\"puppet\", %s, "
      "\"outputs\": [{\"name\": \"y\", \"dtype\": \"f32\", \"shape\": [\"items\", 2], \"unit\": \"K\"%s}], "
      "\"members\": [%s",
      name, inputs, from, one_member);
  while (--members > 0) fprintf(file, ", %s", one_member);
  fputs("]}", file);
  fclose(file);
  return folder;
}

const char* puppet_folder(const char* name) {
  return write_folder(name, "\"inputs\": [{\"name\": \"x\", \"dtype\": \"f32\", \"shape\": [\"items\", 2]}]",
                      "", 1);
}

void puppet_remove(const char* folder) {
  const char* const files[] = {"model.bin", "athanor.json"};
  char path[300];
  size_t i;
  for (i = 0; i < 2; ++i) {
    snprintf(path, sizeof path, "%s/%s", folder, files[i]);
    remove(path);
  }
  rmdir(folder);
}

ath_engine* puppet_engine(const char* options_json) {
  ath_engine* engine = NULL;
  ath_error* error = NULL;
  CHECK_OK(ath_engine_create(options_json, &engine, &error));
  CHECK_OK(ath_engine_add_backend(engine, &puppet_table, &error));
  CHECK_OK(ath_engine_add_processor(engine, &letters_table, &error));
  CHECK_OK(ath_engine_add_processor(engine, &spelling_table, &error));
  return engine;
}

/* Loads the model in `folder`, which is not needed any more. */
static ath_model* take_model(ath_engine* engine, const char* folder) {
  ath_model* model = NULL;
  ath_error* error = NULL;
  CHECK_OK(ath_model_load(engine, folder, &model, &error));
  puppet_remove(folder);
  return model;
}

ath_model* puppet_model(ath_engine* engine) { return take_model(engine, puppet_folder("puppet")); }

ath_model* puppet_text_model(ath_engine* engine) {
  return take_model(
      engine,
      write_folder("letters",
                   "\"inputs\": [{\"name\": \"words\", \"dtype\": \"bytes\", \"shape\": [\"items\"], "
                   "\"max_bytes\": 100}], "
                   "\"processor\": {\"name\": \"letters\", \"inputs\": [\"words\"], \"options\": {}}, "
                   "\"model_inputs\": [{\"name\": \"x\", \"dtype\": \"f32\", \"shape\": [\"items\", 2]}], "
                   "\"model_outputs\": [{\"name\": \"y\", \"dtype\": \"f32\", \"shape\": [\"items\", 2]}]",
                   "", 1));
}

ath_model* puppet_shifted_model(ath_engine* engine) {
  return take_model(
      engine,
      write_folder(
          "shifted",
          "\"inputs\": [{\"name\": \"x\", \"dtype\": \"f32\", \"shape\": [\"items\", 2]}], "
          "\"parameters\": [{\"name\": \"shift\", \"type\": \"f64\", \"default\": 0, \"max\": 1000}], "
          "\"model_inputs\": [{\"name\": \"x\", \"dtype\": \"f32\", \"shape\": [\"items\", 2]}, "
          "{\"name\": \"shift\", \"dtype\": \"f32\", \"shape\": [], \"from\": \"parameter:shift\"}]",
          "", 1));
}

ath_model* puppet_spelling_model(ath_engine* engine) {
  return take_model(
      engine, write_folder("spelling",
                           "\"inputs\": [{\"name\": \"x\", \"dtype\": \"f32\", \"shape\": [\"items\", 2]}], "
                           "\"processor\": {\"name\": \"spelling\"}",
                           "}, {\"name\": \"label\", \"dtype\": \"bytes\", \"shape\": [\"items\"], "
                           "\"from\": \"processor:label\"}, "
                           "{\"name\": \"word\", \"dtype\": \"bytes\", \"shape\": [\"words\"], "
                           "\"from\": \"processor:word\"}, "
                           "{\"name\": \"words\", \"dtype\": \"i64\", \"shape\": [\"items\"], "
                           "\"from\": \"rows:words\"",
                           1));
}

ath_model* puppet_shared_model(ath_engine* engine) {
  return take_model(
      engine, write_folder("shared",
                           "\"inputs\": [{\"name\": \"x\", \"dtype\": \"f32\", \"shape\": [\"items\", 2]}, "
                           "{\"name\": \"shift\", \"dtype\": \"f32\", \"shape\": [1], \"shared\": true}]",
                           "", 1));
}

ath_model* puppet_ensemble(ath_engine* engine) {
  return take_model(
      engine,
      write_folder("ensemble",
                   "\"inputs\": [{\"name\": \"x\", \"dtype\": \"f32\", \"shape\": [\"items\", 2]}], "
                   "\"model_outputs\": [{\"name\": \"y\", \"dtype\": \"f32\", \"shape\": [\"items\", 2]}]",
                   ", \"from\": \"mean:y\"", 2));
}

ath_request* puppet_request(const ath_model* model, const float* row) {
  ath_tensor_view view = ATH_TENSOR_VIEW_INIT;
  ath_error* error = NULL;
  ath_request* request = ath_request_create(model);
  view.data = row;
  view.dtype = ATH_DTYPE_F32;
  view.ndim = 2;
  view.shape[0] = 1;
  view.shape[1] = 2;
  CHECK_OK(ath_request_set_tensor(request, "x", &view, &error));
  return request;
}

puppet_world puppet_begin(const char* options_json, const float* row) {
  puppet_world on;
  on.engine = puppet_engine(options_json);
  on.model = puppet_model(on.engine);
  on.request = row != NULL ? puppet_request(on.model, row) : ath_request_create(on.model);
  return on;
}

void puppet_end(puppet_world* on) {
  ath_request_destroy(on->request);
  ath_model_release(on->model);
  ath_engine_destroy(on->engine);
}
