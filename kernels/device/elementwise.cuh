// Loops over elements: each is read once and written once, 16 bytes at a time where the addresses admit it (`wide`).
#pragma once

// y[i] = f(a[i])
template <class T, class F>
DEVICE void map_elements(gptr<T> y, gptr<const T> a, uint64_t n, bool wide, F f) {
    constexpr int N = 16 / sizeof(T);
    uint64_t vectors = wide ? n / N : 0;
    for (uint64_t i = global_thread(); i < vectors; i += grid_threads()) {
        vec<T, N> va = load_vec<N>(a, i * N), vy;
        for (int k = 0; k < N; k++) vy.v[k] = from_float<T>(f(to_float(va.v[k])));
        store_vec(y, i * N, vy);
    }
    for (uint64_t i = vectors * N + global_thread(); i < n; i += grid_threads()) y[i] = from_float<T>(f(to_float(a[i])));
}

// y[i] = f(a[i], b[i])
template <class T, class F>
DEVICE void map_elements(gptr<T> y, gptr<const T> a, gptr<const T> b, uint64_t n, bool wide, F f) {
    constexpr int N = 16 / sizeof(T);
    uint64_t vectors = wide ? n / N : 0;
    for (uint64_t i = global_thread(); i < vectors; i += grid_threads()) {
        vec<T, N> va = load_vec<N>(a, i * N), vb = load_vec<N>(b, i * N), vy;
        for (int k = 0; k < N; k++) vy.v[k] = from_float<T>(f(to_float(va.v[k]), to_float(vb.v[k])));
        store_vec(y, i * N, vy);
    }
    for (uint64_t i = vectors * N + global_thread(); i < n; i += grid_threads())
        y[i] = from_float<T>(f(to_float(a[i]), to_float(b[i])));
}
