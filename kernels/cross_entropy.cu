// cross_entropy: the mean over rows of log(sum_j exp(x_j)) - x_label, and its gradient (softmax(x) - onehot(label))
//   dloss / rows.
//   x, dx [rows, columns]   labels [rows] u32   losses [rows] fp32   loss, dloss one fp32
//   stats [rows, 2] fp32 (shift, log of the sum)
// One warp owns a short row, one block a long one; the losses are then added in a fixed order by one block. Traffic: x
// once forward, x once and dx once backward. wide: 16 bytes at a time; addresses and rows are multiples of that. A
// label that does not exist is not followed: it makes the loss, and the row's gradient, NaN.
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
    uint32_t block_per_row;
    uint32_t wide;
};

struct CrossEntropyMeanParams {
    buffer losses;
    buffer loss;
    uint64_t rows;
};

DEVICE float not_a_number() { return __uint_as_float(0x7fc00000u); }

template <class Row>
DEVICE void forward(const CrossEntropyParams& p) {
    using T = typename Row::Element;
    using Team = typename Row::Team;
    for (uint64_t r = Team::index(); r < p.rows; r += Team::teams()) {
        auto x = p.x.as<const T>() + r * p.columns;
        RowSum s = sum_of_exponentials(Row(x, p.columns));
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

template <class Row>
DEVICE void backward(const CrossEntropyParams& p) {
    using T = typename Row::Element;
    using Team = typename Row::Team;
    constexpr int N = Row::N;
    float scale = p.dloss.as<const float>()[0] / (float)p.rows;
    for (uint64_t r = Team::index(); r < p.rows; r += Team::teams()) {
        Row x(p.x.as<const T>() + r * p.columns, p.columns);
        auto dx = p.dx.as<T>() + r * p.columns;
        auto stats = p.stats.as<const float>() + 2 * r;
        float shift = stats[0], log_sum = stats[1];
        uint32_t label = p.labels.as<const uint32_t>()[r];
        float row_scale = label < p.columns ? scale : not_a_number();
        x.each([&](uint64_t i, vec<T, N> v) {
            for (int k = 0; k < N; k++) {
                float probability = expf(to_float(v[k]) - shift - log_sum);
                v[k] = from_float<T>((probability - (i + k == label ? 1.0f : 0.0f)) * row_scale);
            }
            store_vec(dx, i, v);
        });
    }
}

template <class T>
DEVICE void forward_rows(const CrossEntropyParams& p) {
    constexpr int N = 16 / sizeof(T);
    if (p.block_per_row && p.wide) forward<StreamedRow<BlockTeam, T, N>>(p);
    else if (p.block_per_row) forward<StreamedRow<BlockTeam, T, 1>>(p);
    else if (p.wide) forward<KeptRow<T>>(p);
    else forward<StreamedRow<WarpTeam, T, 1>>(p);
}

template <class T>
DEVICE void backward_rows(const CrossEntropyParams& p) {
    constexpr int N = 16 / sizeof(T);
    if (p.block_per_row && p.wide) backward<StreamedRow<BlockTeam, T, N>>(p);
    else if (p.block_per_row) backward<StreamedRow<BlockTeam, T, 1>>(p);
    else if (p.wide) backward<KeptRow<T>>(p);
    else backward<StreamedRow<WarpTeam, T, 1>>(p);
}

KERNEL_BOUNDS(cross_entropy_fwd_f32, CrossEntropyParams, 256, 4) { forward_rows<float>(p); }
KERNEL_BOUNDS(cross_entropy_fwd_bf16, CrossEntropyParams, 256, 4) { forward_rows<bf16>(p); }
KERNEL_BOUNDS(cross_entropy_bwd_f32, CrossEntropyParams, 256) { backward_rows<float>(p); }
KERNEL_BOUNDS(cross_entropy_bwd_bf16, CrossEntropyParams, 256) { backward_rows<bf16>(p); }
KERNEL(cross_entropy_fwd_mean_f32, CrossEntropyMeanParams) {
    auto losses = p.losses.as<const float>();
    float sum = 0.0f;
    for (uint64_t i = threadIdx.x; i < p.rows; i += blockDim.x) sum += losses[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) p.loss.as<float>()[0] = sum / (float)p.rows;
}
