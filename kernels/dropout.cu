// dropout: y = word < threshold ? 0 : scale * x, with the word that (stream, sample, element) address. The backward
// pass is the same kernel on dy.
//   x, y [rows, len] f32 or bf16     ids [rows] u32, or absent: row i is sample first + i
// One thread handles the four elements of a Philox block. One read and one write an element; no mask is stored.
#include "device/veridical.cuh"

struct DropoutParams {
    buffer x;
    buffer y;
    buffer ids;
    uint64_t rows;
    uint64_t len;
    uint32_t first;
    uint32_t key0;
    uint32_t key1;
    uint32_t step;
    uint32_t site;
    uint32_t threshold;
    float scale;
    uint32_t wide;
};

template <class T>
DEVICE void dropout(const DropoutParams& p) {
    draws d = draws_of(p);
    auto x = p.x.as<const T>();
    auto y = p.y.as<T>();
    uint64_t per_row = (p.len + 3) / 4;
    for (uint64_t i = global_thread(); i < p.rows * per_row; i += grid_threads()) {
        row_block at = split_row(i, per_row);
        vec<float, 4> v = load_block(x, at, p.len, p.wide);
        random_words w = random_block(d.stream, d.id(at.row), at.block);
        vec<T, 4> kept;
        for (int k = 0; k < 4; ++k) kept[k] = from_float<T>(w.w[k] < p.threshold ? 0.0f : v[k] * p.scale);
        store_block(y, at, p.len, p.wide, kept);
    }
}

KERNEL(dropout_fwd_f32, DropoutParams) { dropout<float>(p); }
KERNEL(dropout_fwd_bf16, DropoutParams) { dropout<bf16>(p); }
