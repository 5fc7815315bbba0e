#include <athanor.h>
#include <stdio.h>
#include <string.h>

/* An engine lives and is asked about itself; a wrong option and a missing model each get a sentence. */
int main(void) {
  ath_engine* engine = NULL;
  ath_model* model = NULL;
  ath_text* text = NULL;
  ath_error* error = NULL;

  if (ath_abi_version() < ATH_ABI_VERSION) return 1;
  if (ath_engine_create("{\"thread\": 1}", &engine, &error) != ATH_INVALID_ARGUMENT) return 2;
  if (strstr(ath_error_message(error), "thread") == NULL) return 3;
  ath_error_destroy(error);

  if (ath_engine_create(NULL, &engine, &error) != ATH_OK) return 4;
  if (ath_engine_metrics(engine, &text, &error) != ATH_OK) return 5;
  if (strstr(ath_text_data(text), "# HELP athanor_") == NULL) return 6;
  ath_text_destroy(text);
  if (ath_model_load(engine, "no-such-folder", &model, &error) != ATH_NOT_FOUND || model != NULL) return 7;
  printf("%s\n", ath_error_message(error));
  ath_error_destroy(error);
  ath_engine_destroy(engine);
  return 0;
}
