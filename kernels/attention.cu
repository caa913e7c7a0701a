// attention: per head, y = softmax(scale q k^T) v with the softmax over keys; causal: query i sees keys 0..i.
//   q, k, v, y, dy, dq, dk, dv [images, tokens, channels], head h in channels h head_dim ..
//   lse, delta [images, heads, tokens] fp32
//   lse: log of the sum of exponentials of a query's scores. delta: dot product of dy and y.
// The scores are never stored: a block owns a tile of 64 queries (forward, dq) or 64 keys (dk, dv), walks the tiles of
// the other side, and makes each tile of scores from pieces in shared memory; the backward pass makes it again from
// lse. Everything is fp32 inside, every sum in one order; bf16 goes through tensor cores (device/attention_tensor.cuh),
// for which probabilities and their gradients are rounded to bf16. Multiply-adds: 2, and backward 7, times tokens^2
// channels per image (half if causal); of more than 128 channels in bf16 9, as two warps make the same scores.
// fwd and bwd_queries write y, lse and dq, delta; bwd_keys needs delta, so it comes after bwd_queries.
// Dao et al. 2022 (arXiv 2205.14135), Dao 2023 (arXiv 2307.08691).
#include "device/veridical.cuh"
#include "device/attention_tensor.cuh"

struct AttentionParams {
    buffer q;
    buffer k;
    buffer v;
    buffer y;
    buffer lse;
    buffer dy;
    buffer delta;
    buffer dq;
    buffer dk;
    buffer dv;
    uint64_t tokens;
    uint32_t channels;
    uint32_t heads;
    uint32_t head_dim;
    uint32_t causal;
    uint32_t wide;
    float scale;
};

// Queries, keys or channels in a tile; a row of a tile is 4 longer in shared memory, so that 16-byte loads down a
// column meet no bank twice. 16 x 16 threads: thread (x, y) has rows y + 16 i, and columns x + 16 j of scores or 4 x +
// j of channels.
constexpr uint32_t TILE = 64, PITCH = TILE + 4, SIDE = 16, EACH = TILE / SIDE, THREADS = SIDE * SIDE;
using Block = float[EACH][EACH];
using attention::sees;

DEVICE uint32_t thread_x() { return threadIdx.x % SIDE; }
DEVICE uint32_t thread_y() { return threadIdx.x / SIDE; }

// Which image, head and tile a block has.
struct Place {
    uint64_t start;  // of the head's first token in q, k, v
    uint64_t row;    // of the head's first token in lse and delta
    uint64_t tiles, tile;

    DEVICE explicit Place(const AttentionParams& p) {
        tiles = (p.tokens + TILE - 1) / TILE;
        tile = blockIdx.x % tiles;
        uint64_t image_head = blockIdx.x / tiles;
        start = image_head / p.heads * p.tokens * p.channels + image_head % p.heads * p.head_dim;
        row = image_head * p.tokens;
    }
};

// f(0), ..., f(N - 1), each number in a type of its own: code is made for each, and arrays that it indexes stay in
// registers.
template <uint32_t I>
struct Constant {
    static constexpr uint32_t value = I;
};
template <uint32_t N, uint32_t I = 0, class F>
DEVICE void each(F f) {
    f(Constant<I>());
    if constexpr (I + 1 < N) each<N, I + 1>(f);
}

// Tokens from `first` on and channels from `channel` on, as floats; zero beyond the last. Barriers around it.
template <class T>
DEVICE void load_tile(sptr<float> tile, const AttentionParams& p, buffer from, const Place& place, uint64_t first, uint32_t channel) {
    constexpr int N = 16 / sizeof(T);
    auto head = from.as<const T>() + place.start;
    __syncthreads();
    if (p.wide) {
        for (uint32_t i = threadIdx.x; i < TILE * TILE / N; i += THREADS) {
            uint32_t r = i / (TILE / N), c = i % (TILE / N) * N;
            vec<T, N> v;
            for (int n = 0; n < N; n++) v[n] = from_float<T>(0.0f);
            if (first + r < p.tokens && channel + c < p.head_dim) v = load_vec<N>(head, (first + r) * p.channels + channel + c);
            for (int n = 0; n < N; n += 4) {
                vec<float, 4> f;
                for (int m = 0; m < 4; m++) f[m] = to_float(v[n + m]);
                store_vec(tile, r * PITCH + c + n, f);
            }
        }
    } else {
        for (uint32_t i = threadIdx.x; i < TILE * TILE; i += THREADS) {
            uint32_t r = i / TILE, c = i % TILE;
            bool inside = first + r < p.tokens && channel + c < p.head_dim;
            tile[r * PITCH + c] = inside ? to_float(head[(first + r) * p.channels + channel + c]) : 0.0f;
        }
    }
    __syncthreads();
}

// sums[i][j] += rows y + 16 i of a times rows x + 16 j of b
DEVICE void multiply_transposed(Block& sums, sptr<float> a, sptr<float> b) {
    for (uint32_t e = 0; e < TILE; e += 4) {
        vec<float, 4> va[EACH], vb[EACH];
        for (uint32_t i = 0; i < EACH; i++) va[i] = load_vec<4>(a, (thread_y() + SIDE * i) * PITCH + e);
        for (uint32_t j = 0; j < EACH; j++) vb[j] = load_vec<4>(b, (thread_x() + SIDE * j) * PITCH + e);
        for (uint32_t i = 0; i < EACH; i++)
            for (uint32_t j = 0; j < EACH; j++)
                for (int n = 0; n < 4; n++) sums[i][j] += va[i][n] * vb[j][n];
    }
}

// sums[i][j] += row y + 16 i of a times column 4 x + j of b
DEVICE void multiply(Block& sums, sptr<float> a, sptr<float> b) {
    for (uint32_t e = 0; e < TILE; e += 4) {
        vec<float, 4> va[EACH];
        for (uint32_t i = 0; i < EACH; i++) va[i] = load_vec<4>(a, (thread_y() + SIDE * i) * PITCH + e);
        for (int n = 0; n < 4; n++) {
            vec<float, 4> vb = load_vec<4>(b, (e + n) * PITCH + 4 * thread_x());
            for (uint32_t i = 0; i < EACH; i++)
                for (uint32_t j = 0; j < EACH; j++) sums[i][j] += va[i][n] * vb[j];
        }
    }
}

DEVICE void clear(Block& block) {
    for (uint32_t i = 0; i < EACH; i++)
        for (uint32_t j = 0; j < EACH; j++) block[i][j] = 0.0f;
}

// The block in score columns, to shared memory. Readers wait for a barrier: load_tile has one.
DEVICE void store_scores(sptr<float> tile, const Block& block) {
    for (uint32_t i = 0; i < EACH; i++)
        for (uint32_t j = 0; j < EACH; j++) tile[(thread_y() + SIDE * i) * PITCH + thread_x() + SIDE * j] = block[i][j];
}

// Rows from token `first` on, in channel columns, times `factors`, to a result.
template <class T, int CHUNKS>
DEVICE void store_rows(const AttentionParams& p, buffer to, const Place& place, uint64_t first, const Block (&sums)[CHUNKS],
                       const float (&factors)[EACH]) {
    auto head = to.as<T>() + place.start;
    for (uint32_t i = 0; i < EACH; i++) {
        uint64_t token = first + thread_y() + SIDE * i;
        if (token >= p.tokens) continue;
        each<CHUNKS>([&](auto c) {
            uint32_t channel = c.value * TILE + 4 * thread_x();
            vec<T, EACH> v;
            for (uint32_t j = 0; j < EACH; j++) v[j] = from_float<T>(sums[c.value][i][j] * factors[i]);
            if (p.wide) {
                if (channel < p.head_dim) store_vec(head, token * p.channels + channel, v);
            } else {
                for (uint32_t j = 0; j < EACH; j++)
                    if (channel + j < p.head_dim) head[token * p.channels + channel + j] = v[j];
            }
        });
    }
}

template <class T, int CHUNKS>
DEVICE void forward(const AttentionParams& p) {
    SHARED_DYNAMIC(float, left);
    auto right = left + TILE * PITCH, scores = right + TILE * PITCH;
    const float infinity = __uint_as_float(0x7f800000u);
    Place place(p);
    uint64_t first = place.tile * TILE;
    Block out[CHUNKS];
    each<CHUNKS>([&](auto c) { clear(out[c.value]); });
    float largest[EACH], total[EACH];
    for (uint32_t i = 0; i < EACH; i++) {
        largest[i] = -infinity;
        total[i] = 0.0f;
    }
    uint64_t end = p.causal ? place.tile + 1 : place.tiles;
    for (uint64_t tile = 0; tile < end; tile++) {
        Block s;
        clear(s);
        for (uint32_t c = 0; c < p.head_dim; c += TILE) {
            if (CHUNKS > 1 || tile == 0) load_tile<T>(left, p, p.q, place, first, c);
            load_tile<T>(right, p, p.k, place, tile * TILE, c);
            multiply_transposed(s, left, right);
        }
        for (uint32_t i = 0; i < EACH; i++) {
            uint64_t query = first + thread_y() + SIDE * i;
            float max = -infinity;
            for (uint32_t j = 0; j < EACH; j++) {
                uint64_t key = tile * TILE + thread_x() + SIDE * j;
                s[i][j] = key < p.tokens && (!p.causal || key <= query) ? s[i][j] * p.scale : -infinity;
                max = fmaxf(max, s[i][j]);
            }
            max = fmaxf(largest[i], group_max<SIDE>(max));
            float shift = max == -infinity ? 0.0f : max;
            float sum = 0.0f;
            for (uint32_t j = 0; j < EACH; j++) {
                s[i][j] = expf(s[i][j] - shift);
                sum += s[i][j];
            }
            float fade = expf(largest[i] - shift);
            total[i] = total[i] * fade + group_sum<SIDE>(sum);
            largest[i] = max;
            each<CHUNKS>([&](auto c) {
                for (uint32_t j = 0; j < EACH; j++) out[c.value][i][j] *= fade;
            });
        }
        store_scores(scores, s);
        each<CHUNKS>([&](auto c) {
            if (c.value * TILE >= p.head_dim) return;
            load_tile<T>(right, p, p.v, place, tile * TILE, c.value * TILE);
            multiply(out[c.value], scores, right);
        });
    }
    float factors[EACH];
    for (uint32_t i = 0; i < EACH; i++) {
        uint64_t query = first + thread_y() + SIDE * i;
        factors[i] = total[i] == 0.0f ? 0.0f : 1.0f / total[i];
        float shift = largest[i] == -infinity ? 0.0f : largest[i];
        if (thread_x() == 0 && query < p.tokens)
            p.lse.as<float>()[place.row + query] = shift + (total[i] == 0.0f ? 0.0f : logf(total[i]));
    }
    store_rows<T>(p, p.y, place, first, out, factors);
}

// delta of this block's queries, to memory and to `kept`: a warp takes every warps()-th query.
template <class T>
DEVICE void make_delta(const AttentionParams& p, const Place& place, uint64_t first, sptr<float> kept) {
    auto y = p.y.as<const T>() + place.start;
    auto dy = p.dy.as<const T>() + place.start;
    auto delta = p.delta.as<float>() + place.row;
    for (uint32_t r = warp(); r < TILE; r += warps()) {
        uint64_t query = first + r;
        float sum = 0.0f;
        if (query < p.tokens)
            for (uint32_t c = lane(); c < p.head_dim; c += WARP)
                sum += to_float(y[query * p.channels + c]) * to_float(dy[query * p.channels + c]);
        sum = warp_sum(sum);
        if (lane() == 0) {
            kept[r] = sum;
            if (query < p.tokens) delta[query] = sum;
        }
    }
    __syncthreads();
}

// With P the probabilities: dq = scale (P (dy v^T - delta)) k.
template <class T, int CHUNKS>
DEVICE void backward_queries(const AttentionParams& p) {
    SHARED_DYNAMIC(float, left);
    SHARED(float, deltas, TILE);
    auto right = left + TILE * PITCH, scores = right + TILE * PITCH;
    Place place(p);
    uint64_t first = place.tile * TILE;
    make_delta<T>(p, place, first, deltas);
    Block dq[CHUNKS];
    each<CHUNKS>([&](auto c) { clear(dq[c.value]); });
    float lse[EACH], delta[EACH], factors[EACH];
    for (uint32_t i = 0; i < EACH; i++) {
        uint64_t query = first + thread_y() + SIDE * i;
        lse[i] = query < p.tokens ? p.lse.as<const float>()[place.row + query] : 0.0f;
        delta[i] = deltas[thread_y() + SIDE * i];
        factors[i] = p.scale;
    }
    uint64_t end = p.causal ? place.tile + 1 : place.tiles;
    for (uint64_t tile = 0; tile < end; tile++) {
        Block s, dp;
        clear(s);
        clear(dp);
        for (uint32_t c = 0; c < p.head_dim; c += TILE) {
            load_tile<T>(left, p, p.q, place, first, c);
            load_tile<T>(right, p, p.k, place, tile * TILE, c);
            multiply_transposed(s, left, right);
            load_tile<T>(left, p, p.dy, place, first, c);
            load_tile<T>(right, p, p.v, place, tile * TILE, c);
            multiply_transposed(dp, left, right);
        }
        for (uint32_t i = 0; i < EACH; i++)
            for (uint32_t j = 0; j < EACH; j++) {
                bool seen = sees(p, first + thread_y() + SIDE * i, tile * TILE + thread_x() + SIDE * j);
                s[i][j] = seen ? expf(s[i][j] * p.scale - lse[i]) * (dp[i][j] - delta[i]) : 0.0f;
            }
        store_scores(scores, s);
        each<CHUNKS>([&](auto c) {
            if (c.value * TILE >= p.head_dim) return;
            load_tile<T>(right, p, p.k, place, tile * TILE, c.value * TILE);
            multiply(dq[c.value], scores, right);
        });
    }
    store_rows<T>(p, p.dq, place, first, dq, factors);
}

// dv = P^T dy and dk = scale (P (dy v^T - delta))^T q. Here rows are keys and columns queries.
template <class T, int CHUNKS>
DEVICE void backward_keys(const AttentionParams& p) {
    SHARED_DYNAMIC(float, left);
    auto right = left + TILE * PITCH, scores = right + TILE * PITCH;
    Place place(p);
    uint64_t first = place.tile * TILE;
    auto lse = p.lse.as<const float>() + place.row;
    auto delta = p.delta.as<const float>() + place.row;
    Block dk[CHUNKS], dv[CHUNKS];
    each<CHUNKS>([&](auto c) {
        clear(dk[c.value]);
        clear(dv[c.value]);
    });
    for (uint64_t tile = p.causal ? place.tile : 0; tile < place.tiles; tile++) {
        Block s, dp;
        clear(s);
        clear(dp);
        for (uint32_t c = 0; c < p.head_dim; c += TILE) {
            load_tile<T>(left, p, p.k, place, first, c);
            load_tile<T>(right, p, p.q, place, tile * TILE, c);
            multiply_transposed(s, left, right);
            load_tile<T>(left, p, p.v, place, first, c);
            load_tile<T>(right, p, p.dy, place, tile * TILE, c);
            multiply_transposed(dp, left, right);
        }
        for (uint32_t j = 0; j < EACH; j++) {
            uint64_t query = tile * TILE + thread_x() + SIDE * j;
            float of_lse = query < p.tokens ? lse[query] : 0.0f, of_delta = query < p.tokens ? delta[query] : 0.0f;
            for (uint32_t i = 0; i < EACH; i++) {
                s[i][j] = sees(p, query, first + thread_y() + SIDE * i) ? expf(s[i][j] * p.scale - of_lse) : 0.0f;
                dp[i][j] = s[i][j] * (dp[i][j] - of_delta);
            }
        }
        store_scores(scores, s);
        each<CHUNKS>([&](auto c) {
            if (c.value * TILE >= p.head_dim) return;
            load_tile<T>(right, p, p.dy, place, tile * TILE, c.value * TILE);
            multiply(dv[c.value], scores, right);
        });
        __syncthreads();
        store_scores(scores, dp);
        each<CHUNKS>([&](auto c) {
            if (c.value * TILE >= p.head_dim) return;
            load_tile<T>(right, p, p.q, place, tile * TILE, c.value * TILE);
            multiply(dk[c.value], scores, right);
        });
    }
    float one[EACH], scale[EACH];
    for (uint32_t i = 0; i < EACH; i++) {
        one[i] = 1.0f;
        scale[i] = p.scale;
    }
    store_rows<T>(p, p.dv, place, first, dv, one);
    store_rows<T>(p, p.dk, place, first, dk, scale);
}

template <uint32_t D, uint32_t COLS>
DEVICE void tensor_forward(const AttentionParams& p) {
    attention::forward<D, COLS>(p, Place(p));
}

template <uint32_t D, uint32_t COLS>
DEVICE void tensor_backward_queries(const AttentionParams& p) {
    SHARED(float, deltas, TILE);
    Place place(p);
    make_delta<bf16>(p, place, place.tile * TILE, deltas);
    attention::backward_queries<D, COLS>(p, place, deltas);
}

template <uint32_t D, uint32_t COLS, uint32_t WIDTH = D>
DEVICE void tensor_backward_keys(const AttentionParams& p) {
    attention::backward_keys<D, COLS, WIDTH>(p, Place(p));
}

// d64, d128, d256: the largest head_dim.
KERNEL_BOUNDS(attention_fwd_d64_f32, AttentionParams, 256) { forward<float, 1>(p); }
KERNEL_BOUNDS(attention_fwd_d64_bf16, AttentionParams, 128) { tensor_forward<64, 64>(p); }
KERNEL_BOUNDS(attention_fwd_d128_f32, AttentionParams, 256) { forward<float, 2>(p); }
KERNEL_BOUNDS(attention_fwd_d128_bf16, AttentionParams, 128) { tensor_forward<128, 64>(p); }
KERNEL_BOUNDS(attention_fwd_d256_f32, AttentionParams, 256) { forward<float, 4>(p); }
KERNEL_BOUNDS(attention_fwd_d256_bf16, AttentionParams, 128) { tensor_forward<256, 64>(p); }
KERNEL_BOUNDS(attention_bwd_queries_d64_f32, AttentionParams, 256) { backward_queries<float, 1>(p); }
KERNEL_BOUNDS(attention_bwd_queries_d64_bf16, AttentionParams, 128) { tensor_backward_queries<64, 64>(p); }
KERNEL_BOUNDS(attention_bwd_queries_d128_f32, AttentionParams, 256) { backward_queries<float, 2>(p); }
KERNEL_BOUNDS(attention_bwd_queries_d128_bf16, AttentionParams, 128) { tensor_backward_queries<128, 64>(p); }
KERNEL_BOUNDS(attention_bwd_queries_d256_f32, AttentionParams, 256) { backward_queries<float, 4>(p); }
KERNEL_BOUNDS(attention_bwd_queries_d256_bf16, AttentionParams, 128) { tensor_backward_queries<256, 32>(p); }
KERNEL_BOUNDS(attention_bwd_keys_d64_f32, AttentionParams, 256) { backward_keys<float, 1>(p); }
KERNEL_BOUNDS(attention_bwd_keys_d64_bf16, AttentionParams, 128) { tensor_backward_keys<64, 64>(p); }
KERNEL_BOUNDS(attention_bwd_keys_d128_f32, AttentionParams, 256) { backward_keys<float, 2>(p); }
KERNEL_BOUNDS(attention_bwd_keys_d128_bf16, AttentionParams, 128) { tensor_backward_keys<128, 32>(p); }
KERNEL_BOUNDS(attention_bwd_keys_d256_f32, AttentionParams, 256) { backward_keys<float, 4>(p); }
KERNEL_BOUNDS(attention_bwd_keys_d256_bf16, AttentionParams, 256) { tensor_backward_keys<256, 32, 128>(p); }
