// The tables that a host registers: what is rejected, and when a table is released.
#include <athanor/serving/detail/handles.hpp>
#include <athanor/serving/engine.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "support/puppet.hpp"

using namespace athanor;
using namespace athanor_tests;

namespace {

/// A table with `extra` zeroed bytes behind it, as a program
/// that was compiled against a later version has it.
struct LaterTable {
  ath_backend_table table;
  std::array<unsigned char, 32> later{};
};

Error refusal(ath_backend_table const& table) {
  serving::Tables tables;
  auto const added = tables.add(table);
  REQUIRE_FALSE(added);
  CHECK(tables.backend_names().empty());
  return added.error();
}

ath_processor_table processor_table() {
  ath_processor_table table{};
  table.struct_size = sizeof(table);
  table.name = "words";
  table.open = [](void*, char const*, char const*, void**, ath_ports*, ath_failure*) { return 0; };
  table.close = [](void*, void*) {};
  table.preprocess = [](void*, void*, ath_item const*, ath_made*, ath_failure*) { return 0; };
  return table;
}

/// A puppet whose table counts its releases, from 0.
struct CountedPuppet : Puppet {
  static inline int releases = 0;

  CountedPuppet() {
    releases = 0;
    table.release = [](void*) { ++releases; };
  }
};

}  // namespace

// mutant: a struct of an earlier version is refused
// mutant: fields of a later version are ignored
TEST_CASE("a table of an earlier or a later version is accepted, one of an impossible size is not") {
  Puppet puppet;
  LaterTable later{puppet.table, {}};
  later.table.struct_size = sizeof(later);
  serving::Tables tables;
  CHECK(tables.add(later.table));
  CHECK(tables.backend("puppet") != nullptr);

  later.later[5] = 1;
  auto const dirty = refusal(later.table);
  CHECK(dirty.code == Code::unimplemented);
  CHECK(dirty.message ==
        "backend table: fields beyond byte 96 are set, which this version of the library does not know");

  for (std::size_t const size : {std::size_t{0}, std::size_t{8}, sizeof(ath_backend_table) - 8,
                                 std::size_t{4097}, std::size_t{1} << 20, static_cast<std::size_t>(-1)}) {
    auto table = puppet.table;
    table.struct_size = size;
    auto const error = refusal(table);
    CHECK(error.code == Code::invalid_argument);
    CHECK(error.reason == Reason::option);
    CHECK(error.message == "backend table: struct_size: expected 96 to 4096, got " + std::to_string(size));
  }
}

// mutant: a processor that is null is not closed
// mutant: a processor is closed by all who held it
TEST_CASE("what a processor's open has opened is closed once, also if that is null") {
  for (bool const null : {false, true}) {
    CAPTURE(null);
    static void* opened = nullptr;
    static std::vector<void*> closed;
    int processor = 0;
    opened = null ? nullptr : &processor;
    closed.clear();
    auto table = processor_table();
    table.open = [](void*, char const*, char const*, void** out, ath_ports*, ath_failure*) {
      *out = opened;
      return 0;
    };
    table.close = [](void*, void* which) { closed.push_back(which); };
    serving::Tables tables;
    REQUIRE(tables.add(table));
    {
      auto first = serving::OpenProcessor::open(tables.processor("words"), "", "{}");
      REQUIRE(first);
      auto const second = std::move(*first);
      CHECK(closed.empty());
    }
    CHECK(closed == std::vector<void*>{opened});
  }
}

// mutant: a reserved field of a table may be set
// mutant: a table may run anywhere
TEST_CASE("a value that this version does not know is rejected, so that a later one may give it a meaning") {
  Puppet puppet;
  auto table = puppet.table;
  table.reserved = 5;
  CHECK(refusal(table).message == "backend table 'puppet': reserved: expected 0, got 5");
  table = puppet.table;
  table.runs_on = 77;
  CHECK(refusal(table).message == "backend table 'puppet': runs_on: expected 0 or 1, got 77");

  serving::Tables tables;
  auto words = processor_table();
  words.runs_on = ATH_RUNS_ON_OWN_WORKER;
  CHECK(tables.add(words).error().code == Code::unimplemented);
  CHECK(tables.add(processor_table()));
}

// mutant: a table may lack a function
TEST_CASE("a table that lacks a function is rejected, and the error names the function") {
  Puppet puppet;
  auto table = puppet.table;
  table.run = nullptr;
  CHECK(refusal(table).message == "backend table 'puppet': run: expected a function, got NULL");

  serving::Tables tables;
  auto words = processor_table();
  words.preprocess = nullptr;
  CHECK(tables.add(words).error().message ==
        "processor table 'words': preprocess or postprocess: expected a function, got NULL");
  words.close = nullptr;
  CHECK(tables.add(words).error().message == "processor table 'words': close: expected a function, got NULL");
}

// mutant: a table keeps the host's name
TEST_CASE("a registered table is a copy: the host may reuse the memory of the table and of its name") {
  Puppet puppet;
  serving::Tables tables;
  {
    std::string name = "a backend of the host's own";
    auto table = puppet.table;
    table.name = name.c_str();
    REQUIRE(tables.add(table));
    name.assign(name.size(), 'x');
    std::memset(&table, 0xff, sizeof(table));
  }
  auto const known = tables.backend("a backend of the host's own");
  REQUIRE(known != nullptr);
  CHECK(known->context == puppet.table.context);
}

// mutant: a table is not released
TEST_CASE("a table is released once, after its engine and everything made from it") {
  CountedPuppet counted;
  ModelFolder const folder;
  {
    std::vector<Model<>> models;
    {
      auto engine = Engine<>::create({.backends = {&counted.table}}).value();
      CHECK(engine.add_backend(counted.table));  // registered already: a no-op
      models.push_back(engine.load(folder.path()).value());
    }
    CHECK(counted.releases == 0);
  }
  CHECK(counted.releases == 1);
}

// mutant: tables of one name are the same
TEST_CASE("a different backend at the address and under the name of an earlier one is rejected") {
  Puppet first;
  Puppet second;
  serving::Tables tables;
  auto table = first.table;
  REQUIRE(tables.add(table));
  CHECK(tables.add(table));
  table.context = second.table.context;
  CHECK(tables.add(table).error().code == Code::already_exists);
}

// mutant: what postprocess makes is taken as it is
// mutant: the cost of an item may be any number
TEST_CASE("a processor that makes too little, too much or nothing fails the item with a typed error") {
  static char const* const names[] = {"x"};
  static std::int32_t const dtypes[] = {static_cast<std::int32_t>(DType::f32)};
  static ath_made answer{};
  static int releases = 0;
  auto words = processor_table();
  words.open = [](void*, char const*, char const*, void**, ath_ports* ports, ath_failure*) {
    ports->made_names = names;
    ports->made_dtypes = dtypes;
    ports->made_count = 1;
    return 0;
  };
  words.preprocess = [](void*, void*, ath_item const*, ath_made* out, ath_failure*) {
    *out = answer;
    out->release = [](void*) { ++releases; };
    return 0;
  };
  serving::Tables tables;
  REQUIRE(tables.add(words));
  auto const opened = serving::OpenProcessor::open(tables.processor("words"), "", "{}").value();
  std::array<ath_tensor, 2> const two{};
  auto const message = [&](ath_tensor const* tensors, std::size_t count, std::int64_t cost) {
    answer = {};
    answer.tensors = tensors;
    answer.tensor_count = count;
    answer.cost = cost;
    auto const made = opened.preprocess({}, {});
    REQUIRE_FALSE(made);
    CHECK(made.error().reason == Reason::backend_contract);
    return made.error().message;
  };
  CHECK(message(two.data(), 0, 1) == "processor 'words': expected 1 tensors for an item, got 0");
  CHECK(message(two.data(), 2, 1) == "processor 'words': expected 1 tensors for an item, got 2");
  CHECK(message(nullptr, 1, 1) == "processor 'words': expected 1 tensors for an item, got 0");
  CHECK(message(two.data(), 1, 0) == "processor 'words': cost: expected 1 to 1099511627776, got 0");
  CHECK(releases == 4);
}

TEST_CASE("a table that is rejected is not released") {
  CountedPuppet counted;
  Puppet puppet;
  {
    auto engine = Engine<>::create({.backends = {&puppet.table}}).value();
    auto const added = engine.add_backend(counted.table);
    REQUIRE_FALSE(added);
    CHECK(added.error().message == "puppet: a different backend of that name is already registered");
  }
  CHECK(counted.releases == 0);
}
