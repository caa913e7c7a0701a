// layer_norm: y = gamma (x - mean) rstd + beta over rows; dx = rstd (g - mean(g) - u mean(g u)), g = dy gamma,
//   u = (x - mean) rstd.
//   x, y, dy, dx [rows, channels]   gamma, beta, dgamma, dbeta [channels] (T or fp32)
//   stats [rows, 2] fp32 (mean - x[0], rstd)
//   partial [chunks, 2, channels] fp32: the sums over each chunk's rows of dy u, and of dy
// One warp owns a short row, one block a long one: a row comes from memory once and from the cache after that. Two
// elements of traffic per element forward, three backward, and two more for the gradients of gamma and beta, which a
// second and a third launch make:
// sums over the rows of a chunk, then over the chunks, each in one order.
// Statistics are of x - x[0]: differences of near numbers are exact, where a sum of numbers far from zero would round
// the mean.
#include "device/veridical.cuh"
#include "device/softmax_rows.cuh"

struct LayerNormParams {
    buffer x;
    buffer gamma;
    buffer beta;
    buffer stats;
    buffer y;
    buffer dy;
    buffer dx;
    uint64_t rows;
    uint32_t channels;
    uint32_t block_per_row;
    uint32_t affine_f32;
    float eps;
};

struct LayerNormAffineParams {
    buffer x;
    buffer dy;
    buffer stats;
    buffer partial;
    buffer dgamma;
    buffer dbeta;
    uint64_t rows;
    uint64_t rows_per_chunk;
    uint32_t channels;
    uint32_t chunks;
    uint32_t affine_f32;
    uint32_t unused;
};

// gamma or beta of a channel.
template <class T>
DEVICE float affine(buffer from, uint32_t channel, uint32_t f32) {
    return f32 ? from.as<const float>()[channel] : to_float(from.as<const T>()[channel]);
}

template <class T, class Team>
DEVICE void forward(const LayerNormParams& p) {
    for (uint64_t r = Team::index(); r < p.rows; r += Team::teams()) {
        auto x = p.x.as<const T>() + r * p.channels;
        auto y = p.y.as<T>() + r * p.channels;
        float first = to_float(x[0]);
        float sum = 0.0f, squares = 0.0f;
        for (uint32_t i = Team::rank(); i < p.channels; i += Team::size()) sum += to_float(x[i]) - first;
        float mean = Team::sum(sum) / p.channels;
        for (uint32_t i = Team::rank(); i < p.channels; i += Team::size()) {
            float d = to_float(x[i]) - first - mean;
            squares += d * d;
        }
        float rstd = 1.0f / sqrtf(Team::sum(squares) / p.channels + p.eps);
        for (uint32_t i = Team::rank(); i < p.channels; i += Team::size()) {
            float u = (to_float(x[i]) - first - mean) * rstd;
            y[i] = from_float<T>(u * affine<T>(p.gamma, i, p.affine_f32) + affine<T>(p.beta, i, p.affine_f32));
        }
        if (Team::rank() == 0) {
            auto stats = p.stats.as<float>() + 2 * r;
            stats[0] = mean;
            stats[1] = rstd;
        }
    }
}

template <class T, class Team>
DEVICE void backward(const LayerNormParams& p) {
    for (uint64_t r = Team::index(); r < p.rows; r += Team::teams()) {
        auto x = p.x.as<const T>() + r * p.channels;
        auto dy = p.dy.as<const T>() + r * p.channels;
        auto dx = p.dx.as<T>() + r * p.channels;
        auto stats = p.stats.as<const float>() + 2 * r;
        float first = to_float(x[0]), mean = stats[0], rstd = stats[1];
        float slope = 0.0f, product = 0.0f;
        for (uint32_t i = Team::rank(); i < p.channels; i += Team::size()) {
            float g = to_float(dy[i]) * affine<T>(p.gamma, i, p.affine_f32);
            slope += g;
            product += g * (to_float(x[i]) - first - mean) * rstd;
        }
        slope = Team::sum(slope) / p.channels;
        product = Team::sum(product) / p.channels;
        for (uint32_t i = Team::rank(); i < p.channels; i += Team::size()) {
            float g = to_float(dy[i]) * affine<T>(p.gamma, i, p.affine_f32);
            float u = (to_float(x[i]) - first - mean) * rstd;
            dx[i] = from_float<T>(rstd * (g - slope - u * product));
        }
    }
}

template <class T>
DEVICE void forward(const LayerNormParams& p) {
    if (p.block_per_row) forward<T, BlockTeam>(p);
    else forward<T, WarpTeam>(p);
}

template <class T>
DEVICE void backward(const LayerNormParams& p) {
    if (p.block_per_row) backward<T, BlockTeam>(p);
    else backward<T, WarpTeam>(p);
}

// Block (i, k): 32 channels from 32 i on, rows of chunk k. A warp takes every warps()-th row, then the warps are added
// in order.
template <class T>
DEVICE void partial_sums(const LayerNormAffineParams& p) {
    SHARED(float, of_gamma, 256);
    SHARED(float, of_beta, 256);
    uint32_t channel = blockIdx.x * WARP + lane();
    uint64_t first = blockIdx.y * p.rows_per_chunk;
    uint64_t end = min(first + p.rows_per_chunk, p.rows);
    float gamma = 0.0f, beta = 0.0f;
    if (channel < p.channels) {
        auto stats = p.stats.as<const float>();
        for (uint64_t r = first + warp(); r < end; r += warps()) {
            auto x = p.x.as<const T>() + r * p.channels;
            float g = to_float(p.dy.as<const T>()[r * p.channels + channel]);
            float u = (to_float(x[channel]) - to_float(x[0]) - stats[2 * r]) * stats[2 * r + 1];
            gamma += g * u;
            beta += g;
        }
    }
    of_gamma[threadIdx.x] = gamma;
    of_beta[threadIdx.x] = beta;
    __syncthreads();
    if (warp() == 0 && channel < p.channels) {
        gamma = beta = 0.0f;
        for (uint32_t w = 0; w < warps(); w++) {
            gamma += of_gamma[w * WARP + lane()];
            beta += of_beta[w * WARP + lane()];
        }
        auto partial = p.partial.as<float>() + (uint64_t)blockIdx.y * 2 * p.channels;
        partial[channel] = gamma;
        partial[p.channels + channel] = beta;
    }
}

// One thread a channel adds up the chunks.
template <class T>
DEVICE void join_sums(const LayerNormAffineParams& p) {
    for (uint64_t i = global_thread(); i < 2 * (uint64_t)p.channels; i += grid_threads()) {
        float total = 0.0f;
        for (uint32_t k = 0; k < p.chunks; k++) total += p.partial.as<const float>()[(uint64_t)k * 2 * p.channels + i];
        bool gamma = i < p.channels;
        buffer out = gamma ? p.dgamma : p.dbeta;
        uint64_t channel = gamma ? i : i - p.channels;
        if (p.affine_f32) out.as<float>()[channel] = total;
        else out.as<T>()[channel] = from_float<T>(total);
    }
}

KERNEL(layer_norm_fwd_f32, LayerNormParams) { forward<float>(p); }
KERNEL(layer_norm_fwd_bf16, LayerNormParams) { forward<bf16>(p); }
KERNEL(layer_norm_bwd_f32, LayerNormParams) { backward<float>(p); }
KERNEL(layer_norm_bwd_bf16, LayerNormParams) { backward<bf16>(p); }
KERNEL_BOUNDS(layer_norm_bwd_partial_f32, LayerNormAffineParams, 256) { partial_sums<float>(p); }
KERNEL_BOUNDS(layer_norm_bwd_partial_bf16, LayerNormAffineParams, 256) { partial_sums<bf16>(p); }
KERNEL(layer_norm_bwd_join_f32, LayerNormAffineParams) { join_sums<float>(p); }
KERNEL(layer_norm_bwd_join_bf16, LayerNormAffineParams) { join_sums<bf16>(p); }
