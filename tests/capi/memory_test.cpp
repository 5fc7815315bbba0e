// Every allocation of a call at the border fails once, in turn: the call must say resource_exhausted and
// leave nothing behind, and the next one must succeed. A warm call allocates nothing, nor does its request.
// The library takes operator new from the program that it is loaded into.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <new>
#include <string>
#include <utility>

extern "C" {
#include "check.h"
#include "puppet.h"
}

namespace {

thread_local long allocations_left = -1;  // negative: as many as there are
thread_local bool refused = false;

void* take(std::size_t size) {
  if (allocations_left == 0) {
    refused = true;
    throw std::bad_alloc();
  }
  if (allocations_left > 0) --allocations_left;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}

int failures = 0;

// `call` succeeds, or fails for want of memory and hands out an error that says so.
void exhaust(char const* name, std::function<std::int32_t(ath_error**)> const& call) {
  for (long allowed = 0; allowed < 100000; ++allowed) {
    ath_error* error = nullptr;
    allocations_left = allowed;
    refused = false;
    std::int32_t const code = call(&error);
    allocations_left = -1;
    // Some functions say it by their code alone.
    bool const named =
        error == nullptr || (ath_error_reason(error) == ATH_REASON_OUT_OF_MEMORY &&
                             ath_error_code(error) == code && *ath_error_message(error) != '\0');
    bool const told = code == ATH_RESOURCE_EXHAUSTED && named;
    ath_error_destroy(error);
    if (code == ATH_OK && !refused) {
      std::printf("%s: %ld allocations failed one by one\n", name, allowed);
      return;
    }
    // A call may do without what it could not have (a reserve, a cache).
    if (told || code == ATH_OK) continue;
    std::fprintf(stderr, "%s: with %ld allocations: code %d\n", name, allowed, code);
    ++failures;
    return;
  }
}

// Whether a request can be made and filled without memory.
bool makes_request_for_nothing(ath_model const* model, ath_tensor_view const& view) {
  allocations_left = 0;
  refused = false;
  ath_request* request = ath_request_create(model);
  bool const filled = request != nullptr && ath_request_set_tensor(request, "x", &view, nullptr) == ATH_OK;
  allocations_left = -1;
  ath_request_destroy(request);
  return filled && !refused;
}

// Whether the request is let through to its model.
bool runs(ath_request const* request) {
  ath_response* response = nullptr;
  bool const answered = ath_infer(request, &response, nullptr) == ATH_OK;
  ath_response_destroy(response);
  return answered;
}

}  // namespace

void* operator new(std::size_t size) { return take(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

// mutant: a setter that throws leaves no mark
// mutant: a request and a response are made anew for each call
// mutant: the memory of a large request is kept
// mutant: an error without memory for its message says nothing
int main() {
  ath_engine* engine = puppet_engine("{\"threads\": 2}");
  ath_model* model = puppet_model(engine);
  float const row[2] = {1, 2};
  ath_tensor_view view = ATH_TENSOR_VIEW_INIT;
  view.data = row;
  view.dtype = ATH_DTYPE_F32;
  view.ndim = 2;
  view.shape[0] = 1;
  view.shape[1] = 2;
  char const* const words[] = {"a text that is too long to be kept inline, and",
                               "another one of the same kind"};
  char const* const input = "an input whose name is too long to be kept inline";

  exhaust("ath_model_find", [&](ath_error** error) {
    ath_model* found = nullptr;
    std::int32_t const code = ath_model_find(engine, "puppet", &found, error);
    ath_model_release(found);
    return code;
  });
  exhaust("ath_engine_metrics", [&](ath_error** error) {
    ath_text* text = nullptr;
    std::int32_t const code = ath_engine_metrics(engine, &text, error);
    ath_text_destroy(text);
    return code;
  });
  exhaust("ath_request_create", [&](ath_error**) {
    ath_request* request = ath_request_create(model);
    ath_request_destroy(request);
    if (request != nullptr) return std::int32_t{ATH_OK};
    return refused ? std::int32_t{ATH_RESOURCE_EXHAUSTED} : std::int32_t{ATH_INTERNAL};
  });
  ath_request* request = ath_request_create(model);
  auto const exhaust_request = [&](char const* name, auto const& set) {
    exhaust(name, [&](ath_error** error) {
      long const allowed = std::exchange(allocations_left, -1);
      CHECK(ath_request_reset(request) == ATH_OK);
      CHECK(ath_request_set_tensor(request, "x", &view, nullptr) == ATH_OK);
      CHECK(runs(request));
      allocations_left = allowed;
      std::int32_t const code = set(request, error);
      allocations_left = -1;
      CHECK(code == ATH_OK || !runs(request));
      return code;
    });
  };
  exhaust_request("ath_request_copy_tensor", [&](ath_request* of, ath_error** error) {
    return ath_request_copy_tensor(of, input, &view, error);
  });
  exhaust_request("ath_request_copy_texts", [&](ath_request* of, ath_error**) {
    return ath_request_copy_texts(of, input, words, nullptr, 2);
  });
  exhaust_request("ath_request_set_outputs",
                  [&](ath_request* of, ath_error**) { return ath_request_set_outputs(of, words, 2); });
  CHECK(ath_request_reset(request) == ATH_OK &&
        ath_request_set_tensor(request, "x", &view, nullptr) == ATH_OK);
  for (std::int32_t const mode : {ATH_CACHE_SKIP, ATH_CACHE_USE}) {
    CHECK(ath_request_set_cache_mode(request, mode) == ATH_OK);
    for (int i = 0; i < 100; ++i) CHECK(runs(request));
    allocations_left = 0;
    refused = false;
    bool const answered = runs(request);
    allocations_left = -1;
    CHECK(answered && !refused);
  }
  ath_request_destroy(request);
  CHECK(makes_request_for_nothing(model, view));
  request = ath_request_create(model);
  for (int i = 0; i < 1000; ++i)
    CHECK(ath_request_set_tensor(request, std::to_string(i).c_str(), &view, nullptr) == ATH_OK);
  ath_request_destroy(request);
  CHECK(!makes_request_for_nothing(model, view));
  ath_model_release(model);
  ath_engine_destroy(engine);
  return failures == 0 && failed_checks == 0 ? 0 : 1;
}
