// pool2d: the largest (max) or the mean value of each window of NHWC images, and what goes with them.
//   x [images, height, width, channels], y [images, out_height, out_width, channels], taps u32 of y's shape
//   A window begins at stride times its place; tap kernel r + s is its pixel (r, s).
//   fwd_max:     y = the largest, taps = the tap of the first of the largest; NaN is larger than any number
//   fwd_mean:    y = factor * the sum
//   fwd_gather:  y = x at taps
//   bwd_scatter: x = factor * the sum of y over the windows around a pixel, in their order: of those whose tap the
//                pixel is, or of all if there are no taps
// A thread makes 16 bytes of neighbouring channels (one channel unless `wide`) of the result, which is set. Each result
// is written once; what is read more than once, where windows overlap or by bwd_scatter, comes from the caches. Sums
// are fp32.
#include "device/veridical.cuh"

struct Pool2dParams {
    buffer x;
    buffer y;
    buffer taps;
    uint64_t images;
    uint32_t height;
    uint32_t width;
    uint32_t out_height;
    uint32_t out_width;
    uint32_t channels;
    uint32_t kernel;
    uint32_t stride;
    float factor;
    uint32_t wide;
    uint32_t unused;
};

// A pixel of images of height x width, and its first channel here.
struct Pixel {
    uint64_t image;
    uint32_t i, j, channel;
};
template <int N>
DEVICE Pixel pixel_of(const Pool2dParams& p, uint64_t t, uint32_t height, uint32_t width) {
    uint32_t vectors = p.channels / N;
    uint64_t pixel = t / vectors, line = pixel / width;
    return {line / height, (uint32_t)(line % height), (uint32_t)(pixel % width), (uint32_t)(t % vectors) * N};
}

// The element of x at pixel (r, s) of the window of a pixel of the result.
DEVICE uint64_t element(const Pool2dParams& p, const Pixel& at, uint32_t r, uint32_t s) {
    uint64_t i = (uint64_t)at.i * p.stride + r, j = (uint64_t)at.j * p.stride + s;
    return ((at.image * p.height + i) * p.width + j) * p.channels + at.channel;
}

// Calls f(tap, element of x) for the pixels of a window.
template <class F>
DEVICE void each_tap(const Pool2dParams& p, const Pixel& at, F f) {
    for (uint32_t r = 0; r < p.kernel; r++)
        for (uint32_t s = 0; s < p.kernel; s++) f(r * p.kernel + s, element(p, at, r, s));
}

// N neighbouring taps, 16 bytes at a time where there are as many.
template <int N>
DEVICE vec<uint32_t, N> load_taps(gptr<const uint32_t> taps, uint64_t i) {
    constexpr int AT_ONCE = N < 4 ? N : 4;
    vec<uint32_t, N> all;
    for (int k = 0; k < N; k += AT_ONCE) {
        vec<uint32_t, AT_ONCE> some = load_vec<AT_ONCE>(taps, i + k);
        for (int q = 0; q < AT_ONCE; q++) all[k + q] = some[q];
    }
    return all;
}
template <int N>
DEVICE void store_taps(gptr<uint32_t> taps, uint64_t i, const vec<uint32_t, N>& all) {
    constexpr int AT_ONCE = N < 4 ? N : 4;
    for (int k = 0; k < N; k += AT_ONCE) {
        vec<uint32_t, AT_ONCE> some;
        for (int q = 0; q < AT_ONCE; q++) some[q] = all[k + q];
        store_vec(taps, i + k, some);
    }
}

template <int N, class T>
DEVICE void largest(const Pool2dParams& p) {
    auto x = p.x.as<const T>();
    uint64_t total = p.images * p.out_height * p.out_width * (p.channels / N);
    for (uint64_t t = global_thread(); t < total; t += grid_threads()) {
        Pixel at = pixel_of<N>(p, t, p.out_height, p.out_width);
        vec<T, N> best = load_vec<N>(x, element(p, at, 0, 0));
        vec<uint32_t, N> taps;
        for (int k = 0; k < N; k++) taps[k] = 0;
        each_tap(p, at, [&](uint32_t tap, uint64_t i) {
            vec<T, N> v = load_vec<N>(x, i);
            for (int k = 0; k < N; k++) {
                float a = to_float(v[k]), b = to_float(best[k]);
                if (a > b || (a != a && b == b)) {
                    best[k] = v[k];
                    taps[k] = tap;
                }
            }
        });
        store_vec(p.y.as<T>(), t * N, best);
        store_taps<N>(p.taps.as<uint32_t>(), t * N, taps);
    }
}

template <int N, class T>
DEVICE void mean(const Pool2dParams& p) {
    auto x = p.x.as<const T>();
    uint64_t total = p.images * p.out_height * p.out_width * (p.channels / N);
    for (uint64_t t = global_thread(); t < total; t += grid_threads()) {
        float sum[N];
        for (int k = 0; k < N; k++) sum[k] = 0.0f;
        each_tap(p, pixel_of<N>(p, t, p.out_height, p.out_width), [&](uint32_t, uint64_t i) {
            vec<T, N> v = load_vec<N>(x, i);
            for (int k = 0; k < N; k++) sum[k] += to_float(v[k]);
        });
        vec<T, N> y;
        for (int k = 0; k < N; k++) y[k] = from_float<T>(sum[k] * p.factor);
        store_vec(p.y.as<T>(), t * N, y);
    }
}

template <int N, class T>
DEVICE void gather(const Pool2dParams& p) {
    auto x = p.x.as<const T>();
    uint64_t total = p.images * p.out_height * p.out_width * (p.channels / N);
    for (uint64_t t = global_thread(); t < total; t += grid_threads()) {
        Pixel at = pixel_of<N>(p, t, p.out_height, p.out_width);
        vec<uint32_t, N> taps = load_taps<N>(p.taps.as<const uint32_t>(), t * N);
        vec<T, N> y;
        for (int k = 0; k < N; k++) y[k] = x[element(p, at, taps[k] / p.kernel, taps[k] % p.kernel) + k];
        store_vec(p.y.as<T>(), t * N, y);
    }
}

template <int N, class T>
DEVICE void scatter(const Pool2dParams& p) {
    auto y = p.y.as<const T>();
    bool chosen = p.taps ? true : false;
    uint64_t total = p.images * p.height * p.width * (p.channels / N);
    for (uint64_t t = global_thread(); t < total; t += grid_threads()) {
        Pixel at = pixel_of<N>(p, t, p.height, p.width);
        // The first window that reaches a pixel, and the one after the last that begins before it.
        auto first = [&](uint32_t i) { return i < p.kernel ? 0 : (i - p.kernel) / p.stride + 1; };
        uint32_t a_end = min(at.i / p.stride + 1, p.out_height), b_end = min(at.j / p.stride + 1, p.out_width);
        float sum[N];
        for (int k = 0; k < N; k++) sum[k] = 0.0f;
        for (uint32_t a = first(at.i); a < a_end; a++) {
            for (uint32_t b = first(at.j); b < b_end; b++) {
                uint64_t i = ((at.image * p.out_height + a) * p.out_width + b) * p.channels + at.channel;
                uint32_t tap = (at.i - a * p.stride) * p.kernel + (at.j - b * p.stride);
                vec<T, N> v = load_vec<N>(y, i);
                if (chosen) {
                    vec<uint32_t, N> taps = load_taps<N>(p.taps.as<const uint32_t>(), i);
                    for (int k = 0; k < N; k++) sum[k] += taps[k] == tap ? to_float(v[k]) : 0.0f;
                } else {
                    for (int k = 0; k < N; k++) sum[k] += to_float(v[k]);
                }
            }
        }
        vec<T, N> x;
        for (int k = 0; k < N; k++) x[k] = from_float<T>(sum[k] * p.factor);
        store_vec(p.x.as<T>(), t * N, x);
    }
}

KERNEL(pool2d_fwd_max_f32, Pool2dParams) {
    if (p.wide) largest<4, float>(p);
    else largest<1, float>(p);
}
KERNEL(pool2d_fwd_max_bf16, Pool2dParams) {
    if (p.wide) largest<8, bf16>(p);
    else largest<1, bf16>(p);
}
KERNEL(pool2d_fwd_mean_f32, Pool2dParams) {
    if (p.wide) mean<4, float>(p);
    else mean<1, float>(p);
}
KERNEL(pool2d_fwd_mean_bf16, Pool2dParams) {
    if (p.wide) mean<8, bf16>(p);
    else mean<1, bf16>(p);
}
KERNEL(pool2d_fwd_gather_f32, Pool2dParams) {
    if (p.wide) gather<4, float>(p);
    else gather<1, float>(p);
}
KERNEL(pool2d_fwd_gather_bf16, Pool2dParams) {
    if (p.wide) gather<8, bf16>(p);
    else gather<1, bf16>(p);
}
KERNEL(pool2d_bwd_scatter_f32, Pool2dParams) {
    if (p.wide) scatter<4, float>(p);
    else scatter<1, float>(p);
}
KERNEL(pool2d_bwd_scatter_bf16, Pool2dParams) {
    if (p.wide) scatter<8, bf16>(p);
    else scatter<1, bf16>(p);
}
