#include "fiber.hpp"

#include <cxxabi.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define ATH_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ATH_ADDRESS_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define ATH_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define ATH_THREAD_SANITIZER 1
#endif
#endif

#if defined(ATH_ADDRESS_SANITIZER)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(ATH_THREAD_SANITIZER)
#include <sanitizer/tsan_interface.h>
#endif

namespace athanor::inline v1::detail {

namespace {

constexpr std::size_t stack_bytes = std::size_t{512} << 10;

/// The exceptions being handled on a stack, as the C++ runtime keeps them for a thread.
struct HandledExceptions {
  void* caught = nullptr;
  unsigned int uncaught = 0;

  /// Makes these the thread's, and the thread's these.
  void exchange() noexcept {
    HandledExceptions here;
    void* const of_thread = abi::__cxa_get_globals();
    std::memcpy(&here, of_thread, sizeof(here));
    std::memcpy(of_thread, this, sizeof(*this));
    *this = here;
  }
};

}  // namespace

struct Fiber::State {
  Fiber face{*this};
  ucontext_t context{};
  ucontext_t outside{};
  HandledExceptions exceptions{};
  char* stack = nullptr;
  void (*body)(void*) = nullptr;
  void* argument = nullptr;
  bool finished = true;
#if defined(ATH_ADDRESS_SANITIZER)
  void* fake_stack = nullptr;
  void* outside_fake_stack = nullptr;
  void const* outside_bottom = nullptr;
  std::size_t outside_size = 0;
#endif
#if defined(ATH_THREAD_SANITIZER)
  void* thread = nullptr;
  void* outside_thread = nullptr;
#endif

  State() {
    void* const memory = ::mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    stack = static_cast<char*>(memory);
    ::mprotect(stack, 4096, PROT_NONE);
    ::getcontext(&context);
    context.uc_stack.ss_sp = stack;
    context.uc_stack.ss_size = stack_bytes;
    ::makecontext(&context, &State::serve, 0);
#if defined(ATH_THREAD_SANITIZER)
    thread = __tsan_create_fiber(0);
#endif
  }
  ~State() {
#if defined(ATH_THREAD_SANITIZER)
    __tsan_destroy_fiber(thread);
#endif
    ::munmap(stack, stack_bytes);
  }
  State(State const&) = delete;
  State& operator=(State const&) = delete;

  static void serve() noexcept;
  void enter() noexcept;
  void leave() noexcept;
};

struct FiberPool {
  std::vector<std::unique_ptr<Fiber::State>> all;
  std::vector<Fiber::State*> idle;
  Fiber::State* running = nullptr;

  Fiber::State& take() {
    if (idle.empty()) {
      idle.reserve(all.size() + 1);
      idle.push_back(all.emplace_back(std::make_unique<Fiber::State>()).get());
    }
    Fiber::State& state = *idle.back();
    idle.pop_back();
    return state;
  }
  static FiberPool& here() {
    thread_local FiberPool pool;
    return pool;
  }
};

void Fiber::State::enter() noexcept {
  FiberPool::here().running = this;
  exceptions.exchange();
#if defined(ATH_ADDRESS_SANITIZER)
  __sanitizer_start_switch_fiber(&outside_fake_stack, stack, stack_bytes);
#endif
#if defined(ATH_THREAD_SANITIZER)
  outside_thread = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(thread, 0);
#endif
  ::swapcontext(&outside, &context);
#if defined(ATH_ADDRESS_SANITIZER)
  __sanitizer_finish_switch_fiber(outside_fake_stack, nullptr, nullptr);
#endif
  exceptions.exchange();
  FiberPool::here().running = nullptr;
}

void Fiber::State::leave() noexcept {
#if defined(ATH_ADDRESS_SANITIZER)
  __sanitizer_start_switch_fiber(&fake_stack, outside_bottom, outside_size);
#endif
#if defined(ATH_THREAD_SANITIZER)
  __tsan_switch_to_fiber(outside_thread, 0);
#endif
  ::swapcontext(&context, &outside);
#if defined(ATH_ADDRESS_SANITIZER)
  __sanitizer_finish_switch_fiber(fake_stack, &outside_bottom, &outside_size);
#endif
}

void Fiber::State::serve() noexcept {
  State& self = *FiberPool::here().running;
#if defined(ATH_ADDRESS_SANITIZER)
  __sanitizer_finish_switch_fiber(nullptr, &self.outside_bottom, &self.outside_size);
#endif
  for (;;) {
    self.body(self.argument);
    self.finished = true;
    self.leave();
  }
}

Fiber& Fiber::take(void (*body)(void*), void* context) {
  State& state = FiberPool::here().take();
  state.body = body;
  state.argument = context;
  state.finished = false;
  return state.face;
}

void Fiber::give_back() noexcept { FiberPool::here().idle.push_back(&state_); }
void Fiber::resume() noexcept { state_.enter(); }
void Fiber::leave() noexcept { FiberPool::here().running->leave(); }
bool Fiber::finished() const noexcept { return state_.finished; }

}  // namespace athanor::inline v1::detail
