// How ops address random numbers: rows of a batch are samples, and a thread handles the four elements of a Philox
// block.
#pragma once

#include "memory.cuh"
#include "variates.cuh"

namespace veridical {

struct draws {
    random_stream stream;
    gptr<const uint32_t> ids;
    uint32_t first;

    // The sample that a row of the batch is.
    DEVICE uint32_t id(uint64_t row) const { return ids ? ids[row] : first + static_cast<uint32_t>(row); }
};

// The draws of a parameter struct with the fields ids, first, key0, key1, step and site.
template <class Params>
DEVICE draws draws_of(const Params& p) {
    return {{p.key0, p.key1, p.step, p.site}, p.ids.template as<const uint32_t>(), p.first};
}

struct row_block {
    uint64_t row;
    uint32_t block;
};

// Row and block of item i, where a row has `per_row` blocks.
DEVICE row_block split_row(uint64_t i, uint64_t per_row) {
    if (((i | per_row) >> 32) == 0) {  // 64-bit division is slow
        uint32_t row = static_cast<uint32_t>(i) / static_cast<uint32_t>(per_row);
        return {row, static_cast<uint32_t>(i) - row * static_cast<uint32_t>(per_row)};
    }
    return {i / per_row, static_cast<uint32_t>(i % per_row)};
}

// The elements of a block, at once (`wide`: rows are multiples of four, addresses of 16 bytes) or one by one; zeros
// past the row's end.
template <class T>
DEVICE vec<float, 4> load_block(gptr<const T> x, row_block at, uint64_t len, bool wide) {
    uint64_t column = 4 * static_cast<uint64_t>(at.block), first = at.row * len + column;
    vec<float, 4> y = {};
    if (wide) {
        vec<T, 4> v = load_vec<4>(x, first);
        for (int k = 0; k < 4; ++k) y[k] = to_float(v[k]);
    } else {
        for (int k = 0; k < 4; ++k)
            if (column + k < len) y[k] = to_float(x[first + k]);
    }
    return y;
}

template <class T>
DEVICE void store_block(gptr<T> y, row_block at, uint64_t len, bool wide, const vec<T, 4>& v) {
    uint64_t column = 4 * static_cast<uint64_t>(at.block), first = at.row * len + column;
    if (wide) {
        store_vec(y, first, v);
    } else {
        for (int k = 0; k < 4; ++k)
            if (column + k < len) y[first + k] = v[k];
    }
}

DEVICE vec<float, 4> normal_block(random_words w) {
    float_pair a = normal_pair(w.w[0], w.w[1]);
    float_pair b = normal_pair(w.w[2], w.w[3]);
    return {{a.a, a.b, b.a, b.b}};
}

DEVICE vec<float, 4> gumbel_block(random_words w) {
    return {{gumbel_of_word(w.w[0]), gumbel_of_word(w.w[1]), gumbel_of_word(w.w[2]), gumbel_of_word(w.w[3])}};
}

}  // namespace veridical
