// embedding: y[i, :] = table[index[i], :]; its gradient; and one-hot rows, which are those of the identity.
//   table [rows, width], index [n] u32, y [n, width]. An index outside the table makes its row of y NaN, and has no
//   gradient.
//   Forward: one read and one write of y's size, 16 bytes at a time where the addresses and the width admit it
//   (`wide`).
//   Backward: table is the gradient and is set, y is the gradient of the result. A block owns one row and a stretch of
//   its columns; it looks through all of index, 128 at a time, and adds the matching rows of dy in order: equal inputs
//   give equal bits. So index is read rows times, from the cache; dy is read once. Sums are fp32.
#include "device/veridical.cuh"

struct EmbeddingParams {
    buffer table;
    buffer index;
    buffer y;
    uint64_t n;
    uint64_t rows;
    uint64_t width;
    uint64_t wide;
};

DEVICE float not_a_number() { return __uint_as_float(0x7fffffffu); }

template <int N, class T>
DEVICE void gather(const EmbeddingParams& p) {
    auto table = p.table.as<const T>();
    auto index = p.index.as<const uint32_t>();
    auto y = p.y.as<T>();
    uint64_t per_row = p.width / N;
    for (uint64_t i = global_thread(); i < p.n * per_row; i += grid_threads()) {
        uint64_t row = index[i / per_row];
        vec<T, N> v;
        if (row < p.rows) {
            v = load_vec<N>(table, row * p.width + i % per_row * N);
        } else {
            for (int k = 0; k < N; k++) v[k] = from_float<T>(not_a_number());
        }
        store_vec(y, i * N, v);
    }
}

constexpr uint32_t THREADS = 128;

template <int N, class T>
DEVICE void scatter(const EmbeddingParams& p) {
    auto gradient = p.table.as<T>();
    auto index = p.index.as<const uint32_t>();
    auto dy = p.y.as<const T>();
    SHARED(uint32_t, matches, THREADS / WARP);
    uint64_t columns = p.width / N;
    uint64_t stretches = (columns + THREADS - 1) / THREADS;
    for (uint64_t task = blockIdx.x; task < p.rows * stretches; task += gridDim.x) {
        uint64_t row = task / stretches, column = task % stretches * THREADS + threadIdx.x;
        float sum[N];
        for (int k = 0; k < N; k++) sum[k] = 0.0f;
        for (uint64_t first = 0; first < p.n; first += THREADS) {
            uint64_t mine = first + threadIdx.x;
            uint32_t found = __ballot_sync(FULL_MASK, mine < p.n && index[mine] == row);
            if (lane() == 0) matches[warp()] = found;
            __syncthreads();
            for (uint32_t w = 0; w < THREADS / WARP; w++) {
                for (uint32_t left = matches[w]; left != 0; left &= left - 1) {
                    uint64_t place = first + w * WARP + __ffs(left) - 1;
                    if (column >= columns) continue;
                    vec<T, N> v = load_vec<N>(dy, place * p.width + column * N);
                    for (int k = 0; k < N; k++) sum[k] += to_float(v[k]);
                }
            }
            __syncthreads();
        }
        if (column >= columns) continue;
        vec<T, N> v;
        for (int k = 0; k < N; k++) v[k] = from_float<T>(sum[k]);
        store_vec(gradient, row * p.width + column * N, v);
    }
}

template <class T>
DEVICE void forward(const EmbeddingParams& p) {
    if (p.wide) return gather<16 / sizeof(T), T>(p);
    gather<1, T>(p);
}

template <class T>
DEVICE void backward(const EmbeddingParams& p) {
    if (p.wide) return scatter<16 / sizeof(T), T>(p);
    scatter<1, T>(p);
}

template <class T>
DEVICE void one_hot(const EmbeddingParams& p) {
    auto index = p.index.as<const uint32_t>();
    auto y = p.y.as<T>();
    for (uint64_t i = global_thread(); i < p.n * p.width; i += grid_threads()) {
        uint64_t hot = index[i / p.width];
        float value = hot < p.rows ? (hot == i % p.width ? 1.0f : 0.0f) : not_a_number();
        y[i] = from_float<T>(value);
    }
}

KERNEL(embedding_fwd_f32, EmbeddingParams) { forward<float>(p); }
KERNEL(embedding_fwd_bf16, EmbeddingParams) { forward<bf16>(p); }
KERNEL_BOUNDS(embedding_bwd_f32, EmbeddingParams, THREADS) { backward<float>(p); }
KERNEL_BOUNDS(embedding_bwd_bf16, EmbeddingParams, THREADS) { backward<bf16>(p); }
KERNEL(one_hot_fwd_f32, EmbeddingParams) { one_hot<float>(p); }
KERNEL(one_hot_fwd_bf16, EmbeddingParams) { one_hot<bf16>(p); }
