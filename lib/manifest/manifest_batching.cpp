#include "manifest_batching.hpp"

#include <algorithm>

#include <fmt/ranges.h>

#include "ascending.hpp"

namespace athanor::inline v1::manifest {

namespace {

using json::Node;

constexpr std::int64_t most_instances = 1024;
constexpr std::int64_t most_items = 1 << 20;
constexpr std::size_t most_sizes = 64;
constexpr std::size_t most_warm_ups = 64;

}  // namespace

BatchingSection read_batching(Node const& node) {
  BatchingSection batching;
  for (auto const& [key, value] : node.named()) {
    if (key == "max_items") {
      batching.max_items = value.integer(1, most_items);
    } else if (key == "sizes") {
      batching.sizes = read_ascending(value, "sizes", most_sizes, most_items);
    } else if (key == "max_cost") {
      batching.max_cost = value.integer(1, INT64_MAX);
    } else if (key == "instances") {
      batching.instances = value.integer(1, most_instances);
    } else if (key == "policy") {
      batching.policy = value.name();
    } else {
      batching.parameters.emplace_back(key, value.integer(INT64_MIN, INT64_MAX));
    }
  }
  if (batching.sizes.empty()) return batching;
  if (!batching.max_items) batching.max_items = batching.sizes.back();
  if (!std::ranges::binary_search(batching.sizes, *batching.max_items))
    node.reader().refuse(node["max_items"].path(), "expected one of the sizes ({}), got {}",
                         fmt::join(batching.sizes, ", "), *batching.max_items);
  return batching;
}

std::vector<std::int64_t> read_warm_up(Node const& root, BatchingSection const& batching) {
  std::vector<std::int64_t> batches;
  auto const warm_up = root["warm_up"];
  if (!warm_up.present() || !warm_up.object({"batches"})) return batches;
  for (Node const& batch : warm_up["batches"].list(1, most_warm_ups)) {
    batches.push_back(batch.integer(1, most_items));
    check_batch(batching, batches.back(), batch);
  }
  if (root["self_test"].list(0).empty())
    root.reader().refuse(warm_up.path(),
                         "expected a self_test whose inputs the batches are made of, got none");
  return batches;
}

void check_batch(BatchingSection const& batching, std::int64_t items, Node const& node) {
  if (!batching.sizes.empty() && items > batching.sizes.back())
    node.reader().refuse(node.path(), "expected at most {} items, the largest of batching.sizes, got {}",
                         batching.sizes.back(), items);
}

}  // namespace athanor::inline v1::manifest
