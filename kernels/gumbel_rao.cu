// gumbel_rao: y is one-hot at argmax(x + g) of each row, g Gumbel, and the gradient is that of the relaxed sample,
//   averaged over samples of the noise for which the argmax is the same.
//   x, y, dy [rows, len] f32 or bf16 (backward writes dx to y)     labels [rows] u32 (2^32 - 1: the row has no
//   distribution, y and dx are NaN)
//   ids [rows] u32, or absent: row i is sample first + i
// g has the elements from 0 on of each sample, that of the k-th of `samples` those from 4 (k + 1) ceil(len / 4) on.
// With t = log softmax(x) + g and a = g at the label, the perturbed logits given the argmax are a at the label and
// a - softplus(a - t) elsewhere: the smaller ones of a row whose largest is a.
//   fwd   x once, y once, labels.
//   bwd   sets dx to the mean over k of q (dy - sum(q dy)) / tau, q the softmax of the k-th divided by tau. Rows that
//         teams of lanes have in registers: x, dy, dx once, noise once, a sum over the team for each sample.
//   bwd_long   one block a row. What a row's numbers need of each sample, three numbers, is made first and kept in
//         shared memory, then each number adds up its samples: noise twice, in place of 8 bytes a number and sample.
#include "device/veridical.cuh"
#include "device/gumbel_rows.cuh"

struct GumbelRaoParams {
    buffer x;
    buffer y;
    buffer labels;
    buffer dy;
    buffer ids;
    uint64_t rows;
    uint32_t len;
    uint32_t samples;
    float inverse_tau;
    uint32_t first;
    uint32_t key0;
    uint32_t key1;
    uint32_t step;
    uint32_t site;
    uint32_t lanes;
    uint32_t columns_per_lane;
    uint32_t width;
    uint32_t unused;
};

template <class T, int C>
DEVICE void forward_rows(const GumbelRaoParams& p) {
    draws d = draws_of(p);
    uint32_t units = (p.len + C - 1) / C;
    for (RowTeam team(p.rows, p.lanes); team.more(p.rows); team.next()) {
        uint64_t row = team.inside() ? team.row : 0, start = row * p.len;
        auto x = p.x.as<const T>() + start;
        uint32_t label = label_of_row<C>(team, x, d.stream, d.id(row), p.len, p.width);
        float elsewhere = label == Largest::NONE ? not_a_number() : 0.0f;
        for (uint32_t unit = team.first(units); unit < units; unit += team.size) {
            vec<T, C> y;
            UNROLL for (int k = 0; k < C; ++k) y[k] = from_float<T>(unit * C + k == label ? 1.0f : elsewhere);
            store_columns<C>(p.y.as<T>() + start, unit * C, p.len, p.width, y);
        }
        if (team.inside() && team.rank == 0) p.labels.as<uint32_t>()[row] = label;
    }
}

// What one sample is to a row.
struct Conditional {
    float top;    // the largest number, at the label
    float share;  // 1 / the sum of the weights
    float dot;    // sum(q dy)
};

template <class T, int C>
struct ConditionalRow {
    gptr<const T> x, dy;
    random_stream stream;
    uint32_t sample, label, len, width, blocks;
    float log_sum, scale;

    // x less the logarithm of the sum of exponentials; -inf past the end.
    DEVICE vec<float, C> logarithms(uint32_t unit) const {
        vec<T, C> v = load_columns<C>(x, unit * C, len, width);
        vec<float, C> l;
        UNROLL for (int k = 0; k < C; ++k) l[k] = unit * C + k < len ? to_float(v[k]) - log_sum : -infinite();
        return l;
    }
    DEVICE vec<float, C> gradients(uint32_t unit) const {
        vec<T, C> v = load_columns<C>(dy, unit * C, len, width);
        vec<float, C> g;
        UNROLL for (int k = 0; k < C; ++k) g[k] = to_float(v[k]);
        return g;
    }
    DEVICE uint32_t first_block(uint32_t k) const { return (k + 1) * blocks; }
    DEVICE float top(uint32_t k) const {
        random_words w = random_block(stream, sample, first_block(k) + label / 4);
        uint32_t low = label & 1 ? w.w[1] : w.w[0], high = label & 1 ? w.w[3] : w.w[2];
        return gumbel_of_word(label & 2 ? high : low);
    }
    // exp((V - V_label) / tau) of the k-th sample.
    DEVICE vec<float, C> weights(const vec<float, C>& logarithms, float top, uint32_t k, uint32_t unit) const {
        vec<float, C> g = gumbel_columns<C>(stream, sample, first_block(k) + unit * (C / 4));
        vec<float, C> w;
        UNROLL for (int j = 0; j < C; ++j) {
            float d = top - (logarithms[j] + g[j]);
            float below = fmaxf(d, 0.0f) + log1pf(expf(-fabsf(d)));
            w[j] = unit * C + j == label ? 1.0f : exp2f(-below * scale);
        }
        return w;
    }
};

// The row with its largest number and the sum of its exponentials.
template <class T, int C>
DEVICE ConditionalRow<T, C> conditional_row(const GumbelRaoParams& p, const draws& d, const RowTeam& team, uint32_t units) {
    uint64_t row = team.inside() ? team.row : 0, start = row * p.len;
    ConditionalRow<T, C> r = {p.x.as<const T>() + start, p.dy.as<const T>() + start, d.stream, d.id(row),
                              p.labels.as<const uint32_t>()[row], p.len, p.width, (p.len + 3) / 4, 0.0f,
                              p.inverse_tau * 1.44269504f};
    float max = -infinite(), sum = 0.0f;
    for (uint32_t unit = team.first(units); unit < units; unit += team.size) {
        vec<float, C> v = r.logarithms(unit);
        UNROLL for (int k = 0; k < C; ++k) max = fmaxf(max, v[k]);
    }
    max = team.max(max);
    for (uint32_t unit = team.first(units); unit < units; unit += team.size) {
        vec<float, C> v = r.logarithms(unit);
        UNROLL for (int k = 0; k < C; ++k) sum += expf(v[k] - max);
    }
    r.log_sum = max + logf(team.sum(sum));
    return r;
}

template <int C>
DEVICE void add_products(const vec<float, C>& w, const vec<float, C>& dy, float& sum, float& dot) {
    UNROLL for (int k = 0; k < C; ++k) {
        sum += w[k];
        if (w[k] != 0.0f) dot += w[k] * dy[k];
    }
}

template <int C>
DEVICE void add_sample(vec<float, C>& total, const vec<float, C>& w, const vec<float, C>& dy, float share, float dot) {
    UNROLL for (int k = 0; k < C; ++k)
        if (w[k] != 0.0f) total[k] += w[k] * share * (dy[k] - dot);
}

template <class T, int C>
DEVICE void write_mean(const GumbelRaoParams& p, uint64_t start, uint32_t unit, uint32_t label, const vec<float, C>& total) {
    float factor = label == Largest::NONE ? not_a_number() : p.inverse_tau / (float)p.samples;
    vec<T, C> dx;
    UNROLL for (int k = 0; k < C; ++k) dx[k] = from_float<T>(total[k] * factor);
    store_columns<C>(p.y.as<T>() + start, unit * C, p.len, p.width, dx);
}

template <class T>
DEVICE void backward(const GumbelRaoParams& p) {
    constexpr int C = 4;
    draws d = draws_of(p);
    uint32_t units = (p.len + C - 1) / C;
    for (RowTeam team(p.rows, p.lanes); team.more(p.rows); team.next()) {
        ConditionalRow<T, C> row = conditional_row<T, C>(p, d, team, units);
        uint32_t unit = team.first(units);
        bool mine = unit < units;
        vec<float, C> x = {}, dy = {}, total = {};
        if (mine) {
            x = row.logarithms(unit);
            dy = row.gradients(unit);
        }
        for (uint32_t k = 0; k < p.samples; ++k) {
            vec<float, C> w = {};
            if (mine) w = row.weights(x, row.top(k), k, unit);
            float sum = 0.0f, dot = 0.0f;
            add_products(w, dy, sum, dot);
            float share = 1.0f / team.sum(sum);
            dot = team.sum(dot) * share;
            add_sample(total, w, dy, share, dot);
        }
        if (mine) write_mean<T>(p, (uint64_t)team.row * p.len, unit, row.label, total);
    }
}

template <class T, int C>
DEVICE void backward_long(const GumbelRaoParams& p) {
    SHARED_DYNAMIC(Conditional, samples);
    draws d = draws_of(p);
    uint32_t units = (p.len + C - 1) / C;
    for (RowTeam team(p.rows, 0); team.more(p.rows); team.next()) {
        ConditionalRow<T, C> row = conditional_row<T, C>(p, d, team, units);
        for (uint32_t k = 0; k < p.samples; ++k) {
            float top = row.top(k), sum = 0.0f, dot = 0.0f;
            for (uint32_t unit = team.first(units); unit < units; unit += team.size)
                add_products(row.weights(row.logarithms(unit), top, k, unit), row.gradients(unit), sum, dot);
            float share = 1.0f / team.sum(sum);
            dot = team.sum(dot) * share;
            if (team.rank == 0) samples[k] = {top, share, dot};
        }
        __syncthreads();
        for (uint32_t unit = team.first(units); unit < units; unit += team.size) {
            vec<float, C> x = row.logarithms(unit), dy = row.gradients(unit), total = {};
            for (uint32_t k = 0; k < p.samples; ++k) {
                Conditional s = samples[k];
                add_sample(total, row.weights(x, s.top, k, unit), dy, s.share, s.dot);
            }
            write_mean<T>(p, (uint64_t)team.row * p.len, unit, row.label, total);
        }
        __syncthreads();  // the next row's samples may take the place of these
    }
}

template <class T>
DEVICE void forward(const GumbelRaoParams& p) {
    if (p.columns_per_lane == 4) forward_rows<T, 4>(p);
    else if constexpr (sizeof(T) == 2) forward_rows<T, 8>(p);
}

KERNEL_BOUNDS(gumbel_rao_fwd_f32, GumbelRaoParams, 512) { forward<float>(p); }
KERNEL_BOUNDS(gumbel_rao_fwd_bf16, GumbelRaoParams, 512) { forward<bf16>(p); }
KERNEL_BOUNDS(gumbel_rao_bwd_f32, GumbelRaoParams, 256) { backward<float>(p); }
KERNEL_BOUNDS(gumbel_rao_bwd_bf16, GumbelRaoParams, 256) { backward<bf16>(p); }
KERNEL_BOUNDS(gumbel_rao_bwd_long_f32, GumbelRaoParams, 512) { backward_long<float, 4>(p); }
KERNEL_BOUNDS(gumbel_rao_bwd_long_bf16, GumbelRaoParams, 512) { backward_long<bf16, 4>(p); }
