#include <athanor/serving/detail/assembler.hpp>

#include <vector>

#include <doctest/doctest.h>

using namespace athanor;
using namespace athanor::serving;

namespace {

ModelInput input(std::string name, DType dtype, std::size_t rank, Assemble assemble, std::string axis = {},
                 std::string index_of = {}) {
  ModelInput made;
  made.spec.name = std::move(name);
  made.spec.dtype = dtype;
  made.spec.dims.resize(rank);
  made.assemble = assemble;
  made.axis = std::move(axis);
  made.index_of = std::move(index_of);
  return made;
}

template <class T>
TensorView view(std::vector<T> const& values, Shape const& shape) {
  return to_view(Tensor::view(std::span<T const>(values), shape));
}

template <class T>
std::vector<T> values_of(TensorView const& tensor) {
  auto const values = from_view(tensor).as<T>();
  return {values.begin(), values.end()};
}

/// Atoms, bonds that name their source atom, which molecule an atom is of, and how many molecules there are.
std::vector<ModelInput> const graph_inputs{
    input("atoms", DType::f32, 2, Assemble::ragged, "atoms"),
    input("source", DType::i64, 1, Assemble::ragged, "bonds", "atoms"),
    input("molecule", DType::i64, 1, Assemble::segment, "atoms"),
    input("count", DType::i64, 1, Assemble::count),
};

struct Graph {
  std::vector<float> atoms;
  std::vector<std::int64_t> source;
};

Pieces pieces_of(std::initializer_list<Graph const*> graphs) {
  Pieces pieces(graph_inputs.size());
  for (Graph const* graph : graphs) {
    auto const tensors = pieces.add(1);
    tensors[0] = view(graph->atoms, {static_cast<std::int64_t>(graph->atoms.size()) / 2, 2});
    tensors[1] = view(graph->source, {static_cast<std::int64_t>(graph->source.size())});
  }
  return pieces;
}

/// One piece of a model with one input.
Pieces lone(std::uint32_t items, TensorView const& tensor) {
  Pieces pieces(1);
  pieces.add(items)[0] = tensor;
  return pieces;
}

}  // namespace

// mutant: all pieces are copied to the start of the buffer
TEST_CASE("stacked inputs follow each other along axis 0, in the order of the pieces") {
  Assembler assembler(
      std::vector{input("x", DType::f32, 2, Assemble::stack), input("t", DType::bytes, 1, Assemble::stack)});
  std::vector<float> const a{1, 2, 3, 4};
  std::vector<float> const b{5, 6};
  std::vector<std::int64_t> const offsets{0, 2, 3};
  Pieces pieces(2);
  auto const first = pieces.add(2);
  first[0] = view(a, {2, 2});
  first[1] = to_view(Tensor::texts(offsets, "CCO", {2}));
  auto const second = pieces.add(1);
  second[0] = view(b, {1, 2});
  second[1] = to_view(Tensor::text("N#N"));
  REQUIRE(assembler.gather(pieces, true));
  CHECK(assembler.items() == 3);
  auto const inputs = assembler.inputs();
  CHECK(values_of<float>(inputs[0]) == std::vector<float>{1, 2, 3, 4, 5, 6});
  CHECK(from_view(inputs[0]).shape() == Shape{3, 2});
  Tensor const texts = from_view(inputs[1]);
  CHECK(texts.text_at(0) == "CC");
  CHECK(texts.text_at(1) == "O");
  CHECK(texts.text_at(2) == "N#N");
}

// mutant: a single piece is viewed although it may not be
// mutant: a single piece is copied although it may be viewed
TEST_CASE("a single piece is borrowed only when that is allowed") {
  Assembler assembler(std::vector{input("x", DType::f32, 1, Assemble::stack)});
  std::vector<float> const a{1, 2};
  Pieces const piece = lone(2, view(a, {2}));
  REQUIRE(assembler.gather(piece, true));
  CHECK(assembler.inputs()[0].data == a.data());
  REQUIRE(assembler.gather(piece, false));
  CHECK(assembler.inputs()[0].data != a.data());
  CHECK(values_of<float>(assembler.inputs()[0]) == a);
  void const* const kept = assembler.inputs()[0].data;
  REQUIRE(assembler.gather(piece, false));
  CHECK(assembler.inputs()[0].data == kept);
}

// mutant: positions are shifted along their own axis
// mutant: positions stay those of their own item
TEST_CASE("graphs of different size share a batch: positions are shifted, segments and count are made") {
  Assembler assembler(graph_inputs);
  Graph const a{{1, 1, 2, 2}, {0, 1, 1}};
  Graph const empty{{}, {}};
  Graph const b{{3, 3, 4, 4, 5, 5}, {2, 0}};
  REQUIRE(assembler.gather(pieces_of({&a, &empty, &b}), false));
  auto const inputs = assembler.inputs();
  CHECK(values_of<float>(inputs[0]) == std::vector<float>{1, 1, 2, 2, 3, 3, 4, 4, 5, 5});
  CHECK(values_of<std::int64_t>(inputs[1]) == std::vector<std::int64_t>{0, 1, 1, 4, 2});
  CHECK(values_of<std::int64_t>(inputs[2]) == std::vector<std::int64_t>{0, 0, 2, 2, 2});
  CHECK(values_of<std::int64_t>(inputs[3]) == std::vector<std::int64_t>{3});
  REQUIRE(assembler.gather(pieces_of({&b}), true));
  CHECK(values_of<std::int64_t>(assembler.inputs()[1]) == std::vector<std::int64_t>{2, 0});
  CHECK(values_of<std::int64_t>(assembler.inputs()[2]) == std::vector<std::int64_t>{0, 0, 0});
}

// mutant: a position outside its item is not seen
TEST_CASE("a position outside its own item is refused by name") {
  Assembler assembler(graph_inputs);
  Graph const good{{1, 1}, {0}};
  Graph const bad{{1, 1}, {1}};
  auto const refused = assembler.gather(pieces_of({&bad, &good}), false);
  CHECK(refused.error().reason == Reason::value_range);
  CHECK(refused.error().message == "source: expected positions in [0, 1) of axis 'atoms', got 1");
  CHECK(assembler.gather(pieces_of({&good}), false));
}

TEST_CASE("pieces that do not fit together are refused by name") {
  Assembler assembler(std::vector{input("x", DType::f32, 2, Assemble::stack)});
  std::vector<float> const values(6);
  Pieces pieces = lone(3, view(values, {3, 2}));
  pieces.add(2)[0] = view(values, {2, 3});
  CHECK(assembler.gather(pieces, false).error().message ==
        "x: expected the batch's [3, 2] beyond axis 0, got [2, 3]");
  CHECK(assembler.gather(lone(2, view(values, {3, 2})), false).error().message ==
        "x: expected 2 rows, got [3, 2]");
  CHECK(assembler.gather(Pieces(1), false).error().reason == Reason::missing_input);
  std::vector<double> const doubles(6);
  CHECK(assembler.gather(lone(2, view(doubles, {2, 3})), false).error().reason == Reason::dtype);
}

// mutant: the number of rows is part of a batch's key
TEST_CASE("the shape key tells shapes apart beyond axis 0 and only there") {
  std::vector const inputs{input("x", DType::f32, 2, Assemble::stack)};
  std::vector<float> const values(6);
  auto const key = [&](Shape const& shape) {
    auto const count = static_cast<std::size_t>(shape.elements());
    return shape_key(inputs, std::vector{to_view(Tensor::view(std::span(values).first(count), shape))});
  };
  CHECK(key({3, 2}) == key({1, 2}));
  CHECK(key({3, 2}) != key({2, 3}));
  CHECK(key({6}) != key({6, 1}));
}

namespace {

/// Counts which pieces are held, and loses one.
struct Watched {
  std::vector<std::size_t> read;
  int held = 0;
  int most_held = 0;
  std::size_t lost = static_cast<std::size_t>(-1);

  PieceAccess access() {
    return {this,
            [](void* context, std::size_t piece) noexcept {
              auto& self = *static_cast<Watched*>(context);
              if (piece == self.lost) return false;
              self.read.push_back(piece);
              self.most_held = std::max(self.most_held, ++self.held);
              return true;
            },
            [](void* context, std::size_t) noexcept { --static_cast<Watched*>(context)->held; }};
  }
};

}  // namespace

// mutant: a piece that was read stays held
TEST_CASE("pieces are held one at a time, and only while they are read") {
  Graph const first{{1, 2, 3, 4}, {1, 0}};
  Graph const second{{5, 6}, {0}};
  Assembler assembler(graph_inputs);
  Watched watched;
  REQUIRE(assembler.gather(pieces_of({&first, &second}), false, watched.access()));
  CHECK(watched.most_held == 1);
  CHECK(watched.held == 0);
  CHECK(watched.read.size() >= 4);
  CHECK(values_of<float>(assembler.inputs()[0]) == std::vector<float>{1, 2, 3, 4, 5, 6});
}

// mutant: a piece that is gone is read
TEST_CASE("a piece that is gone fails the gathering, and nothing stays held") {
  Graph const first{{1, 2}, {0}};
  Assembler assembler(graph_inputs);
  Watched watched;
  watched.lost = 1;
  auto const gathered = assembler.gather(pieces_of({&first, &first}), false, watched.access());
  REQUIRE_FALSE(gathered);
  CHECK(gathered.error().reason == Reason::cancelled);
  CHECK(watched.held == 0);
}

// mutant: a repeated value is the first piece's
TEST_CASE("a repeated value stands once for each item of its piece, in the input's type") {
  Assembler assembler(std::vector{input("half", DType::f32, 2, Assemble::repeat),
                                  input("n", DType::i32, 1, Assemble::repeat),
                                  input("flag", DType::boolean, 1, Assemble::repeat)});
  std::vector<double> const halves{0.5, 1.5};
  std::vector<std::int64_t> const counts{-7, 8};
  std::vector<std::int64_t> const flags{1, 0};
  Pieces pieces(3);
  for (std::size_t piece = 0; piece < 2; ++piece) {
    auto const tensors = pieces.add(piece == 0 ? 2 : 1);
    tensors[0].data = const_cast<double*>(&halves[piece]);
    tensors[1].data = const_cast<std::int64_t*>(&counts[piece]);
    tensors[2].data = const_cast<std::int64_t*>(&flags[piece]);
  }
  REQUIRE(assembler.gather(pieces, false));
  CHECK(values_of<float>(assembler.inputs()[0]) == std::vector<float>{0.5F, 0.5F, 1.5F});
  CHECK(from_view(assembler.inputs()[0]).shape() == Shape{3, 1});
  CHECK(values_of<std::int32_t>(assembler.inputs()[1]) == std::vector<std::int32_t>{-7, -7, 8});
  CHECK(from_view(assembler.inputs()[1]).shape() == Shape{3});
  auto const* set = static_cast<std::uint8_t const*>(assembler.inputs()[2].data);
  CHECK(std::vector<std::uint8_t>(set, set + 3) == std::vector<std::uint8_t>{1, 1, 0});
}

// mutant: a shared value is the first piece's
TEST_CASE("a shared value is one of all pieces, and pieces that differ make no batch") {
  Assembler assembler(std::vector{input("t", DType::f32, 0, Assemble::share)});
  double const hot = 1.5;
  double const cold = 0.5;
  Pieces pieces(1);
  pieces.add(2)[0].data = const_cast<double*>(&hot);
  pieces.add(1)[0].data = const_cast<double*>(&hot);
  REQUIRE(assembler.gather(pieces, true));
  CHECK(assembler.inputs()[0].ndim == 0);
  CHECK(*static_cast<float const*>(assembler.inputs()[0].data) == 1.5F);
  pieces.add(1)[0].data = const_cast<double*>(&cold);
  auto const mixed = assembler.gather(pieces, false);
  REQUIRE_FALSE(mixed);
  CHECK(mixed.error().code == Code::invalid_argument);
  CHECK(mixed.error().message == "t: expected one value for the whole batch, got another for piece 2");
}

// mutant: a tensor for the whole batch is the first piece's
TEST_CASE("a tensor for the whole batch is one of all pieces, and pieces that differ make no batch") {
  Assembler assembler(std::vector{input("t", DType::f32, 2, Assemble::common)});
  std::vector<float> const hot{1, 2};
  std::vector<float> const same{1, 2};
  std::vector<float> const cold{1, 3};
  Pieces pieces(1);
  pieces.add(2)[0] = view(hot, {1, 2});
  REQUIRE(assembler.gather(pieces, true));
  CHECK(assembler.inputs()[0].data == hot.data());
  pieces.add(1)[0] = view(same, {1, 2});
  REQUIRE(assembler.gather(pieces, true));
  CHECK(assembler.inputs()[0].data != hot.data());
  CHECK(values_of<float>(assembler.inputs()[0]) == hot);
  for (TensorView const& other : {view(cold, {1, 2}), view(same, {2, 1})}) {
    pieces.clear();
    pieces.add(2)[0] = view(hot, {1, 2});
    pieces.add(1)[0] = other;
    auto const mixed = assembler.gather(pieces, false);
    REQUIRE_FALSE(mixed);
    CHECK(mixed.error().code == Code::invalid_argument);
    CHECK(mixed.error().message == "t: expected one tensor for the whole batch, got another for piece 1");
  }
}

// mutant: a parameter for the whole batch is no part of its key
TEST_CASE("the key of a batch holds the values that it shares, and no others") {
  double const hot = 1.5;
  double const cold = 0.5;
  auto const key = [](Assemble assemble, double const& value) {
    std::vector const inputs{input("t", DType::f32, 1, assemble)};
    TensorView tensor{};
    tensor.data = const_cast<double*>(&value);
    return shape_key(inputs, std::span(&tensor, 1));
  };
  CHECK(key(Assemble::share, hot) == key(Assemble::share, hot));
  CHECK(key(Assemble::share, hot) != key(Assemble::share, cold));
  CHECK(key(Assemble::repeat, hot) == key(Assemble::repeat, cold));
}

// mutant: a constant's texts have the offsets of the first item
TEST_CASE("a constant stands in a batch as it is, or its row once for each item") {
  ModelInput shared = input("c", DType::f32, 1, Assemble::fixed);
  std::vector<float> const halves{0.5F, 1.5F};
  shared.constant = Tensor::view(std::span(halves), {2});
  ModelInput texts = input("t", DType::bytes, 2, Assemble::fixed);
  texts.spec.dims[0] = Dim::named("items");
  std::vector<std::string_view> const words{"ab", "c"};
  texts.constant = Tensor::copy_texts(words).value().reshaped({1, 2});
  Assembler assembler(std::vector{input("x", DType::f32, 1, Assemble::stack), shared, texts});
  std::vector<float> const x{1, 2, 3};
  Pieces pieces(3);
  pieces.add(3)[0] = view(x, {3});
  for (int again = 0; again < 2; ++again) {
    REQUIRE(assembler.gather(pieces, true));
    CHECK(assembler.inputs()[1].data != halves.data());
    CHECK(values_of<float>(assembler.inputs()[1]) == halves);
    Tensor const repeated = from_view(assembler.inputs()[2]);
    CHECK(repeated.shape() == Shape{3, 2});
    for (std::int64_t i = 0; i < 6; ++i) CHECK(repeated.text_at(i) == words[static_cast<std::size_t>(i % 2)]);
  }
  assembler.borrow(3)[0] = view(x, {3});
  CHECK(values_of<float>(assembler.inputs()[1]) == halves);
}
