/* Predicts one property of one polymer, in C99, linked against libathanor.so alone.
 *
 *     predict MODEL_FOLDER SMILES OUTPUT
 *
 * as in: predict examples/polymers/model '*CC(*)c1ccccc1' tg_mean */
#include <athanor.h>
#include <stdio.h>
#include <string.h>

static int report(ath_error* error) {
  fprintf(stderr, "%s: %s\n", ath_code_name(ath_error_code(error)), ath_error_message(error));
  ath_error_destroy(error);
  return 1;
}

static int predict(const ath_model* model, const char* smiles, const char* output) {
  ath_request* request = ath_request_create(model);
  ath_response* response = NULL;
  ath_error* error = NULL;
  ath_tensor_view value = ATH_TENSOR_VIEW_INIT;
  ath_report times = ATH_REPORT_INIT;
  int failed;
  ath_request_set_text(request, "smiles", smiles, strlen(smiles));
  ath_request_set_deadline_ns(request, (int64_t)5000 * 1000 * 1000);
  failed = ath_infer(request, &response, &error) != ATH_OK ? report(error) : 0;
  ath_request_destroy(request);
  if (failed) return failed;

  if (ath_response_output(response, output, &value) == ATH_OK && value.dtype == ATH_DTYPE_F32) {
    ath_response_report(response, &times);
    printf("%s: %s = %.1f (%.1f ms)\n", smiles, output, *(const float*)value.data,
           (double)times.total_ns / 1e6);
  } else {
    fprintf(stderr, "%s: the model has no f32 output of the name %s\n", ath_model_id(model), output);
    failed = 1;
  }
  ath_response_destroy(response);
  return failed;
}

int main(int count, char** arguments) {
  ath_engine* engine = NULL;
  ath_model* model = NULL;
  ath_error* error = NULL;
  int failed;
  if (count != 4) {
    fprintf(stderr, "usage: %s MODEL_FOLDER SMILES OUTPUT\n", arguments[0]);
    return 2;
  }
  failed = ath_engine_create("{\"plugins\": [\"torch\", \"chem\"]}", &engine, &error) != ATH_OK ||
           ath_model_load(engine, arguments[1], &model, &error) != ATH_OK;
  failed = failed ? report(error) : predict(model, arguments[2], arguments[3]);
  ath_model_release(model);
  ath_engine_destroy(engine);
  return failed;
}
