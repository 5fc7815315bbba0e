// Before a model serves, its rows are compared with those of other company: which items are there to compare.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "scripted_backend.hpp"

using namespace athanor;
using namespace athanor_tests;

namespace {

// y has the bytes of x, row by row from the last to the first if `swapped`; of one dtype.
Result<void> copy_rows(Run const& run, bool swapped) {
  auto const& x = run.batch.inputs[0];
  run.memory.resize(x.size_bytes / sizeof(float) + 1);
  auto const rows = static_cast<std::size_t>(run.batch.items);
  std::size_t const width = x.size_bytes / rows;
  for (std::size_t row = 0; row < rows; ++row)
    std::memcpy(reinterpret_cast<std::byte*>(run.memory.data()) + row * width,
                static_cast<std::byte const*>(x.data) + (swapped ? rows - 1 - row : row) * width, width);
  run.batch.outputs[0] = x;
  run.batch.outputs[0].data = run.memory.data();
  return done();
}

Result<void> swap_rows(Run const& run) { return copy_rows(run, true); }
Result<void> keep_rows(Run const& run) { return copy_rows(run, false); }

// y = x less the mean size of all numbers of the batch.
Result<void> average(Run const& run) {
  run.add(0);
  float sum = 0;
  for (float const value : run.memory) sum += std::abs(value);
  for (float& value : run.memory) value -= sum / static_cast<float>(run.count());
  return done();
}

// As batch_norm while it trains.
Result<void> need_company(Run const& run) {
  if (run.batch.items < 2)
    return fail(Code::invalid_argument, Reason::backend_failure, "expected more than 1 value per channel");
  return keep_rows(run);
}

// y is the number of bytes of each text x, of the items from the last to the first if `swapped`.
Result<void> measure_texts(Run const& run, bool swapped) {
  auto const& x = run.batch.inputs[0];
  auto const rows = static_cast<std::size_t>(run.batch.items);
  run.memory.clear();
  for (std::size_t row = 0; row < rows; ++row) {
    std::size_t const from = swapped ? rows - 1 - row : row;
    run.memory.push_back(static_cast<float>(x.offsets[from + 1] - x.offsets[from]));
  }
  auto& y = run.batch.outputs[0];
  y.dtype = static_cast<std::int32_t>(DType::f32);
  y.device_type = static_cast<std::int32_t>(DeviceType::cpu);
  y.ndim = 1;
  y.shape[0] = run.batch.items;
  y.data = run.memory.data();
  y.size_bytes = rows * sizeof(float);
  return done();
}

std::string column(std::string_view dtype) {
  return fmt::format(R"("inputs": [{{"name": "x", "dtype": "{0}", "shape": ["items", 1]}}],
      "outputs": [{{"name": "y", "dtype": "{0}", "shape": ["items", 1]}}],)",
                     dtype);
}

std::string known_copy(std::string_view value) {
  return fmt::format(R"("self_test": [{{"inputs": {{"x": [[{0}]]}}, "outputs": {{"y": [[{0}]]}}}}],)", value);
}

constexpr std::string_view texts = R"("inputs": [{"name": "x", "dtype": "bytes", "shape": ["items"]}],
    "outputs": [{"name": "y", "dtype": "f32", "shape": ["items"]}],)";

constexpr std::string_view nothing_seen = "its dry run: no two items with different answers shared a batch";

}  // namespace

// mutant: made-up items are equal
// mutant: a self-test of one item hides what company does to a row
TEST_CASE("a model that mixes the rows of its batch is refused, whether its self-test has one item or none") {
  Rig swaps(&swap_rows);
  for (auto const* manifest :
       {"", R"("self_test": [{"inputs": {"x": [[1, 2]]}, "outputs": {"y": [[1, 2]]}}],)"})
    CHECK(swaps.refusal(ModelFolder(manifest)).message.find("dry run of 2 items: output y: element 0 of") !=
          std::string::npos);
  Rig averages(&average);
  for (auto const* manifest :
       {"", R"("self_test": [{"inputs": {"x": [[1, 2]]}, "outputs": {"y": [[-0.5, 0.5]]}}],)"})
    CHECK(averages.refusal(ModelFolder(manifest)).message.find("as for the item alone, expected ") !=
          std::string::npos);
}

// mutant: a model that fails alone is not tried in company
TEST_CASE("a model that answers items only together is refused, unless it runs one item at a time") {
  Rig rig(&need_company);
  CHECK(rig.refusal(ModelFolder()).message.find("got one that answers two together") != std::string::npos);
  ModelFolder const one(R"("batching": {"max_items": 1},)");
  CHECK(rig.engine.load(one.path()));
}

// mutant: made-up integers are equal
TEST_CASE(
    "a model of integers or texts that mixes the rows of its batch is refused, without a self-test too") {
  for (auto const* dtype : {"i64", "i32", "u8", "bool"}) {
    CAPTURE(dtype);
    Rig swaps(&swap_rows);
    CHECK(
        swaps.refusal(ModelFolder("", "typed", "1.0.0", column(dtype))).message.find("dry run of 2 items") !=
        std::string::npos);
    Rig keeps(&keep_rows);
    ModelFolder const folder("", "typed", "1.0.0", column(dtype));
    REQUIRE(keeps.engine.load(folder.path()));
    CHECK(keeps.log.find("its dry run") == std::string::npos);
  }
  Rig swaps([](Run const& run) { return measure_texts(run, true); });
  CHECK(swaps.refusal(ModelFolder("", "typed", "1.0.0", texts)).message.find("dry run of 2 items") !=
        std::string::npos);
}

// mutant: a half ends inside a character
TEST_CASE("the item of a self-test is tried beside half of itself") {
  struct Row {
    char const* dtype;
    char const* given;
    std::vector<std::uint8_t> half;  // its bytes
  };
  for (auto const& [dtype, given, half] :
       {Row{"f32", "3", {0x00, 0x00, 0xc0, 0x3f}}, Row{"f64", "3", {0, 0, 0, 0, 0, 0, 0xf8, 0x3f}},
        Row{"f16", "3", {0x00, 0x3e}}, Row{"bf16", "3", {0xc0, 0x3f}}, Row{"i64", "-7", {0xfd, 0xff}},
        Row{"i32", "7", {3, 0, 0, 0}}, Row{"i16", "7", {3, 0}}, Row{"i8", "-7", {0xfd}},
        Row{"u64", "7", {3, 0}}, Row{"u32", "7", {3, 0, 0, 0}}, Row{"u16", "7", {3, 0}},
        Row{"u8", "7", {3}}}) {
    CAPTURE(dtype);
    std::size_t seen = 0;
    Rig rig([&](Run const& run) {
      if (run.batch.items == 1 && std::memcmp(run.batch.inputs[0].data, half.data(), half.size()) == 0)
        ++seen;
      return swap_rows(run);
    });
    auto const error = rig.refusal(ModelFolder(known_copy(given), "typed", "1.0.0", column(dtype)));
    CHECK_MESSAGE(error.message.find("every second item was the first item of self_test[0], halved") !=
                      std::string::npos,
                  error.message);
    CHECK(seen == 1);
  }
  std::string seen;
  Rig rig([&](Run const& run) {
    seen = std::string(static_cast<char const*>(run.batch.inputs[0].data), run.batch.inputs[0].size_bytes);
    return measure_texts(run, run.batch.items > 1);
  });
  auto const error = rig.refusal(ModelFolder(
      R"("self_test": [{"inputs": {"x": ["aöä"]}, "outputs": {"y": [5]}}],)", "texts", "1.0.0", texts));
  CHECK_MESSAGE(
      error.message.find("as for the item alone, expected 5 within 0.0001, got 1;") != std::string::npos,
      error.message);
  CHECK(seen == "aöäa");
}

// mutant: items in company are those of the first self-test
TEST_CASE("items of several self-tests are tried together") {
  std::string const both = R"("self_test": [{"inputs": {"x": [[true]]}, "outputs": {"y": [[true]]}},
      {"inputs": {"x": [[false]]}, "outputs": {"y": [[false]]}}],)";
  Rig swaps(&swap_rows);
  CHECK(
      swaps.refusal(ModelFolder(both, "typed", "1.0.0", column("bool"))).message.find("dry run of 2 items") !=
      std::string::npos);
  Rig keeps(&keep_rows);
  ModelFolder const folder(both, "typed", "1.0.0", column("bool"));
  REQUIRE(keeps.engine.load(folder.path()));
  CHECK(keeps.log.find("its dry run") == std::string::npos);
}

// mutant: self-tests of different shapes share a batch
TEST_CASE("items that may not share a batch are not tried together") {
  Rig rig(&keep_rows);
  ModelFolder const folder(R"("self_test": [{"inputs": {"x": [[1, 2]]}, "outputs": {"y": [[1, 2]]}},
      {"inputs": {"x": [[3]]}, "outputs": {"y": [[3]]}}],)",
                           "wide", "1.0.0",
                           R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", null]}],
      "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", null]}],)");
  auto const model = rig.engine.load(folder.path());
  REQUIRE_MESSAGE(model, model.error().message);
  CHECK(rig.log.find("its dry run") == std::string::npos);
}

// mutant: nothing is said where no company was shown
// mutant: health does not say what a load has not verified
TEST_CASE("where no two items differ the event and the health say that nothing was seen") {
  Rig rig(&swap_rows);
  ModelFolder const folder(known_copy("true"), "typed", "1.0.0", column("bool"));
  REQUIRE(rig.engine.load(folder.path()));
  CHECK_MESSAGE(rig.log.find(nothing_seen) != std::string::npos, rig.log);
  CHECK(rig.engine.health().models[0].note.starts_with("no two items with different answers shared a batch"));
  Rig single(&swap_rows);
  ModelFolder const alone(known_copy("true") + R"("batching": {"max_items": 1},)", "typed", "1.0.0",
                          column("bool"));
  REQUIRE(single.engine.load(alone.path()));
  CHECK(single.log.find("its dry run") == std::string::npos);
  CHECK(single.engine.health().models[0].note.empty());
}

// mutant: what refuses one made-up item is not tried with the other
TEST_CASE("a model that refuses the second item is tried with the first") {
  auto const only_zeros = [](Run const& run) -> Result<void> {
    auto const* const x = static_cast<std::int64_t const*>(run.batch.inputs[0].data);
    if (std::any_of(x, x + run.batch.items, [](std::int64_t value) { return value != 0; }))
      return fail(Code::invalid_argument, Reason::value_range, "index out of range");
    return keep_rows(run);
  };
  Rig serves(only_zeros);
  ModelFolder const folder("", "typed", "1.0.0", column("i64"));
  REQUIRE(serves.engine.load(folder.path()));
  CHECK_MESSAGE(serves.log.find(nothing_seen) != std::string::npos, serves.log);
  CHECK(std::ranges::count(serves.backend.batches, 32) == 1);
  Rig one_item([&](Run const& run) -> Result<void> {
    if (run.batch.items > 1) return fail(Code::internal, Reason::backend_failure, "one item only");
    return only_zeros(run);
  });
  CHECK(one_item.refusal(ModelFolder("", "typed", "1.0.0", column("i64"))).message.find("one item only") !=
        std::string::npos);
}

// mutant: a promise that is broken once is broken in every batch
TEST_CASE("what a member makes of half a self-test refuses no model") {
  Rig rig([](Run const& run) {
    run.add(1);
    if (run.file == "b" && run.x()[0] < 1) run.batch.outputs[0].dtype = static_cast<std::int32_t>(DType::i32);
    return done();
  });
  MembersFolder const folder({"a", "b"}, R"("min_members": 1,
      "inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
      "model_outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]}],
      "outputs": [{"name": "mean", "dtype": "f32", "shape": ["items", 2], "from": "mean:y"}],
      "self_test": [{"inputs": {"x": [[1, 2]]}, "outputs": {"mean": [[2, 3]]}}],)");
  auto const model = rig.engine.load(folder.path());
  REQUIRE_MESSAGE(model, model.error().message);
  CHECK_MESSAGE(rig.log.find(nothing_seen) != std::string::npos, rig.log);
}

// mutant: made-up positions reach a device that they may end
TEST_CASE("a device other than the CPU is given no position but 0") {
  std::int64_t largest = 0;
  Rig rig([&](Run const& run) {
    auto const* const x = static_cast<std::int64_t const*>(run.batch.inputs[0].data);
    largest = std::max(largest, *std::max_element(x, x + run.batch.items));
    return keep_rows(run);
  });
  ModelFolder const folder(R"("device": "cuda",)", "typed", "1.0.0", column("i64"));
  REQUIRE(rig.engine.load(folder.path()));
  CHECK(largest == 0);
  CHECK_MESSAGE(rig.log.find(nothing_seen) != std::string::npos, rig.log);
}

// mutant: a model of one item per request is tried with one made-up item
TEST_CASE("two made-up items are tried together where a request holds one") {
  // y is the sum of all numbers of the batch, not of those of each item.
  auto const sum_all = [](Run const& run) {
    float sum = 0;
    for (std::size_t i = 0; i < run.count(); ++i) sum += run.x()[i];
    run.memory.assign(static_cast<std::size_t>(run.batch.items), sum / static_cast<float>(run.batch.items));
    auto& y = run.batch.outputs[0];
    y = run.batch.inputs[0];
    y.data = run.memory.data();
    y.shape[0] = run.batch.items;
    y.size_bytes = run.memory.size() * sizeof(float);
    return done();
  };
  Rig rig(sum_all);
  auto const error = rig.refusal(ModelFolder("", "ragged", "1.0.0",
                                             R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["atoms"]}],
      "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["atoms"]},
                       {"name": "of", "dtype": "i64", "shape": ["atoms"], "make": "segment"}],
      "model_outputs": [{"name": "y", "dtype": "f32", "shape": ["items"]}],
      "outputs": [{"name": "y", "dtype": "f32", "shape": ["items"]}],)"));
  CHECK_MESSAGE(error.message.find("dry run of 2 items") != std::string::npos, error.message);
}
