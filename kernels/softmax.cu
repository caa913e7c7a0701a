// softmax: y = exp(x - shift) / sum over a row, or its logarithm x - shift - log(sum); dx = y (dy - sum(dy y)) or dy -
//   exp(y) sum(dy).
//   x, y, dy, dx [rows, columns]   stats [rows, 2] fp32 (shift: the largest element, log of the sum of exp(x - shift))
// One warp owns a short row, one block a long one. A row comes from memory once and from the cache after that; it is
// written once.
// wide: 16 bytes at a time, addresses and rows being multiples of that; short rows then stay in registers.
// Elements of -inf have probability 0, also where the whole row is -inf; a NaN makes its row NaN.
#include "device/veridical.cuh"
#include "device/softmax_rows.cuh"

struct SoftmaxParams {
    buffer x;
    buffer y;
    buffer stats;
    buffer dy;
    buffer dx;
    uint64_t rows;
    uint64_t columns;
    uint32_t log;
    uint32_t block_per_row;
    uint32_t wide;
    uint32_t unused;
};

template <class Row>
DEVICE void forward(const SoftmaxParams& p) {
    using T = typename Row::Element;
    using Team = typename Row::Team;
    constexpr int N = Row::N;
    for (uint64_t r = Team::index(); r < p.rows; r += Team::teams()) {
        Row x(p.x.as<const T>() + r * p.columns, p.columns);
        auto y = p.y.as<T>() + r * p.columns;
        RowSum s = sum_of_exponentials(x);
        float log_sum = s.log_sum(), scale = s.sum == 0.0f ? 0.0f : 1.0f / s.sum;
        x.each([&](uint64_t i, vec<T, N> v) {
            for (int k = 0; k < N; k++) {
                float d = to_float(v[k]) - s.shift;
                v[k] = from_float<T>(p.log ? d - log_sum : expf(d) * scale);
            }
            store_vec(y, i, v);
        });
        if (Team::rank() == 0) {
            auto stats = p.stats.as<float>() + 2 * r;
            stats[0] = s.shift;
            stats[1] = log_sum;
        }
    }
}

template <class Row>
DEVICE void backward(const SoftmaxParams& p) {
    using T = typename Row::Element;
    using Team = typename Row::Team;
    constexpr int N = Row::N;
    for (uint64_t r = Team::index(); r < p.rows; r += Team::teams()) {
        Row x(p.x.as<const T>() + r * p.columns, p.columns), dy(p.dy.as<const T>() + r * p.columns, p.columns);
        auto dx = p.dx.as<T>() + r * p.columns;
        auto stats = p.stats.as<const float>() + 2 * r;
        float shift = stats[0], log_sum = stats[1];
        float sum = 0.0f;
        x.each(dy, [&](uint64_t, const vec<T, N>& v, const vec<T, N>& dv) {
            for (int k = 0; k < N; k++) {
                float g = to_float(dv[k]);
                sum += p.log ? g : g * expf(to_float(v[k]) - shift - log_sum);
            }
        });
        sum = Team::sum(sum);
        x.each(dy, [&](uint64_t i, vec<T, N> v, const vec<T, N>& dv) {
            for (int k = 0; k < N; k++) {
                float g = to_float(dv[k]), probability = expf(to_float(v[k]) - shift - log_sum);
                v[k] = from_float<T>(p.log ? g - probability * sum : probability * (g - sum));
            }
            store_vec(dx, i, v);
        });
    }
}

template <class T>
DEVICE void forward_rows(const SoftmaxParams& p) {
    constexpr int N = 16 / sizeof(T);
    if (p.block_per_row && p.wide) forward<StreamedRow<BlockTeam, T, N>>(p);
    else if (p.block_per_row) forward<StreamedRow<BlockTeam, T, 1>>(p);
    else if (p.wide) forward<KeptRow<T>>(p);
    else forward<StreamedRow<WarpTeam, T, 1>>(p);
}

template <class T>
DEVICE void backward_rows(const SoftmaxParams& p) {
    constexpr int N = 16 / sizeof(T);
    if (p.block_per_row && p.wide) backward<StreamedRow<BlockTeam, T, N>>(p);
    else if (p.block_per_row) backward<StreamedRow<BlockTeam, T, 1>>(p);
    else if (p.wide) backward<KeptRow<T>>(p);
    else backward<StreamedRow<WarpTeam, T, 1>>(p);
}

KERNEL_BOUNDS(softmax_fwd_f32, SoftmaxParams, 256, 4) { forward_rows<float>(p); }
KERNEL_BOUNDS(softmax_fwd_bf16, SoftmaxParams, 256, 4) { forward_rows<bf16>(p); }
KERNEL_BOUNDS(softmax_bwd_f32, SoftmaxParams, 256, 2) { backward_rows<float>(p); }
KERNEL_BOUNDS(softmax_bwd_bf16, SoftmaxParams, 256, 2) { backward_rows<bf16>(p); }
