/// Requests for the dry run of a model: made up where it has no self-tests, else made of those.
#pragma once

#include <vector>

#include <athanor/core/error.hpp>
#include <athanor/core/signature.hpp>
#include <athanor/serving/detail/model_description.hpp>

namespace athanor::inline v1::serving {

/// Requests of one item each, two or, for a model that takes one item at a time, one: small numbers that
/// differ, and zeros and empty texts. Where no input is floating-point the second has ones and a letter
/// instead, but on the CPU only: another device may be lost to a position that a model does not have. An axis
/// of any length is 1 long.
Result<std::vector<Request>> make_up_requests(ModelDescription const& description);

/// The first item of a request, which it borrows.
Request first_item(ModelDescription const& description, Request const& request);

/// The request with half of its numbers, but for 0, 1, -1 and booleans, and the first half of its texts: of
/// the same shapes, and within the range of what was given, so that few models refuse it.
Result<Request> halve(ModelDescription const& description, Request const& request);

}  // namespace athanor::inline v1::serving
