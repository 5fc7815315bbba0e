#include "../../lib/torch/runtime.hpp"

#include <athanor/torch/backend.hpp>

#include <doctest/doctest.h>

#include "../../lib/torch/program.hpp"

using namespace athanor;

// mutant: of a release only the major number is compared
TEST_CASE("a LibTorch of another minor release is refused, and one of another patch is not") {
  auto const release = [](std::uint64_t major, std::uint64_t minor, std::uint64_t patch) {
    return (major << 56) | (minor << 48) | (patch << 40);
  };
  CHECK(athanor::libtorch::compare_releases(release(2, 11, 3), release(2, 11, 0)));
  CHECK(athanor::libtorch::check_release());
  auto const other = athanor::libtorch::compare_releases(release(2, 15, 0), release(2, 11, 0));
  REQUIRE(!other);
  CHECK(other.error().reason == Reason::model_load);
  CHECK(other.error().message ==
        "torch backend: expected LibTorch 2.11, which it was compiled with, got 2.15");
}

// mutant: the machine of a package is not compared
// mutant: the instructions of a package are not compared
TEST_CASE("a package compiled for another machine or for instructions that are not there is refused") {
  CHECK(athanor::libtorch::check_processor("p", "", ""));
  CHECK(athanor::libtorch::check_processor("p", "", "INVALID_VEC_ISA"));
  auto const machine = athanor::libtorch::check_processor("p", "pdp11", "");
  REQUIRE(!machine);
  CHECK(machine.error().message.find("pdp11") != std::string::npos);
#if defined(__x86_64__)
  CHECK(athanor::libtorch::check_processor("p", "x86_64", ""));
  auto const isa = athanor::libtorch::check_processor("p", "x86_64", "AVX512 AVX9000");
  REQUIRE(!isa);
  CHECK(isa.error().reason == Reason::model_load);
#endif
}
