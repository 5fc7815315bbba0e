#include <athanor/chem/processor.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "items.hpp"
#include "json_object.hpp"

namespace athanor::inline v1::chem {

static_assert(Processor<PolymerGraphProcessor>);

namespace {

constexpr std::uintmax_t largest_domain = 64U << 20;

template <class... Args>
tl::unexpected<Error> refuse_option(fmt::format_string<Args...> sentence, Args&&... args) {
  return fail(Code::invalid_argument, Reason::option, "polymer-graph: {}",
              fmt::format(sentence, std::forward<Args>(args)...));
}

/// As the manifest's rule for the paths of its files: relative, and never out of the folder.
bool is_inside(std::string_view name) {
  bool good = !name.empty() && name.front() != '/' && name.find('\\') == std::string_view::npos &&
              name.find('\0') == std::string_view::npos;
  for (auto const& part : std::filesystem::path(name))
    good = good && part != ".." && part != "." && !part.empty();
  return good;
}

Result<std::string> read_file(std::string const& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error))
    return fail(Code::not_found, Reason::file,
                "polymer-graph: domain: expected a regular file, got none at {}", path);
  auto const size = std::filesystem::file_size(path, error);
  if (!error && size > largest_domain)
    return refuse_option("domain: expected a file of at most {} bytes, got {} of {}", largest_domain, size,
                         path);
  std::ifstream file(path, std::ios::binary);
  std::string text(error ? 0 : static_cast<std::size_t>(size), '\0');
  if (error || !file.read(text.data(), static_cast<std::streamsize>(text.size())))
    return fail(Code::unavailable, Reason::file, "polymer-graph: domain: {} cannot be read", path);
  return text;
}

Result<DomainOfValidity> read_domain(std::string_view folder, std::string const& name) {
  if (!is_inside(name))
    return refuse_option("domain: expected a path inside the model's folder, without '.' and '..'; got '{}'",
                         name);
  std::string const path = folder.empty() ? name : fmt::format("{}/{}", folder, name);
  auto const text = read_file(path);
  if (!text) return tl::unexpected(text.error());
  auto domain = DomainOfValidity::from_json(*text);
  if (!domain)
    domain.error().message = fmt::format("polymer-graph: domain: {}: {}", path, domain.error().message);
  return domain;
}

/// One number of each entry of `counts`, as an owned tensor [identifiers].
template <class Number>
Result<Tensor> column(std::span<MorganCount const> counts, Number MorganCount::*number) {
  auto tensor = Tensor::allocate(DType::i64, Shape{static_cast<std::int64_t>(counts.size())});
  if (tensor)
    std::ranges::transform(counts, tensor->mutable_as<std::int64_t>().begin(),
                           [number](MorganCount const& entry) { return std::int64_t{entry.*number}; });
  return tensor;
}

Result<Tensor> single(std::int64_t value) {
  auto tensor = Tensor::allocate(DType::i64, Shape{1});
  if (tensor) tensor->mutable_as<std::int64_t>()[0] = value;
  return tensor;
}

}  // namespace

PolymerGraphProcessor::Opened::Opened(PolymerOptions options, std::optional<DomainOfValidity> domain,
                                      bool read_by_model)
    : options_(options), domain_(std::move(domain)), read_by_model_(read_by_model) {
  options_.identifiers = read_by_model_ || domain_.has_value();
}

Result<Preprocessed> PolymerGraphProcessor::Opened::preprocess(Item const& given) const {
  auto const text = text_of(given, name);
  if (!text) return tl::unexpected(text.error());
  auto const prepared = prepare_polymer(*text, options_);
  if (!prepared) return tl::unexpected(prepared.error());

  if (read_by_model_ && !prepared->identifiers)
    return fail(Code::invalid_argument, Reason::too_large,
                "smiles: Morgan identifiers: expected at most {} heavy atoms{}, got {}", morgan_heavy_atoms,
                prepared->polymer ? " in a repeat unit and its neighbours in sight" : "",
                prepared->polymer ? fmt::format("more, with {} in the unit", prepared->graph.heavy_atoms)
                                  : fmt::format("{}", prepared->graph.heavy_atoms));
  std::span<MorganCount const> const identifiers =
      prepared->identifiers ? *prepared->identifiers : std::span<MorganCount const>{};
  std::int64_t const unseen =
      domain_ && prepared->identifiers ? domain_->unseen(*prepared->identifiers) : std::int64_t{-1};
  bool const listed = domain_ && prepared->polymer && domain_->lists(identifiers);
  MolecularGraph const& graph = prepared->graph;
  std::array<Result<Tensor>, ports.size()> tensors = {copy<std::int32_t>(graph.atom),
                                                      copy<std::int32_t>(graph.bond),
                                                      copy<std::int64_t>(graph.source),
                                                      copy<std::int64_t>(graph.target),
                                                      single(unseen),
                                                      single(graph.heavy_atoms),
                                                      single(prepared->polymer ? 1 : 0),
                                                      column(identifiers, &MorganCount::identifier),
                                                      column(identifiers, &MorganCount::count),
                                                      single(unseen < 0 ? -1
                                                             : listed   ? 1
                                                                        : 0)};
  return gather(tensors, static_cast<std::int64_t>(graph.bond.size()));
}

Result<std::unique_ptr<PolymerGraphProcessor::Opened>> PolymerGraphProcessor::open(
    std::string_view folder, std::string_view options) const {
  PolymerOptions polymer;
  std::optional<DomainOfValidity> domain;
  bool read_by_model = false;
  auto const document =
      parse_object(options.empty() ? "{}" : options, "polymer-graph: options", Reason::option);
  if (!document) return tl::unexpected(document.error());
  for (auto const& [key, value] : document->items()) {
    if (key == "units") {
      if (!value.is_number_integer() || value < 1 || value > polymer.limits.heavy_atoms)
        return refuse_option("units: expected a whole number from 1 to {}, got {}",
                             polymer.limits.heavy_atoms, json::describe(value));
      polymer.units = value.get<std::int32_t>();
    } else if (key == "domain") {
      if (!value.is_string())
        return refuse_option("domain: expected a file name, got {}", json::describe(value));
      auto read = read_domain(folder, value.get<std::string>());
      if (!read) return tl::unexpected(std::move(read.error()));
      domain = std::move(*read);
    } else if (key == "identifiers") {
      if (!value.is_boolean())
        return refuse_option("identifiers: expected true or false, got {}", json::describe(value));
      read_by_model = value.get<bool>();
    } else {
      return refuse_option("unknown option {}; it takes units, domain and identifiers", key);
    }
  }
  return std::make_unique<Opened>(polymer, std::move(domain), read_by_model);
}

ath_processor_table const& processor() {
  static PolymerGraphProcessor graphs;
  static ath_processor_table const table = make_table(graphs);
  return table;
}

}  // namespace athanor::inline v1::chem
