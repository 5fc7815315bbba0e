/* Tensors as a C host hands them over. */
#include "check.h"
#include "puppet.h"

static const char no_cache[] = "{\"cache_bytes\": 0}";

static ath_tensor_view view_of(const float* data, int64_t rows, int64_t columns) {
  ath_tensor_view view = ATH_TENSOR_VIEW_INIT;
  view.data = data;
  view.dtype = ATH_DTYPE_F32;
  view.ndim = 2;
  view.shape[0] = rows;
  view.shape[1] = columns;
  return view;
}

static void check_answer(const puppet_world* on, const float* expected, int64_t count) {
  ath_response* response = NULL;
  ath_error* error = NULL;
  ath_tensor_view view = ATH_TENSOR_VIEW_INIT;
  int64_t i;
  CHECK_OK(ath_infer(on->request, &response, &error));
  CHECK(ath_response_output(response, "y", &view) == ATH_OK && view.shape[0] * 2 == count);
  for (i = 0; view.data != NULL && i < count; ++i) CHECK(((const float*)view.data)[i] == expected[i] + 1);
  ath_response_destroy(response);
}

static void refuse(puppet_world* on, const ath_tensor_view* view, int32_t code, int32_t reason,
                   const char* part) {
  ath_error* error = NULL;
  CHECK_REFUSED(ath_request_set_tensor(on->request, "x", view, &error), code, reason, part);
}

/* mutant: strides are taken as bytes */
/* mutant: byte_offset is not added to the data */
/* mutant: elements may lie behind the memory of a view */
static void strides(void) {
  static const float matrix[6] = {1, 2, 3, 4, 5, 6};
  static const float transposed[6] = {1, 4, 2, 5, 3, 6};
  static const float backwards[4] = {5, 6, 3, 4};
  static const float repeated[4] = {3, 4, 3, 4};
  static const int64_t columns_first[2] = {1, 3};
  static const int64_t up[2] = {-2, 1};
  static const int64_t same_row[2] = {0, 1};
  static const int64_t dense[2] = {2, 1};
  puppet_world on = puppet_begin(no_cache, NULL);
  ath_error* error = NULL;
  ath_tensor_view view = view_of(matrix, 3, 2);
  view.strides = dense;
  CHECK_OK(ath_request_set_tensor(on.request, "x", &view, &error));
  check_answer(&on, matrix, 6);
  view.strides = columns_first;
  CHECK_OK(ath_request_set_tensor(on.request, "x", &view, &error));
  check_answer(&on, transposed, 6);
  view = view_of(matrix, 2, 2);
  view.byte_offset = 4 * sizeof(float);
  view.size_bytes = sizeof(matrix);
  view.strides = up;
  CHECK_OK(ath_request_set_tensor(on.request, "x", &view, &error));
  check_answer(&on, backwards, 4);
  view.byte_offset = sizeof(float);
  refuse(&on, &view, ATH_INVALID_ARGUMENT, ATH_REASON_SHAPE, "the 24 bytes");
  view.byte_offset = 2 * sizeof(float);
  view.strides = same_row;
  CHECK_OK(ath_request_set_tensor(on.request, "x", &view, &error));
  check_answer(&on, repeated, 4);
  puppet_end(&on);
}

/* mutant: a copy that is asked for is borrowed */
static void copies(void) {
  static const float before[2] = {1, 2};
  float row[2] = {1, 2};
  puppet_world on = puppet_begin(no_cache, NULL);
  ath_error* error = NULL;
  ath_tensor_view view = view_of(row, 1, 2);
  CHECK_OK(ath_request_copy_tensor(on.request, "x", &view, &error));
  row[0] = 50;
  check_answer(&on, before, 2);
  CHECK_OK(ath_request_set_tensor(on.request, "x", &view, &error));
  check_answer(&on, row, 2);
  puppet_end(&on);
}

/* mutant: a negative length of a view is taken */
/* mutant: a view of elements may have no memory */
/* mutant: any byte is a bool */
/* mutant: a number need not be aligned */
/* mutant: a dtype beyond the last one is taken */
/* mutant: another device index is taken for the first */
static void bad_views(void) {
  static const float row[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  static const int64_t huge[2] = {INT64_MAX / 8, 1};
  static const int64_t every_other[2] = {6, 2};
  static const uint8_t truths[6] = {0, 1, 244, 1, 0, 1};
  ath_error* error = NULL;
  puppet_world on = puppet_begin(no_cache, NULL);
  const ath_tensor_view good = view_of(row, 1, 2);
  ath_tensor_view view = good;
  view.ndim = 9;
  refuse(&on, &view, ATH_INVALID_ARGUMENT, ATH_REASON_SHAPE, "x: ndim: expected 0 to 8, got 9");
  view.ndim = -1;
  refuse(&on, &view, ATH_INVALID_ARGUMENT, ATH_REASON_SHAPE, "ndim");
  view = good;
  view.shape[1] = -2;
  refuse(&on, &view, ATH_INVALID_ARGUMENT, ATH_REASON_SHAPE, "x: shape[1]: expected 0 or more, got -2");
  view.shape[0] = INT64_MAX;
  view.shape[1] = 3;
  refuse(&on, &view, ATH_INVALID_ARGUMENT, ATH_REASON_TOO_LARGE, "63 bits");
  view.shape[0] = INT64_MAX / 2;
  view.shape[1] = 2;
  refuse(&on, &view, ATH_INVALID_ARGUMENT, ATH_REASON_TOO_LARGE, "63 bits");
  view.shape[0] = (int64_t)1 << 62;
  view.shape[1] = 0;
  refuse(&on, &view, ATH_INVALID_ARGUMENT, ATH_REASON_TOO_LARGE, "63 bits");
  view = good;
  view.strides = huge;
  view.shape[0] = 100;
  refuse(&on, &view, ATH_INVALID_ARGUMENT, ATH_REASON_TOO_LARGE, "strides");
  view = good;
  view.dtype = 0;
  refuse(&on, &view, ATH_INVALID_ARGUMENT, ATH_REASON_DTYPE, "x: dtype: expected 1 to 14, got 0");
  view.dtype = 15;
  refuse(&on, &view, ATH_INVALID_ARGUMENT, ATH_REASON_DTYPE, "dtype");
  view = good;
  view.data = NULL;
  refuse(&on, &view, ATH_INVALID_ARGUMENT, ATH_REASON_VALUE_RANGE, "x: data: expected memory, got NULL");
  view = good;
  view.byte_offset = 2;
  refuse(&on, &view, ATH_INVALID_ARGUMENT, ATH_REASON_VALUE_RANGE, "aligned to 4 bytes");
  view = good;
  view.size_bytes = 7;
  refuse(&on, &view, ATH_INVALID_ARGUMENT, ATH_REASON_SHAPE, "the 7 bytes that size_bytes states, got bytes 0 to 8 from byte 0 on");
  view.size_bytes = 8;
  view.byte_offset = 4;
  refuse(&on, &view, ATH_INVALID_ARGUMENT, ATH_REASON_SHAPE, "the 8 bytes that size_bytes states, got bytes 0 to 8 from byte 4 on");
  view = good;
  view.device_type = ATH_DEVICE_CUDA;
  refuse(&on, &view, ATH_UNIMPLEMENTED, ATH_REASON_VALUE_RANGE, "device_type");
  view = good;
  view.device_index = 1;
  refuse(&on, &view, ATH_INVALID_ARGUMENT, ATH_REASON_VALUE_RANGE, "x: device_index: expected 0, got 1");
  view.device_index = 0;
  view.dtype = ATH_DTYPE_BOOL;
  view.data = truths;
  view.shape[1] = 3;
  refuse(&on, &view, ATH_INVALID_ARGUMENT, ATH_REASON_VALUE_RANGE, "x: element 2: expected 0 or 1, got 244");
  view.strides = every_other;
  refuse(&on, &view, ATH_INVALID_ARGUMENT, ATH_REASON_VALUE_RANGE, "x: element 1: expected 0 or 1, got 244");
  view.shape[1] = 2;
  view.strides = NULL;
  CHECK_OK(ath_request_set_tensor(on.request, "x", &view, &error));
  puppet_end(&on);
}

typedef struct longer_view {
  ath_tensor_view view;
  uint64_t later;
} longer_view;

/* mutant: any struct_size is accepted */
/* mutant: fields of later versions are passed over */
static void sizes(void) {
  static const float row[2] = {1, 2};
  puppet_world on = puppet_begin(no_cache, NULL);
  ath_error* error = NULL;
  ath_response* response = NULL;
  ath_tensor_view view = view_of(row, 1, 2);
  ath_report report = ATH_REPORT_INIT;
  ath_tensor_spec spec = ATH_TENSOR_SPEC_INIT;
  longer_view longer;
  view.struct_size = 0;
  refuse(&on, &view, ATH_INVALID_ARGUMENT, ATH_REASON_VALUE_RANGE, "struct_size");
  view.struct_size = sizeof(view) - 8;
  refuse(&on, &view, ATH_INVALID_ARGUMENT, ATH_REASON_VALUE_RANGE, "struct_size");
  view.struct_size = (size_t)-1;
  refuse(&on, &view, ATH_INVALID_ARGUMENT, ATH_REASON_VALUE_RANGE, "struct_size");
  memset(&longer, 0, sizeof longer);
  longer.view = view_of(row, 1, 2);
  longer.view.struct_size = sizeof longer;
  longer.later = 1;
  refuse(&on, &longer.view, ATH_UNIMPLEMENTED, ATH_REASON_VALUE_RANGE, "does not know");
  longer.later = 0;
  CHECK_OK(ath_request_set_tensor(on.request, "x", &longer.view, &error));
  CHECK_OK(ath_infer(on.request, &response, &error));
  longer.later = 7;
  CHECK(ath_response_output(response, "y", &longer.view) == ATH_OK);
  CHECK(longer.later == 0 && longer.view.struct_size == sizeof longer);
  view.struct_size = 8;
  view.ndim = 5;
  CHECK(ath_response_output(response, "y", &view) == ATH_INVALID_ARGUMENT && view.ndim == 5);
  CHECK(ath_response_output_at(response, 0, NULL, &view) == ATH_INVALID_ARGUMENT);
  report.struct_size = 64;
  CHECK(ath_response_report(response, &report) == ATH_INVALID_ARGUMENT);
  spec.struct_size = 0;
  CHECK(ath_model_input(on.model, 0, &spec) == ATH_INVALID_ARGUMENT);
  ath_response_destroy(response);
  puppet_end(&on);
}

/* mutant: a setter that fails leaves no mark */
/* mutant: a failure stays although the property has been set since */
/* mutant: of several failures the last is told */
/* mutant: a setter that succeeds forgets the failures of all */
static void overlooked_failures(void) {
  static const float row[2] = {1, 2};
  puppet_world on = puppet_begin(no_cache, NULL);
  ath_response* response = NULL;
  ath_error* error = NULL;
  const ath_tensor_view good = view_of(row, 1, 2);
  ath_tensor_view bad = good;
  bad.ndim = 100;
  CHECK_OK(ath_request_set_tensor(on.request, "x", &good, &error));
  CHECK(ath_request_set_tensor(on.request, "x", &bad, NULL) == ATH_INVALID_ARGUMENT);
  CHECK(ath_request_set_cache_mode(on.request, 9) == ATH_INVALID_ARGUMENT);
  CHECK(ath_request_set_cache_mode(on.request, ATH_CACHE_USE) == ATH_OK);
  CHECK_REFUSED(ath_infer(on.request, &response, &error), ATH_INVALID_ARGUMENT, ATH_REASON_SHAPE, "x: ndim");
  CHECK(ath_request_set_cache_mode(on.request, 9) == ATH_INVALID_ARGUMENT);
  CHECK_REFUSED(ath_infer(on.request, &response, &error), ATH_INVALID_ARGUMENT, ATH_REASON_SHAPE, "x: ndim");
  CHECK_OK(ath_request_set_tensor(on.request, "x", &good, &error));
  CHECK_REFUSED(ath_infer(on.request, &response, &error), ATH_INVALID_ARGUMENT, ATH_REASON_VALUE_RANGE,
                "cache_mode");
  CHECK(ath_request_set_cache_mode(on.request, ATH_CACHE_USE) == ATH_OK);
  check_answer(&on, row, 2);
  CHECK(ath_request_set_tensor(on.request, "x", &bad, NULL) == ATH_INVALID_ARGUMENT);
  CHECK(ath_request_set_cache_mode(on.request, 9) == ATH_INVALID_ARGUMENT);
  CHECK(ath_request_reset(on.request) == ATH_OK);
  CHECK_OK(ath_request_set_tensor(on.request, "x", &good, &error));
  check_answer(&on, row, 2);
  puppet_end(&on);
}

static void refused_call(puppet_world* on, const char* part) {
  ath_response* response = NULL;
  ath_error* error = NULL;
  CHECK_REFUSED(ath_infer(on->request, &response, &error), ATH_INVALID_ARGUMENT, ATH_REASON_TOO_LARGE, part);
}

/* mutant: counts are not compared with what memory holds */
/* mutant: the lengths of texts are not added up */
static void absurd_counts(void) {
  static const float row[2] = {1, 2};
  static const char* const words[3] = {"a", "b", "c"};
  const size_t most = (size_t)-1;
  const size_t lengths[3] = {most / 2, most / 2, 3};
  puppet_world on = puppet_begin(no_cache, NULL);
  const ath_tensor_view good = view_of(row, 1, 2);
  ath_error* error = NULL;
  CHECK_OK(ath_request_set_tensor(on.request, "x", &good, &error));
  CHECK(ath_request_copy_texts(on.request, "x", words, NULL, most) == ATH_INVALID_ARGUMENT);
  refused_call(&on, "x: count: expected at most 576460752303423487, got 18446744073709551615");
  CHECK(ath_request_copy_texts(on.request, "x", words, NULL, most / 16) == ATH_INVALID_ARGUMENT);
  refused_call(&on, "x: count");
  CHECK(ath_request_copy_texts(on.request, "x", words, lengths, 3) == ATH_INVALID_ARGUMENT);
  refused_call(&on, "x: lengths[1]: expected at most 0 bytes, what the texts before leave of 9223372036854775807");
  CHECK(ath_request_set_text(on.request, "x", words[0], most) == ATH_INVALID_ARGUMENT);
  refused_call(&on, "x: length: expected at most 9223372036854775807, got 18446744073709551615");
  CHECK_OK(ath_request_set_tensor(on.request, "x", &good, &error));
  check_answer(&on, row, 2);
  puppet_end(&on);
}

/* mutant: more outputs than a model can have are copied */
static void too_many_outputs(void) {
  const char* names[ATH_MAX_TENSORS + 1];
  puppet_world on = puppet_begin(no_cache, NULL);
  size_t i = 0;
  for (; i <= ATH_MAX_TENSORS; ++i) names[i] = "y";
  CHECK(ath_request_set_outputs(on.request, names, ATH_MAX_TENSORS) == ATH_OK);
  CHECK(ath_request_set_outputs(on.request, names, ATH_MAX_TENSORS + 1) == ATH_INVALID_ARGUMENT);
  refused_call(&on, "ath_request_set_outputs: count: expected at most 16, got 17");
  CHECK(ath_request_set_outputs(on.request, names, (size_t)-1) == ATH_INVALID_ARGUMENT);
  puppet_end(&on);
}

/* mutant: inputs that the model does not have are let in */
/* mutant: an empty batch is let in */
/* mutant: element types are compared by their size */
static void wrong_for_the_model(void) {
  static const float row[6] = {1, 2, 3, 4, 5, 6};
  puppet_world on = puppet_begin(no_cache, NULL);
  ath_response* response = NULL;
  ath_error* error = NULL;
  ath_tensor_view view = view_of(row, 2, 3);
  CHECK_OK(ath_request_set_tensor(on.request, "x", &view, &error));
  CHECK_REFUSED(ath_infer(on.request, &response, &error), ATH_INVALID_ARGUMENT, ATH_REASON_SHAPE,
                "expected 2, got 3");
  view = view_of(row, 1, 2);
  view.dtype = ATH_DTYPE_I32;
  CHECK_OK(ath_request_set_tensor(on.request, "x", &view, &error));
  CHECK_REFUSED(ath_infer(on.request, &response, &error), ATH_INVALID_ARGUMENT, ATH_REASON_DTYPE,
                "expected f32, got i32");
  view = view_of(NULL, 0, 2);
  CHECK_OK(ath_request_set_tensor(on.request, "x", &view, &error));
  CHECK_REFUSED(ath_infer(on.request, &response, &error), ATH_INVALID_ARGUMENT, ATH_REASON_SHAPE,
                "empty batch");
  view = view_of(row, 1, 2);
  CHECK_OK(ath_request_set_tensor(on.request, "x", &view, &error));
  CHECK_OK(ath_request_set_tensor(on.request, "z", &view, &error));
  CHECK_REFUSED(ath_infer(on.request, &response, &error), ATH_INVALID_ARGUMENT, ATH_REASON_EXTRA_INPUT, "z");
  puppet_end(&on);
}

/* mutant: a setter that fails leaves no mark */
/* mutant: a request with a failure is said to have none */
static void told_where_it_happened(void) {
  static const char* const none[1] = {NULL};
  puppet_world on = puppet_begin(no_cache, NULL);
  ath_error* error = NULL;
  CHECK_OK(ath_request_error(on.request, &error));
  CHECK(ath_request_copy_texts(on.request, "x", none, NULL, 1) == ATH_INVALID_ARGUMENT);
  CHECK_REFUSED(ath_request_error(on.request, &error), ATH_INVALID_ARGUMENT, ATH_REASON_NONE, "x: texts[0]");
  CHECK(ath_request_error(on.request, NULL) == ATH_INVALID_ARGUMENT);
  CHECK(ath_request_set_outputs(on.request, none, 1) == ATH_INVALID_ARGUMENT);
  CHECK(ath_request_reset(on.request) == ATH_OK);
  CHECK_OK(ath_request_error(on.request, &error));
  CHECK(ath_request_set_cache_mode(on.request, 4) == ATH_INVALID_ARGUMENT);
  CHECK_REFUSED(ath_request_error(on.request, &error), ATH_INVALID_ARGUMENT, ATH_REASON_VALUE_RANGE,
                "mode: expected 0 to 3, got 4");
  CHECK_REFUSED(ath_request_error(NULL, &error), ATH_INVALID_ARGUMENT, ATH_REASON_NONE, "request");
  puppet_end(&on);
}

/* Whether borrowed or copied. */
static void refuse_texts(ath_request* request, const ath_tensor_view* view, int32_t reason,
                         const char* part) {
  ath_response* response = NULL;
  ath_error* error = NULL;
  CHECK_REFUSED(ath_request_set_tensor(request, "words", view, &error), ATH_INVALID_ARGUMENT, reason, part);
  CHECK_REFUSED(ath_request_copy_tensor(request, "words", view, &error), ATH_INVALID_ARGUMENT, reason, part);
  CHECK_REFUSED(ath_infer(request, &response, &error), ATH_INVALID_ARGUMENT, reason, part);
}

static void check_words(ath_request* request) {
  ath_response* response = NULL;
  ath_error* error = NULL;
  ath_tensor_view y = ATH_TENSOR_VIEW_INIT;
  CHECK_OK(ath_infer(request, &response, &error));
  CHECK(ath_response_output(response, "y", &y) == ATH_OK && y.shape[0] == 2 &&
        ((const float*)y.data)[2] == 4);
  ath_response_destroy(response);
}

/* mutant: offsets of texts may descend */
/* mutant: offsets need not be aligned */
/* mutant: several texts need no offsets */
static void text_views(void) {
  static const union {
    char text[16];
    int64_t aligned;
  } block = {"--bananasky"};
  const char* const data = block.text;
  static const int64_t offsets[3] = {0, 6, 9};
  static const int64_t later[3] = {2, 6, 9};
  static const int64_t down[3] = {0, 7, 6};
  static const int64_t down_at_once[3] = {5, 2, 9};
  static const int64_t negative[3] = {-1, 6, 9};
  static const int64_t beyond[3] = {0, 6, 10};
  static const int64_t far_beyond[3] = {0, 1000000, INT64_MAX};
  ath_engine* engine = puppet_engine(no_cache);
  ath_model* model = puppet_text_model(engine);
  ath_request* request = ath_request_create(model);
  ath_error* error = NULL;
  ath_tensor_view view = ATH_TENSOR_VIEW_INIT;
  view.dtype = ATH_DTYPE_BYTES;
  view.data = data;
  view.byte_offset = 2;
  view.size_bytes = 11;
  view.offsets = offsets;
  view.ndim = 1;
  view.shape[0] = 2;
  CHECK_OK(ath_request_set_tensor(request, "words", &view, &error));
  check_words(request);
  CHECK_OK(ath_request_copy_tensor(request, "words", &view, &error));
  check_words(request);
  view.offsets = later;
  CHECK_OK(ath_request_copy_tensor(request, "words", &view, &error));
  check_words(request);
  view.offsets = down;
  refuse_texts(request, &view, ATH_REASON_SHAPE,
               "words: offsets[2]: expected 7 to 9, in ascending order, got 6");
  view.offsets = down_at_once;
  refuse_texts(request, &view, ATH_REASON_SHAPE,
               "words: offsets[1]: expected 5 to 9, in ascending order, got 2");
  view.offsets = negative;
  refuse_texts(request, &view, ATH_REASON_SHAPE,
               "words: offsets[0]: expected 0 to 9, in ascending order, got -1");
  view.offsets = beyond;
  refuse_texts(request, &view, ATH_REASON_SHAPE,
               "words: offsets[2]: expected 6 to 9, in ascending order, got 10");
  view.offsets = far_beyond;
  refuse_texts(request, &view, ATH_REASON_SHAPE, "words: offsets[1]: expected 0 to 9");
  view.offsets = offsets;
  view.shape[0] = INT64_MAX;
  refuse_texts(request, &view, ATH_REASON_TOO_LARGE,
               "words: shape: expected at most 1152921504606846974 texts");
  view.shape[0] = 2;
  view.offsets = (const int64_t*)(const void*)(data + 1);
  refuse_texts(request, &view, ATH_REASON_VALUE_RANGE, "words: offsets: not aligned to 8 bytes");
  view.offsets = NULL;
  refuse_texts(request, &view, ATH_REASON_SHAPE, "2 texts need offsets");
  view.shape[0] = 1;
  view.byte_offset = 12;
  refuse_texts(request, &view, ATH_REASON_SHAPE, "byte_offset");
  view.byte_offset = 0;
  view.size_bytes = (uint64_t)-1;
  refuse_texts(request, &view, ATH_REASON_TOO_LARGE, "size_bytes: expected at most 9223372036854775807");
  view.size_bytes = 11;
  view.strides = offsets;
  refuse_texts(request, &view, ATH_REASON_SHAPE, "strides");
  ath_request_destroy(request);
  ath_model_release(model);
  ath_engine_destroy(engine);
}

/* Whether element `index` of a view of texts is `expected`. */
static int is_text(const ath_tensor_view* view, int64_t index, const char* expected) {
  const char* data = (const char*)view->data + view->byte_offset;
  const int64_t first = view->offsets != NULL ? view->offsets[index] : 0;
  const int64_t end = view->offsets != NULL ? view->offsets[index + 1] : (int64_t)view->size_bytes;
  return end - first == (int64_t)strlen(expected) &&
         memcmp(data + first, expected, (size_t)(end - first)) == 0;
}

/* mutant: a view of texts has no offsets */
static void text_outputs(void) {
  static const float rows[4] = {0, 1, 2, 0};
  ath_engine* engine = puppet_engine("{}");
  ath_model* model = puppet_spelling_model(engine);
  int64_t items;
  for (items = 1; items <= 2; ++items) {
    ath_request* request = ath_request_create(model);
    ath_response* response = NULL;
    ath_error* error = NULL;
    ath_tensor_view view = ATH_TENSOR_VIEW_INIT;
    view.data = rows;
    view.dtype = ATH_DTYPE_F32;
    view.ndim = 2;
    view.shape[0] = items;
    view.shape[1] = 2;
    CHECK_OK(ath_request_set_tensor(request, "x", &view, &error));
    CHECK_OK(ath_infer(request, &response, &error));
    CHECK(ath_response_output(response, "label", &view) == ATH_OK);
    CHECK(view.dtype == ATH_DTYPE_BYTES && view.ndim == 1 && view.shape[0] == items);
    CHECK(is_text(&view, 0, "a") && (items == 1 || is_text(&view, 1, "aaa")));
    CHECK(ath_response_output(response, "word", &view) == ATH_OK);
    CHECK(view.dtype == ATH_DTYPE_BYTES && view.shape[0] == items + 1);
    CHECK(is_text(&view, 0, "w0") && is_text(&view, 1, "w1") && (items == 1 || is_text(&view, 2, "w0")));
    CHECK(ath_response_output(response, "words", &view) == ATH_OK);
    CHECK(((const int64_t*)view.data)[0] == 2 && (items == 1 || ((const int64_t*)view.data)[1] == 1));
    ath_response_destroy(response);
    ath_request_destroy(request);
  }
  ath_model_release(model);
  ath_engine_destroy(engine);
}

const test view_tests[] = {
    {"strided views are packed", strides},
    {"a copied tensor does not follow its source", copies},
    {"views that make no sense are refused by field", bad_views},
    {"a struct that is too short is refused, an unknown tail must be zero", sizes},
    {"a setter's failure that was overlooked is found by the call, until its input is set or all is reset",
     overlooked_failures},
    {"a request says which setter failed, and why", told_where_it_happened},
    {"counts and lengths that no memory holds are refused and remembered", absurd_counts},
    {"an answer has no more outputs than a model", too_many_outputs},
    {"tensors that do not fit the model are refused by name", wrong_for_the_model},
    {"texts can be given as offsets into one block", text_views},
    {"texts of an answer are read by their offsets", text_outputs},
    {NULL, NULL}};
