// The groups of figures of this program: one file each.
#pragma once

#include <support/figure.hpp>

namespace athanor::benchmarks {

void measure_scaling(Figures& figures);
void measure_async(Figures& figures);
void measure_deadline(Figures& figures);
void measure_life(Figures& figures);
void measure_work(Figures& figures);
void measure_processor(Figures& figures);
void measure_lengths(Figures& figures);
void measure_streams(Figures& figures);

}  // namespace athanor::benchmarks
