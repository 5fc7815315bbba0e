#include <athanor/chem/graph.hpp>

int main() { return athanor::chem::molecular_graph("CC") && !athanor::chem::molecular_graph("C(C") ? 0 : 1; }
