// softmax: y = exp(x - shift) / sum over a row, or its logarithm x - shift - log(sum); dx = y (dy - sum(dy y)) or dy - exp(y) sum(dy).
//   x, y, dy, dx [rows, columns]   stats [rows, 2] fp32 (shift: the largest element, log of the sum of exp(x - shift))
// One warp owns a short row, one block a long one. A row comes from memory once and from the cache after that; it is written once.
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
};
LAYOUT(SoftmaxParams, x, y, stats, dy, dx, rows, columns, log, block_per_row)

template <class T, class Team>
DEVICE void forward(const SoftmaxParams& p) {
    for (uint64_t r = Team::index(); r < p.rows; r += Team::teams()) {
        auto x = p.x.as<const T>() + r * p.columns;
        auto y = p.y.as<T>() + r * p.columns;
        RowSum s = sum_of_exponentials<Team>(x, p.columns);
        float log_sum = s.log_sum(), scale = s.sum == 0.0f ? 0.0f : 1.0f / s.sum;
        for (uint64_t i = Team::rank(); i < p.columns; i += Team::size()) {
            float d = to_float(x[i]) - s.shift;
            y[i] = from_float<T>(p.log ? d - log_sum : expf(d) * scale);
        }
        if (Team::rank() == 0) {
            auto stats = p.stats.as<float>() + 2 * r;
            stats[0] = s.shift;
            stats[1] = log_sum;
        }
    }
}

template <class T, class Team>
DEVICE void backward(const SoftmaxParams& p) {
    for (uint64_t r = Team::index(); r < p.rows; r += Team::teams()) {
        auto x = p.x.as<const T>() + r * p.columns;
        auto dy = p.dy.as<const T>() + r * p.columns;
        auto dx = p.dx.as<T>() + r * p.columns;
        auto stats = p.stats.as<const float>() + 2 * r;
        float shift = stats[0], log_sum = stats[1];
        float sum = 0.0f;
        for (uint64_t i = Team::rank(); i < p.columns; i += Team::size()) {
            float g = to_float(dy[i]);
            sum += p.log ? g : g * expf(to_float(x[i]) - shift - log_sum);
        }
        sum = Team::sum(sum);
        for (uint64_t i = Team::rank(); i < p.columns; i += Team::size()) {
            float g = to_float(dy[i]), probability = expf(to_float(x[i]) - shift - log_sum);
            dx[i] = from_float<T>(p.log ? g - probability * sum : probability * (g - sum));
        }
    }
}

template <class T>
DEVICE void forward(const SoftmaxParams& p) {
    if (p.block_per_row) forward<T, BlockTeam>(p);
    else forward<T, WarpTeam>(p);
}

template <class T>
DEVICE void backward(const SoftmaxParams& p) {
    if (p.block_per_row) backward<T, BlockTeam>(p);
    else backward<T, WarpTeam>(p);
}

KERNEL(softmax_fwd_f32, SoftmaxParams) { forward<float>(p); }
KERNEL(softmax_fwd_bf16, SoftmaxParams) { forward<bf16>(p); }
KERNEL(softmax_bwd_f32, SoftmaxParams) { backward<float>(p); }
KERNEL(softmax_bwd_bf16, SoftmaxParams) { backward<bf16>(p); }
