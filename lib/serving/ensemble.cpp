#include <athanor/serving/ensemble.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace athanor::inline v1::serving {

namespace {

std::size_t elements_of(TensorView const& view) noexcept {
  std::size_t count = 1;
  for (std::int32_t axis = 0; axis < view.rank; ++axis) count *= static_cast<std::size_t>(view.shape[axis]);
  return count;
}

std::int64_t code_at(TensorView const& view, std::size_t index) noexcept {
  if (view.dtype == static_cast<std::int32_t>(DType::i32)) return static_cast<std::int32_t const*>(view.data)[index];
  return static_cast<std::int64_t const*>(view.data)[index];
}

double number_at(TensorView const& view, std::size_t index) noexcept {
  if (view.dtype == static_cast<std::int32_t>(DType::f64)) return static_cast<double const*>(view.data)[index];
  return static_cast<double>(static_cast<float const*>(view.data)[index]);
}

void put_number(TensorView& view, std::size_t index, double value) noexcept {
  if (view.dtype == static_cast<std::int32_t>(DType::f64)) {
    static_cast<double*>(view.data)[index] = value;
  } else {
    static_cast<float*>(view.data)[index] = static_cast<float>(value);
  }
}

}  // namespace

TokenLookup::TokenLookup(std::span<std::int64_t const> codes) {
  rows_.reserve(codes.size());
  for (std::size_t i = 0; i < codes.size(); ++i) rows_.push_back({codes[i], static_cast<std::int64_t>(i) + 2});
  std::ranges::sort(rows_, {}, &Row::code);
}

std::int64_t TokenLookup::token(std::int64_t code) const noexcept {
  auto const row = std::ranges::lower_bound(rows_, code, {}, &Row::code);
  return row != rows_.end() && row->code == code ? row->token : unknown;
}

Ensemble::Ensemble(ExecutionPlan const& plan, std::vector<Instance> members)
    : plan_(plan),
      members_(std::move(members)),
      tokens_(plan.inputs.size()),
      mapped_(plan.inputs.size()),
      raw_(plan.members.size() * plan.model_outputs.size()),
      computed_(plan.outputs.size()),
      answered_(plan.members.size()),
      outputs_(plan.outputs.size()) {}

void Ensemble::map_tokens(std::size_t member, std::span<TensorView const> inputs, std::int64_t items) {
  std::vector<std::int64_t> unknown(static_cast<std::size_t>(items));
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    mapped_[i] = inputs[i];
    TokenLookup const& lookup = plan_.members[member].lookups[i];
    if (lookup.empty()) continue;
    auto const segment = std::ranges::find_if(plan_.inputs, [&](ModelInput const& other) {
      return other.assemble == Assemble::segment && other.axis == plan_.inputs[i].axis;
    });
    auto const* item_of = segment == plan_.inputs.end()
                              ? nullptr
                              : static_cast<std::int64_t const*>(inputs[static_cast<std::size_t>(segment - plan_.inputs.begin())].data);
    auto& tokens = tokens_[i];
    tokens.resize(elements_of(inputs[i]));
    for (std::size_t k = 0; k < tokens.size(); ++k) {
      tokens[k] = lookup.token(code_at(inputs[i], k));
      if (tokens[k] == TokenLookup::unknown && item_of != nullptr) ++unknown[static_cast<std::size_t>(item_of[k])];
    }
    mapped_[i].data = tokens.data();
    mapped_[i].dtype = static_cast<std::int32_t>(DType::i64);
    mapped_[i].size_bytes = tokens.size() * sizeof(std::int64_t);
  }
  for (std::size_t item = 0; item < unknown.size(); ++item) unknown_[item] = std::max(unknown_[item], unknown[item]);
}

Result<void> Ensemble::check_outputs(std::size_t member, std::int64_t items) const {
  for (std::size_t i = 0; i < plan_.model_outputs.size(); ++i) {
    TensorSpec const& spec = plan_.model_outputs[i];
    TensorView const& got = raw_[member * plan_.model_outputs.size() + i];
    auto const refuse = [&](Reason reason, std::string expected, std::string actual) {
      return fail(Code::internal, reason, "{}: output {}: expected {}, the backend returned {}",
                  plan_.members[member].file, spec.name, expected, actual);
    };
    if (got.data == nullptr) return refuse(Reason::backend_contract, to_string(spec), "nothing");
    if (got.dtype != static_cast<std::int32_t>(spec.dtype))
      return refuse(Reason::backend_contract, std::string(to_string(spec.dtype)),
                    std::string(to_string(static_cast<DType>(got.dtype))));
    std::int64_t const rows = got.rank > 0 ? got.shape[0] : 0;
    if (rows != items) return refuse(Reason::backend_contract, fmt::format("{} rows", items), fmt::format("{}", rows));
    Shape const shape(std::span<std::int64_t const>(got.shape, static_cast<std::size_t>(got.rank)));
    bool fits = shape.rank() == spec.dims.size();
    for (std::size_t axis = 1; fits && axis < shape.rank(); ++axis)
      fits = spec.dims[axis].kind != Dim::Kind::fixed || spec.dims[axis].length == shape[axis];
    if (!fits) return refuse(Reason::backend_contract, to_string(spec), to_string(shape));
  }
  return {};
}

Result<void> Ensemble::run_member(std::size_t member, std::span<TensorView const> inputs, std::int64_t items) {
  map_tokens(member, inputs, items);
  std::size_t const width = plan_.model_outputs.size();
  std::span<TensorView> const out(raw_.data() + member * width, width);
  std::ranges::fill(out, TensorView{});
  ath_batch batch{};
  batch.struct_size = sizeof(ath_batch);
  batch.items = items;
  batch.inputs = mapped_.data();
  batch.input_count = mapped_.size();
  batch.outputs = out.data();
  batch.output_count = out.size();
  if (auto ran = members_[member].run(batch); !ran) return ran;
  return check_outputs(member, items);
}

Result<std::uint32_t> Ensemble::run(std::span<TensorView const> inputs, std::int64_t items) {
  unknown_.assign(static_cast<std::size_t>(items), 0);
  std::uint32_t good = 0;
  Error first;
  for (std::size_t member = 0; member < members_.size(); ++member) {
    auto ran = run_member(member, inputs, items);
    answered_[member] = ran ? 1 : 0;
    if (ran) {
      ++good;
      continue;
    }
    if (members_.size() == 1) return tl::unexpected(std::move(ran.error()));
    if (first.message.empty()) {
      first = std::move(ran.error());
      first.message = fmt::format("member {}: {}", plan_.members[member].file, first.message);
      if (first.reason != Reason::out_of_memory) first.reason = Reason::member_failed;
    }
    if (members_.size() - member - 1 + good < plan_.min_members) return tl::unexpected(std::move(first));
  }
  aggregate(items, answered_);
  return good;
}

void Ensemble::aggregate(std::int64_t items, std::span<std::uint8_t const> answered) {
  std::size_t const width = plan_.model_outputs.size();
  auto const rows = static_cast<std::size_t>(items);
  std::size_t const first =
      static_cast<std::size_t>(std::ranges::find(answered, std::uint8_t{1}) - answered.begin());
  auto const good = static_cast<double>(std::ranges::count(answered, std::uint8_t{1}));
  for (std::size_t i = 0; i < plan_.outputs.size(); ++i) {
    OutputPlan const& plan = plan_.outputs[i];
    TensorView& out = outputs_[i];
    out = TensorView{};
    if (plan.from == OutputPlan::From::features) continue;
    bool const counted = plan.from == OutputPlan::From::unknown || plan.from == OutputPlan::From::members;
    if (!counted) out = raw_[first * width + plan.index];
    bool const scaled = plan_.members[first].scalers.size() > plan.index && !counted &&
                        (plan_.members[first].scalers[plan.index].scale != 1 ||
                         plan_.members[first].scalers[plan.index].center != 0);
    if (plan.from == OutputPlan::From::model && !scaled) continue;
    std::size_t const count = counted ? rows : elements_of(out);
    std::size_t const width_bytes = counted ? sizeof(std::int64_t) : element_size(static_cast<DType>(out.dtype));
    computed_[i].resize(count * width_bytes);
    out.data = computed_[i].data();
    out.size_bytes = computed_[i].size();
    if (counted) {
      out.dtype = static_cast<std::int32_t>(DType::i64);
      out.rank = 1;
      out.shape[0] = items;
      out.device_type = static_cast<std::int32_t>(DeviceType::cpu);
      for (std::size_t row = 0; row < rows; ++row)
        static_cast<std::int64_t*>(out.data)[row] =
            plan.from == OutputPlan::From::unknown ? unknown_[row] : static_cast<std::int64_t>(good);
      continue;
    }
    auto const value_of = [&](std::size_t member, std::size_t k) {
      Scaler const& scaler = plan_.members[member].scalers[plan.index];
      return number_at(raw_[member * width + plan.index], k) * scaler.scale + scaler.center;
    };
    for (std::size_t k = 0; k < count; ++k) {
      if (plan.from == OutputPlan::From::model) {
        put_number(out, k, value_of(first, k));
        continue;
      }
      double sum = 0;
      for (std::size_t member = 0; member < answered.size(); ++member)
        if (answered[member] != 0) sum += value_of(member, k);
      double const mean = sum / good;
      if (plan.from == OutputPlan::From::mean) {
        put_number(out, k, mean);
        continue;
      }
      double squares = 0;
      for (std::size_t member = 0; member < answered.size(); ++member)
        if (answered[member] != 0) squares += (value_of(member, k) - mean) * (value_of(member, k) - mean);
      put_number(out, k, std::sqrt(squares / good));
    }
  }
}

}  // namespace athanor::inline v1::serving
