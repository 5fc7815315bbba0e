/* Runs every test, or those whose sentence contains the argument. */
#include "check.h"

int main(int count, char** arguments) {
  const test* const files[] = {value_tests,   life_tests,  view_tests, parameter_tests,
                               refusal_tests, async_tests, stop_tests, fork_tests};
  const char* part = count > 1 ? arguments[1] : "";
  int run = 0;
  size_t i;
  for (i = 0; i < sizeof(files) / sizeof(files[0]); ++i) {
    const test* each;
    for (each = files[i]; each->sentence != NULL; ++each) {
      const int before = failed_checks;
      if (strstr(each->sentence, part) == NULL) continue;
      each->run();
      ++run;
      if (failed_checks != before) fprintf(stderr, "FAILED: %s\n", each->sentence);
    }
  }
  printf("%d tests, %d checks failed\n", run, failed_checks);
  return run > 0 && failed_checks == 0 ? 0 : 1;
}
