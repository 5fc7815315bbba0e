// Calls that the engine steps, where a processor makes what each step gives its caller.
#include <doctest/doctest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <serving/counting_rig.hpp>

using namespace athanor;
using namespace athanor_tests;
using namespace std::chrono_literals;

namespace {

// Answers ten times y, with what preprocess kept.
struct TenTimes {
  static constexpr char const* name = "ten-times";
  struct Opened {
    TenTimes& processor;
    static constexpr Port outputs_[] = {{"z", DType::f32}};
    static constexpr Port made_[] = {{"x", DType::f32}};
    std::span<Port const> made() const { return made_; }
    std::span<Port const> outputs() const { return outputs_; }
    Result<Preprocessed> preprocess(Item const& item) const {
      Preprocessed made;
      made.tensors.push_back(Tensor::view<float>(item.input(0).as<float>(), Shape{1, 2}).clone().value());
      made.kept = std::make_shared<float>(10.0F);
      return made;
    }
    Result<std::vector<Tensor>> postprocess(Item const& item, void const* kept,
                                            std::span<Tensor const> rows) const {
      processor.on_postprocess();
      if (item.input(0).as<float>().data() == processor.lent) ++processor.lent_reads;
      if (kept == nullptr) return fail(Code::internal, Reason::none, "what was kept is gone");
      float const step = rows[0].as<float>()[0];
      if (processor.fails_at == static_cast<int>(step))
        return fail(Code::internal, Reason::backend_failure, "no answer");
      float const ten = *static_cast<float const*>(kept) * step;
      std::vector<Tensor> made;
      made.push_back(Tensor::view<float>(std::span(&ten, 1), Shape{1}).clone().value());
      return made;
    }
  };
  std::function<void()> on_postprocess = [] {};
  int fails_at = 0;
  float const* lent = nullptr;  // where a request has its x
  std::atomic<int> lent_reads{0};
  Result<std::unique_ptr<Opened>> open(std::string_view, std::string_view) {
    return std::unique_ptr<Opened>(new Opened{*this});
  }
};

std::string processed_tensors(bool held = false) {
  std::string text =
      counting_tensors(held, until_done, R"("processor": {"name": "ten-times", "rows": ["model:y"]},)");
  std::string const plain = R"("outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]}])";
  auto const at = text.find(plain);
  return text.replace(
      at, plain.size(),
      R"("outputs": [{"name": "z", "dtype": "f32", "shape": ["items"], "from": "processor:z"}])");
}

// On threads of the system.
struct Processed {
  TenTimes processor{};
  ath_processor_table processor_table = make_table(processor);
  CountingBackend backend{};
  ath_backend_table backend_table = make_table(backend);
  ModelFolder folder{"", "counting", "1.0.0", processed_tensors()};
  Engine<> engine =
      Engine<>::create({.backends = {&backend_table}, .processors = {&processor_table}}).value();
  Model<> model = engine.load(folder.path()).value();
};

}  // namespace

// mutant: a part is what the model gave, not what the processor makes of it
// mutant: what preprocess kept goes before the parts that wait for it
TEST_CASE("every part is postprocessed, and a failure there ends the stream") {
  Processed processed;
  auto& processor = processed.processor;
  auto stream = processed.model.stream(row(6, 1)).value();
  std::vector<float> parts;
  for (Outputs const& part : stream) parts.push_back(part["z"].as<float>()[0]);
  CHECK(parts == std::vector<float>{10, 20, 30, 40, 50, 60});
  CHECK(stream.outcome());
  processor.fails_at = 3;
  auto failing = processed.model.stream(row(6, 1)).value();
  CHECK(failing.next());
  CHECK(failing.next());
  CHECK_FALSE(failing.next());
  CHECK(failing.outcome().error().message.find("no answer") != std::string::npos);
  processor.fails_at = 0;
  auto unread = processed.model.stream(row(3, 1)).value();
  CHECK(processed.engine.stop(10s) == 0);
  parts.clear();
  for (Outputs const& part : unread) parts.push_back(part["z"].as<float>()[0]);
  CHECK(parts == std::vector<float>{10, 20, 30});
}

// mutant: what a request lends is copied for each part of its stream
TEST_CASE("a part is made of what the request lends where that lies, as its reader does not go meanwhile") {
  Processed processed;
  float const memory[2] = {4, 1};
  processed.processor.lent = memory;
  auto stream = processed.model.stream({{"x", Tensor::view<float>(memory, Shape{1, 2})}}).value();
  for (float expected = 10; Outputs const& part : stream) {
    CHECK(part["z"].as<float>()[0] == expected);
    expected += 10;
  }
  CHECK(processed.processor.lent_reads == 3);  // the last part is made on a worker
}

// mutant: a caller that is late is told that the state is lost
TEST_CASE("a caller whose answer is late is told so, although the state is lost with it") {
  struct Told {
    std::optional<Code> code;
    void on_answer(Result<Answer> answer) noexcept { code = answer ? Code::ok : answer.error().code; }
  };
  TenTimes processor;
  auto const processor_table = make_table(processor);
  Counting counting(processed_tensors(true), "", {.processors = {&processor_table}});
  auto const ask = [&](CallOptions const& options) {
    Told told;
    REQUIRE(counting.model->submit(row(1, 1), options, callback<&Told::on_answer>(&told)));
    counting.world.run_until_idle();
    REQUIRE(told.code);
    return *told.code;
  };
  CHECK(ask({}) == Code::ok);
  processor.fails_at = 1;
  CHECK(ask({}) == Code::aborted);
  processor.on_postprocess = [&] { counting.world.advance(10ms); };
  CHECK(ask({.deadline = 5ms}) == Code::deadline_exceeded);
}
