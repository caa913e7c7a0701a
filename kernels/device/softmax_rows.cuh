// Rows that a team of threads, a warp or a whole block, walks together: the sums behind softmax and cross-entropy.
#pragma once

#include "reduce.cuh"

// The threads that share a row. Row i of the grid goes to the team with index i, then to the one `teams()` later.
struct WarpTeam {
    DEVICE static uint64_t index() { return (uint64_t)blockIdx.x * warps() + warp(); }
    DEVICE static uint64_t teams() { return (uint64_t)gridDim.x * warps(); }
    DEVICE static uint32_t rank() { return lane(); }
    DEVICE static uint32_t size() { return WARP; }
    DEVICE static float sum(float v) { return warp_sum(v); }
    DEVICE static float max(float v) { return warp_max(v); }
};
struct BlockTeam {
    DEVICE static uint64_t index() { return blockIdx.x; }
    DEVICE static uint64_t teams() { return gridDim.x; }
    DEVICE static uint32_t rank() { return threadIdx.x; }
    DEVICE static uint32_t size() { return blockDim.x; }
    DEVICE static float sum(float v) { return block_sum(v); }
    DEVICE static float max(float v) { return block_max(v); }
};

struct RowSum {
    float shift;  // the largest element; 0 if all are -inf
    float sum;    // of exp(x - shift); 0 if all are -inf, NaN if one is NaN
    DEVICE float log_sum() const { return sum == 0.0f ? 0.0f : logf(sum); }
};

template <class Team, class T>
DEVICE RowSum sum_of_exponentials(gptr<const T> row, uint64_t columns) {
    float infinity = __uint_as_float(0x7f800000u);
    RowSum r;
    r.shift = -infinity;
    for (uint64_t i = Team::rank(); i < columns; i += Team::size()) r.shift = fmaxf(r.shift, to_float(row[i]));
    r.shift = Team::max(r.shift);
    if (r.shift == -infinity) r.shift = 0.0f;
    r.sum = 0.0f;
    for (uint64_t i = Team::rank(); i < columns; i += Team::size()) r.sum += expf(to_float(row[i]) - r.shift);
    r.sum = Team::sum(r.sum);
    return r;
}
