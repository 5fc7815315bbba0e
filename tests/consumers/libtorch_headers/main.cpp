#include "units.hpp"

// Each unit includes LibTorch's own headers, before or after athanor's.
int main() { return libtorch_first() && athanor_first() ? 0 : 1; }
