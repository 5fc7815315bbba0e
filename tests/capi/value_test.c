/* Numbers are part of the border: they are compared with what they were when they were given out. */
#include <stddef.h>
#include <stdio.h>

#include "check.h"

/* mutant: swap two codes, or insert a reason in the middle */
static void numbers(void) {
  static const int codes[] = {ATH_OK,
                              ATH_CANCELLED,
                              ATH_UNKNOWN,
                              ATH_INVALID_ARGUMENT,
                              ATH_DEADLINE_EXCEEDED,
                              ATH_NOT_FOUND,
                              ATH_ALREADY_EXISTS,
                              ATH_PERMISSION_DENIED,
                              ATH_RESOURCE_EXHAUSTED,
                              ATH_FAILED_PRECONDITION,
                              ATH_ABORTED,
                              ATH_OUT_OF_RANGE,
                              ATH_UNIMPLEMENTED,
                              ATH_INTERNAL,
                              ATH_UNAVAILABLE,
                              ATH_DATA_LOSS};
  static const char* const code_names[] = {
      "ok",        "cancelled",      "unknown",           "invalid_argument",   "deadline_exceeded",
      "not_found", "already_exists", "permission_denied", "resource_exhausted", "failed_precondition",
      "aborted",   "out_of_range",   "unimplemented",     "internal",           "unavailable",
      "data_loss"};
  static const char* const reason_names[] = {"none",
                                             "shape",
                                             "dtype",
                                             "missing_input",
                                             "extra_input",
                                             "non_finite",
                                             "value_range",
                                             "too_large",
                                             "syntax",
                                             "chemistry",
                                             "queue_full",
                                             "memory_full",
                                             "rate",
                                             "expected_wait",
                                             "breaker_open",
                                             "deadline_waiting",
                                             "deadline_running",
                                             "cancelled",
                                             "stopping",
                                             "model_missing",
                                             "model_load",
                                             "digest",
                                             "manifest",
                                             "budget",
                                             "backend_contract",
                                             "backend_failure",
                                             "out_of_memory",
                                             "device_lost",
                                             "member_failed",
                                             "not_cached",
                                             "reentrant",
                                             "file",
                                             "option",
                                             "output_missing"};
  static const int reasons[] = {ATH_REASON_NONE,
                                ATH_REASON_SHAPE,
                                ATH_REASON_DTYPE,
                                ATH_REASON_MISSING_INPUT,
                                ATH_REASON_EXTRA_INPUT,
                                ATH_REASON_NON_FINITE,
                                ATH_REASON_VALUE_RANGE,
                                ATH_REASON_TOO_LARGE,
                                ATH_REASON_SYNTAX,
                                ATH_REASON_CHEMISTRY,
                                ATH_REASON_QUEUE_FULL,
                                ATH_REASON_MEMORY_FULL,
                                ATH_REASON_RATE,
                                ATH_REASON_EXPECTED_WAIT,
                                ATH_REASON_BREAKER_OPEN,
                                ATH_REASON_DEADLINE_WAITING,
                                ATH_REASON_DEADLINE_RUNNING,
                                ATH_REASON_CANCELLED,
                                ATH_REASON_STOPPING,
                                ATH_REASON_MODEL_MISSING,
                                ATH_REASON_MODEL_LOAD,
                                ATH_REASON_DIGEST,
                                ATH_REASON_MANIFEST,
                                ATH_REASON_BUDGET,
                                ATH_REASON_BACKEND_CONTRACT,
                                ATH_REASON_BACKEND_FAILURE,
                                ATH_REASON_OUT_OF_MEMORY,
                                ATH_REASON_DEVICE_LOST,
                                ATH_REASON_MEMBER_FAILED,
                                ATH_REASON_NOT_CACHED,
                                ATH_REASON_REENTRANT,
                                ATH_REASON_FILE,
                                ATH_REASON_OPTION,
                                ATH_REASON_OUTPUT_MISSING};
  static const int dtypes[] = {ATH_DTYPE_BOOL, ATH_DTYPE_U8,  ATH_DTYPE_I8,   ATH_DTYPE_I16,
                               ATH_DTYPE_I32,  ATH_DTYPE_I64, ATH_DTYPE_F16,  ATH_DTYPE_BF16,
                               ATH_DTYPE_F32,  ATH_DTYPE_F64, ATH_DTYPE_BYTES};
  int i;
  CHECK(sizeof(codes) == 16 * sizeof(int));
  for (i = 0; i < 16; ++i) {
    CHECK(codes[i] == i);
    CHECK(strcmp(ath_code_name(i), code_names[i]) == 0);
  }
  CHECK(sizeof(reasons) == 34 * sizeof(int));
  for (i = 0; i < 34; ++i) {
    CHECK(reasons[i] == i);
    CHECK(strcmp(ath_reason_name(i), reason_names[i]) == 0);
  }
  CHECK(sizeof(dtypes) == 11 * sizeof(int));
  for (i = 0; i < 11; ++i) CHECK(dtypes[i] == i + 1);
  CHECK(ATH_DEVICE_CPU == 1 && ATH_DEVICE_CUDA == 2);
  CHECK(ATH_CACHE_USE == 0 && ATH_CACHE_SKIP == 1 && ATH_CACHE_REFRESH == 2 && ATH_CACHE_ONLY_IF_CACHED == 3);
  CHECK(ATH_CACHE_STATE_OFF == 0 && ATH_CACHE_STATE_MISS == 1 && ATH_CACHE_STATE_HIT == 2);
  CHECK(ATH_CACHE_STATE_JOINED == 3 && ATH_CACHE_STATE_REFRESHED == 4);
  CHECK(ATH_MAX_RANK == 8 && ATH_DIM_ANY == -1 && ATH_ABI_VERSION == 1);
  CHECK(strcmp(ath_code_name(1000), "unknown") == 0 && ath_reason_name(-5) != NULL);
}

/* mutant: insert a field, or change the type of one */
static void layouts(void) {
  if (sizeof(void*) != 8) return;
  CHECK(sizeof(ath_tensor_view) == 128);
  CHECK(offsetof(ath_tensor_view, data) == 8 && offsetof(ath_tensor_view, strides) == 16);
  CHECK(offsetof(ath_tensor_view, offsets) == 24 && offsetof(ath_tensor_view, size_bytes) == 32);
  CHECK(offsetof(ath_tensor_view, byte_offset) == 40 && offsetof(ath_tensor_view, shape) == 48);
  CHECK(offsetof(ath_tensor_view, ndim) == 112 && offsetof(ath_tensor_view, dtype) == 116);
  CHECK(offsetof(ath_tensor_view, device_type) == 120 && offsetof(ath_tensor_view, device_index) == 124);
  CHECK(sizeof(ath_tensor_spec) == 176);
  CHECK(offsetof(ath_tensor_spec, dim_names) == 24 && offsetof(ath_tensor_spec, shape) == 88);
  CHECK(offsetof(ath_tensor_spec, max_bytes) == 152 && offsetof(ath_tensor_spec, ndim) == 160);
  CHECK(offsetof(ath_tensor_spec, dtype) == 164 && offsetof(ath_tensor_spec, allows_non_finite) == 168);
  CHECK(sizeof(ath_report) == 72);
  CHECK(offsetof(ath_report, prepare_ns) == 16 && offsetof(ath_report, total_ns) == 40);
  CHECK(offsetof(ath_report, cache) == 48 && offsetof(ath_report, members) == 64);
}

/* mutant: give the ABI of the next version, or forget the header's numbers at a release */
static void versions(void) {
  char of_header[32];
  snprintf(of_header, sizeof of_header, "%d.%d.%d", ATH_VERSION_MAJOR, ATH_VERSION_MINOR, ATH_VERSION_PATCH);
  CHECK(strcmp(ath_version(), "0.1.0") == 0);
  CHECK(strcmp(ath_version(), of_header) == 0);
  CHECK(ATH_VERSION_NUMBER == 1000);
  CHECK(ath_abi_version() == ATH_ABI_VERSION);
}

const test value_tests[] = {{"codes, reasons and types keep their numbers and names", numbers},
                            {"structs keep their layout", layouts},
                            {"the library says its versions", versions},
                            {NULL, NULL}};
