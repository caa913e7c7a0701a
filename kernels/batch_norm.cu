// batch_norm: y = gamma (x - mean) rstd + beta, by the statistics of each channel; and with xhat = (x - mean) rstd
//   dx = gamma rstd (dy - taken sum(dy) - xhat taken sum(dy xhat)), taken = 1 / rows if the statistics are x's, else 0.
//   x, y, dy [rows, channels]   gamma, beta, dgamma, dbeta [channels] (T or fp32)
//   stats [4, channels] fp32 (the mean, what it lacks of the mean in double, rstd, the variance)
//   partial [chunks, 2, channels] fp32: of each chunk of rows, forward the mean, counted from its first row, and the
//   squared distances from it; backward the sums of dy and of dy xhat
// Forward, fwd_partial makes the chunks' statistics (two passes over a chunk, of which the second finds it in the
// cache), fwd_join joins them, fwd_given takes those of mean and variance instead, and fwd_apply normalises: two reads
// of x and one write. Backward, bwd_partial and bwd_join make the sums over rows, the gradients of gamma and beta and
// (in `mean`, [2, channels]) what the statistics take up, and bwd_input writes dx to y: two reads of x and dy, one
// write. Sums run in an order that the shapes fix, in fp32 within a chunk, in double over chunks.
// Differences from a chunk's first row are exact where a sum of numbers far from zero would round the mean.
#include "device/veridical.cuh"

struct BatchNormParams {
    buffer x;
    buffer y;
    buffer dy;
    buffer gamma;
    buffer beta;
    buffer dgamma;
    buffer dbeta;
    buffer mean;
    buffer variance;
    buffer stats;
    buffer partial;
    uint64_t rows;
    uint64_t rows_per_chunk;
    double eps;
    double taken;
    uint32_t channels;
    uint32_t chunks;
    uint32_t affine_f32;
    uint32_t wide;
};

// gamma or beta of a channel.
template <class T>
DEVICE float affine(buffer from, uint32_t channel, uint32_t f32) {
    return f32 ? from.as<const float>()[channel] : to_float(from.as<const T>()[channel]);
}

constexpr uint32_t THREADS = 256;

// The sum over a block's warps of what they have for a lane, in order; every thread gets its lane's.
DEVICE float over_warps(sptr<float> parts, float mine) {
    parts[threadIdx.x] = mine;
    __syncthreads();
    float sum = 0.0f;
    for (uint32_t w = 0; w < THREADS / WARP; w++) sum += parts[w * WARP + lane()];
    __syncthreads();
    return sum;
}

// Block (i, k): 32 channels from 32 i on, rows of chunk k. A warp takes every eighth row.
template <class T>
DEVICE void partial_statistics(const BatchNormParams& p) {
    SHARED(float, parts, THREADS);
    uint32_t channel = blockIdx.x * WARP + lane();
    uint64_t first = blockIdx.y * p.rows_per_chunk, end = min(first + p.rows_per_chunk, p.rows);
    bool active = channel < p.channels;
    auto x = p.x.as<const T>() + channel;
    float pivot = active ? to_float(x[first * p.channels]) : 0.0f;
    float sum = 0.0f, squares = 0.0f;
    if (active)
        for (uint64_t r = first + warp(); r < end; r += THREADS / WARP) sum += to_float(x[r * p.channels]) - pivot;
    float mean = over_warps(parts, sum) / (float)(end - first);
    if (active)
        for (uint64_t r = first + warp(); r < end; r += THREADS / WARP) {
            float off = to_float(x[r * p.channels]) - pivot - mean;
            squares += off * off;
        }
    squares = over_warps(parts, squares);
    if (warp() == 0 && active) {
        auto partial = p.partial.as<float>() + (uint64_t)blockIdx.y * 2 * p.channels;
        partial[channel] = mean;
        partial[p.channels + channel] = squares;
    }
}

DEVICE void store_statistics(const BatchNormParams& p, uint64_t channel, double mean, double variance) {
    auto stats = p.stats.as<float>() + channel;
    float near = (float)mean;
    stats[0] = near;
    stats[p.channels] = (float)(mean - near);
    stats[2 * (uint64_t)p.channels] = 1.0f / sqrtf((float)(variance + p.eps));
    stats[3 * (uint64_t)p.channels] = (float)variance;
}

// One thread a channel.
template <class T>
DEVICE void join_statistics(const BatchNormParams& p) {
    auto partial = p.partial.as<const float>();
    auto x = p.x.as<const T>();
    for (uint64_t c = global_thread(); c < p.channels; c += grid_threads()) {
        auto rows_of = [&](uint32_t k) { return (double)(min((k + 1) * p.rows_per_chunk, p.rows) - k * p.rows_per_chunk); };
        auto mean_of = [&](uint32_t k) {
            float pivot = to_float(x[k * p.rows_per_chunk * p.channels + c]);
            return (double)pivot + (double)partial[(uint64_t)k * 2 * p.channels + c];
        };
        // Counted from the first chunk's mean, for the same reason.
        double origin = mean_of(0), sum = 0.0, squares = 0.0;
        for (uint32_t k = 1; k < p.chunks; k++) sum += rows_of(k) * (mean_of(k) - origin);
        double mean = origin + sum / (double)p.rows;
        for (uint32_t k = 0; k < p.chunks; k++) {
            double off = mean_of(k) - mean;
            squares += (double)partial[((uint64_t)k * 2 + 1) * p.channels + c] + rows_of(k) * off * off;
        }
        store_statistics(p, c, mean, squares / (double)p.rows);
    }
}

DEVICE void given_statistics(const BatchNormParams& p) {
    for (uint64_t c = global_thread(); c < p.channels; c += grid_threads())
        store_statistics(p, c, p.mean.as<const float>()[c], p.variance.as<const float>()[c]);
}

// Calls f(first channel, rows) for vectors of N channels, each with every teams-th row: what depends on the channel
// alone stays in registers, and neighbouring threads read neighbouring memory.
template <int N, class F>
DEVICE void each_column(const BatchNormParams& p, F f) {
    uint64_t columns = p.channels / N, width = min(columns, grid_threads());
    uint64_t team = global_thread() / width, teams = grid_threads() / width;
    if (team >= teams) return;
    for (uint64_t column = global_thread() % width; column < columns; column += width) f(column * N, team, teams);
}

template <int N, class T>
DEVICE void apply(const BatchNormParams& p) {
    each_column<N>(p, [&](uint64_t c, uint64_t team, uint64_t teams) {
        auto stats = p.stats.as<const float>() + c;
        float mean[N], rest[N], scale[N], shift[N];
        for (int k = 0; k < N; k++) {
            mean[k] = stats[k];
            rest[k] = stats[p.channels + k];
            scale[k] = stats[2 * (uint64_t)p.channels + k] * affine<T>(p.gamma, c + k, p.affine_f32);
            shift[k] = affine<T>(p.beta, c + k, p.affine_f32);
        }
        for (uint64_t r = team; r < p.rows; r += teams) {
            vec<T, N> v = load_vec<N>(p.x.as<const T>(), r * p.channels + c);
            for (int k = 0; k < N; k++) v[k] = from_float<T>((to_float(v[k]) - mean[k] - rest[k]) * scale[k] + shift[k]);
            store_vec(p.y.as<T>(), r * p.channels + c, v);
        }
    });
}

template <class T>
DEVICE void partial_gradients(const BatchNormParams& p) {
    SHARED(float, parts, THREADS);
    uint32_t channel = blockIdx.x * WARP + lane();
    uint64_t first = blockIdx.y * p.rows_per_chunk, end = min(first + p.rows_per_chunk, p.rows);
    bool active = channel < p.channels;
    float sum = 0.0f, product = 0.0f;
    if (active) {
        auto stats = p.stats.as<const float>() + channel;
        float mean = stats[0], rest = stats[p.channels], rstd = stats[2 * (uint64_t)p.channels];
        auto x = p.x.as<const T>() + channel;
        auto dy = p.dy.as<const T>() + channel;
        for (uint64_t r = first + warp(); r < end; r += THREADS / WARP) {
            float g = to_float(dy[r * p.channels]);
            sum += g;
            product += g * ((to_float(x[r * p.channels]) - mean - rest) * rstd);
        }
    }
    sum = over_warps(parts, sum);
    product = over_warps(parts, product);
    if (warp() == 0 && active) {
        auto partial = p.partial.as<float>() + (uint64_t)blockIdx.y * 2 * p.channels;
        partial[channel] = sum;
        partial[p.channels + channel] = product;
    }
}

// One thread a channel.
template <class T>
DEVICE void join_gradients(const BatchNormParams& p) {
    auto partial = p.partial.as<const float>();
    for (uint64_t c = global_thread(); c < p.channels; c += grid_threads()) {
        for (uint32_t which = 0; which < 2; which++) {
            double total = 0.0;
            for (uint32_t k = 0; k < p.chunks; k++) total += (double)partial[((uint64_t)k * 2 + which) * p.channels + c];
            p.mean.as<float>()[which * (uint64_t)p.channels + c] = (float)(total * p.taken);
            buffer out = which == 0 ? p.dbeta : p.dgamma;
            if (p.affine_f32) out.as<float>()[c] = (float)total;
            else out.as<T>()[c] = from_float<T>((float)total);
        }
    }
}

template <int N, class T>
DEVICE void input_gradient(const BatchNormParams& p) {
    each_column<N>(p, [&](uint64_t c, uint64_t team, uint64_t teams) {
        auto stats = p.stats.as<const float>() + c;
        auto means = p.mean.as<const float>() + c;
        float mean[N], rest[N], rstd[N], factor[N], mean_dy[N], mean_product[N];
        for (int k = 0; k < N; k++) {
            mean[k] = stats[k];
            rest[k] = stats[p.channels + k];
            rstd[k] = stats[2 * (uint64_t)p.channels + k];
            factor[k] = rstd[k] * affine<T>(p.gamma, c + k, p.affine_f32);
            mean_dy[k] = means[k];
            mean_product[k] = means[p.channels + k];
        }
        for (uint64_t r = team; r < p.rows; r += teams) {
            vec<T, N> x = load_vec<N>(p.x.as<const T>(), r * p.channels + c);
            vec<T, N> v = load_vec<N>(p.dy.as<const T>(), r * p.channels + c);
            for (int k = 0; k < N; k++) {
                float xhat = (to_float(x[k]) - mean[k] - rest[k]) * rstd[k];
                v[k] = from_float<T>(factor[k] * (to_float(v[k]) - mean_dy[k] - xhat * mean_product[k]));
            }
            store_vec(p.y.as<T>(), r * p.channels + c, v);
        }
    });
}

template <class T>
DEVICE void apply(const BatchNormParams& p) {
    if (p.wide) apply<16 / sizeof(T), T>(p);
    else apply<1, T>(p);
}
template <class T>
DEVICE void input_gradient(const BatchNormParams& p) {
    if (p.wide) input_gradient<16 / sizeof(T), T>(p);
    else input_gradient<1, T>(p);
}

KERNEL_BOUNDS(batch_norm_fwd_partial_f32, BatchNormParams, 256) { partial_statistics<float>(p); }
KERNEL_BOUNDS(batch_norm_fwd_partial_bf16, BatchNormParams, 256) { partial_statistics<bf16>(p); }
KERNEL(batch_norm_fwd_join_f32, BatchNormParams) { join_statistics<float>(p); }
KERNEL(batch_norm_fwd_join_bf16, BatchNormParams) { join_statistics<bf16>(p); }
KERNEL(batch_norm_fwd_given_f32, BatchNormParams) { given_statistics(p); }
KERNEL_BOUNDS(batch_norm_fwd_apply_f32, BatchNormParams, 256) { apply<float>(p); }
KERNEL_BOUNDS(batch_norm_fwd_apply_bf16, BatchNormParams, 256) { apply<bf16>(p); }
KERNEL_BOUNDS(batch_norm_bwd_partial_f32, BatchNormParams, 256) { partial_gradients<float>(p); }
KERNEL_BOUNDS(batch_norm_bwd_partial_bf16, BatchNormParams, 256) { partial_gradients<bf16>(p); }
KERNEL(batch_norm_bwd_join_f32, BatchNormParams) { join_gradients<float>(p); }
KERNEL(batch_norm_bwd_join_bf16, BatchNormParams) { join_gradients<bf16>(p); }
KERNEL_BOUNDS(batch_norm_bwd_input_f32, BatchNormParams, 256) { input_gradient<float>(p); }
KERNEL_BOUNDS(batch_norm_bwd_input_bf16, BatchNormParams, 256) { input_gradient<bf16>(p); }
