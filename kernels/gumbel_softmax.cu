// gumbel_softmax: soft = softmax((x + g) / tau) over rows, g Gumbel: `noise`, or addressed by (stream, sample, column).
//   x, y, dy [rows, len] f32 or bf16     soft [rows, len] f32     noise [rows, len] f32 or absent
//   ids [rows] u32, or absent: row i is sample first + i
// Forward writes soft and, if given, y: soft rounded, or if `hard` 1 at the first largest x + g and 0 elsewhere. A row
// without a distribution becomes NaN.
// Backward writes (sets) x = soft (dy - sum(soft dy)) / tau, 0 where soft is 0.
// `team` lanes of a warp share a row, four columns a lane and turn; noise is made again in each of the three passes
// over a row instead of being stored, the row itself comes from the cache.
#include "device/veridical.cuh"

struct GumbelSoftmaxParams {
    buffer x;
    buffer noise;
    buffer soft;
    buffer y;
    buffer dy;
    buffer ids;
    uint64_t rows;
    uint64_t len;
    float inverse_tau;
    uint32_t first;
    uint32_t key0;
    uint32_t key1;
    uint32_t step;
    uint32_t site;
    uint32_t team;
    uint32_t hard;
};

DEVICE float team_sum(float v, uint32_t team) {
    for (uint32_t step = team / 2; step > 0; step /= 2) v += __shfl_xor_sync(FULL_MASK, v, step);
    return v;
}

// The rows that a thread works on: all lanes of a warp take the same number of turns, rows past the end are read as the
// last one and not written.
struct row_turns {
    uint64_t i, end;
    uint32_t team;
    DEVICE explicit row_turns(const GumbelSoftmaxParams& p) : i(global_thread()), end(p.rows * p.team), team(p.team) {}
    DEVICE bool more() const { return i - lane() < end; }
    DEVICE void next() { i += grid_threads(); }
    DEVICE bool inside() const { return i < end; }
    DEVICE uint64_t row() const { return (inside() ? i : end - 1) / team; }
};

template <class T>
struct PerturbedRow {
    gptr<const T> x;
    gptr<const float> noise;
    random_stream stream;
    uint64_t row, len;
    uint32_t sample;

    // Columns 4 block .. 4 block + 3; past the row's end -inf.
    DEVICE vec<float, 4> block(uint64_t b) const {
        row_block at = {row, static_cast<uint32_t>(b)};
        vec<float, 4> t = load_block(x, at, len, false);
        vec<float, 4> g = noise ? load_block(noise, at, len, false) : gumbel_block(random_block(stream, sample, at.block));
        for (int k = 0; k < 4; ++k) t[k] = 4 * b + k < len ? exact_add(t[k], g[k]) : -float_of_bits(0x7f800000u);
        return t;
    }
};

// exp(t / tau) for t <= 0; 0 / tau is 0 even where 1 / tau overflows.
DEVICE float relaxed(float t, float inverse_tau) { return t == 0.0f ? 1.0f : expf(t * inverse_tau); }

template <class T>
DEVICE void forward(const GumbelSoftmaxParams& p) {
    const float infinity = float_of_bits(0x7f800000u);
    draws d = draws_of(p);
    auto soft = p.soft.as<float>();
    auto y = p.y.as<T>();
    PerturbedRow<T> t = {p.x.as<const T>(), p.noise.as<const float>(), d.stream, 0, p.len, 0};
    uint32_t member = lane() % p.team;
    uint64_t blocks = (p.len + 3) / 4;
    for (row_turns turn(p); turn.more(); turn.next()) {
        t.row = turn.row();
        t.sample = d.id(t.row);
        float max = -infinity;
        uint64_t best = ~0ull;
        uint32_t bad = 0;
        for (uint64_t b = member; b < blocks; b += p.team) {
            vec<float, 4> v = t.block(b);
            for (int k = 0; k < 4; ++k) {
                if (!(v[k] < infinity)) bad = 1;
                if (v[k] > max) {
                    max = v[k];
                    best = 4 * b + k;
                }
            }
        }
        for (uint32_t step = p.team / 2; step > 0; step /= 2) {
            float other = __shfl_xor_sync(FULL_MASK, max, step);
            uint64_t other_best = __shfl_xor_sync(FULL_MASK, best, step);
            bad |= __shfl_xor_sync(FULL_MASK, bad, step);
            if (other > max || (other == max && other_best < best)) {
                max = other;
                best = other_best;
            }
        }
        float sum = 0.0f;
        for (uint64_t b = member; b < blocks; b += p.team) {
            vec<float, 4> v = t.block(b);
            for (int k = 0; k < 4; ++k) sum += relaxed(v[k] - max, p.inverse_tau);
        }
        sum = team_sum(sum, p.team);
        if (bad != 0 || max == -infinity) sum = float_of_bits(0x7fc00000u);  // NaN in every column
        if (!turn.inside()) continue;
        for (uint64_t b = member; b < blocks; b += p.team) {
            vec<float, 4> v = t.block(b);
            vec<float, 4> s;
            vec<T, 4> r;
            for (int k = 0; k < 4; ++k) {
                s[k] = relaxed(v[k] - max, p.inverse_tau) / sum;
                bool one_hot = p.hard && sum == sum;
                r[k] = from_float<T>(one_hot ? (4 * b + k == best ? 1.0f : 0.0f) : s[k]);
            }
            row_block at = {t.row, static_cast<uint32_t>(b)};
            store_block(soft, at, p.len, false, s);
            if (y) store_block(y, at, p.len, false, r);
        }
    }
}

template <class T>
DEVICE void backward(const GumbelSoftmaxParams& p) {
    auto dx = p.x.as<T>();
    auto soft = p.soft.as<const float>();
    auto dy = p.dy.as<const T>();
    uint32_t member = lane() % p.team;
    uint64_t blocks = (p.len + 3) / 4;
    for (row_turns turn(p); turn.more(); turn.next()) {
        uint64_t row = turn.row();
        float dot = 0.0f;
        for (uint64_t b = member; b < blocks; b += p.team) {
            row_block at = {row, static_cast<uint32_t>(b)};
            vec<float, 4> s = load_block(soft, at, p.len, false);
            vec<float, 4> g = load_block(dy, at, p.len, false);
            for (int k = 0; k < 4; ++k)
                if (s[k] != 0.0f) dot += s[k] * g[k];
        }
        dot = team_sum(dot, p.team);
        if (!turn.inside()) continue;
        for (uint64_t b = member; b < blocks; b += p.team) {
            row_block at = {row, static_cast<uint32_t>(b)};
            vec<float, 4> s = load_block(soft, at, p.len, false);
            vec<float, 4> g = load_block(dy, at, p.len, false);
            vec<T, 4> r;
            for (int k = 0; k < 4; ++k) r[k] = from_float<T>(s[k] == 0.0f ? 0.0f : s[k] * (g[k] - dot) * p.inverse_tau);
            store_block(dx, at, p.len, false, r);
        }
    }
}

KERNEL(gumbel_softmax_fwd_f32, GumbelSoftmaxParams) { forward<float>(p); }
KERNEL(gumbel_softmax_fwd_bf16, GumbelSoftmaxParams) { forward<bf16>(p); }
KERNEL(gumbel_softmax_bwd_f32, GumbelSoftmaxParams) { backward<float>(p); }
KERNEL(gumbel_softmax_bwd_bf16, GumbelSoftmaxParams) { backward<bf16>(p); }
