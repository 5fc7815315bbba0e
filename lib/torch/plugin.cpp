#include <athanor/core/detail/struct_rule.hpp>
#include <athanor/torch/backend.hpp>

/// The one function that libathanor_torch.so exports; its duties are those of ath_plugin_entry.
extern "C" __attribute__((visibility("default"))) std::int32_t athanor_plugin(ath_plugin* out_plugin,
                                                                              ath_failure* failure) noexcept {
  using namespace athanor;
  return athanor::detail::guard_table(failure, [&]() -> Result<void> {
    if (auto checked = athanor::libtorch::check_release(); !checked) return checked;
    static ath_backend_table const* const backends[] = {&athanor::libtorch::backend()};
    ath_plugin offer{};
    offer.table_version = ATH_TABLE_VERSION;
    offer.backends = backends;
    offer.backend_count = 1;
    if (athanor::detail::write_struct(out_plugin, offer)) return {};
    return tl::unexpected(athanor::detail::wrong_size<ath_plugin>("torch plugin", out_plugin->struct_size));
  });
}
