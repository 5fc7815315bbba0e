/* Ends without giving anything back, while a call is under way: the process must end as it says. */
#include "check.h"
#include "puppet.h"

static void on_answer(void* user_data, int32_t code, ath_response* response, ath_error* error) {
  (void)user_data;
  (void)code;
  ath_response_destroy(response);
  ath_error_destroy(error);
}

int main(void) {
  ath_engine* engine = puppet_engine(NULL);
  ath_model* model = puppet_model(engine);
  static const float row[2] = {PUPPET_HOLD, 2};
  ath_request* request = puppet_request(model, row);
  check_that(ath_submit(request, on_answer, NULL, NULL, NULL, NULL) == ATH_OK, "submitted", __FILE__,
             __LINE__);
  puppet_wait_until_held();
  return failed_checks;
}
