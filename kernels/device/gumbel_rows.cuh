// Rows of logits that teams of threads perturb with Gumbel noise: what categorical, gumbel_softmax and gumbel_rao
// share.
#pragma once

#include "draws.cuh"
#include "reduce.cuh"

// The threads that share a row: `lanes` neighbours of a warp, as many teams as fit into it, or with lanes = 0 a whole
// block. All lanes of a warp take the same turns; one without a row takes part in the reductions only, for which it
// must be there.
struct RowTeam {
    uint64_t row, stride, end;
    uint32_t lanes, rank, size, place;

    DEVICE RowTeam(uint64_t rows, uint32_t lanes) : end(rows), lanes(lanes) {
        if (lanes == 0) {
            place = 0;
            rank = threadIdx.x;
            size = blockDim.x;
            row = blockIdx.x;
            stride = gridDim.x;
        } else {
            uint32_t teams = WARP / lanes;
            place = lane() / lanes;
            rank = lane() % lanes;
            size = lanes;
            uint64_t first = ((uint64_t)blockIdx.x * warps() + warp()) * teams;
            stride = (uint64_t)gridDim.x * warps() * teams;
            row = first + place;
            if (place >= teams) end = 0;
        }
    }
    // Whether any lane of the warp has a row left.
    DEVICE bool more(uint64_t rows) const { return row - place < rows; }
    DEVICE void next() { row += stride; }
    DEVICE bool inside() const { return row < end; }
    // Where this thread's units of the row begin: at their end, if it has no row.
    DEVICE uint32_t first(uint32_t units) const { return inside() ? rank : units; }

    // v joined over the team, in a fixed order. Every thread gets it.
    template <class Op, class T>
    DEVICE T join(T v) const {
        if (lanes == 0) return veridical::detail::block_reduce<Op>(v);
        for (uint32_t step = 1; step < lanes; step *= 2) {
            T other = __shfl_down_sync(FULL_MASK, v, step);
            if (rank + step < lanes) v = Op::join(v, other);
        }
        return __shfl_sync(FULL_MASK, v, lane() - rank);
    }
    DEVICE float sum(float v) const { return join<veridical::detail::Sum>(v); }
    template <class T>
    DEVICE T max(T v) const { return join<veridical::detail::Max>(v); }
};

DEVICE float infinite() { return __uint_as_float(0x7f800000u); }
DEVICE float not_a_number() { return __uint_as_float(0x7fc00000u); }

// C columns from `column` on, a multiple of C below `len`. `width` is C, 2 or 1: rows and addresses are multiples of
// that many elements. Zeros past the end.
template <int C, class T>
DEVICE vec<T, C> load_columns(gptr<const T> row, uint32_t column, uint32_t len, uint32_t width) {
    vec<T, C> v = {};
    if (C * sizeof(T) <= 16 && width == C) {
        if constexpr (C * sizeof(T) <= 16) v = load_vec<C>(row, column);
    } else if (width == 2) {
        UNROLL for (int k = 0; k < C; k += 2)
            if (column + k < len) {
                vec<T, 2> pair = load_vec<2>(row, column + k);
                v[k] = pair[0];
                v[k + 1] = pair[1];
            }
    } else {
        UNROLL for (int k = 0; k < C; ++k)
            if (column + k < len) v[k] = row[column + k];
    }
    return v;
}

template <int C, class T>
DEVICE void store_columns(gptr<T> row, uint32_t column, uint32_t len, uint32_t width, const vec<T, C>& v) {
    if (width == C) {
        store_vec(row, column, v);
    } else if (width == 2) {
        UNROLL for (int k = 0; k < C; k += 2)
            if (column + k < len) store_vec(row, column + k, vec<T, 2>{{v[k], v[k + 1]}});
    } else {
        UNROLL for (int k = 0; k < C; ++k)
            if (column + k < len) row[column + k] = v[k];
    }
}

// Gumbel numbers of C columns, whose first is a multiple of four: of the sample's elements from `block` on.
template <int C>
DEVICE vec<float, C> gumbel_columns(const random_stream& stream, uint32_t sample, uint32_t block) {
    vec<float, C> g;
    UNROLL for (int h = 0; h < C / 4; ++h) {
        vec<float, 4> four = gumbel_block(random_block(stream, sample, block + h));
        UNROLL for (int k = 0; k < 4; ++k) g[4 * h + k] = four[k];
    }
    return g;
}

// The first largest of a row's numbers, and whether one of them is NaN or +inf.
struct Largest {
    static constexpr uint32_t NONE = 0xffffffffu;
    float value;
    uint32_t column;

    DEVICE Largest() : value(-infinite()), column(NONE) {}
    // In the order of the columns.
    DEVICE void see(float v, uint32_t at) {
        if (!(v <= value)) {
            value = fminf(v, infinite());  // of a NaN, +inf
            column = at;
        }
    }
    // The column, the same for all threads of the team; NONE if the row has no distribution.
    DEVICE uint32_t of(const RowTeam& team) const {
        // Ordered as the values are, then as the columns are not. -inf is 0, what no thread has seen.
        uint32_t bits = __float_as_uint(value), order = bits ^ ((uint32_t)((int32_t)bits >> 31) | 0x80000000u);
        uint64_t key = column == NONE ? 0 : (uint64_t)order << 32 | ~column;
        key = team.max(key);
        bool bad = key == 0 || (uint32_t)(key >> 32) == (__float_as_uint(infinite()) | 0x80000000u);
        return bad ? NONE : ~(uint32_t)key;
    }
};

// The first largest x + g of a team's row, the same for all its threads: a column, or Largest::NONE.
template <int C, class T>
DEVICE uint32_t label_of_row(const RowTeam& team, gptr<const T> x, const random_stream& stream, uint32_t sample, uint32_t len,
                             uint32_t width) {
    Largest largest;
    uint32_t units = (len + C - 1) / C;
    for (uint32_t unit = team.first(units); unit < units; unit += team.size) {
        uint32_t column = unit * C;
        vec<T, C> v = load_columns<C>(x, column, len, width);
        vec<float, C> g = gumbel_columns<C>(stream, sample, column / 4);
        UNROLL for (int k = 0; k < C; ++k)
            if (column + k < len) largest.see(exact_add(to_float(v[k]), g[k]), column + k);
    }
    return largest.of(team);
}
