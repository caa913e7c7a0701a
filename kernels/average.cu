// average: average += part (weights - average), in place; with part = 1 a copy.
//   average, weights [n] f32
// Two reads and one write an element. The same bits as src/ops/average/cpu.rs.
#include "device/veridical.cuh"

struct AverageParams {
    buffer average;
    buffer weights;
    uint64_t n;
    float part;
    uint32_t unused;
};
LAYOUT(AverageParams, average, weights, n, part, unused)

KERNEL(average_fwd_f32, AverageParams) {
    auto average = p.average.as<float>();
    auto weights = p.weights.as<const float>();
    for (uint64_t i = global_thread(); i < p.n; i += grid_threads()) average[i] = follow_weight(p.part, average[i], weights[i]);
}
