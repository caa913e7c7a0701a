// frequency_embedding: y = [cos(2 pi x f), sin(2 pi x f)], and dx = sum of 2 pi f (dsin cos - dcos sin).
//   x, dx [n], y or its gradient [n, 2 half]; f = freqs [half], or 2^(rate i) / 2 pi without freqs.
//   The phase is in turns and fp64, so that whole turns come off exactly; sine and cosine of the rest are fp32. There
//   are few elements: one thread per (x, f) forward, one block per x backward, which sums in fp32 in a fixed order.
#include "device/veridical.cuh"

struct FrequencyEmbeddingParams {
    buffer x;
    buffer freqs;
    buffer y;
    buffer dx;
    uint64_t n;
    uint64_t half;
    double rate;
};

constexpr double TURN = 6.283185307179586;

template <class T>
DEVICE double frequency(const FrequencyEmbeddingParams& p, uint64_t i) {
    if (p.freqs) return to_float(p.freqs.as<const T>()[i]);
    return exp2(p.rate * (double)i) / TURN;
}

// The angle that is left of so many turns.
DEVICE float angle(double turns) { return (float)(TURN * (turns - rint(turns))); }

template <class T>
DEVICE void forward(const FrequencyEmbeddingParams& p) {
    auto x = p.x.as<const T>();
    auto y = p.y.as<T>();
    for (uint64_t t = global_thread(); t < p.n * p.half; t += grid_threads()) {
        uint64_t row = t / p.half, i = t % p.half;
        float a = angle(to_float(x[row]) * frequency<T>(p, i));
        y[row * 2 * p.half + i] = from_float<T>(cosf(a));
        y[row * 2 * p.half + p.half + i] = from_float<T>(sinf(a));
    }
}

template <class T>
DEVICE void backward(const FrequencyEmbeddingParams& p) {
    auto x = p.x.as<const T>();
    auto dx = p.dx.as<T>();
    for (uint64_t row = blockIdx.x; row < p.n; row += gridDim.x) {
        auto dcos = p.y.as<const T>() + row * 2 * p.half;
        auto dsin = dcos + p.half;
        float sum = 0.0f;
        for (uint64_t i = threadIdx.x; i < p.half; i += blockDim.x) {
            double f = frequency<T>(p, i);
            float a = angle(to_float(x[row]) * f);
            sum += (float)(TURN * f) * (to_float(dsin[i]) * cosf(a) - to_float(dcos[i]) * sinf(a));
        }
        sum = block_sum(sum);
        if (threadIdx.x == 0) dx[row] = from_float<T>(sum);
    }
}

KERNEL(frequency_embedding_fwd_f32, FrequencyEmbeddingParams) { forward<float>(p); }
KERNEL(frequency_embedding_fwd_bf16, FrequencyEmbeddingParams) { forward<bf16>(p); }
KERNEL(frequency_embedding_bwd_f32, FrequencyEmbeddingParams) { backward<float>(p); }
KERNEL(frequency_embedding_bwd_bf16, FrequencyEmbeddingParams) { backward<bf16>(p); }
