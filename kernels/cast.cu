// cast: y = x, rounded to nearest even where y is the narrower type. The suffix names y's type; x has the other one.
//   x, y [n]. One read and one write: 6 bytes an element is the floor. A thread handles 8 elements, 16 or 32 bytes at a
//   time.
#include "device/veridical.cuh"

struct CastParams {
    buffer x;
    buffer y;
    uint64_t n;
    uint64_t wide;
};

template <class In, class Out>
DEVICE void convert(const CastParams& p) {
    constexpr int LOAD = 16 / sizeof(In), STORE = 16 / sizeof(Out), N = 8;
    auto x = p.x.as<const In>();
    auto y = p.y.as<Out>();
    uint64_t groups = p.wide ? p.n / N : 0;
    for (uint64_t i = global_thread(); i < groups; i += grid_threads()) {
        float values[N];
        for (int k = 0; k < N; k += LOAD) {
            vec<In, LOAD> v = load_vec<LOAD>(x, i * N + k);
            for (int j = 0; j < LOAD; j++) values[k + j] = to_float(v[j]);
        }
        for (int k = 0; k < N; k += STORE) {
            vec<Out, STORE> v;
            for (int j = 0; j < STORE; j++) v[j] = from_float<Out>(values[k + j]);
            store_vec(y, i * N + k, v);
        }
    }
    for (uint64_t i = groups * N + global_thread(); i < p.n; i += grid_threads()) y[i] = from_float<Out>(to_float(x[i]));
}

KERNEL(cast_fwd_f32, CastParams) { convert<bf16, float>(p); }
KERNEL(cast_fwd_bf16, CastParams) { convert<float, bf16>(p); }
