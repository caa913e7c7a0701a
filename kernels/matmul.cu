// matmul: y[i] = a[i] b[i] (+ bias), a and b each as they are or transposed.
//   y [batch, m, n]    a [batch, m, k] or [batch, k, m]    b [batch, k, n] or [batch, n, k]    bias [n]
//   nn, nt, tn, tt: first a, then b; t means transposed. `large` and `small` are tiles of 128 x 128 and 64 x 64.
// y is set. One block makes one tile of one part of the depth; blockIdx.z walks through the batch. Sums are fp32 in an
// order that the shapes fix. Each element of a is read once per column of tiles, each of b once per row of tiles.
#include "device/veridical.cuh"
#include "device/hopper_gemm.cuh"
#include "device/product.cuh"

using namespace veridical::gemm;

struct MatmulParams {
    buffer a;
    buffer b;
    buffer bias;
    buffer y;
    buffer parts;
    uint64_t a_batch;
    uint64_t b_batch;
    uint32_t m;
    uint32_t n;
    uint32_t k;
    uint32_t depth_per_part;
    uint32_t batch;
    uint32_t wide_a;
    uint32_t wide_b;
    uint32_t wide_y;
};

template <class T, int SIZE, bool A_TRANSPOSED, bool B_TRANSPOSED>
DEVICE void matmul(const MatmulParams& p) {
    for (uint32_t i = blockIdx.z; i < p.batch; i += gridDim.z) {
        // A transposed on the left is a matrix whose rows are steps in depth; on the right that is one which is not
        // transposed.
        Factor<MatrixSource<T>, A_TRANSPOSED> a{{p.a.as<const T>() + i * p.a_batch, A_TRANSPOSED ? p.m : p.k}, p.m, p.wide_a != 0};
        Factor<MatrixSource<T>, !B_TRANSPOSED> b{{p.b.as<const T>() + i * p.b_batch, B_TRANSPOSED ? p.k : p.n}, p.n, p.wide_b != 0};
        uint64_t size = (uint64_t)p.m * p.n;
        Output<T> out{p.y.as<T>() + i * size, p.bias.as<const T>(), p.parts.as<float>(), p.m, p.n, p.wide_y != 0};
        if (p.parts) out.parts += i * gridDim.y * size;
        product<T, SIZE>(a, b, p.k, p.depth_per_part, out);
    }
}

KERNEL_BOUNDS(matmul_fwd_nn_large_bf16, MatmulParams, (product_threads<bf16, LARGE>)) { matmul<bf16, LARGE, false, false>(p); }
KERNEL_BOUNDS(matmul_fwd_nt_large_bf16, MatmulParams, (product_threads<bf16, LARGE>)) { matmul<bf16, LARGE, false, true>(p); }
KERNEL_BOUNDS(matmul_fwd_tn_large_bf16, MatmulParams, (product_threads<bf16, LARGE>)) { matmul<bf16, LARGE, true, false>(p); }
KERNEL_BOUNDS(matmul_fwd_tt_large_bf16, MatmulParams, (product_threads<bf16, LARGE>)) { matmul<bf16, LARGE, true, true>(p); }
KERNEL_BOUNDS(matmul_fwd_nn_small_bf16, MatmulParams, (product_threads<bf16, SMALL>)) { matmul<bf16, SMALL, false, false>(p); }
KERNEL_BOUNDS(matmul_fwd_nt_small_bf16, MatmulParams, (product_threads<bf16, SMALL>)) { matmul<bf16, SMALL, false, true>(p); }
KERNEL_BOUNDS(matmul_fwd_tn_small_bf16, MatmulParams, (product_threads<bf16, SMALL>)) { matmul<bf16, SMALL, true, false>(p); }
KERNEL_BOUNDS(matmul_fwd_tt_small_bf16, MatmulParams, (product_threads<bf16, SMALL>)) { matmul<bf16, SMALL, true, true>(p); }
KERNEL_BOUNDS(matmul_fwd_nn_large_f32, MatmulParams, (product_threads<float, LARGE>)) { matmul<float, LARGE, false, false>(p); }
KERNEL_BOUNDS(matmul_fwd_nt_large_f32, MatmulParams, (product_threads<float, LARGE>)) { matmul<float, LARGE, false, true>(p); }
KERNEL_BOUNDS(matmul_fwd_tn_large_f32, MatmulParams, (product_threads<float, LARGE>)) { matmul<float, LARGE, true, false>(p); }
KERNEL_BOUNDS(matmul_fwd_tt_large_f32, MatmulParams, (product_threads<float, LARGE>)) { matmul<float, LARGE, true, true>(p); }
KERNEL_BOUNDS(matmul_fwd_nn_small_f32, MatmulParams, (product_threads<float, SMALL>)) { matmul<float, SMALL, false, false>(p); }
KERNEL_BOUNDS(matmul_fwd_nt_small_f32, MatmulParams, (product_threads<float, SMALL>)) { matmul<float, SMALL, false, true>(p); }
KERNEL_BOUNDS(matmul_fwd_tn_small_f32, MatmulParams, (product_threads<float, SMALL>)) { matmul<float, SMALL, true, false>(p); }
KERNEL_BOUNDS(matmul_fwd_tt_small_f32, MatmulParams, (product_threads<float, SMALL>)) { matmul<float, SMALL, true, true>(p); }

// matmul_fwd_nt_few: y = a b' (+ bias) for at most 8 rows of a, where tiles would be all but empty: a network's call
//   for one sample.
//   y [m, n]    a [m, k]    b [n, k]    bias [n]
// One warp makes a column of y, all of its rows: it reads its row of b once, and a, which everybody reads, from the
// cache. Sums are fp32: of every WARP-th run of N elements by a lane, then over the warp. N follows from k (`run`), and
// the address (`wide`) only says whether a run is read at once.
struct MatmulFewParams {
    buffer a;
    buffer b;
    buffer bias;
    buffer y;
    uint32_t m;
    uint32_t n;
    uint32_t k;
    uint32_t run;
    uint32_t wide;
    uint32_t unused;
};

template <int N, bool WIDE, class T>
DEVICE vec<T, N> run_of(gptr<const T> from, uint64_t i) {
    if constexpr (WIDE) return load_vec<N>(from, i);
    vec<T, N> v;
    for (int j = 0; j < N; j++) v[j] = from[i + j];
    return v;
}

template <class T, int N, bool WIDE, int ROWS>
DEVICE void few(const MatmulFewParams& p) {
    int rows = (int)p.m;
    auto a = p.a.as<const T>();
    auto bias = p.bias.as<const T>();
    auto y = p.y.as<T>();
    for (uint64_t column = (uint64_t)blockIdx.x * warps() + warp(); column < p.n; column += (uint64_t)gridDim.x * warps()) {
        auto b = p.b.as<const T>() + column * p.k;
        float sum[ROWS];
        for (int r = 0; r < ROWS; r++) sum[r] = 0.0f;
        for (uint64_t i = lane() * N; i < p.k; i += WARP * N) {
            auto weight = run_of<N, WIDE>(b, i);
            for (int r = 0; r < ROWS; r++) {
                if (r >= rows) break;
                auto value = run_of<N, WIDE>(a, (uint64_t)r * p.k + i);
                for (int j = 0; j < N; j++) sum[r] += to_float(value[j]) * to_float(weight[j]);
            }
        }
        for (int r = 0; r < ROWS; r++) {
            float total = warp_sum(sum[r]);
            if (lane() == 0 && r < rows)
                y[(uint64_t)r * p.n + column] = from_float<T>(p.bias ? total + to_float(bias[column]) : total);
        }
    }
}

template <class T>
DEVICE void few(const MatmulFewParams& p) {
    constexpr int N = 16 / sizeof(T);
    if (p.run == 1) few<T, 1, false, 8>(p);
    else if (!p.wide) few<T, N, false, 8>(p);
    else if (p.m == 1) few<T, N, true, 1>(p);
    else if (p.m <= 4) few<T, N, true, 4>(p);
    else few<T, N, true, 8>(p);
}

KERNEL_BOUNDS(matmul_fwd_nt_few_f32, MatmulFewParams, 128, 8) { few<float>(p); }
KERNEL_BOUNDS(matmul_fwd_nt_few_bf16, MatmulFewParams, 128, 8) { few<bf16>(p); }

// matmul_fwd_nt_hopper: the same as nt, for Hopper. The rows of a and b are multiples of 16 bytes. `batch_tiles` tiles,
// and so many blocks as the GPU has multiprocessors, each with one tile after the other. In the form for clusters of
// two blocks a tile is two, one below the other, and the boxes of b have half as many lines.
struct MatmulHopperParams {
    TensorMap a;
    TensorMap b;
    buffer bias;
    buffer y;
    uint32_t m;
    uint32_t n;
    uint32_t k;
    uint32_t batch;
    uint32_t batch_tiles;
    uint32_t wide_y;
    uint32_t unused[6];
};

template <int CLUSTER>
struct MatmulHopperSource {
    static constexpr bool TRANSPOSED = false;
    static constexpr int BLOCKS = CLUSTER;
    const MatmulHopperParams& p;
    struct Tile {
        uint32_t row, column, batch;
    };
    DEVICE uint32_t tiles() const { return p.batch * p.batch_tiles; }
    DEVICE uint32_t steps(uint32_t) const { return (p.k + hopper::DEPTH - 1) / hopper::DEPTH; }
    DEVICE Tile tile(uint32_t index) const {
        uint32_t batch = index / p.batch_tiles;
        TilePosition at = hopper::position<BLOCKS>(p.m, p.n, index - batch * p.batch_tiles);
        return {at.row, at.column, batch};
    }
    DEVICE void load(sptr<bf16> a, sptr<bf16> b, const Tile& tile, uint32_t step, sptr<uint64_t> full) const {
        const uint32_t part = hopper::rank<BLOCKS>() * (hopper::TILE_N / BLOCKS);
        const int32_t depth = (int32_t)(step * hopper::DEPTH), batch = (int32_t)tile.batch;
        const int32_t from_a[3] = {depth, (int32_t)tile.row, batch}, from_b[3] = {depth, (int32_t)(tile.column + part), batch};
        tensor_load(a, p.a, from_a, full);
        hopper::load_for_all<BLOCKS>(b + part * hopper::DEPTH, p.b, from_b, full);
    }
    DEVICE Output<bf16> output(const Tile& tile) const {
        uint64_t size = (uint64_t)p.m * p.n;
        return {p.y.as<bf16>() + tile.batch * size, p.bias.as<const bf16>(), {}, p.m, p.n, p.wide_y != 0};
    }
};

KERNEL_BOUNDS(matmul_fwd_nt_hopper_bf16, MatmulHopperParams, hopper::THREADS, 1) { hopper::product(MatmulHopperSource<1>{p}); }
KERNEL_CLUSTER(matmul_fwd_nt_hopper_cluster_bf16, MatmulHopperParams, 2, hopper::THREADS, 1) { hopper::product(MatmulHopperSource<2>{p}); }

// sum_parts: y[i] = sum over parts of parts[batch, part, i] (+ bias[i mod n]), in the order of the parts.
struct SumPartsParams {
    buffer parts;
    buffer bias;
    buffer y;
    uint64_t size;
    uint64_t n;
    uint64_t batch;
    uint64_t count;
};

template <class T>
DEVICE void sum_parts(const SumPartsParams& p) {
    auto bias = p.bias.as<const T>();
    auto y = p.y.as<T>();
    for (uint64_t i = global_thread(); i < p.batch * p.size; i += grid_threads()) {
        uint64_t at = i % p.size;
        auto from = p.parts.as<const float>() + (i / p.size * p.count * p.size + at);
        float sum = 0.0f;
        for (uint64_t part = 0; part < p.count; part++) sum += from[part * p.size];
        if (bias) sum += to_float(bias[at % p.n]);
        y[i] = from_float<T>(sum);
    }
}

KERNEL(matmul_fwd_sum_parts_bf16, SumPartsParams) { sum_parts<bf16>(p); }
KERNEL(matmul_fwd_sum_parts_f32, SumPartsParams) { sum_parts<float>(p); }
