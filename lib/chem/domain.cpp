#include <athanor/chem/domain.hpp>

#include <algorithm>
#include <array>
#include <memory>
#include <numeric>

#include <DataStructs/SparseIntVect.h>
#include <fmt/format.h>
#include <GraphMol/Fingerprints/MorganFingerprints.h>
#include <GraphMol/GraphMol.h>

#include <athanor/core/hash.hpp>

#include "json_object.hpp"
#include "molecule.hpp"

namespace athanor::inline v1::chem {

namespace {

/// What every RDKit so far gives for this molecule, as PolyID's authors print it.
constexpr std::string_view known_molecule = "C=CCC(O)CCC(O)CC";
constexpr std::array<MorganCount, 20> known_identifiers = {{
    {535847852, 1},  {864662311, 2},  {1506563592, 1}, {1506997381, 1}, {1542633699, 2},
    {1583799011, 2}, {1674219510, 2}, {2245273601, 2}, {2245384272, 4}, {2246703798, 1},
    {2246728737, 1}, {2246997334, 1}, {2380228464, 1}, {2690477299, 1}, {2879529074, 2},
    {2928069067, 1}, {3321103681, 1}, {3337365384, 1}, {3542456614, 1}, {3696402029, 1},
}};

template <class... Args>
tl::unexpected<Error> refuse(fmt::format_string<Args...> sentence, Args&&... args) {
  return fail(Code::invalid_argument, Reason::syntax, "domain of validity: {}",
              fmt::format(sentence, std::forward<Args>(args)...));
}

Result<void> check_toolkit() {
  auto const found = morgan_identifiers(known_molecule);
  if (!found) return tl::unexpected(found.error());
  if (!std::equal(found->begin(), found->end(), known_identifiers.begin(), known_identifiers.end()))
    return fail(Code::failed_precondition, Reason::chemistry,
                "domain of validity: this RDKit gives other Morgan identifiers to {} than the ones that "
                "training sets "
                "are recorded with",
                known_molecule);
  return {};
}

Result<std::vector<std::uint32_t>> read_identifiers(json::Json const& list) {
  if (!list.is_array()) return refuse("identifiers: expected a list, got {}", json::describe(list));
  std::vector<std::uint32_t> identifiers;
  identifiers.reserve(list.size());
  for (auto const& entry : list) {
    if (!entry.is_number_unsigned() || entry.get<std::uint64_t>() > 0xffffffffu)
      return refuse("identifiers: entry {} is {}, expected a whole number of 32 bits", identifiers.size(),
                    entry.dump());
    identifiers.push_back(entry.get<std::uint32_t>());
  }
  return identifiers;
}

Result<std::vector<std::string>> read_chains(json::Json const& list) {
  if (!list.is_array()) return refuse("chains: expected a list, got {}", json::describe(list));
  std::vector<std::string> chains;
  chains.reserve(list.size());
  for (auto const& entry : list) {
    if (!entry.is_string() || entry.get_ref<std::string const&>().size() != 32)
      return refuse("chains: entry {} is {}, expected a text of 32 hexadecimal digits", chains.size(),
                    entry.dump());
    chains.push_back(entry.get<std::string>());
  }
  return chains;
}

}  // namespace

std::string chain_key(std::span<MorganCount const> chain) {
  std::int32_t unit = 0;
  for (auto const& entry : chain) unit = std::gcd(unit, entry.count);
  std::string text;
  for (auto const& [identifier, count] : chain)
    text += fmt::format("{}{}:{}", text.empty() ? "" : " ", identifier, count / unit);
  return to_hex(hash128(text));
}

std::vector<MorganCount> identifiers_of(RDKit::ROMol const& molecule, std::uint32_t first,
                                        std::uint32_t count) {
  std::vector<std::uint32_t> centres(count);
  std::iota(centres.begin(), centres.end(), first);
  bool const whole = count == molecule.getNumAtoms();
  std::unique_ptr<RDKit::SparseIntVect<std::uint32_t>> const fingerprint(
      RDKit::MorganFingerprints::getFingerprint(molecule, static_cast<unsigned int>(morgan_radius), nullptr,
                                                whole ? nullptr : &centres));
  std::vector<MorganCount> result;
  result.reserve(fingerprint->getNonzeroElements().size());
  for (auto const& [identifier, times] : fingerprint->getNonzeroElements())
    result.push_back({identifier, times});
  return result;
}

Result<std::vector<MorganCount>> morgan_identifiers(std::string_view smiles, SmilesLimits const& limits) {
  auto source = read_source(smiles, limits);
  if (!source) return tl::unexpected(std::move(source.error()));
  if (source->facts.heavy_atoms > morgan_heavy_atoms)
    return fail(Code::invalid_argument, Reason::too_large,
                "smiles: expected at most {} heavy atoms for identifiers, got {}", morgan_heavy_atoms,
                source->facts.heavy_atoms);
  auto const molecule = parse_molecule(*source);
  if (!molecule) return tl::unexpected(molecule.error());
  return guard_chemistry(*source, [&]() -> Result<std::vector<MorganCount>> {
    return identifiers_of(**molecule, 0, (*molecule)->getNumAtoms());
  });
}

DomainOfValidity::DomainOfValidity(std::vector<std::uint32_t> identifiers, std::vector<std::string> chains)
    : identifiers_(std::move(identifiers)), chains_(std::move(chains)) {
  std::sort(chains_.begin(), chains_.end());
  std::sort(identifiers_.begin(), identifiers_.end());
  identifiers_.erase(std::unique(identifiers_.begin(), identifiers_.end()), identifiers_.end());
}

Result<DomainOfValidity> DomainOfValidity::from_json(std::string_view text) {
  auto const document = parse_object(text, "domain of validity", Reason::syntax);
  if (!document) return tl::unexpected(document.error());
  for (auto const& [key, value] : document->items())
    if (key != "rdkit" && key != "radius" && key != "identifiers" && key != "chains")
      return refuse("unknown key '{}'; known: rdkit, radius, identifiers, chains", key);
  if (auto const maker = document->find("rdkit"); maker == document->end() || !maker->is_string())
    return refuse("rdkit: expected the version that made the list, as text; got {}",
                  describe_member(*document, "rdkit"));
  if (auto const radius = document->find("radius"); radius == document->end() || *radius != morgan_radius)
    return refuse("radius: expected {}, got {}", morgan_radius, describe_member(*document, "radius"));
  auto const list = document->find("identifiers");
  if (list == document->end()) return refuse("identifiers: expected a list, got nothing");
  auto identifiers = read_identifiers(*list);
  if (!identifiers) return tl::unexpected(std::move(identifiers.error()));
  Result<std::vector<std::string>> chains = std::vector<std::string>();
  if (auto const listed = document->find("chains"); listed != document->end()) chains = read_chains(*listed);
  if (!chains) return tl::unexpected(std::move(chains.error()));
  if (auto const checked = check_toolkit(); !checked) return tl::unexpected(checked.error());
  return DomainOfValidity(std::move(*identifiers), std::move(*chains));
}

bool DomainOfValidity::lists(std::span<MorganCount const> molecule) const {
  return !chains_.empty() && std::binary_search(chains_.begin(), chains_.end(), chain_key(molecule));
}

std::int64_t DomainOfValidity::unseen(std::span<MorganCount const> molecule) const noexcept {
  return std::count_if(molecule.begin(), molecule.end(), [&](MorganCount const& entry) {
    return !std::binary_search(identifiers_.begin(), identifiers_.end(), entry.identifier);
  });
}

}  // namespace athanor::inline v1::chem
