#include <athanor/torch/backend.hpp>

/// The one function that libathanor_torch.so exports; its duties are those of ath_plugin_entry.
extern "C" __attribute__((visibility("default"))) std::int32_t athanor_plugin(ath_plugin* out_plugin,
                                                                              ath_failure* failure) noexcept {
  using namespace athanor;
  return athanor::detail::guard_table(failure, [&]() -> Result<void> {
    if (out_plugin->struct_size < sizeof(ath_plugin))
      return fail(Code::failed_precondition, Reason::model_load,
                  "torch plugin: expected a struct_size of {} or more; got {}", sizeof(ath_plugin),
                  out_plugin->struct_size);
    if (auto checked = athanor::libtorch::check_release(); !checked) return checked;
    static ath_backend_table const* const backends[] = {&athanor::libtorch::backend()};
    out_plugin->table_version = ATH_TABLE_VERSION;
    out_plugin->backends = backends;
    out_plugin->backend_count = 1;
    return {};
  });
}
