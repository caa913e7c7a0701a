// matmul_fwd_nt_few: y = a b' (+ bias) for at most 8 rows of a, where tiles would be all but empty: a network's call
//   for one sample.
//   y [m, n]    a [m, k]    b [n, k]    bias [n]
// One warp makes a column of y, all of its rows: it reads its row of b once, and a, which everybody reads, from the
// cache. Sums are fp32: of every WARP-th run of N elements by a lane, then over the warp. N follows from k (`run`), and
// the address (`wide`) only says whether a run is read at once.
#include "device/veridical.cuh"

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
