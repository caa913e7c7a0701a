// Products of fp32 matrices by multiply-adds: each thread keeps TM x TN sums in registers, in groups of four rows and
// columns that lie half a tile apart, so that its 16-byte loads from shared memory are free of bank conflicts. The next
// tile travels from global memory to registers while this one is multiplied.
#pragma once

#include "gemm.cuh"

namespace veridical::gemm {

template <int SIZE_, int PER_THREAD_>
struct FmaTile {
    static constexpr int BM = SIZE_, BN = SIZE_, BK = 16, PER_THREAD = PER_THREAD_;
    static constexpr int SIDE = SIZE_ / PER_THREAD_;  // threads along a side
    static constexpr int THREADS = SIDE * SIDE;
    static constexpr int PITCH = SIZE_ + 4;  // of a step in shared memory; 4 more, so that transposing stores meet fewer bank conflicts
};

namespace detail {

template <class Fetch, int COUNT>
DEVICE void fetch_to_registers(const Fetch& fetch, uint32_t depth, vec<float, 4> (&v)[COUNT]) {
    if (fetch.factor.wide) {
        fetch.wide(depth, [&](int i, uint64_t offset, bool valid) {
            v[i] = valid ? load_vec<4>(fetch.factor.source.data, offset) : vec<float, 4>{};
        });
    } else {
        UNROLL for (int i = 0; i < COUNT; i++) v[i] = fetch.gather(depth, i);
    }
}

template <class Fetch, int PITCH, int COUNT>
DEVICE void registers_to_shared(const vec<float, 4> (&v)[COUNT], sptr<float> to) {
    UNROLL for (int i = 0; i < COUNT; i++) {
        uint32_t row = Fetch::tile_row(i), column = Fetch::tile_column();
        if constexpr (Fetch::TRANSPOSED) {
            store_vec(to, row * PITCH + column, v[i]);
        } else {
            UNROLL for (int e = 0; e < 4; e++) to[(column + e) * PITCH + row] = v[i][e];
        }
    }
}

}  // namespace detail

// One tile of the result at `at`, from depth `begin` to `end`.
template <class Tile, class A, class B, class Out>
DEVICE void fma_product(const A& a, const B& b, TilePosition at, uint32_t begin, uint32_t end, const Out& out) {
    constexpr int BK = Tile::BK, PITCH = Tile::PITCH, N = Tile::PER_THREAD, HALF = Tile::BM / (N / 4);
    using FetchA = Fetch<A, Tile::BM, BK, Tile::THREADS>;
    using FetchB = Fetch<B, Tile::BN, BK, Tile::THREADS>;
    SHARED(float, tiles, 4 * BK * PITCH);
    auto a_tile = [&](uint32_t s) { return tiles + s % 2 * (2 * BK * PITCH); };
    auto b_tile = [&](uint32_t s) { return a_tile(s) + BK * PITCH; };
    FetchA fetch_a(a, at.row, end);
    FetchB fetch_b(b, at.column, end);
    vec<float, 4> next_a[FetchA::COUNT], next_b[FetchB::COUNT];
    uint32_t row = threadIdx.x / Tile::SIDE * 4, column = threadIdx.x % Tile::SIDE * 4;
    float sums[N][N] = {};

    uint32_t stages = (end - begin + BK - 1) / BK;
    detail::fetch_to_registers(fetch_a, begin, next_a);
    detail::fetch_to_registers(fetch_b, begin, next_b);
    for (uint32_t s = 0; s < stages; s++) {
        // The tile of two steps ago, which lay here, was last read before the barrier of the previous step.
        detail::registers_to_shared<FetchA, PITCH>(next_a, a_tile(s));
        detail::registers_to_shared<FetchB, PITCH>(next_b, b_tile(s));
        __syncthreads();
        if (s + 1 < stages) {
            detail::fetch_to_registers(fetch_a, begin + (s + 1) * BK, next_a);
            detail::fetch_to_registers(fetch_b, begin + (s + 1) * BK, next_b);
        }
        auto from_a = a_tile(s) + row;
        auto from_b = b_tile(s) + column;
        UNROLL for (int k = 0; k < BK; k++) {
            float fa[N], fb[N];
            UNROLL for (int i = 0; i < N / 4; i++) {
                vec<float, 4> va = load_vec<4>(from_a, k * PITCH + i * HALF), vb = load_vec<4>(from_b, k * PITCH + i * HALF);
                UNROLL for (int e = 0; e < 4; e++) {
                    fa[i * 4 + e] = va[e];
                    fb[i * 4 + e] = vb[e];
                }
            }
            UNROLL for (int i = 0; i < N; i++) {
                UNROLL for (int j = 0; j < N; j++) sums[i][j] = fmaf(fa[i], fb[j], sums[i][j]);
            }
        }
    }
    __syncthreads();  // a next tile may overwrite the shared ones

    UNROLL for (int i = 0; i < N; i++) {
        UNROLL for (int j = 0; j < N / 4; j++) {
            float part[4] = {sums[i][j * 4], sums[i][j * 4 + 1], sums[i][j * 4 + 2], sums[i][j * 4 + 3]};
            out.store(at.row + row + i / 4 * HALF + i % 4, at.column + column + j * HALF, part);
        }
    }
}

}  // namespace veridical::gemm
