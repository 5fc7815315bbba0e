#include "check.h"

int failed_checks = 0;

void check_that(int holds, const char* condition, const char* file, int line) {
  if (holds) return;
  ++failed_checks;
  fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
}

void check_refused(int32_t got, ath_error** error, int32_t code, int32_t reason, const char* part,
                   const char* file, int line) {
  const char* message = ath_error_message(*error);
  if (got != code || ath_error_code(*error) != code || ath_error_reason(*error) != reason ||
      strstr(message, part) == NULL) {
    ++failed_checks;
    fprintf(stderr, "%s:%d: expected %s / %s / \"%s\", got %s / %s / \"%s\"\n", file, line,
            ath_code_name(code), ath_reason_name(reason), part, ath_code_name(got),
            ath_reason_name(ath_error_reason(*error)), message);
  }
  ath_error_destroy(*error);
  *error = NULL;
}
