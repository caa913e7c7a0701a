// concat: y[r, c] = x[r, c], or 0 where x is absent: one piece of a row that is put together from pieces.
//   x [rows, x_pitch], y [rows, y_pitch], both from the piece's first column on, which has `width` of them; the rest of
//   y stays. Elements are moved, not computed with: bits of f32 and u32 (suffix f32), or of bf16. One read and one
//   write, 16 bytes at a time where addresses, pitches and width admit it (`wide`).
#include "device/veridical.cuh"

struct ConcatParams {
    buffer x;
    buffer y;
    uint64_t rows;
    uint64_t width;
    uint64_t x_pitch;
    uint64_t y_pitch;
    uint64_t wide;
};

template <int N, class T>
DEVICE void move_piece(const ConcatParams& p) {
    auto x = p.x.as<const T>();
    auto y = p.y.as<T>();
    uint64_t per_row = p.width / N;
    for (uint64_t i = global_thread(); i < p.rows * per_row; i += grid_threads()) {
        uint64_t row = i / per_row, column = i % per_row * N;
        vec<T, N> v = {};
        if (x) v = load_vec<N>(x, row * p.x_pitch + column);
        store_vec(y, row * p.y_pitch + column, v);
    }
}

template <class T>
DEVICE void concat(const ConcatParams& p) {
    if (p.wide) return move_piece<16 / sizeof(T), T>(p);
    move_piece<1, T>(p);
}

KERNEL(concat_fwd_f32, ConcatParams) { concat<uint32_t>(p); }
KERNEL(concat_fwd_bf16, ConcatParams) { concat<uint16_t>(p); }
