#include <athanor/core/backend.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/item.hpp"

namespace {

using namespace athanor;

/// What every function of the backend or processor under test does first.
using Behaviour = std::function<Result<void>()>;

struct Misbehaving {
  static constexpr char const* name = "misbehaving";
  static constexpr RunsOn runs_on = RunsOn::own_worker;
  struct Model {
    struct Instance {
      Misbehaving* backend;
      Result<void> run(ath_batch& batch) {
        backend->items = batch.items;
        return backend->behave();
      }
      ~Instance() { --backend->alive; }
    };
    Misbehaving* backend;
    std::uint64_t footprint() const { return 4096; }
    Result<std::unique_ptr<Instance>> make_instance() {
      if (auto result = backend->behave(); !result) return tl::unexpected(std::move(result.error()));
      ++backend->alive;
      return std::unique_ptr<Instance>(new Instance{backend});
    }
    ~Model() { --backend->alive; }
  };
  Result<std::unique_ptr<Model>> load(ModelSource const& source) {
    path = source.path;
    if (auto result = behave(); !result) return tl::unexpected(std::move(result.error()));
    if (gives_nothing) return std::unique_ptr<Model>();
    ++alive;
    return std::unique_ptr<Model>(new Model{this});
  }
  Behaviour behave = [] { return Result<void>(); };
  bool gives_nothing = false;
  std::string path;
  std::int64_t items = 0;  // of the last batch
  int alive = 0;
};

struct Halves {
  static constexpr char const* name = "halves";
  struct Opened {
    Behaviour behave;
    std::shared_ptr<int> alive = std::make_shared<int>();  // owned by all that was made, too
    static constexpr std::array<Port, 2> ports{{{"front", DType::bytes}, {"back", DType::bytes}}};
    std::span<Port const> made() const { return ports; }
    Result<Preprocessed> preprocess(Item const& item) {
      if (auto result = behave(); !result) return tl::unexpected(std::move(result.error()));
      Tensor const input = item.input(0);
      auto const text = input.text_at(0);
      std::array<std::string_view, 1> const front{text.substr(0, text.size() / 2)};
      std::array<std::string_view, 1> const back{text.substr(text.size() / 2)};
      Preprocessed made_item;
      made_item.tensors.push_back(Tensor::copy_texts(front).value());
      made_item.tensors.push_back(Tensor::copy_texts(back).value());
      made_item.cost = static_cast<std::int64_t>(text.size());
      made_item.kept = alive;
      return made_item;
    }
  };
  Result<std::unique_ptr<Opened>> open(std::string_view folder, std::string_view options) {
    if (options != "{}") return fail(Code::invalid_argument, Reason::option, "{}: {}", folder, options);
    return std::make_unique<Opened>(Opened{behave});
  }
  Behaviour behave = [] { return Result<void>(); };
};

/// What stands behind an opened table of Halves.
Halves::Opened& opened_by(void* table) {
  return *static_cast<athanor::detail::OpenedTable<Halves::Opened>*>(table)->opened;
}

/// Everything that must not cross a table, with what must arrive instead.
struct Escape {
  Behaviour behave;
  Code code;
  Reason reason;
  std::string_view message;
};

std::vector<Escape> escapes() {
  return {
      {[]() -> Result<void> { throw std::bad_alloc(); }, Code::internal, Reason::backend_failure,
       std::bad_alloc().what()},
      {[]() -> Result<void> { throw std::runtime_error("weights are gone"); }, Code::internal,
       Reason::backend_failure, "weights are gone"},
      {[]() -> Result<void> { throw 42; }, Code::internal, Reason::backend_failure,
       "an exception of unknown type escaped"},
      {[]() -> Result<void> { return fail(Code::unavailable, Reason::device_lost, "cuda:1 fell off"); },
       Code::unavailable, Reason::device_lost, "cuda:1 fell off"},
      {[]() -> Result<void> { return fail(Code::aborted, Reason::none, ""); }, Code::aborted, Reason::none,
       "the backend failed without a message"},
      {[]() -> Result<void> { return fail(Code::ok, Reason::backend_failure, "ok it is not"); },
       Code::unknown, Reason::backend_failure, "ok it is not"},
  };
}

void arrives(std::int32_t code, ath_failure const& failure, Escape const& escape) {
  CHECK(code != 0);
  CHECK(failure.code == code);
  CHECK(take_failure(code, failure) == Error{escape.code, escape.reason, std::string(escape.message), {}});
}

// mutant: a model that is unloaded is not destroyed
TEST_CASE("a table loads, makes instances, runs and frees") {
  Misbehaving backend;
  ath_backend_table const table = make_table(backend);
  CHECK(table.struct_size == sizeof(ath_backend_table));
  CHECK(std::string_view(table.name) == "misbehaving");
  CHECK(table.runs_on == ATH_RUNS_ON_OWN_WORKER);
  ath_model_source source{};
  source.path = "weights.bin";
  ath_failure failure{};
  void* model = nullptr;
  void* instance = nullptr;
  REQUIRE(table.load(table.context, &source, &model, &failure) == 0);
  CHECK(backend.path == "weights.bin");
  CHECK(table.footprint(table.context, model) == 4096);
  REQUIRE(table.make_instance(table.context, model, &instance, &failure) == 0);
  CHECK(backend.alive == 2);
  ath_batch batch{};
  batch.items = 3;
  CHECK(table.run(table.context, instance, &batch, &failure) == 0);
  CHECK(backend.items == 3);
  table.destroy_instance(table.context, instance);
  table.unload(table.context, model);
  CHECK(backend.alive == 0);
}

// mutant: a failure of code ok is taken for a success
TEST_CASE("nothing that a backend throws or returns crosses its table but a code and a sentence") {
  for (auto const& escape : escapes()) {
    Misbehaving backend;
    ath_backend_table const table = make_table(backend);
    ath_model_source source{};
    source.path = "";
    ath_failure failure{};
    ath_batch batch{};
    void* model = nullptr;
    void* instance = nullptr;
    REQUIRE(table.load(table.context, &source, &model, &failure) == 0);
    REQUIRE(table.make_instance(table.context, model, &instance, &failure) == 0);
    backend.behave = escape.behave;
    arrives(table.run(table.context, instance, &batch, &failure), failure, escape);
    void* nothing = nullptr;
    arrives(table.make_instance(table.context, model, &nothing, &failure), failure, escape);
    arrives(table.load(table.context, &source, &nothing, &failure), failure, escape);
    CHECK(nothing == nullptr);
    table.destroy_instance(table.context, instance);
    table.unload(table.context, model);
    CHECK(backend.alive == 0);
  }
}

// mutant: a load that gives a null pointer gives a model
TEST_CASE("a table whose backend gives a null pointer for a model says that it failed") {
  Misbehaving backend;
  backend.gives_nothing = true;
  ath_backend_table const table = make_table(backend);
  ath_model_source source{};
  source.path = "weights.bin";
  ath_failure failure{};
  void* model = nullptr;
  auto const code = table.load(table.context, &source, &model, &failure);
  auto const error = take_failure(code, failure);
  CHECK(error.code == Code::internal);
  CHECK(error.reason == Reason::backend_contract);
  CHECK(error.message == "'misbehaving': expected a model, got a null pointer");
}

// mutant: what a processor made is not destroyed
TEST_CASE("a processor stands behind its table as a backend does") {
  Halves processor;
  ath_processor_table const table = make_table(processor);
  CHECK(std::string_view(table.name) == "halves");
  ath_failure failure{};
  ath_ports ports{};
  void* opened = nullptr;
  CHECK(table.open(table.context, "folder", "{\"x\": 1}", &opened, &ports, &failure) ==
        static_cast<std::int32_t>(Code::invalid_argument));
  CHECK(std::string_view(failure.message) == "folder: {\"x\": 1}");
  REQUIRE(table.open(table.context, "folder", "{}", &opened, &ports, &failure) == 0);
  REQUIRE(ports.made_count == 2);
  CHECK(std::string_view(ports.made_names[1]) == "back");
  CHECK(ports.made_dtypes[0] == static_cast<std::int32_t>(DType::bytes));
  Tensor const text = Tensor::text("abcdef");
  athanor::tests::ItemOf const item(text);
  ath_made made{};
  REQUIRE(table.preprocess(table.context, opened, item.raw(), &made, &failure) == 0);
  REQUIRE(made.tensor_count == 2);
  CHECK(from_view(made.tensors[0]).text_at(0) == "abc");
  CHECK(from_view(made.tensors[1]).text_at(0) == "def");
  CHECK(made.cost == 6);
  CHECK(opened_by(opened).alive.use_count() == 2);
  made.release(made.owner);
  CHECK(opened_by(opened).alive.use_count() == 1);
  for (auto const& escape : escapes()) {
    opened_by(opened).behave = escape.behave;
    arrives(table.preprocess(table.context, opened, item.raw(), &made, &failure), failure, escape);
  }
  table.close(table.context, opened);
}

// mutant: the sentence of a failure has no room for its end
TEST_CASE("a sentence longer than a failure holds is clipped and stays a string") {
  for (std::size_t const length : {510U, 511U, 512U, 5000U}) {
    ath_failure failure;
    std::memset(&failure, 'z', sizeof failure);
    CHECK(put_failure(failure, Error{Code::internal, Reason::none, std::string(length, 'm'), {}}) == 13);
    auto const back = take_failure(failure.code, failure);
    CHECK(back.message == std::string(std::min<std::size_t>(length, ATH_MAX_MESSAGE - 1), 'm'));
  }
  ath_failure unterminated;
  std::memset(&unterminated, 'z', sizeof unterminated);
  unterminated.reason = 0;
  CHECK(take_failure(13, unterminated).message.size() == ATH_MAX_MESSAGE);
}

// mutant: a view has no rank
// mutant: texts of a view lose their offsets
TEST_CASE("a tensor keeps everything on its way through a view") {
  std::array<double, 6> const values{1, 2, 3, 4, 5, 6};
  for (auto const& tensor :
       {Tensor::view<double>(values, {2, 3}), Tensor::view<double>(values, {1, 2, 1, 3, 1, 1, 1, 1}),
        Tensor::view<double>(std::span(values).first<1>(), {}), Tensor::view<double>({}, {0, 3})}) {
    auto const back = from_view(to_view(tensor));
    CHECK(back.dtype() == DType::f64);
    CHECK(back.shape() == tensor.shape());
    CHECK(back.data() == tensor.data());
    CHECK(back.size_bytes() == tensor.size_bytes());
    CHECK_FALSE(back.owned());
  }
  std::vector<std::string_view> const texts{"*CC*", "", "C", "\xc3\xa9"};
  auto const many = Tensor::copy_texts(texts).value().reshaped({2, 2});
  auto const view = to_view(many);
  CHECK(view.ndim == 2);
  CHECK(view.size_bytes == 7);
  auto const back = from_view(view);
  CHECK(back.shape() == Shape{2, 2});
  for (std::size_t i = 0; i < texts.size(); ++i)
    CHECK(back.text_at(static_cast<std::int64_t>(i)) == texts[i]);
  CHECK(from_view(to_view(Tensor::text("one"))).text_at(0) == "one");
}

}  // namespace
