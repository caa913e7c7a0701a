// activation: y = f(x) and dx = dy f'(x), element by element.
//   x, y, dy [n]; backward writes dx to y. One read of each input and one write: 2 (forward) or 3 (backward) elements of
//   traffic per element is the floor. Computed in fp32 whatever the dtype, rounded once.
#include "device/veridical.cuh"
#include "device/elementwise.cuh"

struct ActivationParams {
    buffer dy;
    buffer x;
    buffer y;
    uint64_t n;
    float slope;
    uint32_t wide;
};
LAYOUT(ActivationParams, dy, x, y, n, slope, wide)

DEVICE float logistic(float x) { return 1.0f / (1.0f + expf(-x)); }
DEVICE float normal_cdf(float x) { return 0.5f * erfcf(-0.70710678f * x); }

struct Silu {
    DEVICE static float value(float x, float) { return x * logistic(x); }
    DEVICE static float slope(float x, float) {
        float s = logistic(x);
        return s * (1.0f + x * (1.0f - s));
    }
};
struct Sigmoid {
    DEVICE static float value(float x, float) { return logistic(x); }
    DEVICE static float slope(float x, float) { return logistic(x) * logistic(-x); }
};
struct Tanh {
    DEVICE static float value(float x, float) { return tanhf(x); }
    DEVICE static float slope(float x, float) {
        float y = tanhf(x);
        return 1.0f - y * y;
    }
};
struct LeakyRelu {
    DEVICE static float value(float x, float slope) {
        if (x < 0.0f && slope == 0.0f) return 0.0f;  // so that ReLU maps -inf to 0, while NaN stays NaN
        return x > 0.0f ? x : x * slope;
    }
    DEVICE static float slope(float x, float slope) { return x > 0.0f ? 1.0f : slope; }
};
struct Gelu {
    DEVICE static float value(float x, float) { return x * normal_cdf(x); }
    DEVICE static float slope(float x, float) { return normal_cdf(x) + x * 0.39894228f * expf(-0.5f * x * x); }
};
struct Softplus {
    DEVICE static float value(float x, float) { return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x))); }
    DEVICE static float slope(float x, float) { return logistic(x); }
};

template <class F, class T>
DEVICE void forward(const ActivationParams& p) {
    float slope = p.slope;
    map_elements(p.y.as<T>(), p.x.as<const T>(), p.n, p.wide, [=](float x) { return F::value(x, slope); });
}

template <class F, class T>
DEVICE void backward(const ActivationParams& p) {
    float slope = p.slope;
    map_elements(p.y.as<T>(), p.dy.as<const T>(), p.x.as<const T>(), p.n, p.wide,
                 [=](float dy, float x) { return dy * F::slope(x, slope); });
}

KERNEL(silu_fwd_f32, ActivationParams) { forward<Silu, float>(p); }
KERNEL(silu_fwd_bf16, ActivationParams) { forward<Silu, bf16>(p); }
KERNEL(silu_bwd_f32, ActivationParams) { backward<Silu, float>(p); }
KERNEL(silu_bwd_bf16, ActivationParams) { backward<Silu, bf16>(p); }
KERNEL(sigmoid_fwd_f32, ActivationParams) { forward<Sigmoid, float>(p); }
KERNEL(sigmoid_fwd_bf16, ActivationParams) { forward<Sigmoid, bf16>(p); }
KERNEL(sigmoid_bwd_f32, ActivationParams) { backward<Sigmoid, float>(p); }
KERNEL(sigmoid_bwd_bf16, ActivationParams) { backward<Sigmoid, bf16>(p); }
KERNEL(tanh_fwd_f32, ActivationParams) { forward<Tanh, float>(p); }
KERNEL(tanh_fwd_bf16, ActivationParams) { forward<Tanh, bf16>(p); }
KERNEL(tanh_bwd_f32, ActivationParams) { backward<Tanh, float>(p); }
KERNEL(tanh_bwd_bf16, ActivationParams) { backward<Tanh, bf16>(p); }
KERNEL(leaky_relu_fwd_f32, ActivationParams) { forward<LeakyRelu, float>(p); }
KERNEL(leaky_relu_fwd_bf16, ActivationParams) { forward<LeakyRelu, bf16>(p); }
KERNEL(leaky_relu_bwd_f32, ActivationParams) { backward<LeakyRelu, float>(p); }
KERNEL(leaky_relu_bwd_bf16, ActivationParams) { backward<LeakyRelu, bf16>(p); }
KERNEL(gelu_fwd_f32, ActivationParams) { forward<Gelu, float>(p); }
KERNEL(gelu_fwd_bf16, ActivationParams) { forward<Gelu, bf16>(p); }
KERNEL(gelu_bwd_f32, ActivationParams) { backward<Gelu, float>(p); }
KERNEL(gelu_bwd_bf16, ActivationParams) { backward<Gelu, bf16>(p); }
KERNEL(softplus_fwd_f32, ActivationParams) { forward<Softplus, float>(p); }
KERNEL(softplus_fwd_bf16, ActivationParams) { forward<Softplus, bf16>(p); }
KERNEL(softplus_bwd_f32, ActivationParams) { backward<Softplus, float>(p); }
KERNEL(softplus_bwd_bf16, ActivationParams) { backward<Softplus, bf16>(p); }
