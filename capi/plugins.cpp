#include "plugins.hpp"

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include <dlfcn.h>
#include <unistd.h>

#include <athanor.h>

#include <athanor/core/backend.hpp>
#include <athanor/core/detail/struct_rule.hpp>

namespace athanor::capi {

namespace {

std::string folder_of(std::string const& file) {
  auto const slash = file.rfind('/');
  return slash == std::string::npos ? std::string(".") : file.substr(0, slash);
}

/// The folder that this library was opened from, and the one that it really lies in where that was a symbolic
/// link.
std::vector<std::string> own_folders() {
  // The address of something that no other library can define.
  Dl_info info{};
  if (::dladdr(reinterpret_cast<void const*>(&own_folders), &info) == 0 || info.dli_fname == nullptr)
    return {};
  std::vector<std::string> result{folder_of(info.dli_fname)};
  std::error_code unknown;
  auto const real = std::filesystem::canonical(info.dli_fname, unknown);
  if (!unknown && real.parent_path() != result.front()) result.push_back(real.parent_path());
  return result;
}

/// Where a plugin that is named without a path may lie, in the order of looking.
std::vector<std::string> folders() {
  std::vector<std::string> result;
  for (auto& own : own_folders()) {
    std::string beside = own + "/" ATHANOR_PLUGIN_FOLDER;
    result.push_back(std::move(own));
    result.push_back(std::move(beside));
  }
  char const* const listed = ::secure_getenv("ATHANOR_PLUGIN_PATH");
  std::string_view rest = listed != nullptr ? listed : "";
  while (!rest.empty()) {
    auto const end = rest.find(':');
    if (end != 0) result.emplace_back(rest.substr(0, end));
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  }
  return result;
}

struct Library {
  void* handle;
  std::string file;
};

Result<Library> open_file(std::string const& name, std::string const& file, std::string_view looked) {
  // NODELETE: code that left threads, thread-locals or exit handlers behind must stay.
  void* const handle = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle != nullptr) return Library{handle, file};
  // NOLINTNEXTLINE(concurrency-mt-unsafe): what it returns belongs to this thread
  char const* const reason = ::dlerror();
  return fail(Code::failed_precondition, Reason::model_load, "plugin '{}': {} could not be opened: {}{}",
              name, file, reason != nullptr ? reason : "no reason was given", looked);
}

/// The first file that exists decides: going on to another one would hide why it cannot be opened.
Result<Library> open_library(std::string const& name) {
  if (name.find('/') != std::string::npos) return open_file(name, name, "");
  std::string const file = "libathanor_" + name + ".so";
  std::string looked;
  for (auto const& folder : folders()) {
    std::string const path = fmt::format("{}/{}", folder, file);
    if (::access(path.c_str(), F_OK) == 0) return open_file(name, path, "");
    looked += (looked.empty() ? "" : ", ") + folder;
  }
  return open_file(name, file, " (not found in " + looked + "; ATHANOR_PLUGIN_PATH adds folders)");
}

/// Room for a plugin that fills in the struct as a later version knows it, whatever size it was told.
struct Offer {
  ath_plugin plugin;
  std::byte later[detail::largest_struct - sizeof(ath_plugin)];
};

Result<ath_plugin> ask(std::string const& name, Library const& library) {
  auto const entry = reinterpret_cast<ath_plugin_entry>(::dlsym(library.handle, "athanor_plugin"));
  if (entry == nullptr)
    return fail(Code::failed_precondition, Reason::model_load,
                "plugin '{}': {} is not a plugin: it exports no athanor_plugin", name, library.file);
  Offer offer{};
  offer.plugin.struct_size = sizeof(ath_plugin);
  ath_failure failure{};
  if (std::int32_t const code = entry(&offer.plugin, &failure); code != 0) {
    Error error = take_failure(code, failure);
    error.message = detail::format("plugin '{}': {} refuses: {}", name, library.file, error.message);
    return tl::unexpected(std::move(error));
  }
  if (offer.plugin.table_version != ATH_TABLE_VERSION)
    return fail(Code::failed_precondition, Reason::model_load,
                "plugin '{}': {}: expected tables of version {}, got {}", name, library.file,
                ATH_TABLE_VERSION, offer.plugin.table_version);
  auto read = detail::read_struct(&offer.plugin, "ath_plugin");
  if (!read)
    return fail(Code::failed_precondition, Reason::model_load, "plugin '{}': {}: {}", name, library.file,
                read.error().message);
  ath_plugin const plugin = *read;
  if (plugin.reserved != 0 || (plugin.backend_count != 0 && plugin.backends == nullptr) ||
      (plugin.processor_count != 0 && plugin.processors == nullptr))
    return fail(Code::failed_precondition, Reason::model_load,
                "plugin '{}': {}: expected tables where it counts some, and 0 in reserved", name,
                library.file);
  return plugin;
}

Result<void> add_tables(Engine<>& engine, std::string const& name, ath_plugin const& plugin) {
  auto const missing = [&](std::string_view kind, std::size_t index) {
    return fail(Code::failed_precondition, Reason::model_load, "plugin '{}': {} {} is NULL", name, kind,
                index);
  };
  for (std::size_t i = 0; i < plugin.backend_count; ++i) {
    if (plugin.backends[i] == nullptr) return missing("backend", i);
    if (auto added = engine.add_backend(*plugin.backends[i]); !added) return added;
  }
  for (std::size_t i = 0; i < plugin.processor_count; ++i) {
    if (plugin.processors[i] == nullptr) return missing("processor", i);
    if (auto added = engine.add_processor(*plugin.processors[i]); !added) return added;
  }
  return {};
}

}  // namespace

Plugins::Plugins(std::vector<std::string> names) {
  for (auto& name : names) plugins_.push_back({std::move(name), {}});
}

Result<void> Plugins::open_all(Engine<>& engine) {
  detail::Lock const lock(mutex_);
  for (auto& plugin : plugins_) {
    if (!plugin.file.empty()) continue;
    auto library = open_library(plugin.name);
    if (!library) return tl::unexpected(std::move(library.error()));
    auto tables = ask(plugin.name, *library);
    if (!tables) return tl::unexpected(std::move(tables.error()));
    if (auto added = add_tables(engine, plugin.name, *tables); !added) return added;
    plugin.file = std::move(library->file);
  }
  return {};
}

std::vector<Plugins::State> Plugins::states() const {
  detail::Lock const lock(mutex_);
  return plugins_;
}

}  // namespace athanor::capi
