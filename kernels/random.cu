// random: y = variates of the words that (stream, sample, element) address.
//   y [rows, len] u32, f32 or bf16     ids [rows] u32, or absent: row i is sample first + i
// One thread makes the four numbers of a Philox block and writes them at once where rows are multiples of four: each
// element is written once. The f32 bits are those of src/random/variates.rs.
#include "device/veridical.cuh"

struct RandomParams {
    buffer y;
    buffer ids;
    uint64_t rows;
    uint64_t len;
    uint32_t first;
    uint32_t key0;
    uint32_t key1;
    uint32_t step;
    uint32_t site;
    uint32_t wide;
};

struct Words {
    DEVICE static vec<uint32_t, 4> block(random_words w) { return {{w.w[0], w.w[1], w.w[2], w.w[3]}}; }
};
struct Uniform {
    DEVICE static vec<float, 4> block(random_words w) {
        return {{uniform_of_word(w.w[0]), uniform_of_word(w.w[1]), uniform_of_word(w.w[2]), uniform_of_word(w.w[3])}};
    }
};
struct Exponential {
    DEVICE static vec<float, 4> block(random_words w) {
        return {{exponential_of_word(w.w[0]), exponential_of_word(w.w[1]), exponential_of_word(w.w[2]),
                 exponential_of_word(w.w[3])}};
    }
};
struct Gumbel {
    DEVICE static vec<float, 4> block(random_words w) { return gumbel_block(w); }
};
struct Normal {
    DEVICE static vec<float, 4> block(random_words w) { return normal_block(w); }
};

template <class T> DEVICE vec<T, 4> rounded(const vec<float, 4>& v) {
    return {{from_float<T>(v[0]), from_float<T>(v[1]), from_float<T>(v[2]), from_float<T>(v[3])}};
}
template <class T> DEVICE vec<T, 4> rounded(const vec<uint32_t, 4>& v) { return v; }

template <class V, class T>
DEVICE void fill(const RandomParams& p) {
    draws d = draws_of(p);
    auto y = p.y.as<T>();
    uint64_t per_row = (p.len + 3) / 4;
    for (uint64_t i = global_thread(); i < p.rows * per_row; i += grid_threads()) {
        row_block at = split_row(i, per_row);
        vec<T, 4> v = rounded<T>(V::block(random_block(d.stream, d.id(at.row), at.block)));
        store_block(y, at, p.len, p.wide, v);
    }
}

KERNEL(random_fwd_words_u32, RandomParams) { fill<Words, uint32_t>(p); }
KERNEL(random_fwd_uniform_f32, RandomParams) { fill<Uniform, float>(p); }
KERNEL(random_fwd_uniform_bf16, RandomParams) { fill<Uniform, bf16>(p); }
KERNEL(random_fwd_normal_f32, RandomParams) { fill<Normal, float>(p); }
KERNEL(random_fwd_normal_bf16, RandomParams) { fill<Normal, bf16>(p); }
KERNEL(random_fwd_exponential_f32, RandomParams) { fill<Exponential, float>(p); }
KERNEL(random_fwd_exponential_bf16, RandomParams) { fill<Exponential, bf16>(p); }
KERNEL(random_fwd_gumbel_f32, RandomParams) { fill<Gumbel, float>(p); }
KERNEL(random_fwd_gumbel_bf16, RandomParams) { fill<Gumbel, bf16>(p); }
