// group_norm: y = f(gamma (x - mean) rstd + beta) with mean and rstd = 1/sqrt(var + eps) of one group of one image; f
//   is SiLU or nothing.
//   x, y, dy, dx [images, pixels, channels]   gamma, beta [channels] (fp32 or as x)
//   stats [images, groups, 2] fp32 (mean, rstd)
//   partial [images, 2, channels] fp32: each image's share of dbeta and dgamma, which
//   group_norm_bwd_affine then adds up in order.
// One block owns a run of whole groups of one image, a strip [pixels, width] of it. Where the strip fits shared memory
// (`resident`) it is read once and written once: 2 elements of traffic per element forward, 3 backward. Where not, it
// is read again in every pass.
// A thread owns a column of N neighbouring channels (never of two groups) in every R-th pixel, so what it stores it
// alone reads back.
// Sums are fp32 in an order fixed by the shapes. The mean is that of x - x[0] of the group, plus x[0]: a sum of numbers
// far from zero would round it. The variance is summed about the mean.
#include "device/veridical.cuh"
#include "device/sigmoid.cuh"

struct GroupNormParams {
    buffer x;
    buffer gamma;
    buffer beta;
    buffer stats;
    buffer y;
    buffer dy;
    buffer dx;
    buffer partial;
    uint64_t pixels;
    uint32_t channels;
    uint32_t groups;
    uint32_t groups_per_block;
    uint32_t elements_per_load;
    uint32_t resident;
    uint32_t silu;
    uint32_t affine_f32;
    float eps;
};

struct GroupNormAffineParams {
    buffer partial;
    buffer dgamma;
    buffer dbeta;
    uint64_t images;
    uint32_t channels;
    uint32_t affine_f32;
};

// gamma or beta, in fp32 or in the dtype of x.
template <class T>
struct Affine {
    gptr<const float> wide;
    gptr<const T> narrow;
    bool is_f32;
    DEVICE Affine(buffer b, bool is_f32)
        : wide((is_f32 ? b : buffer{0}).as<const float>()), narrow((is_f32 ? buffer{0} : b).as<const T>()), is_f32(is_f32) {}
    DEVICE float operator[](uint32_t i) const { return is_f32 ? wide[i] : to_float(narrow[i]); }
};

// The strip of a block and the part of it that a thread owns, in columns of `elements` channels.
struct Strip {
    uint64_t image;
    uint32_t first_group, first_channel;
    uint32_t group_columns, columns;  // in a group, in the strip
    uint32_t side_by_side, rows;      // the block's threads cover so many columns of so many pixels at a time
    uint32_t column, row;             // this thread's
    bool active;

    DEVICE Strip(const GroupNormParams& p, uint32_t elements) {
        uint32_t strips = p.groups / p.groups_per_block;
        image = blockIdx.x / strips;
        first_group = blockIdx.x % strips * p.groups_per_block;
        first_channel = p.channels / p.groups * first_group;
        group_columns = p.channels / p.groups / elements;
        columns = group_columns * p.groups_per_block;
        side_by_side = min(columns, blockDim.x);
        rows = blockDim.x / side_by_side;
        column = threadIdx.x % side_by_side;
        row = threadIdx.x / side_by_side;
        active = row < rows;
    }
    DEVICE uint32_t group_of(uint32_t c) const { return c / group_columns; }

    // use(pixel, load(pixel)) for this thread's pixels; AHEAD loads are under way before the first is used.
    template <int AHEAD, class Load, class Use>
    DEVICE void each(uint64_t pixels, Load load, Use use) const {
        if (!active) return;
        for (uint64_t r = row; r < pixels; r += AHEAD * rows) {
            decltype(load(r)) v[AHEAD];
            for (int k = 0; k < AHEAD; k++)
                if (r + k * rows < pixels) v[k] = load(r + k * rows);
            for (int k = 0; k < AHEAD; k++)
                if (r + k * rows < pixels) use(r + k * rows, v[k]);
        }
    }
};

// The sum over the threads of this thread's group. A strip of several groups has all its columns side by side.
DEVICE float group_sum(const Strip& s, uint32_t groups, float v) {
    SHARED(float, each_thread, 1024);
    SHARED(float, each_group, 1024);
    each_thread[threadIdx.x] = s.active ? v : 0.0f;
    __syncthreads();
    uint32_t wide = groups == 1 ? s.side_by_side : s.group_columns;
    for (uint32_t g = warp(); g < groups; g += warps()) {
        float sum = 0.0f;
        for (uint32_t i = lane(); i < wide * s.rows; i += WARP)
            sum += each_thread[i / wide * s.side_by_side + g * wide + i % wide];
        sum = warp_sum(sum);
        if (lane() == 0) each_group[g] = sum;
    }
    __syncthreads();
    return each_group[groups == 1 ? 0 : s.group_of(s.column)];
}

template <class T, int N, bool RESIDENT>
DEVICE void forward(const GroupNormParams& p) {
    SHARED_DYNAMIC(T, tile);
    Strip s(p, N);
    uint64_t offset = s.image * p.pixels * p.channels + s.first_channel;
    auto x = p.x.as<const T>() + offset;
    auto y = p.y.as<T>() + offset;
    float count = (float)(p.pixels * (p.channels / p.groups));
    auto at = [&](uint64_t r, uint32_t c) { return r * p.channels + c * N; };
    auto kept = [&](uint64_t r, uint32_t c) { return ((uint32_t)r * s.columns + c) * N; };
    auto again = [&](uint64_t r, uint32_t c) {
        if constexpr (RESIDENT) return load_vec<N>(tile, kept(r, c));
        else return load_vec<N>(x, at(r, c));
    };

    // Several columns of a thread are of one group.
    float first = to_float(x[s.group_of(s.column) * s.group_columns * N]);
    float sum = 0.0f;
    for (uint32_t c = s.column; c < s.columns; c += s.side_by_side)
        s.each<4>(p.pixels, [&](uint64_t r) { return load_vec<N>(x, at(r, c)); },
               [&](uint64_t r, const vec<T, N>& v) {
                   if constexpr (RESIDENT) store_vec(tile, kept(r, c), v);
                   for (int k = 0; k < N; k++) sum += to_float(v[k]) - first;
               });
    float mean = first + group_sum(s, p.groups_per_block, sum) / count;

    float squares = 0.0f;
    for (uint32_t c = s.column; c < s.columns; c += s.side_by_side)
        s.each<4>(p.pixels, [&](uint64_t r) { return again(r, c); },
               [&](uint64_t, const vec<T, N>& v) {
                   for (int k = 0; k < N; k++) {
                       float d = to_float(v[k]) - mean;
                       squares += d * d;
                   }
               });
    float rstd = 1.0f / sqrtf(group_sum(s, p.groups_per_block, squares) / count + p.eps);

    Affine<T> gamma(p.gamma, p.affine_f32), beta(p.beta, p.affine_f32);
    for (uint32_t c = s.column; c < s.columns; c += s.side_by_side) {
        float scale[N], shift[N];
        for (int k = 0; k < N; k++) {
            scale[k] = rstd * gamma[s.first_channel + c * N + k];
            shift[k] = beta[s.first_channel + c * N + k];
        }
        s.each<4>(p.pixels, [&](uint64_t r) { return again(r, c); },
               [&](uint64_t r, vec<T, N> v) {
                   for (int k = 0; k < N; k++) {
                       float u = (to_float(v[k]) - mean) * scale[k] + shift[k];
                       v[k] = from_float<T>(p.silu ? u * sigmoid<T>(u) : u);
                   }
                   store_vec(y, at(r, c), v);
               });
        // The first thread of a group's first column speaks for the group.
        if (s.active && s.row == 0 && c % s.group_columns == 0) {
            auto stats = p.stats.as<float>() + (s.image * p.groups + s.first_group + s.group_of(c)) * 2;
            stats[0] = mean;
            stats[1] = rstd;
        }
    }
}

// With dz the gradient of gamma xhat + beta: dx = rstd (gamma dz - mean(gamma dz) - xhat mean(gamma dz xhat)), means
// over the group.
template <class T, int N, bool RESIDENT>
DEVICE void backward(const GroupNormParams& p) {
    struct Pair {
        vec<T, N> x, dy;
    };
    SHARED_DYNAMIC(unsigned char, memory);
    Strip s(p, N);
    uint32_t width = s.columns * N;
    // Shared memory: two sums per channel; two sums per group; then each thread's sums (a row longer by one against
    // bank conflicts), and the two tiles.
    auto channel_sums = memory.template cast<float>();
    auto group_sums = channel_sums + 2 * width;
    auto thread_sums = group_sums + 2 * p.groups_per_block;
    uint32_t pitch = s.side_by_side * N + 1;
    uint32_t before = 4 * (2 * width + 2 * p.groups_per_block + 2 * s.rows * pitch);
    auto x_tile = (memory + (before + 15) / 16 * 16).template cast<T>();
    auto dy_tile = x_tile + (uint32_t)p.pixels * width;

    uint64_t offset = s.image * p.pixels * p.channels + s.first_channel;
    auto x = p.x.as<const T>() + offset;
    auto dy = p.dy.as<const T>() + offset;
    auto dx = p.dx.as<T>() + offset;
    auto stats = p.stats.as<const float>() + (s.image * p.groups + s.first_group) * 2;
    Affine<T> gamma(p.gamma, p.affine_f32), beta(p.beta, p.affine_f32);
    auto at = [&](uint64_t r, uint32_t c) { return r * p.channels + c * N; };
    auto kept = [&](uint64_t r, uint32_t c) { return ((uint32_t)r * s.columns + c) * N; };
    auto first = [&](uint64_t r, uint32_t c) { return Pair{load_vec<N>(x, at(r, c)), load_vec<N>(dy, at(r, c))}; };
    auto again = [&](uint64_t r, uint32_t c) {
        if constexpr (RESIDENT) return Pair{load_vec<N>(x_tile, kept(r, c)), load_vec<N>(dy_tile, kept(r, c))};
        else return first(r, c);
    };

    for (uint32_t base = 0; base < s.columns; base += s.side_by_side) {
        uint32_t c = base + s.column;
        if (s.active && c < s.columns) {
            float mean = stats[2 * s.group_of(c)], rstd = stats[2 * s.group_of(c) + 1];
            float g[N], b[N], sum[N], product[N];
            for (int k = 0; k < N; k++) {
                g[k] = gamma[s.first_channel + c * N + k];
                b[k] = beta[s.first_channel + c * N + k];
                sum[k] = product[k] = 0.0f;
            }
            s.each<2>(p.pixels, [&](uint64_t r) { return first(r, c); },
                   [&](uint64_t r, const Pair& v) {
                       if constexpr (RESIDENT) {
                           store_vec(x_tile, kept(r, c), v.x);
                           store_vec(dy_tile, kept(r, c), v.dy);
                       }
                       for (int k = 0; k < N; k++) {
                           float xhat = (to_float(v.x[k]) - mean) * rstd, dz = to_float(v.dy[k]);
                           if (p.silu) dz *= silu_slope<T>(xhat * g[k] + b[k]);
                           sum[k] += dz;
                           product[k] += dz * xhat;
                       }
                   });
            for (int k = 0; k < N; k++) {
                thread_sums[s.row * pitch + s.column * N + k] = sum[k];
                thread_sums[(s.rows + s.row) * pitch + s.column * N + k] = product[k];
            }
        }
        __syncthreads();
        auto partial = p.partial.as<float>() + s.image * 2 * p.channels + s.first_channel;
        for (uint32_t i = threadIdx.x; i < s.side_by_side * N; i += blockDim.x) {
            uint32_t channel = base * N + i;
            if (channel >= width) break;
            for (uint32_t which = 0; which < 2; which++) {
                float sum = 0.0f;
                for (uint32_t r = 0; r < s.rows; r++) sum += thread_sums[(which * s.rows + r) * pitch + i];
                channel_sums[which * width + channel] = sum;
                partial[which * p.channels + channel] = sum;
            }
        }
        __syncthreads();
    }

    uint32_t group_width = s.group_columns * N;
    float count = (float)(p.pixels * group_width);
    for (uint32_t i = warp(); i < 2 * p.groups_per_block; i += warps()) {
        uint32_t g = i / 2, which = i % 2;
        float sum = 0.0f;
        for (uint32_t k = lane(); k < group_width; k += WARP)
            sum += gamma[s.first_channel + g * group_width + k] * channel_sums[which * width + g * group_width + k];
        sum = warp_sum(sum);
        if (lane() == 0) group_sums[i] = sum / count;
    }
    __syncthreads();

    for (uint32_t c = s.column; c < s.columns; c += s.side_by_side) {
        uint32_t group = s.group_of(c);
        float mean = stats[2 * group], rstd = stats[2 * group + 1];
        float mean_dz = group_sums[2 * group], mean_product = group_sums[2 * group + 1];
        float g[N], b[N];
        for (int k = 0; k < N; k++) {
            g[k] = gamma[s.first_channel + c * N + k];
            b[k] = beta[s.first_channel + c * N + k];
        }
        s.each<2>(p.pixels, [&](uint64_t r) { return again(r, c); },
               [&](uint64_t r, const Pair& v) {
                   vec<T, N> out;
                   for (int k = 0; k < N; k++) {
                       float xhat = (to_float(v.x[k]) - mean) * rstd, dz = to_float(v.dy[k]);
                       if (p.silu) dz *= silu_slope<T>(xhat * g[k] + b[k]);
                       out[k] = from_float<T>(rstd * (g[k] * dz - mean_dz - xhat * mean_product));
                   }
                   store_vec(dx, at(r, c), out);
               });
    }
}

template <class T, int N>
DEVICE void forward(const GroupNormParams& p) {
    if (p.resident) forward<T, N, true>(p);
    else forward<T, N, false>(p);
}

template <class T, int N>
DEVICE void backward(const GroupNormParams& p) {
    if (p.resident) backward<T, N, true>(p);
    else backward<T, N, false>(p);
}

template <class T>
DEVICE void forward(const GroupNormParams& p) {
    constexpr int WIDE = 16 / sizeof(T);
    if (p.elements_per_load == WIDE) forward<T, WIDE>(p);
    else if (p.elements_per_load == WIDE / 2) forward<T, WIDE / 2>(p);
    else forward<T, 1>(p);
}

template <class T>
DEVICE void backward(const GroupNormParams& p) {
    constexpr int WIDE = 16 / sizeof(T);
    if (p.elements_per_load == WIDE) backward<T, WIDE>(p);
    else if (p.elements_per_load == WIDE / 2) backward<T, WIDE / 2>(p);
    else backward<T, 1>(p);
}

// Block (i, 0) adds up dbeta of 32 channels, block (i, 1) dgamma: a warp takes every warps()-th image, then the warps
// are added in order.
template <class T>
DEVICE void affine_gradient(const GroupNormAffineParams& p) {
    SHARED(float, each_warp, 1024);
    uint32_t channel = blockIdx.x * WARP + lane();
    auto partial = p.partial.as<const float>() + blockIdx.y * p.channels;
    float sum = 0.0f;
    if (channel < p.channels)
        for (uint64_t i = warp(); i < p.images; i += warps()) sum += partial[i * 2 * p.channels + channel];
    each_warp[threadIdx.x] = sum;
    __syncthreads();
    if (warp() == 0 && channel < p.channels) {
        float total = 0.0f;
        for (uint32_t w = 0; w < warps(); w++) total += each_warp[w * WARP + lane()];
        buffer out = blockIdx.y == 0 ? p.dbeta : p.dgamma;
        if (p.affine_f32) out.as<float>()[channel] = total;
        else out.as<T>()[channel] = from_float<T>(total);
    }
}

KERNEL_BOUNDS(group_norm_fwd_f32, GroupNormParams, 512, 2) { forward<float>(p); }
KERNEL_BOUNDS(group_norm_fwd_bf16, GroupNormParams, 512, 2) { forward<bf16>(p); }
KERNEL_BOUNDS(group_norm_bwd_f32, GroupNormParams, 512) { backward<float>(p); }
KERNEL_BOUNDS(group_norm_bwd_bf16, GroupNormParams, 512) { backward<bf16>(p); }
KERNEL_BOUNDS(group_norm_bwd_affine_f32, GroupNormAffineParams, 1024) { affine_gradient<float>(p); }
KERNEL_BOUNDS(group_norm_bwd_affine_bf16, GroupNormAffineParams, 1024) { affine_gradient<bf16>(p); }
