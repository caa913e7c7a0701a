// reduce: y[o, b, i] = factor * sum over rows r of block b of x[o, r, i].
//   x [outer, n, inner], y [outer, ceil(n / rows), inner]. One read of x. Sums are fp32 in an order fixed by the
//   shapes.
//   sum_rows (inner = 1): one thread block per sum; threads stride through the row, 16 bytes at a time, then a block
//   sum.
//   sum_columns (inner > 1): one block per stripe of columns. A thread has 16 bytes of neighbouring columns, or one
//   column; a warp reads several rows at a time, a thread has four loads under way. The rows of a warp are added
//   first, then the warps in order.
//   wide: 0 where rows are no whole number of 16 bytes; 1 where they are and begin at one, to be loaded by one
//   instruction; 2 where they are and do not: summed in the same order, loaded element by element.
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

constexpr uint32_t WARPS = 8;  // of a block

template <bool TOGETHER, int N, class T, class I>
DEVICE vec<std::remove_const_t<T>, N> neighbours(gptr<T> at, I i) {
    if constexpr (TOGETHER) {
        return load_vec<N>(at, i);
    } else {
        vec<std::remove_const_t<T>, N> v;
        UNROLL for (int k = 0; k < N; k++) v[k] = at[i + k];
        return v;
    }
}

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
            vec<In, N> v = p.wide == 1 ? neighbours<true, N>(row, i * N) : neighbours<false, N>(row, i * N);
            for (int k = 0; k < N; k++) sum += to_float(v.v[k]);
        }
        for (uint64_t i = vectors * N + threadIdx.x; i < count; i += blockDim.x) sum += to_float(row[i]);
        sum = block_sum(sum);
        if (threadIdx.x == 0) y[task] = from_float<Out>(sum * p.factor);
    }
}

// N neighbouring columns a thread, loaded TOGETHER or not, ACROSS threads to a stripe.
template <class In, class Out, int N, bool TOGETHER, uint32_t ACROSS>
DEVICE void sum_stripes(const ReduceParams& p) {
    constexpr uint32_t WIDTH = ACROSS * N, ROWS = WARP / ACROSS;
    constexpr int UNDER_WAY = 4;
    SHARED(float, each_warp, WARPS * WIDTH);
    auto x = p.x.as<const In>();
    auto y = p.y.as<Out>();
    uint64_t blocks = (p.n + p.rows - 1) / p.rows;
    uint64_t stripes = (p.inner + WIDTH - 1) / WIDTH;
    for (uint64_t task = blockIdx.x; task < p.outer * blocks * stripes; task += gridDim.x) {
        uint64_t begin = task % stripes * WIDTH, column = begin + lane() % ACROSS * N;
        uint64_t block = task / stripes;
        uint64_t first = block % blocks * p.rows;
        uint32_t count = column >= p.inner ? 0 : (uint32_t)(p.n - first < p.rows ? p.n - first : p.rows);
        auto at = x + ((block / blocks * p.n + first) * p.inner + column);
        float sums[N] = {};
        constexpr uint32_t STEP = WARPS * ROWS;
        uint32_t r = warp() * ROWS + lane() / ACROSS;
        for (; r + (UNDER_WAY - 1) * STEP < count; r += UNDER_WAY * STEP) {
            vec<In, N> v[UNDER_WAY];
            UNROLL for (int k = 0; k < UNDER_WAY; k++) v[k] = neighbours<TOGETHER, N>(at, (r + k * STEP) * p.inner);
            UNROLL for (int k = 0; k < UNDER_WAY; k++) {
                UNROLL for (int i = 0; i < N; i++) sums[i] += to_float(v[k][i]);
            }
        }
        for (; r < count; r += STEP) {
            vec<In, N> v = neighbours<TOGETHER, N>(at, r * p.inner);
            UNROLL for (int i = 0; i < N; i++) sums[i] += to_float(v[i]);
        }
        UNROLL for (uint32_t other = ACROSS; other < WARP; other *= 2) {
            UNROLL for (int i = 0; i < N; i++) sums[i] += __shfl_xor_sync(FULL_MASK, sums[i], other);
        }
        if (lane() < ACROSS) {
            UNROLL for (int i = 0; i < N; i++) each_warp[warp() * WIDTH + lane() * N + i] = sums[i];
        }
        __syncthreads();
        if (threadIdx.x < WIDTH && begin + threadIdx.x < p.inner) {
            float sum = 0.0f;
            UNROLL for (uint32_t w = 0; w < WARPS; w++) sum += each_warp[w * WIDTH + threadIdx.x];
            y[block * p.inner + begin + threadIdx.x] = from_float<Out>(sum * p.factor);
        }
        __syncthreads();  // `each_warp` is free again for the next task
    }
}

template <class In, class Out>
DEVICE void sum_columns(const ReduceParams& p) {
    constexpr int N = 16 / sizeof(In);
    if (p.wide == 1) sum_stripes<In, Out, N, true, 8>(p);
    else if (p.wide == 2) sum_stripes<In, Out, N, false, 8>(p);
    else sum_stripes<In, Out, 1, true, WARP>(p);
}

KERNEL(sum_rows_fwd_f32, ReduceParams) { sum_rows<float, float>(p); }
KERNEL(sum_rows_fwd_bf16, ReduceParams) { sum_rows<bf16, bf16>(p); }
KERNEL(sum_rows_fwd_partial_f32, ReduceParams) { sum_rows<float, float>(p); }
KERNEL(sum_rows_fwd_partial_bf16, ReduceParams) { sum_rows<bf16, float>(p); }
KERNEL(sum_rows_fwd_final_f32, ReduceParams) { sum_rows<float, float>(p); }
KERNEL(sum_rows_fwd_final_bf16, ReduceParams) { sum_rows<float, bf16>(p); }
KERNEL_BOUNDS(sum_columns_fwd_f32, ReduceParams, WARPS * WARP) { sum_columns<float, float>(p); }
KERNEL_BOUNDS(sum_columns_fwd_bf16, ReduceParams, WARPS * WARP) { sum_columns<bf16, bf16>(p); }
KERNEL_BOUNDS(sum_columns_fwd_partial_f32, ReduceParams, WARPS * WARP) { sum_columns<float, float>(p); }
KERNEL_BOUNDS(sum_columns_fwd_partial_bf16, ReduceParams, WARPS * WARP) { sum_columns<bf16, float>(p); }
KERNEL_BOUNDS(sum_columns_fwd_final_f32, ReduceParams, WARPS * WARP) { sum_columns<float, float>(p); }
KERNEL_BOUNDS(sum_columns_fwd_final_bf16, ReduceParams, WARPS * WARP) { sum_columns<float, bf16>(p); }
