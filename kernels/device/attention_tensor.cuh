// Attention of bf16 on tensor cores. A block of four warps owns 64 rows (queries, or keys for dk and dv), 16 of them
// each warp, which stay in shared memory while tiles of COLS of the other side pass by. A tile's scores lie in
// registers as mma leaves them, and become the left factor of the next product where they lie, rounded to bf16; sums
// and the softmax are fp32. D is head_dim rounded up to 64, 128 or 256. Where a warp's registers do not hold the sums
// of all channels, there are twice as many warps: two for the same rows, each for half of the channels.
#pragma once

#include "veridical.cuh"

namespace veridical::attention {

using fragments::load_a;
using fragments::load_b;
using fragments::swizzled;

// Lanes that share a row of a tile, as mma leaves it.
constexpr uint32_t SHARE_A_ROW = 4;
constexpr uint32_t ROWS = 64, WARP_ROWS = 16;

// 16 rows by COLS columns of a warp: sums[j][e] is row `row() + e / 2 * 8`, column `8 j + column() + e % 2`.
template <uint32_t COLS>
using Sums = float[COLS / 8][4];
DEVICE uint32_t warp_row() { return warp() % (ROWS / WARP_ROWS) * WARP_ROWS; }
DEVICE uint32_t row() { return warp_row() + lane() / SHARE_A_ROW; }
DEVICE uint32_t column() { return lane() % SHARE_A_ROW * 2; }

// One head of one image: `width` channels of tokens that lie `pitch` apart.
struct Heads {
    uint64_t start;
    uint64_t tokens;
    uint32_t pitch;
    uint32_t width;
    bool wide;
    template <class Params>
    DEVICE Heads(const Params& p, uint64_t start)
        : start(start), tokens(p.tokens), pitch(p.channels), width(p.head_dim), wide(p.wide) {}
    // Channels that products run over: those beyond `width` are zeros.
    DEVICE uint32_t depth() const { return (width + 15) / 16 * 16; }
};

// Starts to copy COUNT tokens from `first` on; zeros beyond the last token and channel. One group of cp.async.
template <uint32_t D, uint32_t COUNT>
DEVICE void fetch(sptr<bf16> tile, const Heads& heads, buffer from, uint64_t first) {
    constexpr uint32_t UNITS = D / 8;
    auto head = from.as<const bf16>() + heads.start;
    for (uint32_t i = threadIdx.x; i < COUNT * UNITS; i += blockDim.x) {
        uint32_t r = i / UNITS, c = i % UNITS * 8;
        if (c >= heads.depth()) continue;
        uint64_t at = (first + r) * heads.pitch + c;
        auto to = tile + swizzled<D>(r, c);
        bool inside = first + r < heads.tokens && c < heads.width;
        if (heads.wide) {
            cp_async16(to, inside ? head + at : head, inside);
        } else {
            vec<bf16, 8> v;
            for (uint32_t k = 0; k < 8; k++) v[k] = inside && c + k < heads.width ? head[at + k] : from_float<bf16>(0.0f);
            store_vec(to, 0, v);
        }
    }
    cp_async_commit();
}

// sums += this warp's rows of a times the COLS rows of b.
template <uint32_t D, uint32_t COLS>
DEVICE void multiply_transposed(Sums<COLS>& sums, sptr<bf16> a, sptr<bf16> b, uint32_t depth) {
    for (uint32_t k = 0; k < depth; k += 16) {
        uint32_t fa[4], fb[4];
        load_a<false, ROWS, D>(fa, a, warp_row(), k);
        UNROLL for (uint32_t j = 0; j < COLS / 16; j++) {
            load_b<false, COLS, D>(fb, b, 16 * j, k);
            uint32_t low[2] = {fb[0], fb[1]}, high[2] = {fb[2], fb[3]};
            mma_m16n8k16(sums[2 * j], fa, low);
            mma_m16n8k16(sums[2 * j + 1], fa, high);
        }
    }
}

// out += scores [16, COLS] of this warp times WIDTH channels from `channel` on of b [COLS, D].
template <uint32_t D, uint32_t COLS, uint32_t WIDTH = D>
DEVICE void multiply(Sums<WIDTH>& out, const Sums<COLS>& scores, sptr<bf16> b, uint32_t depth, uint32_t channel = 0) {
    UNROLL for (uint32_t k = 0; k < COLS / 16; k++) {
        uint32_t fa[4], fb[4];
        UNROLL for (uint32_t r = 0; r < 4; r++) {
            const auto& s = scores[2 * k + r / 2];
            fa[r] = pack_bf16(s[r % 2 * 2], s[r % 2 * 2 + 1]);
        }
        UNROLL for (uint32_t c = 0; c < WIDTH / 16; c++) {
            if (channel + 16 * c >= depth) continue;
            load_b<true, D, COLS>(fb, b, channel + 16 * c, 16 * k);
            uint32_t low[2] = {fb[0], fb[1]}, high[2] = {fb[2], fb[3]};
            mma_m16n8k16(out[2 * c], fa, low);
            mma_m16n8k16(out[2 * c + 1], fa, high);
        }
    }
}

// This warp's rows times `factors` to a result, WIDTH channels from `channel` on, by way of its part of a tile that is
// not needed any more.
template <uint32_t D, uint32_t WIDTH = D>
DEVICE void store_rows(const Heads& heads, buffer to, uint64_t first, sptr<bf16> tile, const Sums<WIDTH>& out,
                       const float (&factors)[2], uint32_t channel = 0) {
    constexpr uint32_t UNITS = WIDTH / 8;
    __syncwarp();
    UNROLL for (uint32_t j = 0; j < UNITS; j++) {
        if (channel + 8 * j >= heads.width) continue;
        UNROLL for (uint32_t h = 0; h < 2; h++) {
            vec<bf16, 2> pair;
            for (uint32_t e = 0; e < 2; e++) pair[e] = from_float<bf16>(out[j][2 * h + e] * factors[h]);
            store_vec(tile, swizzled<D>(row() + 8 * h, channel + 8 * j) + column(), pair);
        }
    }
    __syncwarp();
    auto head = to.as<bf16>() + heads.start;
    for (uint32_t i = lane(); i < WARP_ROWS * UNITS; i += WARP) {
        uint32_t r = warp_row() + i / UNITS, c = channel + i % UNITS * 8;
        if (first + r >= heads.tokens || c >= heads.width) continue;
        uint64_t at = (first + r) * heads.pitch + c;
        vec<bf16, 8> v = load_vec<8>(tile, swizzled<D>(r, c));
        if (heads.wide) {
            store_vec(head, at, v);
        } else {
            for (uint32_t k = 0; k < 8; k++)
                if (c + k < heads.width) head[at + k] = v[k];
        }
    }
}

// Whether a query that exists takes in a key that exists.
template <class Params>
DEVICE bool sees(const Params& p, uint64_t query, uint64_t key) {
    return query < p.tokens && key < p.tokens && (!p.causal || key <= query);
}

template <uint32_t D, uint32_t COLS, class Params, class Place>
DEVICE void forward(const Params& p, const Place& place) {
    SHARED_DYNAMIC(bf16, q);
    auto k = q + ROWS * D, v = k + COLS * D;
    const float infinity = __uint_as_float(0x7f800000u);
    Heads heads(p, place.start);
    uint64_t first = place.tile * ROWS;
    uint64_t end = p.causal ? min(first + ROWS, p.tokens) : p.tokens;
    Sums<D> out = {};
    float largest[2] = {-infinity, -infinity}, total[2] = {};
    fetch<D, ROWS>(q, heads, p.q, first);
    fetch<D, COLS>(k, heads, p.k, 0);
    for (uint64_t from = 0; from < end; from += COLS) {
        __syncthreads();  // everybody is done with the last v
        fetch<D, COLS>(v, heads, p.v, from);
        cp_async_wait<1>();
        __syncthreads();
        Sums<COLS> s = {};
        multiply_transposed<D, COLS>(s, q, k, heads.depth());
        __syncthreads();
        if (from + COLS < end) fetch<D, COLS>(k, heads, p.k, from + COLS);
        else cp_async_commit();  // an empty group keeps the count
        UNROLL for (uint32_t h = 0; h < 2; h++) {
            float max = -infinity, sum = 0.0f;
            UNROLL for (uint32_t j = 0; j < COLS / 8; j++) {
                UNROLL for (uint32_t e = 0; e < 2; e++) {
                    uint64_t key = from + 8 * j + column() + e;
                    bool seen = key < p.tokens && (!p.causal || key <= first + row() + 8 * h);
                    float& score = s[j][2 * h + e];
                    score = seen ? score * p.scale : -infinity;
                    max = fmaxf(max, score);
                }
            }
            max = fmaxf(largest[h], group_max<SHARE_A_ROW>(max));
            float shift = max == -infinity ? 0.0f : max;
            UNROLL for (uint32_t j = 0; j < COLS / 8; j++) {
                UNROLL for (uint32_t e = 0; e < 2; e++) {
                    s[j][2 * h + e] = expf(s[j][2 * h + e] - shift);
                    sum += s[j][2 * h + e];
                }
            }
            float fade = expf(largest[h] - shift);
            total[h] = total[h] * fade + group_sum<SHARE_A_ROW>(sum);
            largest[h] = max;
            UNROLL for (uint32_t j = 0; j < D / 8; j++) {
                UNROLL for (uint32_t e = 0; e < 2; e++) out[j][2 * h + e] *= fade;
            }
        }
        cp_async_wait<1>();
        __syncthreads();
        multiply<D, COLS>(out, s, v, heads.depth());
    }
    float factors[2];
    UNROLL for (uint32_t h = 0; h < 2; h++) {
        uint64_t query = first + row() + 8 * h;
        factors[h] = total[h] == 0.0f ? 0.0f : 1.0f / total[h];
        float shift = largest[h] == -infinity ? 0.0f : largest[h];
        if (column() == 0 && query < p.tokens)
            p.lse.template as<float>()[place.row + query] = shift + (total[h] == 0.0f ? 0.0f : logf(total[h]));
    }
    store_rows<D>(heads, p.y, first, q, out, factors);
}

// `deltas` are those of the block's queries, in shared memory.
template <uint32_t D, uint32_t COLS, class Params, class Place>
DEVICE void backward_queries(const Params& p, const Place& place, sptr<float> deltas) {
    SHARED_DYNAMIC(bf16, q);
    auto dy = q + ROWS * D, k = dy + ROWS * D, v = k + COLS * D;
    Heads heads(p, place.start);
    uint64_t first = place.tile * ROWS;
    uint64_t end = p.causal ? min(first + ROWS, p.tokens) : p.tokens;
    Sums<D> dq = {};
    float lse[2], delta[2], factors[2] = {p.scale, p.scale};
    UNROLL for (uint32_t h = 0; h < 2; h++) {
        uint64_t query = first + row() + 8 * h;
        lse[h] = query < p.tokens ? p.lse.template as<const float>()[place.row + query] : 0.0f;
        delta[h] = deltas[row() + 8 * h];
    }
    fetch<D, ROWS>(q, heads, p.q, first);
    fetch<D, ROWS>(dy, heads, p.dy, first);
    for (uint64_t from = 0; from < end; from += COLS) {
        __syncthreads();  // everybody is done with the last tiles
        fetch<D, COLS>(k, heads, p.k, from);
        fetch<D, COLS>(v, heads, p.v, from);
        cp_async_wait<1>();
        __syncthreads();
        Sums<COLS> s = {}, dp = {};
        multiply_transposed<D, COLS>(s, q, k, heads.depth());
        cp_async_wait<0>();
        __syncthreads();
        multiply_transposed<D, COLS>(dp, dy, v, heads.depth());
        UNROLL for (uint32_t j = 0; j < COLS / 8; j++) {
            UNROLL for (uint32_t e = 0; e < 4; e++) {
                bool seen = sees(p, first + row() + e / 2 * 8, from + 8 * j + column() + e % 2);
                s[j][e] = seen ? expf(s[j][e] * p.scale - lse[e / 2]) * (dp[j][e] - delta[e / 2]) : 0.0f;
            }
        }
        multiply<D, COLS>(dq, s, k, heads.depth());
    }
    store_rows<D>(heads, p.dq, first, q, dq, factors);
}

// Rows are keys here, and columns queries. WIDTH is D, or half of it for twice as many warps.
template <uint32_t D, uint32_t COLS, uint32_t WIDTH, class Params, class Place>
DEVICE void backward_keys(const Params& p, const Place& place) {
    SHARED_DYNAMIC(bf16, k);
    SHARED(float, lse_tile, COLS);
    SHARED(float, delta_tile, COLS);
    auto v = k + ROWS * D, q = v + ROWS * D, dy = q + COLS * D;
    auto lse = p.lse.template as<const float>() + place.row;
    auto delta = p.delta.template as<const float>() + place.row;
    Heads heads(p, place.start);
    uint64_t first = place.tile * ROWS;
    uint32_t channel = warp() / (ROWS / WARP_ROWS) * WIDTH;
    Sums<WIDTH> dk = {}, dv = {};
    fetch<D, ROWS>(k, heads, p.k, first);
    fetch<D, ROWS>(v, heads, p.v, first);
    for (uint64_t from = p.causal ? first : 0; from < p.tokens; from += COLS) {
        __syncthreads();  // everybody is done with the last tiles
        fetch<D, COLS>(q, heads, p.q, from);
        fetch<D, COLS>(dy, heads, p.dy, from);
        if (threadIdx.x < COLS) {
            uint64_t query = from + threadIdx.x;
            lse_tile[threadIdx.x] = query < p.tokens ? lse[query] : 0.0f;
            delta_tile[threadIdx.x] = query < p.tokens ? delta[query] : 0.0f;
        }
        cp_async_wait<1>();
        __syncthreads();
        Sums<COLS> s = {}, dp = {};
        multiply_transposed<D, COLS>(s, k, q, heads.depth());
        cp_async_wait<0>();
        __syncthreads();
        multiply_transposed<D, COLS>(dp, v, dy, heads.depth());
        UNROLL for (uint32_t j = 0; j < COLS / 8; j++) {
            UNROLL for (uint32_t e = 0; e < 4; e++) {
                uint32_t c = 8 * j + column() + e % 2;
                bool seen = sees(p, from + c, first + row() + e / 2 * 8);
                s[j][e] = seen ? expf(s[j][e] * p.scale - lse_tile[c]) : 0.0f;
                dp[j][e] = s[j][e] * (dp[j][e] - delta_tile[c]);
            }
        }
        multiply<D, COLS, WIDTH>(dv, s, dy, heads.depth(), channel);
        multiply<D, COLS, WIDTH>(dk, dp, q, heads.depth(), channel);
    }
    if constexpr (WIDTH < D) __syncthreads();  // the other warp of these rows is done with them
    float one[2] = {1.0f, 1.0f}, scale[2] = {p.scale, p.scale};
    store_rows<D, WIDTH>(heads, p.dv, first, v, dv, one, channel);
    store_rows<D, WIDTH>(heads, p.dk, first, k, dk, scale, channel);
}

}  // namespace veridical::attention
