/* The least that a C test needs: checks that count, and the list of tests of each file. */
#ifndef ATHANOR_TESTS_CAPI_CHECK_H
#define ATHANOR_TESTS_CAPI_CHECK_H

#include <stdio.h>
#include <string.h>

#include <athanor.h>

extern int failed_checks;

#define CHECK(condition) check_that((condition) != 0, #condition, __FILE__, __LINE__)
/* The code and the reason of `call`, which hands out its error through `error`; a text must be part of the
 * message. */
#define CHECK_REFUSED(call, code, reason, part) \
  check_refused((call), &error, (code), (reason), (part), __FILE__, __LINE__)
#define CHECK_OK(call) check_refused((call), &error, ATH_OK, ATH_REASON_NONE, "", __FILE__, __LINE__)

void check_that(int holds, const char* condition, const char* file, int line);
/* Destroys *error and sets it to NULL. */
void check_refused(int32_t got, ath_error** error, int32_t code, int32_t reason, const char* part,
                   const char* file, int line);

typedef struct test {
  const char* sentence;
  void (*run)(void);
} test;

/* Each ends with a test that has no sentence. */
extern const test life_tests[];
extern const test value_tests[];
extern const test view_tests[];
extern const test parameter_tests[];
extern const test refusal_tests[];
extern const test async_tests[];
extern const test stop_tests[];
extern const test fork_tests[];

#endif
