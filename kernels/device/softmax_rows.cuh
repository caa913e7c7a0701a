// Rows that a team of threads, a warp or a whole block, walks together: the sums behind softmax and cross-entropy.
#pragma once

#include "reduce.cuh"

// The threads that share a row. Row i of the grid goes to the team with index i, then to the one `teams()` later.
struct WarpTeam {
    DEVICE static uint64_t index() { return (uint64_t)blockIdx.x * warps() + warp(); }
    DEVICE static uint64_t teams() { return (uint64_t)gridDim.x * warps(); }
    DEVICE static uint32_t rank() { return lane(); }
    DEVICE static uint32_t size() { return WARP; }
    DEVICE static float sum(float v) { return warp_sum(v); }
    DEVICE static float max(float v) { return warp_max(v); }
};
struct BlockTeam {
    DEVICE static uint64_t index() { return blockIdx.x; }
    DEVICE static uint64_t teams() { return gridDim.x; }
    DEVICE static uint32_t rank() { return threadIdx.x; }
    DEVICE static uint32_t size() { return blockDim.x; }
    DEVICE static float sum(float v) { return block_sum(v); }
    DEVICE static float max(float v) { return block_max(v); }
};

struct RowSum {
    float shift;  // the largest element; 0 if all are -inf
    float sum;    // of exp(x - shift); 0 if all are -inf, NaN if one is NaN
    DEVICE float log_sum() const { return sum == 0.0f ? 0.0f : logf(sum); }
};

// What a thread has of a row: every size()-th vector of N elements from its rank on. `each` calls use(first column,
// vector) for one after the other. Rows are whole vectors.
//
// A row of at most 1024 columns, of a warp: read once, kept in registers.
template <class T>
struct KeptRow {
    using Element = T;
    using Team = WarpTeam;
    static constexpr int N = 16 / sizeof(T), MOST = 1024 / WARP / N;
    vec<T, N> v[MOST];
    uint32_t vectors;

    DEVICE KeptRow(gptr<const T> row, uint64_t columns) : vectors((uint32_t)columns / N) {
        UNROLL for (int k = 0; k < MOST; k++) {
            uint32_t i = k * WARP + lane();
            if (i < vectors) v[k] = load_vec<N>(row, i * N);
            else v[k] = {};
        }
    }
    template <class Use>
    DEVICE void each(const Use& use) const {
        UNROLL for (int k = 0; k < MOST; k++) {
            uint32_t i = k * WARP + lane();
            if (i < vectors) use(i * N, v[k]);
        }
    }
    // The same for two rows side by side: use(first column, vector, vector of the other).
    template <class Use>
    DEVICE void each(const KeptRow& other, const Use& use) const {
        UNROLL for (int k = 0; k < MOST; k++) {
            uint32_t i = k * WARP + lane();
            if (i < vectors) use(i * N, v[k], other.v[k]);
        }
    }
};

// A row that is read again in each pass: from the cache, after the first.
template <class Team_, class T, int VECTOR>
struct StreamedRow {
    using Element = T;
    using Team = Team_;
    static constexpr int N = VECTOR;
    gptr<const T> row;
    uint64_t columns;

    DEVICE StreamedRow(gptr<const T> row, uint64_t columns) : row(row), columns(columns) {}
    template <class Use>
    DEVICE void each(const Use& use) const {
        for (uint64_t i = (uint64_t)Team::rank() * N; i < columns; i += Team::size() * N) use(i, load_vec<N>(row, i));
    }
    template <class Use>
    DEVICE void each(const StreamedRow& other, const Use& use) const {
        for (uint64_t i = (uint64_t)Team::rank() * N; i < columns; i += Team::size() * N)
            use(i, load_vec<N>(row, i), load_vec<N>(other.row, i));
    }
};

template <class Row>
DEVICE RowSum sum_of_exponentials(const Row& row) {
    using Vector = vec<typename Row::Element, Row::N>;
    float infinity = __uint_as_float(0x7f800000u);
    float largest = -infinity, sum = 0.0f;
    row.each([&](uint64_t, const Vector& v) {
        for (int k = 0; k < Row::N; k++) largest = fmaxf(largest, to_float(v[k]));
    });
    largest = Row::Team::max(largest);
    if (largest == -infinity) largest = 0.0f;
    row.each([&](uint64_t, const Vector& v) {
        for (int k = 0; k < Row::N; k++) sum += expf(to_float(v[k]) - largest);
    });
    return {largest, Row::Team::sum(sum)};
}
