// arithmetic: y = alpha a + beta b, a b, a / b, or alpha a + beta, with NumPy's broadcasting.
//   y [n]; element i of y stands at index (i4, ..., i0) of `extents`, and reads its operands at the dot product of that
//   index with their strides (0 where an operand repeats). y may be a itself (gradient accumulation). Computed in fp32
//   whatever the dtype, rounded once.
//   wide: 16 bytes at a time. Where operands repeat (not `contiguous`), the innermost extent is then a whole number of
//   vectors, along which an operand has stride 0 or 1; one index is found per vector, by products and shifts if the
//   result is `small` (n < 2^31).
#include "device/veridical.cuh"
#include "device/elementwise.cuh"

struct ArithmeticParams {
    buffer a;
    buffer b;
    buffer y;
    uint64_t n;
    uint64_t extents[5];
    uint64_t a_strides[5];
    uint64_t b_strides[5];
    Divisor divisors[5];
    float alpha;
    float beta;
    uint32_t contiguous;
    uint32_t wide;
    uint32_t small;
    uint32_t unused;
};

struct Places {
    uint64_t a;
    uint64_t b;
};

DEVICE Places places(const ArithmeticParams& p, uint64_t i) {
    Places at = {0, 0};
    UNROLL for (int axis = 4; axis >= 0; axis--) {
        uint64_t extent = p.extents[axis];
        if (extent == 1) continue;
        uint64_t rest = p.small ? quotient((uint32_t)i, p.divisors[axis]) : i / extent;
        uint64_t index = i - rest * extent;
        i = rest;
        at.a += index * p.a_strides[axis];
        at.b += index * p.b_strides[axis];
    }
    return at;
}

// N neighbours along the innermost axis.
template <int N, class T>
DEVICE vec<T, N> neighbours(gptr<const T> x, uint64_t at, uint64_t stride) {
    if (stride == 1) return load_vec<N>(x, at);
    vec<T, N> v;
    T same = x[at];
    for (int k = 0; k < N; k++) v[k] = same;
    return v;
}

template <class T, class F>
DEVICE void pairwise(const ArithmeticParams& p, F f) {
    auto a = p.a.as<const T>();
    auto b = p.b.as<const T>();
    auto y = p.y.as<T>();
    if (p.contiguous) return map_elements(y, a, b, p.n, p.wide, f);
    if (p.wide) {
        constexpr int N = 16 / sizeof(T);
        for (uint64_t i = global_thread() * N; i < p.n; i += grid_threads() * N) {
            Places at = places(p, i);
            vec<T, N> va = neighbours<N>(a, at.a, p.a_strides[4]), vb = neighbours<N>(b, at.b, p.b_strides[4]), vy;
            for (int k = 0; k < N; k++) vy[k] = from_float<T>(f(to_float(va[k]), to_float(vb[k])));
            store_vec(y, i, vy);
        }
        return;
    }
    for (uint64_t i = global_thread(); i < p.n; i += grid_threads()) {
        Places at = places(p, i);
        y[i] = from_float<T>(f(to_float(a[at.a]), to_float(b[at.b])));
    }
}

template <class T>
DEVICE void combine(const ArithmeticParams& p) {
    float alpha = p.alpha, beta = p.beta;
    pairwise<T>(p, [=](float a, float b) { return alpha * a + beta * b; });
}

template <class T>
DEVICE void affine(const ArithmeticParams& p) {
    float alpha = p.alpha, beta = p.beta;
    auto f = [=](float a) { return alpha * a + beta; };
    auto a = p.a.as<const T>();
    auto y = p.y.as<T>();
    if (p.contiguous) return map_elements(y, a, p.n, p.wide, f);
    if (p.wide) {
        constexpr int N = 16 / sizeof(T);
        for (uint64_t i = global_thread() * N; i < p.n; i += grid_threads() * N) {
            vec<T, N> v = neighbours<N>(a, places(p, i).a, p.a_strides[4]);
            for (int k = 0; k < N; k++) v[k] = from_float<T>(f(to_float(v[k])));
            store_vec(y, i, v);
        }
        return;
    }
    for (uint64_t i = global_thread(); i < p.n; i += grid_threads()) y[i] = from_float<T>(f(to_float(a[places(p, i).a])));
}

KERNEL(combine_fwd_f32, ArithmeticParams) { combine<float>(p); }
KERNEL(combine_fwd_bf16, ArithmeticParams) { combine<bf16>(p); }
KERNEL(mul_fwd_f32, ArithmeticParams) {
    pairwise<float>(p, [](float a, float b) { return a * b; });
}
KERNEL(mul_fwd_bf16, ArithmeticParams) {
    pairwise<bf16>(p, [](float a, float b) { return a * b; });
}
KERNEL(div_fwd_f32, ArithmeticParams) {
    pairwise<float>(p, [](float a, float b) { return a / b; });
}
KERNEL(div_fwd_bf16, ArithmeticParams) {
    pairwise<bf16>(p, [](float a, float b) { return a / b; });
}
KERNEL(affine_fwd_f32, ArithmeticParams) { affine<float>(p); }
KERNEL(affine_fwd_bf16, ArithmeticParams) { affine<bf16>(p); }
