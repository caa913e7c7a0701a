// elementwise: y = f(x) and dx = dy f'(x), element by element.
//   x, y, dy [n]; backward writes dx to y, and takes e^x for the x of the exponential, which is its own derivative. One
//   read of each input and one write: 2 (forward) or 3 (backward) elements of traffic per element is the floor.
//   Computed in fp32 whatever the dtype, rounded once. `a` and `b` are the numbers that a function depends on:
//   leaky_relu's slope, clamp's bounds.
#include "device/veridical.cuh"
#include "device/elementwise.cuh"

struct ElementwiseParams {
    buffer dy;
    buffer x;
    buffer y;
    uint64_t n;
    float a;
    float b;
    uint64_t wide;
};

template <class F, class T>
DEVICE void forward(const ElementwiseParams& p) {
    float a = p.a, b = p.b;
    map_elements(p.y.as<T>(), p.x.as<const T>(), p.n, p.wide, [=](float x) { return F::value(x, a, b); });
}

template <class F, class T>
DEVICE void backward(const ElementwiseParams& p) {
    float a = p.a, b = p.b;
    map_elements(p.y.as<T>(), p.dy.as<const T>(), p.x.as<const T>(), p.n, p.wide,
                 [=](float dy, float x) { return dy * F::slope(x, a, b); });
}

// The four kernels of a function, by its struct; build.rs reads the name.
#define FAMILY(name, Params, F)                                  \
    KERNEL(name##_fwd_f32, Params) { forward<F, float>(p); }     \
    KERNEL(name##_fwd_bf16, Params) { forward<F, bf16>(p); }     \
    KERNEL(name##_bwd_f32, Params) { backward<F, float>(p); }    \
    KERNEL(name##_bwd_bf16, Params) { backward<F, bf16>(p); }

// A function of x alone: its value and its slope.
#define FUNCTION(F, VALUE, SLOPE)                                                   \
    struct F {                                                                      \
        DEVICE static float value(float x, float, float) { return VALUE; }          \
        DEVICE static float slope(float x, float, float) { return SLOPE; }          \
    };

DEVICE float logistic(float x) { return 1.0f / (1.0f + expf(-x)); }
DEVICE float normal_cdf(float x) { return 0.5f * erfcf(-0.70710678f * x); }
DEVICE float silu_slope(float x) {
    float s = logistic(x);
    return s * (1.0f + x * (1.0f - s));
}
DEVICE float tanh_slope(float x) {
    float y = tanhf(x);
    return 1.0f - y * y;
}

FUNCTION(Silu, x * logistic(x), silu_slope(x))
FUNCTION(Sigmoid, logistic(x), logistic(x) * logistic(-x))
FUNCTION(Tanh, tanhf(x), tanh_slope(x))
FUNCTION(Relu, x > 0.0f ? x : x < 0.0f ? 0.0f : x * 0.0f, x > 0.0f ? 1.0f : 0.0f)  // -inf becomes 0, NaN stays NaN
FUNCTION(Gelu, x * normal_cdf(x), normal_cdf(x) + x * 0.39894228f * expf(-0.5f * x * x))
FUNCTION(Softplus, fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x))), logistic(x))
FUNCTION(Exp, expf(x), x)
FUNCTION(Log, logf(x), 1.0f / x)
FUNCTION(Sqrt, sqrtf(x), 0.5f / sqrtf(x))
FUNCTION(Square, x * x, x + x)
FUNCTION(Abs, fabsf(x), x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : fabsf(x))
FUNCTION(Sin, sinf(x), cosf(x))
FUNCTION(Cos, cosf(x), -sinf(x))

struct LeakyRelu {
    DEVICE static float value(float x, float slope, float) {
        if (x < 0.0f && slope == 0.0f) return 0.0f;  // as for ReLU
        return x > 0.0f ? x : x * slope;
    }
    DEVICE static float slope(float x, float slope, float) { return x > 0.0f ? 1.0f : slope; }
};
struct Clamp {
    // Comparisons that are false for NaN, which therefore stays.
    DEVICE static float value(float x, float min, float max) { return x < min ? min : x > max ? max : x; }
    DEVICE static float slope(float x, float min, float max) { return x < min || x > max ? 0.0f : 1.0f; }
};

FAMILY(silu, ElementwiseParams, Silu)
FAMILY(sigmoid, ElementwiseParams, Sigmoid)
FAMILY(tanh, ElementwiseParams, Tanh)
FAMILY(relu, ElementwiseParams, Relu)
FAMILY(leaky_relu, ElementwiseParams, LeakyRelu)
FAMILY(gelu, ElementwiseParams, Gelu)
FAMILY(softplus, ElementwiseParams, Softplus)
FAMILY(exp, ElementwiseParams, Exp)
FAMILY(log, ElementwiseParams, Log)
FAMILY(sqrt, ElementwiseParams, Sqrt)
FAMILY(square, ElementwiseParams, Square)
FAMILY(abs, ElementwiseParams, Abs)
FAMILY(clamp, ElementwiseParams, Clamp)
FAMILY(sin, ElementwiseParams, Sin)
FAMILY(cos, ElementwiseParams, Cos)
