#include <athanor/torch/backend.hpp>

#include <array>
#include <cmath>
#include <fstream>
#include <latch>
#include <thread>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "modules.hpp"

using namespace athanor;
using namespace athanor::tests;

namespace {

std::vector<float> ramp(std::int64_t count, float step = 0.25F) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = step * static_cast<float>(i % 17) - 1.0F;
  return values;
}

// [b, 10] -> [b, 1]
constexpr char const* perceptron = R"(
def forward(self, x: Tensor) -> Tensor:
  h = torch.relu(torch.matmul(x, self.w1) + self.b1)
  return torch.matmul(h, self.w2) + self.b2
)";
std::vector<Parameter> const perceptron_parameters{
    {"w1", {10, 16}}, {"b1", {16}}, {"w2", {16, 1}}, {"b2", {1}}};
constexpr std::uint64_t perceptron_bytes = (10 * 16 + 16 + 16 + 1) * sizeof(float);

}  // namespace

static_assert(Backend<athanor::libtorch::TorchBackend>);

// mutant: the shape of an input is passed the other way round
TEST_CASE("a perceptron answers what its weights say, row by row and in a batch") {
  Folder const folder;
  auto const model = load(folder, perceptron, {}, perceptron_parameters);
  Instance instance(model);
  auto const values = ramp(70);
  auto const together = instance.run({floats(values, {7, 10})});
  REQUIRE(together);
  REQUIRE((*together)[0].shape() == Shape{7, 1});
  auto const answers =
      std::vector<float>((*together)[0].as<float>().begin(), (*together)[0].as<float>().end());
  for (std::size_t row = 0; row < 7; ++row) {
    CHECK(answers[row] == doctest::Approx(perceptron_by_hand(&values[row * 10])).epsilon(1e-5));
    auto const alone = instance.run({Tensor::view(DType::f32, &values[row * 10], {1, 10})});
    REQUIRE(alone);
    CHECK((*alone)[0].as<float>()[0] == doctest::Approx(answers[row]).epsilon(1e-6));
  }
}

// mutant: the constants of a graph are not counted
TEST_CASE("the footprint is the bytes of the weights, also of a module that was frozen before it was saved") {
  Folder const folder;
  CHECK(load(folder, perceptron, {}, perceptron_parameters).footprint() == perceptron_bytes);
  Description description;
  description.path = (folder / "frozen.pt").string();
  write_script(description.path, perceptron, perceptron_parameters, /*frozen=*/true);
  auto const frozen = Model::load(table(), description);
  REQUIRE(frozen);
  CHECK(frozen->footprint() == perceptron_bytes);
}

// mutant: the outputs of a tuple are taken the other way round
TEST_CASE("outputs of a tuple or of a list keep their order, and every element type comes through") {
  Folder const folder;
  Description description;
  description.inputs = {DType::i64, DType::f64};
  description.outputs = {DType::f64, DType::boolean, DType::i64};
  auto const model = load(folder, R"(
def forward(self, a: Tensor, b: Tensor):
  return b * 2, a > 1, a + 1
)",
                          description);
  std::vector<std::int64_t> const a{1, 2};
  std::vector<double> const b{0.5, 1.5};
  Instance instance(model);
  auto const outputs = instance.run({Tensor::view(std::span(a), {2}), Tensor::view(std::span(b), {2})});
  REQUIRE_MESSAGE(outputs, outputs.error().message);
  CHECK((*outputs)[0].as<double>()[1] == 3.0);
  CHECK((*outputs)[1].as<bool>()[0] == false);
  CHECK((*outputs)[1].as<bool>()[1] == true);
  CHECK((*outputs)[2].as<std::int64_t>()[1] == 3);

  for (auto const dtype : {DType::u16, DType::u32, DType::u64}) {
    Description unsigned_integers;
    unsigned_integers.inputs = {dtype};
    unsigned_integers.outputs = {dtype};
    auto const same =
        load(folder, "def forward(self, x: Tensor) -> Tensor:\n  return x\n", unsigned_integers);
    std::vector<std::uint64_t> const largest{~std::uint64_t{0}};
    Instance of_same(same);
    auto const returned = of_same.run({Tensor::view(dtype, largest.data(), {1})});
    REQUIRE_MESSAGE(returned, returned.error().message);
    CHECK(std::memcmp((*returned)[0].data(), largest.data(), element_size(dtype)) == 0);
  }

  Description two;
  two.outputs = {DType::f32, DType::f32};
  auto const list = load(folder, "def forward(self, x: Tensor):\n  return [x * 2, x * 3]\n", two);
  std::vector<float> const x{1, 2};
  Instance of_list(list);
  auto const both = of_list.run({floats(x, {2})});
  REQUIRE_MESSAGE(both, both.error().message);
  CHECK((*both)[1].as<float>()[1] == 6.0F);
}

// mutant: an output stays as forward has laid it out
TEST_CASE("a transposed output is laid out row by row") {
  Folder const folder;
  auto const model = load(folder, "def forward(self, x: Tensor) -> Tensor:\n  return (x + 0).t()\n");
  std::vector<float> const x{1, 2, 3, 4, 5, 6};
  Instance instance(model);
  auto const outputs = instance.run({floats(x, {2, 3})});
  REQUIRE(outputs);
  CHECK((*outputs)[0].shape() == Shape{3, 2});
  CHECK((*outputs)[0].as<float>()[1] == 4.0F);
}

// mutant: an output that is an input is not copied
TEST_CASE("a model that returns its input returns a copy: the outputs do not die with the inputs") {
  Folder const folder;
  auto const model = load(folder, "def forward(self, x: Tensor) -> Tensor:\n  return x[1:]\n");
  auto values = ramp(4);
  Instance instance(model);
  auto const outputs = instance.run({floats(values, {4})});
  REQUIRE(outputs);
  auto const expected = values[2];
  values.assign(4, 99.0F);
  CHECK((*outputs)[0].as<float>()[1] == expected);
}

// mutant: a model that writes to its input is given the caller's bytes
TEST_CASE("a model that writes to its input leaves the caller's bytes alone") {
  Folder const folder;
  auto const model =
      load(folder, "def forward(self, x: Tensor) -> Tensor:\n  x[:, 0] += 1\n  return x * 2\n");
  std::vector<float> const values{1, 2, 3, 4};
  Instance instance(model);
  auto const outputs = instance.run({floats(values, {2, 2})});
  REQUIRE(outputs);
  CHECK((*outputs)[0].as<float>()[0] == 4.0F);
  CHECK(values == std::vector<float>{1, 2, 3, 4});
}

// mutant: a thread keeps the model's intra-op thread count
TEST_CASE("the caller's thread keeps its own intra-op thread count") {
  Folder const folder;
  auto const model = load(folder, add_one);
  std::vector<float> const x{1};
  Instance instance(model);
  int const before = intra_op_threads();
  set_intra_op_threads(3);
  CHECK(instance.run({floats(x, {1})}));
  CHECK(intra_op_threads() == 3);
  set_intra_op_threads(before);
}

// mutant: all instances share one state
TEST_CASE("S1-4 two instances of one model run at the same time and answer right") {
  Folder const folder;
  auto const model = load(folder, perceptron, {}, perceptron_parameters);
  std::latch ready(2);
  auto const work = [&](std::int64_t rows, float step, bool& right) {
    Instance instance(model);
    auto const values = ramp(rows * 10, step);
    right = true;
    ready.arrive_and_wait();
    for (int repeat = 0; repeat < 2000; ++repeat) {
      auto const outputs = instance.run({floats(values, {rows, 10})});
      right &= outputs.has_value();
      if (!outputs) continue;
      for (std::int64_t row = 0; row < rows; ++row)
        right &= std::abs((*outputs)[0].as<float>()[static_cast<std::size_t>(row)] -
                          perceptron_by_hand(&values[static_cast<std::size_t>(row) * 10])) < 1e-3;
    }
  };
  bool first = false;
  bool second = false;
  {
    std::jthread const a(work, 3, 0.25F, std::ref(first));
    std::jthread const b(work, 5, 0.5F, std::ref(second));
  }
  CHECK(first);
  CHECK(second);
}

// mutant: an output is said to have as many rows as the first input
TEST_CASE(
    "S3-4 S1-10 a model that returns fewer rows is passed on as it answered, for the engine to refuse") {
  Folder const folder;
  auto const model = load(folder, "def forward(self, x: Tensor) -> Tensor:\n  return x[1:] * 2\n");
  std::vector<float> const values{1, 2, 3, 4};
  Instance instance(model);
  auto const outputs = instance.run({floats(values, {4, 1})});
  REQUIRE(outputs);
  CHECK((*outputs)[0].shape() == Shape{3, 1});
}

// mutant: the outputs that forward returns are not counted
TEST_CASE("another number of outputs than the manifest's is an error with both numbers") {
  Folder const folder;
  Description description;
  description.outputs = {DType::f32, DType::f32, DType::f32};
  auto const model = load(folder, "def forward(self, x: Tensor):\n  return [x, x + 1]\n", description);
  std::vector<float> const x{1};
  auto const error = run_error(model, {floats(x, {1})});
  CHECK(error.reason == Reason::backend_contract);
  CHECK(contains(error.message, "expected 3 outputs from forward, got 2"));
}

// mutant: the outputs that forward declares are not counted
TEST_CASE("another number of outputs than the manifest's is refused at load where forward declares it") {
  Folder const folder;
  Description description;
  description.path = (folder / "model.pt").string();
  description.outputs = {DType::f32, DType::f32, DType::f32};
  write_script(description.path, "def forward(self, x: Tensor):\n  return x, x + 1\n");
  auto error = load_error(description);
  CHECK(error.reason == Reason::model_load);
  CHECK(contains(error.message, "expected as many outputs as forward returns, 2; the manifest has 3"));
  write_script(description.path, add_one);
  CHECK(contains(load_error(description).message, "forward returns, 1; the manifest has 3"));
}

// mutant: the element type of an output is not compared
TEST_CASE(
    "an output of another element type, with too many axes, or that is no tensor is a backend_contract "
    "error") {
  Folder const folder;
  std::vector<float> const x{1, 2};
  auto const refused = [&](char const* expression) {
    auto const error =
        run_error(load(folder, std::string("def forward(self, x: Tensor):\n  return ") + expression + "\n"),
                  {floats(x, {2})});
    CHECK(error.code == Code::internal);
    CHECK(error.reason == Reason::backend_contract);
    return error.message;
  };
  CHECK(contains(refused("x.to(7)"), "output 'out0': expected f32, got Double"));
  CHECK(contains(refused("x.to_sparse()"),
                 "output 'out0': expected a dense f32 tensor, got one laid out as Sparse"));
  CHECK(contains(refused("x.view([2, 1, 1, 1, 1, 1, 1, 1, 1])"), "expected a rank of 0 to 8, got 9"));
  CHECK(contains(refused("3"), "got Int"));
  CHECK(contains(refused("(3,)"), "got a tuple with Int in it"));
  CHECK(contains(refused("{'out0': 3}"), "got a dict with Int in it"));
}

// mutant: an attribute that forward sets is not seen
// mutant: an attribute that forward writes to is not seen
TEST_CASE("a model that keeps state between calls is refused at load, by the name of what it changes") {
  Folder const folder;
  Description description;
  description.path = (folder / "model.pt").string();
  std::vector<Parameter> const parameters{{"seen", {1}}};
  for (auto const* body :
       {"self.seen.add_(1)", "self.seen = self.seen + 1", "self.seen[0] = 7.0",
        "if bool(x.sum() > 0):\n    self.seen.zero_()", "y = self.seen.view(-1)\n  y.mul_(2)"}) {
    CAPTURE(body);
    write_script(
        description.path,
        std::string("def forward(self, x: Tensor) -> Tensor:\n  ") + body + "\n  return x + self.seen\n",
        parameters);
    auto const error = load_error(description);
    CHECK(error.reason == Reason::model_load);
    CHECK_MESSAGE(
        contains(error.message, "forward changes its attribute 'seen', which all callers would share"),
        error.message);
  }
  // Training alone changes what a normalisation remembers, and a copy belongs to the call.
  for (auto const* body :
       {"if self.training:\n    self.seen.add_(1)", "y = self.seen.clone()\n  y.add_(1)"}) {
    CAPTURE(body);
    write_script(
        description.path,
        std::string("def forward(self, x: Tensor) -> Tensor:\n  ") + body + "\n  return x + self.seen\n",
        parameters);
    auto const model = Model::load(table(), description);
    CHECK_MESSAGE(model, model.error().message);
  }
}

// mutant: a model may draw random numbers
// mutant: what a layer draws while it trains is drawn always
// mutant: a dropout of nothing is taken for a random one
TEST_CASE("a model that draws random numbers is refused at load, and one that could is not") {
  Folder const folder;
  Description description;
  description.path = (folder / "model.pt").string();
  std::string const forward = "def forward(self, x: Tensor) -> Tensor:\n  ";
  for (auto const* body : {"return x + torch.rand_like(x)", "return torch.dropout(x, 0.5, True)",
                           "if bool(x.sum() > 1000):\n    x = torch.bernoulli(x)\n  return x",
                           "return torch.scaled_dot_product_attention(x, x, x, None, 0.5)"}) {
    CAPTURE(body);
    write_script(description.path, forward + body + "\n");
    auto const error = load_error(description);
    CHECK(error.reason == Reason::model_load);
    CHECK_MESSAGE(contains(error.message, "forward draws random numbers (aten::"), error.message);
  }
  for (auto const* body :
       {"return torch.dropout(x, 0.5, self.training)", "return torch.rrelu(x, 0.1, 0.3, self.training)",
        "return torch.scaled_dot_product_attention(x, x, x, None, 0.0)"}) {
    CAPTURE(body);
    write_script(description.path, forward + body + "\n");
    auto const model = Model::load(table(), description);
    CHECK_MESSAGE(model, model.error().message);
  }
}

// mutant: an output that is a negated view is read as it lies
TEST_CASE("an output that is a view of negated numbers holds these") {
  Folder const folder;
  auto const model =
      load(folder, "def forward(self, x: Tensor) -> Tensor:\n  return torch._neg_view(x + 1)\n");
  std::vector<float> const x{1, -3};
  Instance instance(model);
  auto const outputs = instance.run({floats(x, {2})});
  REQUIRE_MESSAGE(outputs, outputs.error().message);
  CHECK((*outputs)[0].as<float>()[0] == -2.0F);
  CHECK((*outputs)[0].as<float>()[1] == 2.0F);
}

// mutant: the element type of an input is not compared
TEST_CASE("inputs that are not what the manifest declares are refused before the model sees them") {
  Folder const folder;
  auto const model = load(folder, add_one);
  std::vector<double> const wide{1};
  auto error = run_error(model, {Tensor::view(std::span(wide), {1})});
  CHECK(error.code == Code::invalid_argument);
  CHECK(error.reason == Reason::dtype);
  CHECK(contains(error.message, "input 'in0': expected f32, got f64"));
  error = run_error(model, {});
  CHECK(error.reason == Reason::backend_contract);
}

// mutant: the whole report of the interpreter is told
TEST_CASE("a failing forward is a backend_failure with the model's own words, and the instance goes on") {
  Folder const folder;
  auto const model = load(folder, R"(
def forward(self, x: Tensor) -> Tensor:
  assert x.size(0) <= 2, "too many rows for this model"
  return torch.matmul(x, torch.ones([3, 1], device=x.device))
)");
  auto const values = ramp(12);
  Instance instance(model);
  auto const raised = instance.run({floats(values, {4, 3})});
  REQUIRE(!raised);
  CHECK(raised.error().code == Code::internal);
  CHECK(raised.error().reason == Reason::backend_failure);
  CHECK(contains(raised.error().message, "too many rows for this model"));
  CHECK(!contains(raised.error().message, "Traceback"));
  auto const mismatched = instance.run({floats(values, {2, 6})});
  REQUIRE(!mismatched);
  CHECK(mismatched.error().reason == Reason::backend_failure);
  CHECK(contains(mismatched.error().message, "shapes cannot be multiplied"));
  CHECK(!contains(mismatched.error().message, "Traceback"));
  CHECK(instance.run({floats(values, {1, 3})}));
}

// mutant: a full memory is a failure like any other
TEST_CASE("a batch that no memory is left for is resource_exhausted and out_of_memory") {
  Folder const folder;
  auto const model = load(folder, R"(
def forward(self, x: Tensor) -> Tensor:
  return torch.zeros([1 << 55], device=x.device) + x
)");
  std::vector<float> const x{1};
  auto const error = run_error(model, {floats(x, {1})});
  CHECK(error.code == Code::resource_exhausted);
  CHECK(error.reason == Reason::out_of_memory);
}

// mutant: what a model raises is taken for a lack of memory by its words
TEST_CASE("an exception that a model raises is the model's failure, whatever it says") {
  Folder const folder;
  auto const model = load(folder, R"(
def forward(self, x: Tensor) -> Tensor:
  if x.size(0) == 1:
    raise AssertionError("the buffer of peptides is out of memory")
  raise AssertionError("CUDA error: none of ours")
)");
  for (std::int64_t const rows : {1, 2}) {
    std::vector<float> const x(static_cast<std::size_t>(rows));
    auto const error = run_error(model, {floats(x, {rows})});
    CHECK(error.code == Code::internal);
    CHECK(error.reason == Reason::backend_failure);
    CHECK(contains(error.message, rows == 1 ? "the buffer of peptides is out of memory" : "none of ours"));
  }
}

// mutant: nobody looks whether a model file is there
TEST_CASE("a model file that is missing or not a file is an error that names it") {
  Folder const folder;
  Description description;
  description.path = (folder / "absent.pt").string();
  auto const missing = load_error(description);
  CHECK(missing.code == Code::not_found);
  CHECK(missing.reason == Reason::file);
  CHECK(contains(missing.message, description.path));
  description.path = (folder / ".").string();
  CHECK(load_error(description).reason == Reason::file);
}

// mutant: what LibTorch throws leaves the loading of a model
TEST_CASE("a model file that is junk, cut off or empty is a model_load error of one short line") {
  Folder const folder;
  Description description;
  description.path = (folder / "model.pt").string();
  write_script(description.path, perceptron, perceptron_parameters);
  auto const whole = std::filesystem::file_size(description.path);
  for (auto const size : {whole - 100, whole / 2, std::uintmax_t{0}}) {
    std::filesystem::resize_file(description.path, size);
    auto const error = load_error(description);
    CHECK(error.code == Code::failed_precondition);
    CHECK(error.reason == Reason::model_load);
    CHECK(contains(error.message, description.path));
    CHECK(error.message.size() < 500);
    CHECK(!contains(error.message, "\n"));
    CHECK(!contains(error.message, "Exception raised from"));
  }
  std::ofstream(description.path) << std::string(5000, 'x');
  CHECK(load_error(description).reason == Reason::model_load);
  description.format = "pt2";
  CHECK(load_error(description).reason == Reason::model_load);
}

// mutant: a file of another kind is not named for what it is
TEST_CASE("a file of another kind than the manifest says is named for what it is") {
  Folder const folder;
  Description description;
  description.path = (folder / "model.pt").string();
  auto const refusal = [&](char const* format) {
    description.format = format;
    auto const error = load_error(description);
    CHECK(error.code == Code::failed_precondition);
    CHECK(error.reason == Reason::model_load);
    return error.message;
  };
  auto const pickle = "got a file of torch.save (a state_dict or a pickled module), which holds no program";
  write_archive(description.path, {"data.pkl", "data/0", "byteorder"});
  CHECK(contains(refusal("torchscript"), std::string("expected a module of torch.jit.save, ") + pickle));
  CHECK(contains(refusal("pt2"), std::string("aoti_compile_and_package, ") + pickle));
  std::ofstream(description.path, std::ios::binary) << "\x80\x02\x8a\nl\xfc";
  CHECK(contains(refusal("torchscript"), pickle));
  write_archive(description.path, {"models/model.json", "data/weights/weight_0"});
  CHECK(contains(refusal("pt2"), "got a program of torch.export.save, which is not compiled"));
  write_archive(description.path, {"data/aotinductor/model/a.wrapper.so"});
  CHECK(contains(refusal("torchscript"), "got a package of torch._inductor.aoti_compile_and_package"));
  write_script(description.path, add_one);
  CHECK(contains(refusal("pt2"), "got a module of torch.jit.save"));
}

// mutant: the method of a format is read and forgotten
TEST_CASE("a manifest chooses the method of a module that has several") {
  Folder const folder;
  std::string const source =
      "def encode(self, x: Tensor) -> Tensor:\n  return x * self.w\n"
      "def decode(self, y: Tensor) -> Tensor:\n  return y - 1\n";
  std::vector<float> const x{8};
  auto const answer = [&](char const* format, std::string const& text) {
    Description description;
    description.format = format;
    auto const model = load(folder, text, description, {{"w", {1}}});
    CHECK(model.footprint() == (description.format.ends_with("encode") ? sizeof(float) : 0));
    Instance instance(model);
    auto const outputs = instance.run({floats(x, {1})});
    REQUIRE_MESSAGE(outputs, outputs.error().message);
    return (*outputs)[0].as<float>()[0];
  };
  CHECK(answer("torchscript?method=encode", source) == 8 * parameter_value(0));
  CHECK(answer("torchscript?method=decode", source) == 7);
  CHECK(answer("torchscript?method=decode", source + add_one) == 7);
  CHECK(answer("torchscript", source + add_one) == 9);
  Description description;
  description.path = (folder / "model.pt").string();
  description.format = "torchscript?method=embed";
  CHECK(contains(load_error(description).message, "expected a method embed, got (encode, decode, forward)"));
  for (auto const* format :
       {"pt2?method=encode", "pt2?autograd=true", "torchscript?method=", "torchscript?speed=high"}) {
    description.format = format;
    auto const error = load_error(description);
    CHECK(error.reason == Reason::manifest);
    CHECK(contains(error.message, std::string("got '") + format + "'"));
  }
}

// mutant: forward runs in inference mode whatever the format says
TEST_CASE("gradients inside forward are computed when the manifest says so, and refused by name when not") {
  Folder const folder;
  Description description;
  description.path = (folder / "model.pt").string();
  write_script(description.path, R"(
def forward(self, x: Tensor) -> Tensor:
  x.requires_grad_()
  energy = (x * x * x * self.w).sum()
  forces = torch.autograd.grad([energy], [x])[0]
  assert forces is not None
  return forces
)",
               {{"w", {1}}});
  auto const error = load_error(description);
  CHECK(error.reason == Reason::model_load);
  CHECK(contains(error.message, "forward computes gradients: expected \"autograd\": true in the manifest"));
  description.format = "torchscript?autograd=true";
  auto const model = Model::load(table(), description);
  REQUIRE_MESSAGE(model, model.error().message);
  Instance instance(*model);
  for (int repeat = 0; repeat < 2; ++repeat) {
    std::vector<float> const x{1, 2};
    auto const outputs = instance.run({floats(x, {2, 1})});
    REQUIRE_MESSAGE(outputs, outputs.error().message);
    CHECK((*outputs)[0].as<float>()[1] == doctest::Approx(12 * parameter_value(0)));
    CHECK(x == std::vector<float>{1, 2});
  }
}

// mutant: a package may take texts
TEST_CASE("text tensors, unknown formats and impossible options are refused by name at load") {
  Folder const folder;
  Description description;
  description.path = (folder / "model.pt").string();
  write_script(description.path, add_one);
  auto bytes = description;
  bytes.inputs = {DType::bytes};
  CHECK(contains(load_error(bytes).message,
                 "argument 'x' of forward: expected Tensor, got bytes of input 'in0'"));
  bytes.format = "pt2";
  CHECK(load_error(bytes).reason == Reason::manifest);
  CHECK(contains(load_error(bytes).message, "input 'in0': expected a numeric element type, got bytes"));
  auto format = description;
  format.format = "onnx";
  CHECK(contains(load_error(format).message, "got 'onnx'"));
  auto threads = description;
  threads.threads = 0;
  CHECK(load_error(threads).reason == Reason::option);
}

// mutant: nobody looks whether a CUDA device is there
TEST_CASE("a CUDA device that is not there is refused by its name") {
  Folder const folder;
  Description description;
  description.path = (folder / "model.pt").string();
  write_script(description.path, add_one);
  description.device = {DeviceType::cuda, 99};
  auto const error = load_error(description);
  CHECK(error.code == Code::failed_precondition);
  CHECK(error.reason == Reason::option);
  CHECK(contains(error.message, "device cuda:99"));
}
