// Products of bf16 matrices on Hopper's tensor cores. A block is three warpgroups and stays for all its tiles of the
// result, 128 x 256 each: one thread of the first keeps the copy engine busy, which fills STAGES stages of shared
// memory with 64 steps of depth, and the other two multiply, 64 lines each. `full` says that a stage is there, and
// `empty` that both are done with it. While the products of one stage are under way those of the next are started, and
// the first thread has asked for stages of the next tile when the sums of this one are stored. Sums are fp32.
//
// A source says where the factors of a tile's stage are: load(a, b, tile, step, full) starts their boxes, of TILE_M and
// TILE_N lines of 64 steps, steps(index) is how many stages tile `index` has, and output(tile) where the sums go. The
// lines are 128 bytes of 64 steps; or, if the source is TRANSPOSED, steps are 128 bytes of 64 lines, in a BLOCK of 64
// steps for each 64 lines.
//
// Of a source for BLOCKS blocks, which are a cluster, a tile is BLOCKS * TILE_M x TILE_N, and each block has its own
// TILE_M rows of it. The columns are the same, and so is b: each block loads its part of that for all. Of a stage of 48
// KiB a block of two fetches 16 KiB of a and 16 KiB of b; were it the rows that they shared, it would be 8 KiB and 32.
// So a stage is filled by all blocks, and may be filled again when all are done with it, which is why `empty` is told
// by all. They take the same number of steps, also where a block's rows are beyond the last: its boxes are zeros then,
// and nothing is stored.
#pragma once

#include "cluster.cuh"
#include "gemm_tensor.cuh"
#include "tensor_map.cuh"
#include "warpgroup.cuh"

namespace veridical::hopper {

constexpr int TILE_M = 128, TILE_N = 256, DEPTH = 64, STAGES = 4, CONSUMERS = 2;
constexpr int THREADS = WARPGROUP * (1 + CONSUMERS);
constexpr int A_SIZE = TILE_M * DEPTH, B_SIZE = TILE_N * DEPTH, STAGE = A_SIZE + B_SIZE;  // elements
constexpr int SUMS = TILE_N / 2;
constexpr int BLOCK = 64 * DEPTH;
// A warp's sums are stored 64 columns at a time, through shared memory of its own.
constexpr int COLUMNS = 64, OWN = 16 * COLUMNS;

// Which stage is next, and the parity of its phase.
struct Ring {
    uint32_t stage = 0, parity = 0;
    DEVICE void advance() {
        if (++stage == STAGES) {
            stage = 0;
            parity ^= 1;
        }
    }
};

// This block's number among those that share a tile.
template <int BLOCKS>
DEVICE uint32_t rank() {
    if constexpr (BLOCKS == 1) {
        return 0;
    } else {
        return cluster_rank();
    }
}

// Where this block's part of a tile is.
template <int BLOCKS>
DEVICE gemm::TilePosition position(uint32_t m, uint32_t n, uint32_t tile) {
    gemm::TilePosition at = gemm::tile_position<BLOCKS * TILE_M, TILE_N>(m, n, tile);
    return {at.row + rank<BLOCKS>() * TILE_M, at.column};
}

// A box of b, to this place in all blocks that share a tile.
template <int BLOCKS, int AXES>
DEVICE void load_for_all(sptr<bf16> to, const TensorMap& map, const int32_t (&at)[AXES], sptr<uint64_t> full) {
    if constexpr (BLOCKS == 1) {
        tensor_load(to, map, at, full);
    } else {
        tensor_load_multicast(to, map, at, full, (1 << BLOCKS) - 1);
    }
}

namespace detail {

// This warp is done with a stage.
template <int BLOCKS>
DEVICE void release(sptr<uint64_t> empty) {
    if constexpr (BLOCKS == 1) {
        mbarrier_arrive(empty);
    } else {
        mbarrier_arrive_cluster<BLOCKS>(empty);
    }
}

template <class Source>
DEVICE void produce(const Source& source, sptr<bf16> stages, sptr<uint64_t> full, sptr<uint64_t> empty) {
    constexpr int BLOCKS = Source::BLOCKS;
    Ring ring;
    for (uint32_t tile = blockIdx.x / BLOCKS; tile < source.tiles(); tile += gridDim.x / BLOCKS) {
        auto at = source.tile(tile);
        uint32_t steps = source.steps(tile);
        for (uint32_t step = 0; step < steps; step++) {
            auto a = stages + ring.stage * STAGE;
            mbarrier_wait(empty + ring.stage, ring.parity ^ 1);
            // What comes from other blocks, too.
            mbarrier_arrive_expect_tx(full + ring.stage, STAGE * sizeof(bf16));
            source.load(a, a + A_SIZE, at, step, full + ring.stage);
            ring.advance();
        }
    }
}

// Where 64 lines of a, or all of b, begin in a stage, and what is added for 16 steps more.
template <bool TRANSPOSED>
DEVICE uint64_t descriptor(sptr<bf16> at) {
    if constexpr (TRANSPOSED) {
        return transposed_descriptor(at, BLOCK * sizeof(bf16), 1024);
    } else {
        return tile_descriptor(at);
    }
}
template <bool TRANSPOSED> constexpr uint32_t FURTHER = (TRANSPOSED ? 2 * 1024 : 32) >> 4;

// This warp's 16 lines of the sums.
DEVICE void store(const gemm::Output<bf16>& out, uint32_t row, uint32_t column, const float (&sums)[SUMS],
                  sptr<bf16> own) {
    UNROLL for (int c = 0; c < TILE_N / COLUMNS; c++) {
        if (column + c * COLUMNS >= out.n) return;
        float part[1][COLUMNS / 8][4];
        UNROLL for (int j = 0; j < COLUMNS / 8; j++) {
            UNROLL for (int e = 0; e < 4; e++) part[0][j][e] = sums[c * (COLUMNS / 2) + 4 * j + e];
        }
        gemm::detail::store_lines<16, COLUMNS>(out, row, column + c * COLUMNS, part, own);
        __syncwarp();  // `own` is free again
    }
}

template <class Source>
DEVICE void consume(const Source& source, sptr<bf16> stages, sptr<uint64_t> full, sptr<uint64_t> empty,
                    sptr<bf16> own) {
    constexpr bool T = Source::TRANSPOSED;
    constexpr int BLOCKS = Source::BLOCKS;
    Ring ring;
    uint32_t line = (warpgroup() - 1) * (TILE_M / CONSUMERS), last = 0;
    for (uint32_t tile = blockIdx.x / BLOCKS; tile < source.tiles(); tile += gridDim.x / BLOCKS) {
        float sums[SUMS];
        uint32_t steps = source.steps(tile);
        for (uint32_t step = 0; step < steps; step++) {
            auto a = stages + ring.stage * STAGE;
            uint64_t from_a = descriptor<T>(a + line * DEPTH), from_b = descriptor<T>(a + A_SIZE);
            mbarrier_wait(full + ring.stage, ring.parity);
            warpgroup_fence(sums);
            UNROLL for (int k = 0; k < DEPTH / 16; k++) {
                wgmma_m64n256k16<T, T>(sums, from_a + FURTHER<T> * k, from_b + FURTHER<T> * k, k > 0 || step > 0);
            }
            warpgroup_commit();
            warpgroup_wait<1>();
            if (step > 0) release<BLOCKS>(empty + last);
            last = ring.stage;
            ring.advance();
        }
        warpgroup_wait_all(sums);
        release<BLOCKS>(empty + last);
        auto at = source.tile(tile);
        uint32_t row = at.row + line + warp() % 4 * 16;
        store(source.output(at), row, at.column, sums, own);
    }
}

}  // namespace detail

// Bytes of dynamic shared memory: the stages, and what each multiplying warp has for itself.
constexpr int SHARED_BYTES = (STAGES * STAGE + 4 * CONSUMERS * OWN) * (int)sizeof(bf16);

// All tiles of the source that are this block's, or its cluster's.
template <class Source>
DEVICE void product(const Source& source) {
    if constexpr (HOPPER) {
        constexpr int BLOCKS = Source::BLOCKS;
        SHARED(uint64_t, full, STAGES);
        SHARED(uint64_t, empty, STAGES);
        SHARED_DYNAMIC(bf16, stages);
        if (threadIdx.x == 0) {
            for (int s = 0; s < STAGES; s++) {
                mbarrier_init(full + s, 1);
                mbarrier_init(empty + s, 4 * CONSUMERS * BLOCKS);  // each multiplying warp says that it is done
            }
            mbarrier_init_fence();
        }
        if constexpr (BLOCKS == 1) {
            __syncthreads();
        } else {
            cluster_sync();
        }
        if (warpgroup() == 0) {
            fewer_registers<40>();
            if (threadIdx.x == 0) detail::produce(source, stages, full, empty);
        } else {
            more_registers<232>();
            auto own = stages + STAGES * STAGE + (warp() - 4) * OWN;
            detail::consume(source, stages, full, empty, own);
        }
        if constexpr (BLOCKS > 1) cluster_sync();  // others have yet to say that they are done with the last stages
    } else {
        // Only a Hopper has these instructions, and the host starts this on no other.
#ifndef VERIDICAL_HOST
        __trap();
#endif
    }
}

}  // namespace veridical::hopper
