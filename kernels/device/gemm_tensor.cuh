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

template <class Fetch>
DEVICE void fetch_to_shared(const Fetch& fetch, uint32_t depth, sptr<bf16> to) {
    constexpr int WIDTH = Fetch::PER_ROW * Fetch::VEC;
    if (fetch.factor.wide) {
        fetch.wide(depth, [&](int i, uint64_t offset, bool valid) {
            sptr<bf16> dst = to + fragments::swizzled<WIDTH>(Fetch::tile_row(i), Fetch::tile_column());
            cp_async16(dst, valid ? fetch.factor.source.data + offset : fetch.factor.source.data, valid);
        });
    } else {
        for (int i = 0; i < Fetch::COUNT; i++) {
            store_vec(to, fragments::swizzled<WIDTH>(Fetch::tile_row(i), Fetch::tile_column()), fetch.gather(depth, i));
        }
    }
}

}  // namespace detail

// One tile of the result at `at`, from depth `begin` to `end`.
template <class Tile, class A, class B, class Out>
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
            detail::fetch_to_shared(fetch_a, depth, a_stage(s));
            detail::fetch_to_shared(fetch_b, depth, b_stage(s));
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
    UNROLL for (int s = 0; s < STAGES - 1; s++) fetch(s);
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
    __syncthreads();  // a next tile may overwrite the stages

    uint32_t g = lane() / 4, t = lane() % 4;
    UNROLL for (int i = 0; i < MI; i++) {
        UNROLL for (int j = 0; j < 2 * NI; j++) {
            uint32_t row = at.row + warp_row + i * 16 + g, column = at.column + warp_column + j * 8 + t * 2;
            float upper[2] = {sums[i][j][0], sums[i][j][1]}, lower[2] = {sums[i][j][2], sums[i][j][3]};
            out.store(row, column, upper);
            out.store(row + 8, column, lower);
        }
    }
}

}  // namespace veridical::gemm
