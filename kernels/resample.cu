// resample: images of twice (up) or half (down) the size through a separable filter, zeros beyond the border.
//   x [n, from, c], y [n, to, c] with from, to = (rows, columns); taps [count], along either axis.
//   down: y[i, j] = sum over r, s of taps[r] taps[s] x[2i + r - pad, 2j + s - pad]
//   up:   y[i, j] = sum over r, s of taps[r] taps[s] x[(i + pad - r) / 2, (j + pad - s) / 2], where both are whole
//   Each is the other's gradient. A thread makes 16 bytes of neighbouring channels (one channel unless `wide`); the
//   reads of neighbouring pixels meet in the cache, so that one read of x and one write of y is the traffic. Sums are
//   fp32.
#include "device/veridical.cuh"

struct ResampleParams {
    buffer x;
    buffer y;
    uint64_t n;
    uint32_t from[2];
    uint32_t to[2];
    uint32_t c;
    uint32_t pad;
    uint32_t count;
    uint32_t wide;
    float taps[32];
};

// The pixel that tap r of result `to` reads, or something beyond the border.
template <bool UP>
DEVICE uint32_t source(const ResampleParams& p, uint32_t to, uint32_t r) {
    if (UP) return to + p.pad < r ? UINT32_MAX : (to + p.pad - r) / 2;
    return 2 * to + r - p.pad;
}

template <bool UP, int N, class T>
DEVICE void resample(const ResampleParams& p) {
    auto x = p.x.as<const T>();
    auto y = p.y.as<T>();
    uint32_t vectors = p.c / N, step = UP ? 2 : 1;
    uint64_t total = p.n * p.to[0] * p.to[1] * vectors;
    for (uint64_t t = global_thread(); t < total; t += grid_threads()) {
        uint32_t channel = t % vectors * N;
        uint64_t pixel = t / vectors;
        uint32_t j = pixel % p.to[1];
        uint64_t line = pixel / p.to[1];
        uint32_t i = line % p.to[0];
        auto image = x + line / p.to[0] * p.from[0] * p.from[1] * p.c;
        float sum[N];
        for (int k = 0; k < N; k++) sum[k] = 0.0f;
        for (uint32_t s = UP ? (j + p.pad) % 2 : 0; s < p.count; s += step) {
            uint32_t column = source<UP>(p, j, s);
            if (column >= p.from[1]) continue;
            float tall[N];
            for (int k = 0; k < N; k++) tall[k] = 0.0f;
            for (uint32_t r = UP ? (i + p.pad) % 2 : 0; r < p.count; r += step) {
                uint32_t row = source<UP>(p, i, r);
                if (row >= p.from[0]) continue;
                vec<T, N> v = load_vec<N>(image, ((uint64_t)row * p.from[1] + column) * p.c + channel);
                for (int k = 0; k < N; k++) tall[k] += p.taps[r] * to_float(v[k]);
            }
            for (int k = 0; k < N; k++) sum[k] += p.taps[s] * tall[k];
        }
        vec<T, N> v;
        for (int k = 0; k < N; k++) v[k] = from_float<T>(sum[k]);
        store_vec(y, pixel * p.c + channel, v);
    }
}

template <bool UP, class T>
DEVICE void launch(const ResampleParams& p) {
    if (p.wide) return resample<UP, 16 / sizeof(T), T>(p);
    resample<UP, 1, T>(p);
}

KERNEL(resample_fwd_up_f32, ResampleParams) { launch<true, float>(p); }
KERNEL(resample_fwd_up_bf16, ResampleParams) { launch<true, bf16>(p); }
KERNEL(resample_fwd_down_f32, ResampleParams) { launch<false, float>(p); }
KERNEL(resample_fwd_down_bf16, ResampleParams) { launch<false, bf16>(p); }
