// The JSON options of an engine at the C border: an engine
// that describes itself, or an error with a sentence.
#include <athanor.h>

#include "bytes.hpp"

int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  std::string const json(reinterpret_cast<char const*>(data), size);
  ath_engine* engine = nullptr;
  ath_error* error = nullptr;
  std::int32_t const code = ath_engine_create(json.c_str(), &engine, &error);
  athanor_tests::expect((code == ATH_OK) == (engine != nullptr), "an engine, or an error");
  athanor_tests::expect((code == ATH_OK) == (error == nullptr), "an error, or an engine");
  if (error != nullptr)
    athanor_tests::expect(ath_error_message(error)[0] != '\0', "a rejection has a sentence");
  if (engine != nullptr) {
    ath_text* text = nullptr;
    athanor_tests::expect(ath_engine_describe(engine, &text, nullptr) == ATH_OK, "it describes itself");
    ath_text_destroy(text);
  }
  ath_error_destroy(error);
  ath_engine_destroy(engine);
  return 0;
}
