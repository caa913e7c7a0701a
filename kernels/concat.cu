// concat: y[r, first[i] + c] = x[i][r, c], or 0 where x[i] is absent: rows that are put together from pieces, up to
//   four a launch; the rest of y stays.
//   x[i] [rows, x_pitch[i]] from the piece's first column on, of which it has width[i]    y [rows, y_pitch]
// The grid's y axis counts pieces, x and the threads walk along one. Elements are moved, not computed with: bits of f32
// and u32 (suffix f32), or of bf16. One read and one write, 16 bytes at a time where addresses, pitches and width admit
// it (a piece's bit of `wide`).
#include "device/veridical.cuh"

struct ConcatParams {
    buffer x[4];
    buffer y;
    uint64_t rows;
    uint64_t y_pitch;
    uint64_t first[4];
    uint64_t width[4];
    uint64_t x_pitch[4];
    uint64_t wide;
};

template <int N, class T>
DEVICE void move_piece(const ConcatParams& p, uint32_t piece) {
    auto x = p.x[piece].as<const T>();
    auto y = p.y.as<T>() + p.first[piece];
    uint64_t per_row = p.width[piece] / N, x_pitch = p.x_pitch[piece];
    for (uint64_t i = global_thread(); i < p.rows * per_row; i += grid_threads()) {
        uint64_t row = i / per_row, column = i % per_row * N;
        vec<T, N> v = {};
        if (x) v = load_vec<N>(x, row * x_pitch + column);
        store_vec(y, row * p.y_pitch + column, v);
    }
}

template <class T>
DEVICE void concat(const ConcatParams& p) {
    uint32_t piece = blockIdx.y;
    if (p.wide >> piece & 1) return move_piece<16 / sizeof(T), T>(p, piece);
    move_piece<1, T>(p, piece);
}

KERNEL(concat_fwd_f32, ConcatParams) { concat<uint32_t>(p); }
KERNEL(concat_fwd_bf16, ConcatParams) { concat<uint16_t>(p); }
