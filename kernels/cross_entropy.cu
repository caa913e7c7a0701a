// cross_entropy: the mean over rows of log(sum_j exp(x_j)) - x_label, and its gradient (softmax(x) - onehot(label)) dloss / rows.
//   x, dx [rows, columns]   labels [rows] u32   losses [rows] fp32   loss, dloss one fp32   stats [rows, 2] fp32 (shift, log of the sum)
// One warp owns a short row, one block a long one; the losses are then added in a fixed order by one block. Traffic: x once forward, x once
// and dx once backward. A label that does not exist is not followed: it makes the loss, and the row's gradient, NaN.
#include "device/veridical.cuh"
#include "device/softmax_rows.cuh"

struct CrossEntropyParams {
    buffer x;
    buffer labels;
    buffer losses;
    buffer stats;
    buffer dloss;
    buffer dx;
    uint64_t rows;
    uint64_t columns;
    uint64_t block_per_row;
};
LAYOUT(CrossEntropyParams, x, labels, losses, stats, dloss, dx, rows, columns, block_per_row)

struct CrossEntropyMeanParams {
    buffer losses;
    buffer loss;
    uint64_t rows;
};
LAYOUT(CrossEntropyMeanParams, losses, loss, rows)

DEVICE float not_a_number() { return __uint_as_float(0x7fc00000u); }

template <class T, class Team>
DEVICE void forward(const CrossEntropyParams& p) {
    for (uint64_t r = Team::index(); r < p.rows; r += Team::teams()) {
        auto x = p.x.as<const T>() + r * p.columns;
        RowSum s = sum_of_exponentials<Team>(x, p.columns);
        if (Team::rank() == 0) {
            uint32_t label = p.labels.as<const uint32_t>()[r];
            float log_sum = s.log_sum();
            p.losses.as<float>()[r] = label < p.columns ? log_sum - (to_float(x[label]) - s.shift) : not_a_number();
            auto stats = p.stats.as<float>() + 2 * r;
            stats[0] = s.shift;
            stats[1] = log_sum;
        }
    }
}

template <class T, class Team>
DEVICE void backward(const CrossEntropyParams& p) {
    float scale = p.dloss.as<const float>()[0] / (float)p.rows;
    for (uint64_t r = Team::index(); r < p.rows; r += Team::teams()) {
        auto x = p.x.as<const T>() + r * p.columns;
        auto dx = p.dx.as<T>() + r * p.columns;
        auto stats = p.stats.as<const float>() + 2 * r;
        float shift = stats[0], log_sum = stats[1];
        uint32_t label = p.labels.as<const uint32_t>()[r];
        float row_scale = label < p.columns ? scale : not_a_number();
        for (uint64_t i = Team::rank(); i < p.columns; i += Team::size()) {
            float probability = expf(to_float(x[i]) - shift - log_sum);
            dx[i] = from_float<T>((probability - (i == label ? 1.0f : 0.0f)) * row_scale);
        }
    }
}

template <class T>
DEVICE void forward(const CrossEntropyParams& p) {
    if (p.block_per_row) forward<T, BlockTeam>(p);
    else forward<T, WarpTeam>(p);
}

template <class T>
DEVICE void backward(const CrossEntropyParams& p) {
    if (p.block_per_row) backward<T, BlockTeam>(p);
    else backward<T, WarpTeam>(p);
}

KERNEL(cross_entropy_fwd_f32, CrossEntropyParams) { forward<float>(p); }
KERNEL(cross_entropy_fwd_bf16, CrossEntropyParams) { forward<bf16>(p); }
KERNEL(cross_entropy_bwd_f32, CrossEntropyParams) { backward<float>(p); }
KERNEL(cross_entropy_bwd_bf16, CrossEntropyParams) { backward<bf16>(p); }
KERNEL(cross_entropy_fwd_mean_f32, CrossEntropyMeanParams) {
    auto losses = p.losses.as<const float>();
    float sum = 0.0f;
    for (uint64_t i = threadIdx.x; i < p.rows; i += blockDim.x) sum += losses[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) p.loss.as<float>()[0] = sum / (float)p.rows;
}
