#include <dlfcn.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <athanor/chem/processor.hpp>

#include "support/folder.hpp"
#include "support/item.hpp"

using namespace athanor;
using namespace athanor::chem;
using namespace std::string_literals;
using athanor_tests::Folder;

namespace {

std::unique_ptr<PolymerGraphProcessor::Opened> opened(std::string const& folder = {},
                                                      std::string const& options = {}) {
  auto processor = PolymerGraphProcessor{}.open(folder, options);
  REQUIRE_MESSAGE(processor, processor.error().message);
  return std::move(*processor);
}

Result<Preprocessed> preprocess(PolymerGraphProcessor::Opened const& opened, Tensor const& text) {
  return opened.preprocess(athanor::tests::ItemOf(text));
}

Preprocessed prepare(PolymerGraphProcessor::Opened const& processor, std::string const& smiles) {
  auto features = preprocess(processor, Tensor::text(smiles));
  REQUIRE_MESSAGE(features, features.error().message);
  return std::move(*features);
}

std::int64_t single(Preprocessed const& features, std::size_t output) {
  return features.tensors[output].as<std::int64_t>()[0];
}

}  // namespace

// mutant: polymer-graph gives the targets in the place of the sources
TEST_CASE("the processor gives the tensors of the graph in the order of its outputs") {
  auto const processor = opened();
  Preprocessed const features = prepare(*processor, "*CC(*)C");
  auto const graph = prepare_polymer("*CC(*)C")->graph;
  REQUIRE(features.tensors.size() == PolymerGraphProcessor::ports.size());
  for (std::size_t i = 0; i < features.tensors.size(); ++i) {
    CHECK(features.tensors[i].dtype() == PolymerGraphProcessor::ports[i].dtype);
    CHECK(features.tensors[i].owned());
  }
  auto const atoms = features.tensors[0].as<std::int32_t>();
  auto const bonds = features.tensors[1].as<std::int32_t>();
  auto const sources = features.tensors[2].as<std::int64_t>();
  auto const targets = features.tensors[3].as<std::int64_t>();
  CHECK(std::equal(atoms.begin(), atoms.end(), graph.atom.begin(), graph.atom.end()));
  CHECK(std::equal(bonds.begin(), bonds.end(), graph.bond.begin(), graph.bond.end()));
  CHECK(std::equal(sources.begin(), sources.end(), graph.source.begin(), graph.source.end()));
  CHECK(std::equal(targets.begin(), targets.end(), graph.target.begin(), graph.target.end()));
  CHECK(single(features, 4) == -1);
  CHECK(single(features, 5) == 3);
  CHECK(single(features, 6) == 1);
  CHECK(features.cost == static_cast<std::int64_t>(graph.bond.size()));
  CHECK(single(prepare(*processor, "CCO"), 6) == 0);
}

// mutant: where identifiers are not computed, none is unseen
TEST_CASE("the domain of validity is counted against the model's own file") {
  Folder const folder;
  std::string list;
  auto const training = morgan_identifiers("CCCCO");
  for (auto const& [identifier, times] : *training)
    list += (list.empty() ? "" : ", ") + std::to_string(identifier);
  folder.write("domain.json", R"({"rdkit": "2022.09.3", "radius": 2, "identifiers": [)" + list + "]}");
  auto const processor = opened(folder.path(), R"({"domain": "domain.json"})");
  CHECK(single(prepare(*processor, "CCCCO"), 4) == 0);
  CHECK(single(prepare(*processor, "CCCCCO"), 4) == 2);
  CHECK(single(prepare(*processor, std::string(1001, 'C')), 4) == -1);
}

// mutant: polymer-graph gives the counts in the place of the identifiers
TEST_CASE("a model that reads identifiers is given them with their counts, and never without them") {
  auto const without = opened();
  CHECK(prepare(*without, "*CC(*)C").tensors[7].shape().elements() == 0);
  auto const processor = opened({}, R"({"identifiers": true})");
  auto const features = prepare(*processor, "*CC(*)C");
  auto const expected = prepare_polymer("*CC(*)C", {.identifiers = true})->identifiers;
  REQUIRE(expected);
  auto const identifiers = features.tensors[7].as<std::int64_t>();
  auto const counts = features.tensors[8].as<std::int64_t>();
  REQUIRE(identifiers.size() == expected->size());
  REQUIRE(counts.size() == expected->size());
  for (std::size_t i = 0; i < expected->size(); ++i) {
    CHECK(identifiers[i] == std::int64_t{(*expected)[i].identifier});
    CHECK(counts[i] == std::int64_t{(*expected)[i].count});
  }
  auto const large = preprocess(*processor, Tensor::text(std::string(1001, 'C')));
  REQUIRE_FALSE(large);
  CHECK(large.error().code == Code::invalid_argument);
  CHECK(large.error().reason == Reason::too_large);
}

// mutant: the key of a chain holds the counts as they are
// mutant: a molecule is listed as a chain is
TEST_CASE("a chain that the domain lists is known in every spelling, and a molecule never is") {
  Folder const folder;
  std::string const key = chain_key(*prepare_polymer("*CC(*)C", {.identifiers = true})->identifiers);
  std::string const molecule = chain_key(*morgan_identifiers("CC(C)C"));
  folder.write("domain.json", R"({"rdkit": "2022.09.3", "radius": 2, "identifiers": [1], "chains": [")" +
                                  key + "\", \"" + molecule + "\"]}");
  auto const processor = opened(folder.path(), R"({"domain": "domain.json"})");
  for (auto const* same : {"*CC(*)C", "*C(C)C*", "*CC(C)CC(*)C"})
    CHECK(single(prepare(*processor, same), 9) == 1);
  for (auto const* other : {"*CC*", "*CC(*)CC", "CC(C)C"}) CHECK(single(prepare(*processor, other), 9) == 0);
  CHECK(single(prepare(*opened(), "*CC(*)C"), 9) == -1);
}

// mutant: the number of units is read and forgotten
TEST_CASE("units asks for an oligomer") {
  auto const processor = opened({}, R"({"units": 3})");
  Preprocessed const features = prepare(*processor, "*CC*");
  CHECK(single(features, 5) == 6);
  CHECK(single(features, 6) == 1);
}

// mutant: polymer-graph skips options that it does not know
TEST_CASE("options that mean nothing are refused by name") {
  auto message = [](std::string const& options) {
    auto const processor = PolymerGraphProcessor{}.open("/nowhere", options);
    return processor ? std::string("accepted") : processor.error().message;
  };
  CHECK(message("") == "accepted");
  CHECK(message("{}") == "accepted");
  CHECK(message(R"({"unit": 3})") ==
        "polymer-graph: unknown option unit; it takes units, domain and identifiers");
  CHECK(message(R"({"units": 0})") == "polymer-graph: units: expected a whole number from 1 to 2000, got 0");
  CHECK(message(R"({"units": "3"})") ==
        "polymer-graph: units: expected a whole number from 1 to 2000, got \"3\"");
  CHECK(message(R"({"identifiers": 1})") == "polymer-graph: identifiers: expected true or false, got 1");
  CHECK(message(R"({"domain": 3})") == "polymer-graph: domain: expected a file name, got 3");
  CHECK(message(R"({"domain": "none.json"})") ==
        "polymer-graph: domain: expected a regular file, got none at /nowhere/none.json");
  CHECK(message("[") == "polymer-graph: options: expected JSON, got something else at byte 1 (line 1)");
  Folder const folder;
  folder.write("domain.json", R"({"radius": 2})");
  auto const processor = PolymerGraphProcessor{}.open(folder.path(), R"({"domain": "domain.json"})");
  REQUIRE(!processor);
  CHECK(processor.error().message.starts_with("polymer-graph: domain: " + folder.path() +
                                              "/domain.json: domain of validity: "));
}

// mutant: of a key that is given twice the last value counts
// mutant: nesting has no limit
TEST_CASE("options with a repeated key or too many levels are refused") {
  auto const repeated = PolymerGraphProcessor{}.open({}, R"({"units": 1, "units": 2})");
  REQUIRE_FALSE(repeated);
  CHECK(repeated.error().code == Code::invalid_argument);
  CHECK(repeated.error().reason == Reason::option);
  CHECK(repeated.error().message ==
        "polymer-graph: options: expected every key of an object once, got 'units' again");
  auto const deep =
      PolymerGraphProcessor{}.open({}, R"({"units": )" + std::string(65, '[') + std::string(65, ']') + "}");
  REQUIRE_FALSE(deep);
  CHECK(deep.error().message == "polymer-graph: options: expected at most 64 levels of nesting, got more");
}

// mutant: the domain may be a file outside the model's folder
// mutant: the domain may be a folder
TEST_CASE("the domain is a file of the model's folder and nothing else") {
  Folder const outer;
  std::string const identifiers = R"({"rdkit": "2022.09.3", "radius": 2, "identifiers": [1]})";
  outer.write("domain.json", identifiers);
  std::string const model = outer.path() + "/model";
  std::filesystem::create_directories(model + "/parts");
  std::filesystem::copy_file(outer.path() + "/domain.json", model + "/parts/domain.json");
  auto const open = [&](std::string const& name) {
    return PolymerGraphProcessor{}.open(model, R"({"domain": ")" + name + "\"}");
  };
  CHECK(open("parts/domain.json"));
  for (auto const& name :
       {""s, "./domain.json"s, "../domain.json"s, "parts/../../domain.json"s, outer.path() + "/domain.json",
        "parts/"s, "parts\\\\domain.json"s, "parts/domain.json\\u0000"s}) {
    auto const refused = open(name);
    REQUIRE_MESSAGE(!refused, name);
    CHECK(refused.error().code == Code::invalid_argument);
    CHECK(refused.error().reason == Reason::option);
    CHECK_MESSAGE(
        refused.error().message.starts_with(
            "polymer-graph: domain: expected a path inside the model's folder, without '.' and '..'; got '"),
        refused.error().message);
  }
  auto const folder = open("parts");
  REQUIRE(!folder);
  CHECK(folder.error().code == Code::not_found);
  CHECK(folder.error().reason == Reason::file);
  CHECK(folder.error().message ==
        "polymer-graph: domain: expected a regular file, got none at " + model + "/parts");
  std::ofstream const empty(model + "/empty.json");
  CHECK(open("empty.json").error().reason == Reason::syntax);
}

// mutant: a molecule without bonds has a graph without edges
TEST_CASE("S0-7 a repeat unit or molecule without bonds never reaches a model") {
  auto const processor = opened();
  for (auto const* text : {"[Na+]", "[He]", "[Na+].[Cl-]"}) {
    auto const features = preprocess(*processor, Tensor::text(text));
    REQUIRE(!features);
    CHECK(features.error().code == Code::invalid_argument);
    CHECK(features.error().reason == Reason::chemistry);
  }
}

// mutant: a backslash is no bond
TEST_CASE("S0-9 every kind of text has a defined result") {
  auto const processor = opened();
  for (std::string const& text :
       {"COC(=O)c1ccc(C(=O)O)cc1.OCCO"s, "C/C=C\\C"s, "F\\C=C\\F"s, "*OCCO*"s, "[Na+].[O-]C(=O)C"s})
    CHECK_MESSAGE(preprocess(*processor, Tensor::text(text)), text);
  auto reason = [&](std::string const& text) {
    auto const features = preprocess(*processor, Tensor::text(text));
    return features ? Reason::none : features.error().reason;
  };
  CHECK(reason("") == Reason::syntax);
  CHECK(reason("   ") == Reason::syntax);
  CHECK(reason("<script>") == Reason::syntax);
  CHECK(reason("CC\0O"s) == Reason::syntax);
  CHECK(reason(std::string(10'000'000, 'C')) == Reason::too_large);
}

// mutant: the first of several texts is read
// mutant: numbers are read as a text
TEST_CASE("an item that is not one text is refused") {
  auto const processor = opened();
  std::vector<float> const numbers(3);
  CHECK(preprocess(*processor, Tensor::view(std::span<float const>(numbers), Shape{3})).error().reason ==
        Reason::dtype);
  std::vector<std::string_view> const two = {"CC", "CCO"};
  CHECK(preprocess(*processor, *Tensor::copy_texts(two)).error().reason == Reason::shape);
}

// mutant: the plugin of chem fills a struct of any size
TEST_CASE("the plugin offers the same processors through their tables") {
  void* const library = dlopen(ATHANOR_CHEM_PLUGIN, RTLD_NOW | RTLD_LOCAL);
  REQUIRE_MESSAGE(library != nullptr, dlerror());  // NOLINT(concurrency-mt-unsafe): one thread
  auto const entry = reinterpret_cast<ath_plugin_entry>(dlsym(library, "athanor_plugin"));
  REQUIRE((entry != nullptr));
  ath_failure failure{};
  ath_plugin plugin{};
  CHECK(entry(&plugin, &failure) == static_cast<std::int32_t>(Code::invalid_argument));
  CHECK(std::string(failure.message).starts_with("chem plugin: struct_size: expected "));
  plugin.struct_size = sizeof(plugin);
  REQUIRE(entry(&plugin, &failure) == 0);
  CHECK(plugin.table_version == ATH_TABLE_VERSION);
  CHECK(plugin.backend_count == 0);
  REQUIRE(plugin.processor_count == 2);
  CHECK(plugin.processors[1]->name == "chemprop-graph"s);
  ath_processor_table const& table = *plugin.processors[0];
  CHECK(table.name == "polymer-graph"s);

  void* opened = nullptr;
  ath_ports ports{};
  REQUIRE(table.open(table.context, "", "", &opened, &ports, &failure) == 0);
  CHECK(ports.made_count == 10);
  std::string const smiles = "*CC*";
  Tensor const text = Tensor::text(smiles);
  athanor::tests::ItemOf const item(text);
  ath_made made{};
  made.struct_size = sizeof(made);
  REQUIRE(table.preprocess(table.context, opened, item.raw(), &made, &failure) == 0);
  CHECK(made.tensor_count == 10);
  CHECK(made.cost == 12);
  made.release(made.owner);
  std::string const wrong = "C1CC";
  Tensor const wrong_text = Tensor::text(wrong);
  athanor::tests::ItemOf const bad(wrong_text);
  CHECK(table.preprocess(table.context, opened, bad.raw(), &made, &failure) ==
        static_cast<std::int32_t>(Code::invalid_argument));
  CHECK(failure.message == "smiles: ring 1 opened at byte 1 is never closed"s);
  table.close(table.context, opened);
}
