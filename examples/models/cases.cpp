#include "cases.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <span>
#include <sstream>

#include <nlohmann/json.hpp>

namespace models {

namespace {

using athanor::DType;
using athanor::Tensor;
using Json = nlohmann::json;

std::string read_file(std::string const& path) {
  std::ifstream const file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  return std::move(content).str();
}

Tensor tensor_of(Json const& place, std::string const& bytes) {
  auto const lengths = place.at(1).get<std::vector<std::int64_t>>();
  athanor::Shape const shape{std::span<std::int64_t const>(lengths)};
  return Tensor::view(athanor::parse_dtype(place.at(0).get<std::string>()).value(),
                      bytes.data() + place.at(2).get<std::size_t>(), shape);
}

float from_half(std::uint16_t half) {
  float const magnitude = (half & 0x7c00U) == 0 ? std::ldexp(static_cast<float>(half & 0x3ffU), -24)
                                                : std::ldexp(static_cast<float>((half & 0x3ffU) | 0x400U),
                                                             ((half >> 10) & 0x1f) - 25);
  return (half & 0x8000U) != 0 ? -magnitude : magnitude;
}

template <class T, class Convert>
std::vector<double> converted(Tensor const& tensor, Convert convert) {
  std::vector<double> values;
  for (std::size_t i = 0; i < tensor.size_bytes() / sizeof(T); ++i) {
    T value;
    std::memcpy(&value, tensor.data() + i * sizeof(T), sizeof(T));
    values.push_back(static_cast<double>(convert(value)));
  }
  return values;
}

std::vector<double> values_of(Tensor const& tensor) {
  auto const same = [](auto value) { return value; };
  switch (tensor.dtype()) {
    case DType::f32: return converted<float>(tensor, same);
    case DType::i64: return converted<std::int64_t>(tensor, same);
    case DType::f16: return converted<std::uint16_t>(tensor, from_half);
    case DType::bf16:
      return converted<std::uint16_t>(
          tensor, [](std::uint16_t half) { return std::bit_cast<float>(std::uint32_t{half} << 16); });
    default: return converted<std::int8_t>(tensor, same);
  }
}

}  // namespace

athanor::Result<Cases> read_cases(std::string const& folder) {
  Cases cases;
  cases.bytes = read_file(folder + "/cases.bin");
  Json const document = Json::parse(read_file(folder + "/cases.json"), nullptr, false);
  if (document.is_discarded() || cases.bytes.empty())
    return athanor::fail(athanor::Code::not_found, athanor::Reason::file,
                         "{}: expected cases.json and cases.bin, as export.py makes them", folder);
  cases.tolerance = document.at("tolerance");
  for (Json const& each : document.at("cases")) {
    Case& one = cases.all.emplace_back();
    one.stream = each.at("stream");
    for (auto const& [name, place] : each.at("inputs").items())
      one.request.set(name, tensor_of(place, cases.bytes));
    for (auto const& [name, place] : each.at("outputs").items())
      one.expected.emplace_back(name, tensor_of(place, cases.bytes));
  }
  return cases;
}

double difference(Tensor const& got, Tensor const& expected) {
  if (got.dtype() != expected.dtype() || got.shape() != expected.shape())
    return std::numeric_limits<double>::infinity();
  auto const ours = values_of(got);
  auto const theirs = values_of(expected);
  double largest = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    double const apart = std::abs(ours[i] - theirs[i]) / std::max(1.0, std::abs(theirs[i]));
    if (!(apart <= largest)) largest = std::isnan(apart) ? std::numeric_limits<double>::infinity() : apart;
  }
  return largest;
}

}  // namespace models
