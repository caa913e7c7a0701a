// gradient_norm: result = [norm, min(1, max_norm / (norm + 1e-6))], the L2 norm over several tensors; factor NaN if the
//   norm is not finite.
//   gradient [n] f32 or bf16     partial [blocks] f64     result [2] f32
// First a launch per tensor: each block writes the sum of the squares of its share. Then one block sums the partial
// sums of all tensors (n of them). Sums are in f64 and in a fixed order. One read of the gradients.
#include "device/veridical.cuh"

struct GradientNormParams {
    buffer gradient;
    buffer partial;
    buffer result;
    uint64_t n;
    double max_norm;
    uint32_t wide;
    uint32_t unused;
};

DEVICE double squared(float g) { return static_cast<double>(g) * g; }

template <class T>
DEVICE void squares(const GradientNormParams& p) {
    constexpr int N = 16 / sizeof(T);
    auto g = p.gradient.as<const T>();
    uint64_t vectors = p.wide ? p.n / N : 0;
    double sum = 0.0;
    for (uint64_t i = global_thread(); i < vectors; i += grid_threads()) {
        vec<T, N> v = load_vec<N>(g, i * N);
        for (int k = 0; k < N; ++k) sum += squared(to_float(v[k]));
    }
    for (uint64_t i = vectors * N + global_thread(); i < p.n; i += grid_threads()) sum += squared(to_float(g[i]));
    sum = block_sum(sum);
    if (threadIdx.x == 0) p.partial.as<double>()[blockIdx.x] = sum;
}

KERNEL(gradient_norm_fwd_squares_f32, GradientNormParams) { squares<float>(p); }
KERNEL(gradient_norm_fwd_squares_bf16, GradientNormParams) { squares<bf16>(p); }

KERNEL(gradient_norm_fwd_total_f32, GradientNormParams) {
    auto partial = p.partial.as<const double>();
    double sum = 0.0;
    for (uint64_t i = threadIdx.x; i < p.n; i += blockDim.x) sum += partial[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        auto result = p.result.as<float>();
        double norm = sqrt(sum);
        double factor = p.max_norm / (norm + 1e-6);
        bool finite = norm - norm == 0.0;
        result[0] = static_cast<float>(norm);
        result[1] = finite ? static_cast<float>(factor < 1.0 ? factor : 1.0) : float_of_bits(0x7fc00000u);
    }
}
