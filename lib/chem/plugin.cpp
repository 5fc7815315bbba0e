/// The chemistry room as a plugin, for hosts that link neither this library nor RDKit.
#include <athanor/plugin.h>
#include <athanor/chem/chemprop_processor.hpp>
#include <athanor/chem/processor.hpp>
#include <athanor/core/detail/struct_rule.hpp>

#include <iterator>

extern "C" __attribute__((visibility("default"))) int32_t athanor_plugin(ath_plugin* out_plugin,
                                                                         ath_failure* failure) noexcept {
  static ath_processor_table const* const processors[] = {&athanor::chem::processor(),
                                                          &athanor::chem::chemprop_processor()};
  ath_plugin offer{};
  offer.table_version = ATH_TABLE_VERSION;
  offer.processors = processors;
  offer.processor_count = std::size(processors);
  if (athanor::detail::write_struct(out_plugin, offer)) return 0;
  return athanor::put_failure(
      *failure, athanor::detail::wrong_size<ath_plugin>("chem plugin", out_plugin->struct_size));
}
