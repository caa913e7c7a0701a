// pointwise: y = f(x) and dx = dy f'(x), element by element.
//   x, y, dy [n]; backward writes dx to y, and takes e^x for the x of the exponential, which is its own derivative. One read of each input and one write: 2 (forward) or 3 (backward) elements of
//   traffic per element is the floor. Computed in fp32 whatever the dtype, rounded once.
#include "device/veridical.cuh"
#include "device/elementwise.cuh"

struct PointwiseParams {
    buffer dy;
    buffer x;
    buffer y;
    uint64_t n;
    float min;
    float max;
    uint64_t wide;
};
LAYOUT(PointwiseParams, dy, x, y, n, min, max, wide)

struct Bounds {
    float min;
    float max;
};

struct Exp {
    DEVICE static float value(float x, Bounds) { return expf(x); }
    DEVICE static float slope(float y, Bounds) { return y; }
};
struct Log {
    DEVICE static float value(float x, Bounds) { return logf(x); }
    DEVICE static float slope(float x, Bounds) { return 1.0f / x; }
};
struct Sqrt {
    DEVICE static float value(float x, Bounds) { return sqrtf(x); }
    DEVICE static float slope(float x, Bounds) { return 0.5f / sqrtf(x); }
};
struct Square {
    DEVICE static float value(float x, Bounds) { return x * x; }
    DEVICE static float slope(float x, Bounds) { return x + x; }
};
struct Abs {
    DEVICE static float value(float x, Bounds) { return fabsf(x); }
    DEVICE static float slope(float x, Bounds) { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : fabsf(x); }  // NaN stays NaN
};
struct Clamp {
    // Comparisons that are false for NaN, which therefore stays.
    DEVICE static float value(float x, Bounds b) { return x < b.min ? b.min : x > b.max ? b.max : x; }
    DEVICE static float slope(float x, Bounds b) { return x < b.min || x > b.max ? 0.0f : 1.0f; }
};

template <class F, class T>
DEVICE void forward(const PointwiseParams& p) {
    Bounds bounds = {p.min, p.max};
    map_elements(p.y.as<T>(), p.x.as<const T>(), p.n, p.wide, [=](float x) { return F::value(x, bounds); });
}

template <class F, class T>
DEVICE void backward(const PointwiseParams& p) {
    Bounds bounds = {p.min, p.max};
    map_elements(p.y.as<T>(), p.dy.as<const T>(), p.x.as<const T>(), p.n, p.wide,
                 [=](float dy, float x) { return dy * F::slope(x, bounds); });
}

KERNEL(exp_fwd_f32, PointwiseParams) { forward<Exp, float>(p); }
KERNEL(exp_fwd_bf16, PointwiseParams) { forward<Exp, bf16>(p); }
KERNEL(exp_bwd_f32, PointwiseParams) { backward<Exp, float>(p); }
KERNEL(exp_bwd_bf16, PointwiseParams) { backward<Exp, bf16>(p); }
KERNEL(log_fwd_f32, PointwiseParams) { forward<Log, float>(p); }
KERNEL(log_fwd_bf16, PointwiseParams) { forward<Log, bf16>(p); }
KERNEL(log_bwd_f32, PointwiseParams) { backward<Log, float>(p); }
KERNEL(log_bwd_bf16, PointwiseParams) { backward<Log, bf16>(p); }
KERNEL(sqrt_fwd_f32, PointwiseParams) { forward<Sqrt, float>(p); }
KERNEL(sqrt_fwd_bf16, PointwiseParams) { forward<Sqrt, bf16>(p); }
KERNEL(sqrt_bwd_f32, PointwiseParams) { backward<Sqrt, float>(p); }
KERNEL(sqrt_bwd_bf16, PointwiseParams) { backward<Sqrt, bf16>(p); }
KERNEL(square_fwd_f32, PointwiseParams) { forward<Square, float>(p); }
KERNEL(square_fwd_bf16, PointwiseParams) { forward<Square, bf16>(p); }
KERNEL(square_bwd_f32, PointwiseParams) { backward<Square, float>(p); }
KERNEL(square_bwd_bf16, PointwiseParams) { backward<Square, bf16>(p); }
KERNEL(abs_fwd_f32, PointwiseParams) { forward<Abs, float>(p); }
KERNEL(abs_fwd_bf16, PointwiseParams) { forward<Abs, bf16>(p); }
KERNEL(abs_bwd_f32, PointwiseParams) { backward<Abs, float>(p); }
KERNEL(abs_bwd_bf16, PointwiseParams) { backward<Abs, bf16>(p); }
KERNEL(clamp_fwd_f32, PointwiseParams) { forward<Clamp, float>(p); }
KERNEL(clamp_fwd_bf16, PointwiseParams) { forward<Clamp, bf16>(p); }
KERNEL(clamp_bwd_f32, PointwiseParams) { backward<Clamp, float>(p); }
KERNEL(clamp_bwd_bf16, PointwiseParams) { backward<Clamp, bf16>(p); }
