// l2_normalize: y = x / max(|x|, 1e-12) for each row, and its gradient (dy - y (y . dy)) / |x|.
//   x, y, dy [rows, columns]; backward writes dx to y
//   inverse [rows] fp32: 1 / |x|, or -1e12 where |x| is below 1e-12
// One warp owns a short row, one block a long one. Squares are summed in fp32, relative to the largest element.
// Traffic: x is read three times, from the cache after the first, and y written once; backward, x and dy twice, y once.
#include "device/veridical.cuh"
#include "device/softmax_rows.cuh"

struct L2NormalizeParams {
    buffer x;
    buffer dy;
    buffer y;
    buffer inverse;
    uint64_t rows;
    uint64_t columns;
    uint32_t block_per_row;
    uint32_t unused;
};

constexpr float EPS = 1e-12f;

template <class T, class Team>
DEVICE void forward(const L2NormalizeParams& p) {
    for (uint64_t r = Team::index(); r < p.rows; r += Team::teams()) {
        auto x = p.x.as<const T>() + r * p.columns;
        auto y = p.y.as<T>() + r * p.columns;
        float largest = 0.0f, sum = 0.0f;
        for (uint64_t i = Team::rank(); i < p.columns; i += Team::size()) largest = fmaxf(largest, fabsf(to_float(x[i])));
        largest = Team::max(largest);
        float unit = largest > 0.0f ? 1.0f / largest : 0.0f;
        // The inverse of a subnormal number may be infinite; such a row is short in any case.
        if (unit > 3.402823466e38f) unit = 0.0f;
        for (uint64_t i = Team::rank(); i < p.columns; i += Team::size()) {
            float v = to_float(x[i]) * unit;
            sum += v * v;
        }
        float length = sqrtf(Team::sum(sum)) * largest;
        float inverse = length < EPS ? -1.0f / EPS : 1.0f / length;
        for (uint64_t i = Team::rank(); i < p.columns; i += Team::size()) y[i] = from_float<T>(to_float(x[i]) * fabsf(inverse));
        if (Team::rank() == 0) p.inverse.as<float>()[r] = inverse;
    }
}

template <class T, class Team>
DEVICE void backward(const L2NormalizeParams& p) {
    for (uint64_t r = Team::index(); r < p.rows; r += Team::teams()) {
        auto x = p.x.as<const T>() + r * p.columns;
        auto dy = p.dy.as<const T>() + r * p.columns;
        auto dx = p.y.as<T>() + r * p.columns;
        float inverse = p.inverse.as<const float>()[r], factor = fabsf(inverse), along = 0.0f;
        for (uint64_t i = Team::rank(); i < p.columns; i += Team::size()) along += to_float(x[i]) * factor * to_float(dy[i]);
        along = inverse > 0.0f ? Team::sum(along) : 0.0f;
        for (uint64_t i = Team::rank(); i < p.columns; i += Team::size())
            dx[i] = from_float<T>((to_float(dy[i]) - to_float(x[i]) * factor * along) * factor);
    }
}

template <class T>
DEVICE void forward_rows(const L2NormalizeParams& p) {
    if (p.block_per_row) forward<T, BlockTeam>(p);
    else forward<T, WarpTeam>(p);
}

template <class T>
DEVICE void backward_rows(const L2NormalizeParams& p) {
    if (p.block_per_row) backward<T, BlockTeam>(p);
    else backward<T, WarpTeam>(p);
}

KERNEL_BOUNDS(l2_normalize_fwd_f32, L2NormalizeParams, 256) { forward_rows<float>(p); }
KERNEL_BOUNDS(l2_normalize_fwd_bf16, L2NormalizeParams, 256) { forward_rows<bf16>(p); }
KERNEL_BOUNDS(l2_normalize_bwd_f32, L2NormalizeParams, 256) { backward_rows<float>(p); }
KERNEL_BOUNDS(l2_normalize_bwd_bf16, L2NormalizeParams, 256) { backward_rows<bf16>(p); }
