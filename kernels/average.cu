// average: average += part (weights - average), in place; with part = 1 a copy.
//   average, weights [n] f32
// Two reads and one write an element, 16 bytes at a time where the addresses allow (`wide`). The same bits as
// src/ops/average/cpu.rs.
#include "device/veridical.cuh"
#include "device/elementwise.cuh"

struct AverageParams {
    buffer average;
    buffer weights;
    uint64_t n;
    float part;
    uint32_t wide;
};

KERNEL(average_fwd_f32, AverageParams) {
    auto average = p.average.as<float>();
    auto weights = p.weights.as<const float>();
    float part = p.part;
    map_elements<float>(average, average, weights, p.n, p.wide, [=](float a, float w) { return follow_weight(part, a, w); });
}
