#include <athanor.h>
#include <athanor/plugin.h>
#include <stdio.h>
#include <string.h>

static int32_t load(void* context, const ath_model_source* source, void** out_model, ath_failure* failure) {
  (void)source;
  (void)failure;
  *out_model = context;
  return ATH_OK;
}

static void unload(void* context, void* model) {
  (void)context;
  (void)model;
}

static uint64_t footprint(void* context, void* model) {
  (void)context;
  (void)model;
  return 1;
}

static int32_t make_instance(void* context, void* model, void** out_instance, ath_failure* failure) {
  (void)context;
  (void)failure;
  *out_instance = model;
  return ATH_OK;
}

static void destroy_instance(void* context, void* instance) {
  (void)context;
  (void)instance;
}

static int32_t run(void* context, void* instance, ath_batch* batch, ath_failure* failure) {
  (void)context;
  (void)instance;
  (void)failure;
  batch->outputs[0] = batch->inputs[0];
  return ATH_OK;
}

/* A C program brings a backend of its own, and the engine knows it. */
int main(void) {
  static ath_backend_table table;
  ath_engine* engine = NULL;
  ath_text* text = NULL;
  ath_error* error = NULL;

  table.struct_size = sizeof table;
  table.context = &table;
  table.name = "consumer";
  table.runs_on = ATH_RUNS_ON_ANY_THREAD;
  table.load = load;
  table.unload = unload;
  table.footprint = footprint;
  table.make_instance = make_instance;
  table.destroy_instance = destroy_instance;
  table.run = run;

  if (ath_engine_create(NULL, &engine, &error) != ATH_OK) return 1;
  if (ath_engine_add_backend(engine, &table, &error) != ATH_OK) {
    printf("%s\n", ath_error_message(error));
    return 2;
  }
  if (ath_engine_describe(engine, &text, &error) != ATH_OK) return 3;
  printf("%s\n", ath_text_data(text));
  if (strstr(ath_text_data(text), "\"consumer\"") == NULL) return 4;
  ath_text_destroy(text);
  ath_engine_destroy(engine);
  return 0;
}
