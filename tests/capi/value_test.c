/* Numbers are part of the border: they are compared with what they were when they were given out. */
#include <stddef.h>
#include <stdio.h>

#include "check.h"

/* mutant: a code has the name of another */
/* mutant: a reason has the name of another */
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
                                             "output_missing",
                                             "sequence_lost",
                                             "sequence_busy",
                                             "sequences_full"};
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
                                ATH_REASON_OUTPUT_MISSING,
                                ATH_REASON_SEQUENCE_LOST,
                                ATH_REASON_SEQUENCE_BUSY,
                                ATH_REASON_SEQUENCES_FULL};
  static const int dtypes[] = {ATH_DTYPE_BOOL, ATH_DTYPE_U8,  ATH_DTYPE_I8,   ATH_DTYPE_I16,
                               ATH_DTYPE_I32,  ATH_DTYPE_I64, ATH_DTYPE_F16,  ATH_DTYPE_BF16,
                               ATH_DTYPE_F32,  ATH_DTYPE_F64, ATH_DTYPE_BYTES, ATH_DTYPE_U16,
                               ATH_DTYPE_U32,  ATH_DTYPE_U64};
  int i;
  CHECK(sizeof(codes) == 16 * sizeof(int));
  for (i = 0; i < 16; ++i) {
    CHECK(codes[i] == i);
    CHECK(strcmp(ath_code_name(i), code_names[i]) == 0);
  }
  CHECK(sizeof(reasons) == 37 * sizeof(int));
  for (i = 0; i < 37; ++i) {
    CHECK(reasons[i] == i);
    CHECK(strcmp(ath_reason_name(i), reason_names[i]) == 0);
  }
  CHECK(sizeof(dtypes) == 14 * sizeof(int));
  for (i = 0; i < 14; ++i) CHECK(dtypes[i] == i + 1);
  CHECK(ATH_DEVICE_CPU == 1 && ATH_DEVICE_CUDA == 2);
  CHECK(ATH_CACHE_USE == 0 && ATH_CACHE_SKIP == 1 && ATH_CACHE_REFRESH == 2 && ATH_CACHE_ONLY_IF_CACHED == 3);
  CHECK(ATH_CACHE_STATE_OFF == 0 && ATH_CACHE_STATE_MISS == 1 && ATH_CACHE_STATE_HIT == 2);
  CHECK(ATH_CACHE_STATE_JOINED == 3 && ATH_CACHE_STATE_REFRESHED == 4);
  CHECK(ATH_MAX_RANK == 8 && ATH_DIM_ANY == -1 && ATH_ABI_VERSION == 2);
  CHECK(strcmp(ath_code_name(1000), "unknown") == 0 && ath_reason_name(-5) != NULL);
}

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
  CHECK(sizeof(ath_report) == 80 && offsetof(ath_report, delivered_ns) == 72);
  CHECK(offsetof(ath_report, prepare_ns) == 16 && offsetof(ath_report, total_ns) == 40);
  CHECK(offsetof(ath_report, cache) == 48 && offsetof(ath_report, members) == 64);
}

static void plugin_layouts(void) {
  if (sizeof(void*) != 8) return;
  CHECK(sizeof(ath_failure) == 520);
  CHECK(offsetof(ath_failure, code) == 0 && offsetof(ath_failure, reason) == 4);
  CHECK(offsetof(ath_failure, message) == 8);
  CHECK(sizeof(ath_tensor) == 104);
  CHECK(offsetof(ath_tensor, data) == 0 && offsetof(ath_tensor, offsets) == 8);
  CHECK(offsetof(ath_tensor, size_bytes) == 16 && offsetof(ath_tensor, shape) == 24);
  CHECK(offsetof(ath_tensor, ndim) == 88 && offsetof(ath_tensor, dtype) == 92);
  CHECK(offsetof(ath_tensor, device_type) == 96 && offsetof(ath_tensor, device_index) == 100);
  CHECK(sizeof(ath_value) == 40);
  CHECK(offsetof(ath_value, text) == 0 && offsetof(ath_value, length) == 8);
  CHECK(offsetof(ath_value, integer) == 16 && offsetof(ath_value, real) == 24);
  CHECK(offsetof(ath_value, type) == 32 && offsetof(ath_value, reserved) == 36);
  CHECK(sizeof(ath_model_source) == 96);
  CHECK(offsetof(ath_model_source, struct_size) == 0 && offsetof(ath_model_source, path) == 8);
  CHECK(offsetof(ath_model_source, format) == 16 && offsetof(ath_model_source, input_names) == 24);
  CHECK(offsetof(ath_model_source, input_dtypes) == 32 && offsetof(ath_model_source, input_count) == 40);
  CHECK(offsetof(ath_model_source, output_names) == 48 && offsetof(ath_model_source, output_dtypes) == 56);
  CHECK(offsetof(ath_model_source, output_count) == 64 && offsetof(ath_model_source, device_type) == 72);
  CHECK(offsetof(ath_model_source, device_index) == 76);
  CHECK(offsetof(ath_model_source, threads_per_instance) == 80);
  CHECK(offsetof(ath_model_source, reserved) == 84 && offsetof(ath_model_source, slot_count) == 88);
  CHECK(sizeof(ath_batch) == 72);
  CHECK(offsetof(ath_batch, struct_size) == 0 && offsetof(ath_batch, items) == 8);
  CHECK(offsetof(ath_batch, inputs) == 16 && offsetof(ath_batch, input_count) == 24);
  CHECK(offsetof(ath_batch, outputs) == 32 && offsetof(ath_batch, output_count) == 40);
  CHECK(offsetof(ath_batch, slots) == 48 && offsetof(ath_batch, is_cancelled) == 56);
  CHECK(offsetof(ath_batch, work) == 64);
  CHECK(sizeof(ath_backend_table) == 96);
  CHECK(offsetof(ath_backend_table, struct_size) == 0 && offsetof(ath_backend_table, context) == 8);
  CHECK(offsetof(ath_backend_table, name) == 16 && offsetof(ath_backend_table, runs_on) == 24);
  CHECK(offsetof(ath_backend_table, reserved) == 28 && offsetof(ath_backend_table, load) == 32);
  CHECK(offsetof(ath_backend_table, unload) == 40 && offsetof(ath_backend_table, footprint) == 48);
  CHECK(offsetof(ath_backend_table, make_instance) == 56);
  CHECK(offsetof(ath_backend_table, destroy_instance) == 64 && offsetof(ath_backend_table, run) == 72);
  CHECK(offsetof(ath_backend_table, clear_slot) == 80 && offsetof(ath_backend_table, release) == 88);
}

static void processor_layouts(void) {
  if (sizeof(void*) != 8) return;
  CHECK(sizeof(ath_item) == 56);
  CHECK(offsetof(ath_item, struct_size) == 0 && offsetof(ath_item, inputs) == 8);
  CHECK(offsetof(ath_item, input_count) == 16 && offsetof(ath_item, parameters) == 24);
  CHECK(offsetof(ath_item, parameter_count) == 32 && offsetof(ath_item, is_cancelled) == 40);
  CHECK(offsetof(ath_item, call) == 48);
  CHECK(sizeof(ath_made) == 48);
  CHECK(offsetof(ath_made, struct_size) == 0 && offsetof(ath_made, tensors) == 8);
  CHECK(offsetof(ath_made, tensor_count) == 16 && offsetof(ath_made, cost) == 24);
  CHECK(offsetof(ath_made, owner) == 32 && offsetof(ath_made, release) == 40);
  CHECK(sizeof(ath_ports) == 56);
  CHECK(offsetof(ath_ports, struct_size) == 0 && offsetof(ath_ports, made_names) == 8);
  CHECK(offsetof(ath_ports, made_dtypes) == 16 && offsetof(ath_ports, made_count) == 24);
  CHECK(offsetof(ath_ports, output_names) == 32 && offsetof(ath_ports, output_dtypes) == 40);
  CHECK(offsetof(ath_ports, output_count) == 48);
  CHECK(sizeof(ath_processor_table) == 72);
  CHECK(offsetof(ath_processor_table, struct_size) == 0 && offsetof(ath_processor_table, context) == 8);
  CHECK(offsetof(ath_processor_table, name) == 16 && offsetof(ath_processor_table, runs_on) == 24);
  CHECK(offsetof(ath_processor_table, reserved) == 28 && offsetof(ath_processor_table, open) == 32);
  CHECK(offsetof(ath_processor_table, close) == 40 && offsetof(ath_processor_table, preprocess) == 48);
  CHECK(offsetof(ath_processor_table, postprocess) == 56 && offsetof(ath_processor_table, release) == 64);
  CHECK(sizeof(ath_plugin) == 48);
  CHECK(offsetof(ath_plugin, struct_size) == 0 && offsetof(ath_plugin, table_version) == 8);
  CHECK(offsetof(ath_plugin, reserved) == 12 && offsetof(ath_plugin, backends) == 16);
  CHECK(offsetof(ath_plugin, backend_count) == 24 && offsetof(ath_plugin, processors) == 32);
  CHECK(offsetof(ath_plugin, processor_count) == 40);
}

/* mutant: the ABI of the next version is told */
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
                            {"structs of backends and plugins keep their layout", plugin_layouts},
                            {"structs of processors keep their layout", processor_layouts},
                            {"the library says its versions", versions},
                            {NULL, NULL}};
