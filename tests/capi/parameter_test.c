/* Parameters as a C host sets them: views without dimensions, of one element. */
#include "check.h"
#include "puppet.h"

static ath_tensor_view one(int32_t dtype, const void* value) {
  ath_tensor_view view = ATH_TENSOR_VIEW_INIT;
  view.data = value;
  view.dtype = dtype;
  return view;
}

/* What the model adds to a row of 1 and 2. */
static float added(ath_request* request) {
  ath_response* response = NULL;
  ath_error* error = NULL;
  ath_tensor_view view = ATH_TENSOR_VIEW_INIT;
  float sum = 0;
  CHECK_OK(ath_infer(request, &response, &error));
  CHECK(ath_response_output(response, "y", &view) == ATH_OK);
  if (view.data != NULL) sum = ((const float*)view.data)[0] - 1;
  ath_response_destroy(response);
  return sum;
}

/* mutant: a view without dimensions is refused */
static void values(void) {
  static const float row[2] = {1, 2};
  static const double shift = 2.5;
  static const int64_t whole = -3;
  ath_error* error = NULL;
  ath_engine* engine = puppet_engine("{\"cache_bytes\": 0}");
  ath_model* model = puppet_shifted_model(engine);
  ath_request* request = puppet_request(model, row);
  ath_tensor_view view = one(ATH_DTYPE_F64, &shift);
  CHECK(added(request) == 1);
  CHECK_OK(ath_request_set_tensor(request, "shift", &view, &error));
  CHECK(added(request) == 3.5F);
  view = one(ATH_DTYPE_I64, &whole);
  CHECK_OK(ath_request_copy_tensor(request, "shift", &view, &error));
  CHECK(added(request) == -2);
  ath_request_destroy(request);
  ath_model_release(model);
  ath_engine_destroy(engine);
}

static void refused(ath_request* request, const char* part, int32_t reason) {
  ath_response* response = NULL;
  ath_error* error = NULL;
  CHECK_REFUSED(ath_infer(request, &response, &error), ATH_INVALID_ARGUMENT, reason, part);
  CHECK(response == NULL);
}

static void mistakes(void) {
  static const float row[2] = {1, 2};
  static const double large = 1e9;
  static const double two[2] = {1, 2};
  ath_error* error = NULL;
  ath_engine* engine = puppet_engine("{\"cache_bytes\": 0}");
  ath_model* model = puppet_shifted_model(engine);
  ath_request* request = puppet_request(model, row);
  ath_tensor_view view = one(ATH_DTYPE_F64, &large);
  CHECK_OK(ath_request_set_tensor(request, "shift", &view, &error));
  refused(request, "shift: expected a value", ATH_REASON_VALUE_RANGE);
  view = one(ATH_DTYPE_F64, two);
  view.ndim = 1;
  view.shape[0] = 2;
  CHECK_OK(ath_request_set_tensor(request, "shift", &view, &error));
  refused(request, "shift: expected one f64", ATH_REASON_SHAPE);
  view = one(ATH_DTYPE_F32, row);
  CHECK_OK(ath_request_set_tensor(request, "shift", &view, &error));
  refused(request, "shift: expected one f64", ATH_REASON_DTYPE);
  CHECK(ath_request_set_text(request, "shift", "two", 3) == ATH_OK);
  refused(request, "shift: expected one f64", ATH_REASON_DTYPE);
  ath_request_destroy(request);
  ath_model_release(model);
  ath_engine_destroy(engine);
}

/* mutant: shared inputs are placed like those that items bring */
static void shared(void) {
  static const float rows[6] = {1, 2, 3, 4, 5, 6};
  static const float shift[1] = {10};
  ath_error* error = NULL;
  ath_engine* engine = puppet_engine("{\"cache_bytes\": 0}");
  ath_model* model = puppet_shared_model(engine);
  ath_request* request = puppet_request(model, rows);
  ath_tensor_view view = one(ATH_DTYPE_F32, rows);
  view.ndim = 2;
  view.shape[0] = 3;
  view.shape[1] = 2;
  CHECK_OK(ath_request_set_tensor(request, "x", &view, &error));
  refused(request, "shift: expected f32 [1], got no input of that name", ATH_REASON_MISSING_INPUT);
  view = one(ATH_DTYPE_F32, shift);
  view.ndim = 1;
  view.shape[0] = 1;
  CHECK_OK(ath_request_set_tensor(request, "shift", &view, &error));
  CHECK(added(request) == 11);
  ath_request_destroy(request);
  ath_model_release(model);
  ath_engine_destroy(engine);
}

const test parameter_tests[] = {
    {"a view without dimensions sets a parameter", values},
    {"a tensor for all items of a request is set as any other", shared},
    {"a parameter of another kind or size, or out of range, is refused by name", mistakes},
    {NULL, NULL}};
