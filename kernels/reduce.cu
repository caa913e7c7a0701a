// reduce: y[o, b, i] = factor * sum over rows r of block b of x[o, r, i].
//   x [outer, n, inner], y [outer, ceil(n / rows), inner]. One read of x. Sums are fp32 in an order fixed by the
//   shapes.
//   sum_rows (inner = 1): one thread block per sum; threads stride through the row, 16 bytes at a time, then a block
//   sum.
//   sum_columns (inner > 1): one block per 32 columns, so that a warp reads consecutive elements; each warp takes every
//   warps()-th row, then the warps are added in order.
//   `partial` writes fp32, `final` reads fp32: the two passes of a long sum.
#include "device/veridical.cuh"

struct ReduceParams {
    buffer x;
    buffer y;
    uint64_t outer;
    uint64_t n;
    uint64_t inner;
    uint64_t rows;
    float factor;
    uint32_t wide;
};

template <class In, class Out>
DEVICE void sum_rows(const ReduceParams& p) {
    constexpr int N = 16 / sizeof(In);
    auto x = p.x.as<const In>();
    auto y = p.y.as<Out>();
    uint64_t blocks = (p.n + p.rows - 1) / p.rows;
    for (uint64_t task = blockIdx.x; task < p.outer * blocks; task += gridDim.x) {
        uint64_t first = task % blocks * p.rows;
        uint64_t count = p.n - first < p.rows ? p.n - first : p.rows;
        auto row = x + (task / blocks * p.n + first);
        uint64_t vectors = p.wide ? count / N : 0;
        float sum = 0.0f;
        for (uint64_t i = threadIdx.x; i < vectors; i += blockDim.x) {
            vec<In, N> v = load_vec<N>(row, i * N);
            for (int k = 0; k < N; k++) sum += to_float(v.v[k]);
        }
        for (uint64_t i = vectors * N + threadIdx.x; i < count; i += blockDim.x) sum += to_float(row[i]);
        sum = block_sum(sum);
        if (threadIdx.x == 0) y[task] = from_float<Out>(sum * p.factor);
    }
}

template <class In, class Out>
DEVICE void sum_columns(const ReduceParams& p) {
    SHARED(float, each_row, WARP * WARP);
    auto x = p.x.as<const In>();
    auto y = p.y.as<Out>();
    uint64_t blocks = (p.n + p.rows - 1) / p.rows;
    uint64_t stripes = (p.inner + WARP - 1) / WARP;
    for (uint64_t task = blockIdx.x; task < p.outer * blocks * stripes; task += gridDim.x) {
        uint64_t column = task % stripes * WARP + lane();
        uint64_t block = task / stripes;
        uint64_t first = block % blocks * p.rows;
        uint64_t count = p.n - first < p.rows ? p.n - first : p.rows;
        float sum = 0.0f;
        if (column < p.inner) {
            auto at = x + ((block / blocks * p.n + first) * p.inner + column);
            for (uint64_t r = warp(); r < count; r += warps()) sum += to_float(at[r * p.inner]);
        }
        each_row[threadIdx.x] = sum;
        __syncthreads();
        if (warp() == 0 && column < p.inner) {
            for (uint32_t w = 1; w < warps(); w++) sum += each_row[w * WARP + lane()];
            y[block * p.inner + column] = from_float<Out>(sum * p.factor);
        }
        __syncthreads();  // `each_row` is free again for the next task
    }
}

KERNEL(sum_rows_fwd_f32, ReduceParams) { sum_rows<float, float>(p); }
KERNEL(sum_rows_fwd_bf16, ReduceParams) { sum_rows<bf16, bf16>(p); }
KERNEL(sum_rows_fwd_partial_f32, ReduceParams) { sum_rows<float, float>(p); }
KERNEL(sum_rows_fwd_partial_bf16, ReduceParams) { sum_rows<bf16, float>(p); }
KERNEL(sum_rows_fwd_final_f32, ReduceParams) { sum_rows<float, float>(p); }
KERNEL(sum_rows_fwd_final_bf16, ReduceParams) { sum_rows<float, bf16>(p); }
KERNEL(sum_columns_fwd_f32, ReduceParams) { sum_columns<float, float>(p); }
KERNEL(sum_columns_fwd_bf16, ReduceParams) { sum_columns<bf16, bf16>(p); }
KERNEL(sum_columns_fwd_partial_f32, ReduceParams) { sum_columns<float, float>(p); }
KERNEL(sum_columns_fwd_partial_bf16, ReduceParams) { sum_columns<bf16, float>(p); }
KERNEL(sum_columns_fwd_final_f32, ReduceParams) { sum_columns<float, float>(p); }
KERNEL(sum_columns_fwd_final_bf16, ReduceParams) { sum_columns<float, bf16>(p); }
