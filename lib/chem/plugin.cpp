/// The chemistry room as a plugin, for hosts that link neither this library nor RDKit.
#include <athanor/plugin.h>
#include <athanor/chem/processor.hpp>

extern "C" __attribute__((visibility("default"))) int32_t athanor_plugin(ath_plugin* out_plugin,
                                                                         ath_failure* failure) noexcept {
  using athanor::Code;
  using athanor::make_error;
  using athanor::Reason;
  if (out_plugin->struct_size < sizeof(ath_plugin))
    return athanor::put_failure(*failure,
                                make_error(Code::failed_precondition, Reason::option,
                                           "chem plugin: ath_plugin has {} bytes, at least {} are filled",
                                           out_plugin->struct_size, sizeof(ath_plugin)));
  static ath_processor_table const* const processors[] = {&athanor::chem::processor()};
  out_plugin->table_version = ATH_TABLE_VERSION;
  out_plugin->processors = processors;
  out_plugin->processor_count = 1;
  return 0;
}
