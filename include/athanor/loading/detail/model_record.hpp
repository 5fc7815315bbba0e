/// The record of one model in a loader.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <athanor/core/env.hpp>
#include <athanor/loading/detail/pins.hpp>
#include <athanor/loading/load_functions.hpp>
#include <athanor/loading/slot.hpp>

namespace athanor::inline v1::loading {

template <class P, Environment Env>
class LoaderShell;

/// Never moves; its fields are the loader's. Lives until the loader is destroyed, or until it was forgotten
/// and no pin, load, freeing or timer of it is left.
template <class P, Environment Env>
struct ModelRecord {
  using Loader = LoaderShell<P, Env>;
  struct Work : Task {
    ModelRecord* record;
  };
  struct Deadline : Timer {
    ModelRecord* record;
  };

  ModelRecord(Loader& owner, std::string_view model, std::size_t number, std::uint64_t serial_number,
              std::shared_ptr<void> user)
      : loader(owner), name(model), id(number), serial(serial_number), context(std::move(user)) {
    load_task.run = [](Task& task) noexcept {
      ModelRecord& record = *static_cast<Work&>(task).record;
      record.loader.run_load(record);
    };
    free_task.run = [](Task& task) noexcept {
      ModelRecord& record = *static_cast<Work&>(task).record;
      record.loader.free_payload(record);
    };
    deadline.fire = [](Timer& timer) noexcept {
      ModelRecord& record = *static_cast<Deadline&>(timer).record;
      record.loader.on_deadline(record);
    };
    load_task.record = free_task.record = deadline.record = this;
  }

  LoadTarget target() const noexcept { return {name, context.get()}; }

  Loader& loader;
  std::string const name;
  std::size_t const id;        // its index in the loader; given again when the record is gone
  std::uint64_t const serial;  // never given again
  std::shared_ptr<void> const context;

  Pins<Env> pins{};  // open while the model is ready
  // Written only while the pins are closed and none is held.
  std::shared_ptr<P> payload{};

  // Guarded by the loader's lock.
  Slot<P>* first_parked = nullptr;
  std::uint32_t armed = 0;  // deadlines armed, or firing and not yet seen
  bool forgotten = false;

  Work load_task{};
  Work free_task{};
  Deadline deadline{};
};

/// A pinned model: it stays loaded until this is destroyed. Must not outlive its loader.
template <class P, Environment Env>
class Pin {
 public:
  Pin(ModelRecord<P, Env>& record, P& payload) noexcept : record_(&record), payload_(&payload) {}
  Pin(Pin&& other) noexcept : record_(std::exchange(other.record_, nullptr)), payload_(other.payload_) {}
  Pin& operator=(Pin&& other) noexcept {
    std::swap(record_, other.record_);
    std::swap(payload_, other.payload_);
    return *this;
  }
  ~Pin() {
    if (record_ != nullptr) LoaderShell<P, Env>::drop_pin(*record_);
  }
  P& operator*() const noexcept { return *payload_; }
  P* operator->() const noexcept { return payload_; }

 private:
  ModelRecord<P, Env>* record_;
  P* payload_;
};

}  // namespace athanor::inline v1::loading
