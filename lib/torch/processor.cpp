#include <array>

#include <sys/utsname.h>
#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

#include "program.hpp"

namespace athanor::inline v1::libtorch {

namespace {

#if defined(__x86_64__) || defined(__i386__)

bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}
bool has_avx512_vnni() { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }
bool has_amx_tile() {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && ((d >> 24) & 1u) != 0;
}

struct InstructionSet {
  std::string_view name;
  bool (*supported)();
};

constexpr std::array<InstructionSet, 4> instruction_sets{{{"AVX2", &has_avx2},
                                                          {"AVX512", &has_avx512},
                                                          {"AVX512_VNNI", &has_avx512_vnni},
                                                          {"AMX_TILE", &has_amx_tile}}};

/// Whether this processor has `name`; a name that is not known cannot be vouched for.
bool processor_has(std::string_view name) {
  for (auto const& set : instruction_sets)
    if (set.name == name) return set.supported();
  return false;
}

#else

/// Elsewhere the machine name implies the instructions that the compiler picks.
bool processor_has(std::string_view) { return true; }

#endif

}  // namespace

Result<void> check_processor(std::string_view subject, std::string_view machine, std::string_view isa) {
  utsname here{};
  if (::uname(&here) == 0 && !machine.empty() && machine != here.machine)
    return fail(Code::failed_precondition, Reason::model_load,
                "{}: expected a package compiled for this machine, {}; it is for {}", subject, here.machine,
                machine);
  while (!isa.empty()) {
    auto const end = isa.find(' ');
    auto const name = isa.substr(0, end);
    isa = end == std::string_view::npos ? std::string_view() : isa.substr(end + 1);
    if (!name.empty() && name != "INVALID_VEC_ISA" && !processor_has(name))
      return fail(Code::failed_precondition, Reason::model_load,
                  "{}: compiled for processors with {}, which this processor lacks or does not report",
                  subject, name);
  }
  return {};
}

}  // namespace athanor::inline v1::libtorch
