// gumbel_softmax: soft = softmax((x + g) / tau) over rows, g Gumbel: `noise`, or addressed by (stream, sample, column).
//   x, soft, y, dy [rows, len] f32 or bf16     noise [rows, len] f32, or absent
//   ids [rows] u32, or absent: row i is sample first + i
// fwd writes soft alone; fwd_hard also y, 1 at the first largest x + g and 0 elsewhere; fwd_one_hot y alone. A row
// without a distribution becomes NaN.
// bwd writes (sets) y = q (dy - sum(q dy)) / tau with q = soft / sum(soft), 0 where soft is 0. A soft that was rounded
// to bf16 is, divided by its sum, the softmax of numbers (x + g) / tau that are at most 2^-9 off: the digits that
// 1 - soft loses do not matter, and nothing else need be stored.
//
// A team of neighbouring lanes (`lanes` of them) or a block (lanes = 0) shares a row, `columns_per_lane` columns a lane
// and turn, read in 16 bytes where rows and addresses allow (`width`). Traffic: forward x once and each result once,
// backward soft and dy once and y once. Noise is made once: the first pass over a row leaves x + g of its first `kept`
// turns in shared memory, of the others in soft if that is f32 (8 bytes more an element, which take half the time
// that noise does), and sums relative to the largest number so far. In bf16 there is no room for the others, whose
// noise is made again. (kept: 12,288 columns.) Backward keeps KEPT turns in registers and reads longer rows again.
#include "device/veridical.cuh"
#include "device/gumbel_rows.cuh"

struct GumbelSoftmaxParams {
    buffer x;
    buffer noise;
    buffer soft;
    buffer y;
    buffer dy;
    buffer ids;
    uint64_t rows;
    uint32_t len;
    float inverse_tau;
    uint32_t first;
    uint32_t key0;
    uint32_t key1;
    uint32_t step;
    uint32_t site;
    uint32_t lanes;
    uint32_t columns_per_lane;
    uint32_t width;
    uint32_t kept;
    uint32_t unused;
};

// x + g of a row; -inf past its end.
template <class T, int C>
struct PerturbedRow {
    gptr<const T> x;
    gptr<const float> noise;
    random_stream stream;
    uint32_t sample, len, width;

    DEVICE vec<float, C> columns(uint32_t unit) const {
        uint32_t column = unit * C;
        vec<T, C> v = load_columns<C>(x, column, len, width);
        vec<float, C> g = noise ? load_columns<C>(noise, column, len, 1) : gumbel_columns<C>(stream, sample, column / 4);
        vec<float, C> t;
        UNROLL for (int k = 0; k < C; ++k) t[k] = column + k < len ? exact_add(to_float(v[k]), g[k]) : -infinite();
        return t;
    }
};

// What the first pass keeps of a row for the second: each thread its own, so nobody waits for anybody.
template <class T, int C>
struct Kept {
    sptr<float> slots;
    gptr<T> soft;
    uint32_t turns, len, width;

    DEVICE void put(uint32_t turn, uint32_t unit, const vec<float, C>& t) const {
        if (turn < turns) {
            UNROLL for (int h = 0; h < C / 4; ++h)
                store_vec(slots, slot(turn, h), vec<float, 4>{{t[4 * h], t[4 * h + 1], t[4 * h + 2], t[4 * h + 3]}});
        } else if constexpr (std::is_same<T, float>::value) {
            store_columns<C>(soft, unit * C, len, width, t);
        }
    }
    DEVICE vec<float, C> get(uint32_t turn, uint32_t unit, const PerturbedRow<T, C>& row) const {
        if (turn < turns) {
            vec<float, C> t;
            UNROLL for (int h = 0; h < C / 4; ++h) {
                vec<float, 4> four = load_vec<4>(slots, slot(turn, h));
                UNROLL for (int k = 0; k < 4; ++k) t[4 * h + k] = four[k];
            }
            return t;
        }
        if constexpr (std::is_same<T, float>::value) return load_columns<C>(gptr<const T>(soft), unit * C, len, width);
        else return row.columns(unit);
    }
    DEVICE uint32_t slot(uint32_t turn, int h) const { return ((turn * (C / 4) + h) * blockDim.x + threadIdx.x) * 4; }
};

constexpr bool SOFT = true, HARD = true;

template <bool soft_wanted, bool hard_wanted, class T, int C>
DEVICE void forward_rows(const GumbelSoftmaxParams& p) {
    SHARED_DYNAMIC(float, slots);
    draws d = draws_of(p);
    uint32_t units = (p.len + C - 1) / C;
    // exp(t / tau) as a power of two.
    float scale = p.inverse_tau * 1.44269504f;
    for (RowTeam team(p.rows, p.lanes); team.more(p.rows); team.next()) {
        uint64_t row = team.inside() ? team.row : 0, start = row * p.len;
        PerturbedRow<T, C> x = {p.x.as<const T>() + start, p.noise.as<const float>(), d.stream, d.id(row), p.len, p.width};
        if (x.noise) x.noise += start;
        auto soft = p.soft.as<T>() + start;
        Kept<T, C> kept = {slots, soft, p.kept, p.len, p.width};
        float max = -infinite(), sum = 0.0f;
        Largest largest;
        uint32_t turn = 0;
        for (uint32_t unit = team.first(units); unit < units; unit += team.size, ++turn) {
            vec<float, C> t = x.columns(unit);
            if (hard_wanted) {
                UNROLL for (int k = 0; k < C; ++k) largest.see(t[k], unit * C + k);
            }
            if (soft_wanted) {
                float before = max;
                UNROLL for (int k = 0; k < C; ++k) max = fmaxf(max, t[k]);
                float shift = max == -infinite() ? 0.0f : max;
                sum *= exp2f((before - shift) * scale);
                UNROLL for (int k = 0; k < C; ++k) sum += exp2f((t[k] - shift) * scale);
                kept.put(turn, unit, t);
            }
        }
        uint32_t best = hard_wanted ? largest.of(team) : 0;
        float shift = 0.0f, share = 0.0f;
        if (soft_wanted) {
            // A row of nothing but -inf has the sum 0, one with a NaN or +inf the sum NaN.
            shift = team.max(max);
            if (shift == -infinite()) shift = 0.0f;
            sum = team.sum(sum == 0.0f ? 0.0f : sum * exp2f((max - shift) * scale));
            share = sum > 0.0f ? 1.0f / sum : not_a_number();
        }
        turn = 0;
        for (uint32_t unit = team.first(units); unit < units; unit += team.size, ++turn) {
            if (soft_wanted) {
                vec<float, C> t = kept.get(turn, unit, x);
                vec<T, C> s;
                UNROLL for (int k = 0; k < C; ++k) s[k] = from_float<T>(exp2f((t[k] - shift) * scale) * share);
                store_columns<C>(soft, unit * C, p.len, p.width, s);
            }
            if (hard_wanted) {
                float elsewhere = best == Largest::NONE ? not_a_number() : 0.0f;
                vec<T, C> s;
                UNROLL for (int k = 0; k < C; ++k) s[k] = from_float<T>(unit * C + k == best ? 1.0f : elsewhere);
                store_columns<C>(p.y.as<T>() + start, unit * C, p.len, p.width, s);
            }
        }
    }
}

// The turns of a row of soft and dy that a thread has in its registers, at most N.
template <class T, int C, int N>
struct RowPair {
    vec<T, C> soft[N], dy[N];
};

template <class T, int C, int N>
DEVICE void backward_rows(const GumbelSoftmaxParams& p) {
    uint32_t units = (p.len + C - 1) / C;
    for (RowTeam team(p.rows, p.lanes); team.more(p.rows); team.next()) {
        uint64_t start = (team.inside() ? team.row : 0) * p.len;
        auto soft = p.soft.as<const T>() + start, dy = p.dy.as<const T>() + start;
        auto dx = p.y.as<T>() + start;
        float sum = 0.0f, dot = 0.0f;
        auto see = [&](const vec<T, C>& s, const vec<T, C>& g) {
            UNROLL for (int k = 0; k < C; ++k) {
                float v = to_float(s[k]);
                sum += v;
                if (v != 0.0f) dot += v * to_float(g[k]);
            }
        };
        auto write = [&](uint32_t unit, const vec<T, C>& s, const vec<T, C>& g) {
            vec<T, C> r;
            UNROLL for (int k = 0; k < C; ++k) {
                float v = to_float(s[k]);
                r[k] = from_float<T>(v == 0.0f ? 0.0f : v * sum * (to_float(g[k]) - dot));
            }
            store_columns<C>(dx, unit * C, p.len, p.width, r);
        };
        auto join = [&] {
            float share = 1.0f / team.sum(sum);
            dot = team.sum(dot) * share;
            sum = share * p.inverse_tau;
        };
        uint32_t first = team.first(units);
        if constexpr (N > 0) {
            RowPair<T, C, N> row;
            UNROLL for (int n = 0; n < N; ++n) {
                uint32_t unit = first + n * team.size;
                if (unit < units) {
                    row.soft[n] = load_columns<C>(soft, unit * C, p.len, p.width);
                    row.dy[n] = load_columns<C>(dy, unit * C, p.len, p.width);
                } else {
                    row.soft[n] = row.dy[n] = {};
                }
            }
            UNROLL for (int n = 0; n < N; ++n) see(row.soft[n], row.dy[n]);
            join();
            UNROLL for (int n = 0; n < N; ++n) {
                uint32_t unit = first + n * team.size;
                if (unit < units) write(unit, row.soft[n], row.dy[n]);
            }
        } else {
            for (uint32_t unit = first; unit < units; unit += team.size)
                see(load_columns<C>(soft, unit * C, p.len, p.width), load_columns<C>(dy, unit * C, p.len, p.width));
            join();
            for (uint32_t unit = first; unit < units; unit += team.size)
                write(unit, load_columns<C>(soft, unit * C, p.len, p.width), load_columns<C>(dy, unit * C, p.len, p.width));
        }
    }
}

template <bool soft_wanted, bool hard_wanted, class T>
DEVICE void forward(const GumbelSoftmaxParams& p) {
    if (p.columns_per_lane == 4) forward_rows<soft_wanted, hard_wanted, T, 4>(p);
    else if constexpr (sizeof(T) == 2) forward_rows<soft_wanted, hard_wanted, T, 8>(p);
}

KERNEL_BOUNDS(gumbel_softmax_fwd_f32, GumbelSoftmaxParams, 512) { forward<SOFT, !HARD, float>(p); }
KERNEL_BOUNDS(gumbel_softmax_fwd_bf16, GumbelSoftmaxParams, 512) { forward<SOFT, !HARD, bf16>(p); }
KERNEL_BOUNDS(gumbel_softmax_fwd_hard_f32, GumbelSoftmaxParams, 512) { forward<SOFT, HARD, float>(p); }
KERNEL_BOUNDS(gumbel_softmax_fwd_hard_bf16, GumbelSoftmaxParams, 512) { forward<SOFT, HARD, bf16>(p); }
KERNEL_BOUNDS(gumbel_softmax_fwd_one_hot_f32, GumbelSoftmaxParams, 512) { forward<!SOFT, HARD, float>(p); }
KERNEL_BOUNDS(gumbel_softmax_fwd_one_hot_bf16, GumbelSoftmaxParams, 512) { forward<!SOFT, HARD, bf16>(p); }
// One turn of four columns a lane; up to KEPT turns in registers; and rows that are read twice.
constexpr int KEPT_F32 = 8, KEPT_BF16 = 4;
KERNEL_BOUNDS(gumbel_softmax_bwd_f32, GumbelSoftmaxParams, 512) { backward_rows<float, 4, 1>(p); }
KERNEL_BOUNDS(gumbel_softmax_bwd_bf16, GumbelSoftmaxParams, 512) { backward_rows<bf16, 4, 1>(p); }
KERNEL_BOUNDS(gumbel_softmax_bwd_kept_f32, GumbelSoftmaxParams, 512) { backward_rows<float, 4, KEPT_F32>(p); }
KERNEL_BOUNDS(gumbel_softmax_bwd_kept_bf16, GumbelSoftmaxParams, 512) { backward_rows<bf16, 8, KEPT_BF16>(p); }
KERNEL_BOUNDS(gumbel_softmax_bwd_long_f32, GumbelSoftmaxParams, 512) { backward_rows<float, 4, 0>(p); }
KERNEL_BOUNDS(gumbel_softmax_bwd_long_bf16, GumbelSoftmaxParams, 512) { backward_rows<bf16, 8, 0>(p); }
