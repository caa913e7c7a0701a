// Products of bf16 matrices on tensor cores: tiles arrive in shared memory by cp.async, STAGES at a time; each warp
// keeps a WM x WN part of the result in registers and feeds mma.sync by ldmatrix. Sums are fp32.
#pragma once

#include "fragments.cuh"
#include "gemm.cuh"

namespace veridical::gemm {

template <int BM_, int BN_, int WM_, int WN_>
struct TensorTile {
    static constexpr int BM = BM_, BN = BN_, BK = 32, WM = WM_, WN = WN_, STAGES = 4;
    static constexpr int THREADS = 32 * (BM / WM) * (BN / WN);
    static constexpr int A_SIZE = BM * BK, B_SIZE = BN * BK;  // elements per stage
};

namespace detail {

template <bool ALL_WIDE, class Fetch>
DEVICE void fetch_to_shared(const Fetch& fetch, uint32_t depth, sptr<bf16> to) {
    constexpr int WIDTH = Fetch::PER_ROW * Fetch::VEC;
    if (ALL_WIDE || fetch.factor.wide) {
        fetch.wide(depth, [&](int i, uint64_t offset, bool valid) {
            sptr<bf16> dst = to + fragments::swizzled<WIDTH>(Fetch::tile_row(i), Fetch::tile_column());
            cp_async16(dst, fetch.factor.source.data + offset, valid);
        });
    } else {
        for (int i = 0; i < Fetch::COUNT; i++) {
            store_vec(to, fragments::swizzled<WIDTH>(Fetch::tile_row(i), Fetch::tile_column()), fetch.gather(depth, i));
        }
    }
}

// Calls store(row, column, sums of two neighbours) for what a lane has of its warp's part of a tile, with its corner at
// (row, column).
template <int WM, int WN, class Store>
DEVICE void each_pair(uint32_t row, uint32_t column, const float (&sums)[WM / 16][WN / 8][4], const Store& store) {
    UNROLL for (int i = 0; i < WM / 16; i++) {
        UNROLL for (int j = 0; j < WN / 8; j++) {
            uint32_t r = row + i * 16 + lane() / 4, c = column + j * 8 + lane() % 4 * 2;
            float upper[2] = {sums[i][j][0], sums[i][j][1]}, lower[2] = {sums[i][j][2], sums[i][j][3]};
            store(r, c, upper);
            store(r + 8, c, lower);
        }
    }
}

// A warp's part of a tile of a bf16 matrix: through shared memory of the warp's own, so that rows are stored 16 bytes
// at a time.
template <int WM, int WN>
DEVICE void store_lines(const Output<bf16>& out, uint32_t row, uint32_t column, float (&sums)[WM / 16][WN / 8][4], sptr<bf16> own) {
    constexpr int MI = WM / 16, NJ = WN / 8;
    uint32_t g = lane() / 4, t = lane() % 4;
    if (!out.parts && out.bias) {
        UNROLL for (int j = 0; j < NJ; j++) {
            uint32_t c = column + j * 8 + t * 2;
            float low = c < out.n ? to_float(out.bias[c]) : 0.0f, high = c + 1 < out.n ? to_float(out.bias[c + 1]) : 0.0f;
            UNROLL for (int i = 0; i < MI; i++) {
                sums[i][j][0] += low;
                sums[i][j][1] += high;
                sums[i][j][2] += low;
                sums[i][j][3] += high;
            }
        }
    }
    if (out.parts || !out.wide) {
        each_pair<WM, WN>(row, column, sums, [&](uint32_t r, uint32_t c, const float (&pair)[2]) { out.put(r, c, pair); });
        return;
    }
    UNROLL for (int i = 0; i < MI; i++) {
        UNROLL for (int j = 0; j < NJ; j++) {
            vec<uint32_t, 1> upper{{pack_bf16(sums[i][j][0], sums[i][j][1])}}, lower{{pack_bf16(sums[i][j][2], sums[i][j][3])}};
            uint32_t r = i * 16 + g, at = fragments::swizzled<WN>(r, j * 8) + t * 2, below = fragments::swizzled<WN>(r + 8, j * 8) + t * 2;
            store_vec(own.template cast<uint32_t>(), at / 2, upper);
            store_vec(own.template cast<uint32_t>(), below / 2, lower);
        }
    }
    __syncwarp();
    constexpr int UNITS = WN / 8;
    UNROLL for (int v = 0; v < WM * UNITS / (int)WARP; v++) {
        uint32_t r = (v * WARP + lane()) / UNITS, c = (v * WARP + lane()) % UNITS * 8;
        vec<bf16, 8> line = load_vec<8>(own, fragments::swizzled<WN>(r, c));
        if (row + r < out.m && column + c < out.n) store_vec(out.c, (uint64_t)(row + r) * out.n + column + c, line);
    }
}

template <class Tile, bool ALL_WIDE, class A, class B, class Out>
DEVICE void tensor_product(const A& a, const B& b, TilePosition at, uint32_t begin, uint32_t end, const Out& out) {
    constexpr int BK = Tile::BK, STAGES = Tile::STAGES, MI = Tile::WM / 16, NI = Tile::WN / 16;
    SHARED_DYNAMIC(bf16, shared);
    auto a_stage = [&](uint32_t s) { return shared + s % STAGES * (Tile::A_SIZE + Tile::B_SIZE); };
    auto b_stage = [&](uint32_t s) { return a_stage(s) + Tile::A_SIZE; };
    Fetch<A, Tile::BM, BK, Tile::THREADS> fetch_a(a, at.row, end);
    Fetch<B, Tile::BN, BK, Tile::THREADS> fetch_b(b, at.column, end);
    auto fetch = [&](uint32_t s) {
        uint32_t depth = begin + s * BK;
        if (depth < end) {
            fetch_to_shared<ALL_WIDE>(fetch_a, depth, a_stage(s));
            fetch_to_shared<ALL_WIDE>(fetch_b, depth, b_stage(s));
        }
        cp_async_commit();  // an empty group keeps the count
    };

    constexpr uint32_t WARPS_N = Tile::BN / Tile::WN;
    uint32_t warp_row = warp() / WARPS_N * Tile::WM, warp_column = warp() % WARPS_N * Tile::WN;
    float sums[MI][2 * NI][4] = {};
    uint32_t fa[2][MI][4], fb[2][NI][4];
    auto load = [&](uint32_t s, int k, int buffer) {
        UNROLL for (int i = 0; i < MI; i++) {
            fragments::load_a<A::TRANSPOSED, Tile::BM, BK>(fa[buffer][i], a_stage(s), warp_row + i * 16, k * 16);
        }
        UNROLL for (int j = 0; j < NI; j++) {
            fragments::load_b<B::TRANSPOSED, Tile::BN, BK>(fb[buffer][j], b_stage(s), warp_column + j * 16, k * 16);
        }
    };

    uint32_t stages = (end - begin + BK - 1) / BK;
    for (uint32_t s = 0; s < STAGES - 1; s++) fetch(s);
    for (uint32_t s = 0; s < stages; s++) {
        cp_async_wait<STAGES - 2>();
        __syncthreads();
        // Everybody is done with the stage before this one: it takes the next tile.
        fetch(s + STAGES - 1);
        load(s, 0, 0);
        UNROLL for (int k = 0; k < BK / 16; k++) {
            if (k + 1 < BK / 16) load(s, k + 1, (k + 1) % 2);
            UNROLL for (int i = 0; i < MI; i++) {
                UNROLL for (int j = 0; j < 2 * NI; j++) {
                    uint32_t pair[2] = {fb[k % 2][j / 2][j % 2 * 2], fb[k % 2][j / 2][j % 2 * 2 + 1]};
                    mma_m16n8k16(sums[i][j], fa[k % 2][i], pair);
                }
            }
        }
    }
    cp_async_wait<0>();
    __syncthreads();  // the stages are free
    uint32_t row = at.row + warp_row, column = at.column + warp_column;
    if constexpr (std::is_same<Out, Output<bf16>>::value) {
        store_lines<Tile::WM, Tile::WN>(out, row, column, sums, shared + warp() * (Tile::WM * Tile::WN));
    } else {
        each_pair<Tile::WM, Tile::WN>(row, column, sums, [&](uint32_t r, uint32_t c, const float (&pair)[2]) { out.store(r, c, pair); });
    }
    __syncthreads();  // and again, for a next tile
}

}  // namespace detail

// One tile of the result at `at`, from depth `begin` to `end`. The loop for factors that are both wide has none of the
// instructions of the other one; ALL_WIDE says that it is the one that is needed.
template <class Tile, bool ALL_WIDE = false, class A, class B, class Out>
DEVICE void tensor_product(const A& a, const B& b, TilePosition at, uint32_t begin, uint32_t end, const Out& out) {
    if (ALL_WIDE || (a.wide && b.wide)) {
        detail::tensor_product<Tile, true>(a, b, at, begin, end, out);
    } else {
        detail::tensor_product<Tile, false>(a, b, at, begin, end, out);
    }
}

}  // namespace veridical::gemm
