// An ensemble some of whose members fail: five members, each
// y = x + the number in its file, 1 to 5 unless a test says more.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <athanor/core/hash.hpp>
#include <athanor/serving/engine.hpp>
#include <support/folder.hpp>

using namespace athanor;

namespace {

// The files in `failing` fail whenever they run.
struct MemberBackend {
  static constexpr char const* name = "members";
  static constexpr RunsOn runs_on = RunsOn::any_thread;
  std::set<std::string> failing{};

  struct Instance {
    bool fails;
    float number;
    std::vector<float> memory{};
    Result<void> run(ath_batch& batch) {
      if (fails) return fail(Code::internal, Reason::backend_failure, "this member is broken");
      auto const* x = static_cast<float const*>(batch.inputs[0].data);
      memory.assign(x, x + batch.items);
      for (auto& value : memory) value += number;
      batch.outputs[0] = batch.inputs[0];
      batch.outputs[0].data = memory.data();
      return {};
    }
  };
  struct Model {
    using Instance = MemberBackend::Instance;
    bool fails;
    float number;
    std::uint64_t footprint() const { return 1; }
    Result<std::unique_ptr<Instance>> make_instance() {
      return std::make_unique<Instance>(Instance{fails, number});
    }
  };
  Result<std::unique_ptr<Model>> load(ModelSource const& source) {
    std::filesystem::path const path(source.path);
    std::string number;
    std::ifstream(path) >> number;
    return std::make_unique<Model>(Model{failing.contains(path.filename().string()), std::stof(number)});
  }
};

constexpr char const* mean_and_deviation =
    R"({"name": "mean", "dtype": "f32", "shape": ["items"], "from": "mean:y"},
       {"name": "deviation", "dtype": "f32", "shape": ["items"], "from": "std:y"})";

// A folder with five members.
struct EnsembleFolder : athanor_tests::Folder {
  explicit EnsembleFolder(std::string const& extra, std::string const& outputs = mean_and_deviation,
                          std::array<char const*, 5> const& numbers = {"1", "2", "3", "4", "5"}) {
    std::string members;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      std::string const file = "fold" + std::to_string(i);
      write(file, numbers[i]);
      members += (i == 0 ? "" : ", ") + std::string(R"({"file": ")") + file + R"(", "digest": "xxh128:)" +
                 to_hex(*hash_file(path() + "/" + file)) + R"("})";
    }
    std::ofstream(*this / "athanor.json")
        << R"({"athanor": 1, "name": "five", "version": "1.0.0", "backend": "members", "format": "any",
              "inputs": [{"name": "x", "dtype": "f32", "shape": ["items"]}],
              "model_outputs": [{"name": "y", "dtype": "f32", "shape": ["items"]}],
              "outputs": [)"
        << outputs << "]," << extra << R"("members": [)" << members << "]}";
  }
};

Result<Answer> ask(MemberBackend& backend, EnsembleFolder const& folder) {
  static_assert(Backend<MemberBackend>);
  ath_backend_table const table = make_table(backend);
  auto engine = Engine<>::create({.backends = {&table}}).value();
  auto model = engine.load(folder.path());
  if (!model) return tl::unexpected(model.error());
  float const ten[1] = {10};
  return model->infer(Request{{"x", Tensor::view<float>(ten, Shape{1})}});
}

Result<Answer> ask(MemberBackend& backend, std::string const& extra) {
  return ask(backend, EnsembleFolder(extra));
}

// The median of y over the members that do not fail, where x is 10.
Result<Answer> ask_median(std::array<char const*, 5> const& numbers,
                          std::set<std::string> const& failing = {}, std::string const& non_finite = "") {
  MemberBackend backend{failing};
  return ask(backend,
             EnsembleFolder(R"("min_members": 2,)",
                            R"({"name": "median", "dtype": "f32", "shape": ["items"], "from": "median:y")" +
                                non_finite + "}",
                            numbers));
}

float value(Answer const& answer, std::string_view name) { return answer.outputs[name].as<float>()[0]; }

}  // namespace

// mutant: the deviation divides by the members that answered, less one
TEST_CASE("five members give their mean and their population standard deviation") {
  MemberBackend backend;
  auto const answer = ask(backend, "");
  REQUIRE(answer);
  CHECK(value(*answer, "mean") == doctest::Approx(13));
  CHECK(value(*answer, "deviation") == doctest::Approx(std::sqrt(2.0)));
  CHECK(answer->report.members == 5);
}

// mutant: the deviation divides by the members that answered, less one
TEST_CASE("means and deviations are those that a loop over the members gives, to the last bit") {
  MemberBackend backend{{"fold1"}};
  ath_backend_table const table = make_table(backend);
  EnsembleFolder const folder(R"("min_members": 4, "cache": false,)");
  auto engine = Engine<>::create({.backends = {&table}}).value();
  auto const model = engine.load(folder.path()).value();
  std::vector<float> x;
  for (int i = 0; i < 100; ++i)
    x.push_back(static_cast<float>(std::sin(i)) * 1e3F / static_cast<float>(i + 1));
  auto const answer = model.infer(Request{{"x", Tensor::view(std::span(std::as_const(x)), Shape{100})}});
  REQUIRE_MESSAGE(answer, answer.error().message);
  for (std::size_t i = 0; i < x.size(); ++i) {
    double sum = 0;
    for (float const number : {1.0F, 3.0F, 4.0F, 5.0F}) sum += static_cast<double>(x[i] + number);
    double const mean = sum / 4;
    double squares = 0;
    for (float const number : {1.0F, 3.0F, 4.0F, 5.0F}) {
      double const off = static_cast<double>(x[i] + number) - mean;
      squares += off * off;
    }
    CHECK(answer->outputs["mean"].as<float>()[i] == static_cast<float>(mean));
    CHECK(answer->outputs["deviation"].as<float>()[i] == static_cast<float>(std::sqrt(squares / 4)));
  }
}

// mutant: the middle of the members is taken as they stand
// mutant: the median of an even number of members is the higher of the two in the middle
TEST_CASE(
    "the median is that of the members that answered, and lies between the middle two of an even number") {
  std::array<char const*, 5> const numbers = {"7", "1", "100", "2", "3"};
  auto const odd = ask_median(numbers);
  REQUIRE_MESSAGE(odd, odd.error().message);
  CHECK(value(*odd, "median") == 13);
  auto const even = ask_median(numbers, {"fold1"});
  REQUIRE_MESSAGE(even, even.error().message);
  CHECK(value(*even, "median") == 15);
  CHECK(even->report.members == 4);
  auto const two = ask_median(numbers, {"fold1", "fold3", "fold4"});
  REQUIRE_MESSAGE(two, two.error().message);
  CHECK(value(*two, "median") == 63.5F);
}

// mutant: the median passes over members that are not a number
TEST_CASE("a member that is not a number makes the median none, and one that is infinite does not") {
  std::array<char const*, 5> const undefined = {"7", "1", "nan", "90", "2"};
  auto const refused = ask_median(undefined);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().reason == Reason::non_finite);
  auto const allowed = ask_median(undefined, {}, R"(, "non_finite": "allow")");
  REQUIRE_MESSAGE(allowed, allowed.error().message);
  CHECK(std::isnan(value(*allowed, "median")));
  auto const without = ask_median(undefined, {"fold2"});
  REQUIRE_MESSAGE(without, without.error().message);
  CHECK(value(*without, "median") == 14.5F);
  auto const infinite = ask_median({"7", "1", "inf", "2", "-inf"});
  REQUIRE_MESSAGE(infinite, infinite.error().message);
  CHECK(value(*infinite, "median") == 12);
}

// mutant: one member that answers is enough
TEST_CASE("one failed member of five fails the answer, and the error names its file") {
  MemberBackend backend{{"fold3"}};
  auto const answer = ask(backend, "");
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Code::internal);
  CHECK(answer.error().reason == Reason::member_failed);
  CHECK(answer.error().message.find("fold3") != std::string::npos);
}

// mutant: the mean divides by all members
TEST_CASE("with min_members the others answer, over themselves alone, and the report counts them") {
  MemberBackend backend{{"fold0", "fold4"}};
  auto const answer = ask(backend, R"("min_members": 3,)");
  REQUIRE(answer);
  CHECK(value(*answer, "mean") == doctest::Approx(13));
  CHECK(value(*answer, "deviation") == doctest::Approx(std::sqrt(2.0 / 3.0)));
  CHECK(answer->report.members == 3);
}

// mutant: degraded answers are stored
// mutant: degraded answers are not counted
TEST_CASE("an answer of fewer than all members is counted and not stored") {
  MemberBackend backend{{"fold0"}};
  ath_backend_table const table = make_table(backend);
  EnsembleFolder const folder(R"("min_members": 3,)");
  auto engine = Engine<>::create({.backends = {&table}}).value();
  auto const model = engine.load(folder.path()).value();
  float const ten[1] = {10};
  Request const request{{"x", Tensor::view<float>(ten, Shape{1})}};
  for (int i = 0; i < 2; ++i) {
    auto const answer = model.infer(request);
    REQUIRE(answer);
    CHECK(answer->report.members == 4);
    CHECK(answer->report.cache == CacheState::miss);
  }
  CHECK(model.statistics()->degraded == 2);
  CHECK(engine.metrics_text().find("athanor_degraded_total{model=\"five\",version=\"1.0.0\"} 2\n") !=
        std::string::npos);
}

// mutant: an ensemble gives up with as many members as it needs
TEST_CASE("fewer members than min_members are an error") {
  MemberBackend backend{{"fold0", "fold2", "fold4"}};
  auto const answer = ask(backend, R"("min_members": 3,)");
  REQUIRE_FALSE(answer);
  CHECK(answer.error().reason == Reason::member_failed);
  CHECK(answer.error().message.find("fold0") != std::string::npos);
}
