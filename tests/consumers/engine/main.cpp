#include <athanor/core/error.hpp>
#include <athanor/core/tensor.hpp>

int main() {
  return athanor::Error{athanor::Code::unavailable, athanor::Reason::queue_full, "busy", {}}.message == "busy"
             ? 0
             : 1;
}
