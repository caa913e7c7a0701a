// Clusters of two blocks, right and, when asked to be, wrong in one place: the emulator must say where.
#include "device/veridical.cuh"
#include "device/cluster.cuh"
#include "device/warpgroup.cuh"

// What is wrong on purpose is for the emulator: a GPU would hang, or reach for memory that is not there.
#ifdef VERIDICAL_HOST
#define WRONG(number) (p.fault == (number))
#else
#define WRONG(number) false
#endif

struct TestClusterBoxesParams {
    TensorMap map;
    buffer y;
    int32_t at[4];
    uint32_t axes;
    uint32_t further;
    uint32_t bytes;
    uint32_t fault;
    uint32_t unused[6];
};

// Block r loads the box at `at`, `further` r along the last axis, as number r of both blocks. Then y[r] is what stands
// in block r's shared memory: both boxes of `bytes` bytes, as they stand. fault: 1 the barrier before it is each
// block's own; 2 the box comes to the own block alone; 3 to the other one alone; 4 to a third one; 5 each block
// announces its own box alone; 6 a box more than there are; 7 nobody waits.
KERNEL_CLUSTER(test_cluster_boxes, TestClusterBoxesParams, 2, 128, 1) {
    SHARED(uint64_t, barrier, 1);
    SHARED_DYNAMIC(bf16, boxes);
    uint32_t rank = cluster_rank();
    if (threadIdx.x == 0) {
        mbarrier_init(barrier, 1);
        mbarrier_init_fence();
    }
    if (WRONG(1)) {
        __syncthreads();
    } else {
        cluster_sync();
    }
    if (threadIdx.x == 0) {
        mbarrier_arrive_expect_tx(barrier, WRONG(5) ? p.bytes : WRONG(6) ? 3 * p.bytes : 2 * p.bytes);
        uint16_t to = WRONG(2) ? 1 << rank : WRONG(3) ? 2 >> rank : WRONG(4) ? 7 : 3;
        auto place = boxes + rank * p.bytes / 2;
        int32_t moved = (int32_t)(p.further * rank);
        if (p.axes == 2) {
            const int32_t at[2] = {p.at[0], p.at[1] + moved};
            tensor_load_multicast(place, p.map, at, barrier, to);
        } else if (p.axes == 3) {
            const int32_t at[3] = {p.at[0], p.at[1], p.at[2] + moved};
            tensor_load_multicast(place, p.map, at, barrier, to);
        } else {
            const int32_t at[4] = {p.at[0], p.at[1], p.at[2], p.at[3] + moved};
            tensor_load_multicast(place, p.map, at, barrier, to);
        }
    }
    if (!WRONG(7)) mbarrier_wait(barrier, 0);
    auto y = p.y.as<bf16>() + rank * p.bytes;
    for (uint32_t i = threadIdx.x; i < p.bytes; i += blockDim.x) y[i] = boxes[i];
    cluster_sync();
}

struct TestClusterRingParams {
    TensorMap map;
    buffer y;
    uint32_t count;
    uint32_t fault;
    uint32_t unused[12];
};

// `count` pairs of lines of 64 through two slots of each block: in step k the first warp of block r loads line 2 k + r
// for both, and the second warps give what they find to y[r], the whole matrix. The others have nothing to do. fault: 1
// the barrier at the start is each block's own; 2 there is none at the end; 3 a consumer says to its own block alone
// that it is done; 4 to the other one alone; 5 to nobody; 6 it says so before it has read; 7 the producers do not wait;
// 8 lines come to their own block alone; 9 to the other one alone; 10 each block announces its own line alone; 11 twice
// as much; 12 the parity of `empty` is never turned; 13 `empty` is there for one arrival; 14 block 1 does one step
// less; 15 block 1 does not come to the last barrier; 16 the consumers do not wait; 17 the mbarriers are not fenced.
KERNEL_CLUSTER(test_cluster_ring, TestClusterRingParams, 2, 128, 1) {
    SHARED(uint64_t, full, 2);
    SHARED(uint64_t, empty, 2);
    SHARED_DYNAMIC(bf16, slots);
    uint32_t rank = cluster_rank(), steps = p.count - (WRONG(14) ? rank : 0);
    if (threadIdx.x == 0) {
        for (uint32_t s = 0; s < 2; s++) {
            mbarrier_init(full + s, 1);
            mbarrier_init(empty + s, WRONG(13) ? 1 : 2);
        }
        if (!WRONG(17)) mbarrier_init_fence();
    }
    if (WRONG(1)) {
        __syncthreads();
    } else {
        cluster_sync();
    }
    for (uint32_t k = 0; k < steps; k++) {
        uint32_t slot = k % 2, parity = k / 2 % 2;
        auto tile = slots + slot * 128;
        if (warp() == 0) {
            if (lane() == 0) {
                if (!WRONG(7)) mbarrier_wait(empty + slot, WRONG(12) ? 1 : parity ^ 1);
                mbarrier_arrive_expect_tx(full + slot, WRONG(10) ? 128 : WRONG(11) ? 512 : 256);
                const int32_t at[2] = {0, (int32_t)(2 * k + rank)};
                tensor_load_multicast(tile + 64 * rank, p.map, at, full + slot, WRONG(8) ? 1 << rank : WRONG(9) ? 2 >> rank : 3);
            }
        } else if (warp() == 1) {
            if (!WRONG(16)) mbarrier_wait(full + slot, parity);
            if (WRONG(6)) mbarrier_arrive_cluster<2>(empty + slot);
            auto y = p.y.as<bf16>() + ((uint64_t)rank * p.count + k) * 128;
            for (uint32_t half = 0; half < 2; half++) {
                store_vec(y, 64 * half + 2 * lane(), load_vec<2>(tile, 64 * half + 2 * lane()));
            }
#ifdef VERIDICAL_HOST
            if (WRONG(3) || WRONG(4)) {
                __syncwarp();
                if (lane() == 0) host::mbarrier_arrive_at((empty + slot).address(0, 1, 8), WRONG(3) ? rank : 1 - rank);
                continue;
            }
#endif
            if (!WRONG(5) && !WRONG(6)) mbarrier_arrive_cluster<2>(empty + slot);
        }
    }
    if (!WRONG(2) && !(WRONG(15) && rank == 1)) cluster_sync();
}

struct TestClusterProductsParams {
    TensorMap a;
    TensorMap b;
    buffer c;
    uint32_t depth;
    uint32_t fault;
    uint32_t unused[12];
};

// c[r][thread][i] = sums[i] of rows 64 r to 64 r + 63 of a [128, 64] times b [256, 64], of which block r loads columns
// 128 r to 128 r + 127 for both. What is written again is the same once more, so that nothing but the emulator tells.
// fault: 1 block 0 loads its part of b again, to both, when its own products are done; 2 the same when it knows that
// block 1 has begun its products.
KERNEL_CLUSTER(test_cluster_products, TestClusterProductsParams, 2, 128, 1) {
    SHARED(uint64_t, barrier, 2);
    SHARED(uint64_t, begun, 1);
    SHARED_DYNAMIC(bf16, a);
    auto b = a + 64 * 64;
    uint32_t rank = cluster_rank();
    if (threadIdx.x == 0) {
        mbarrier_init(barrier, 1);
        mbarrier_init(barrier + 1, 1);
        mbarrier_init(begun, 8);
        mbarrier_init_fence();
    }
    cluster_sync();
    const int32_t from_a[2] = {0, 64 * (int32_t)rank}, from_b[2] = {0, 128 * (int32_t)rank};
    if (threadIdx.x == 0) {
        mbarrier_arrive_expect_tx(barrier, (64 + 256) * 64 * 2);
        tensor_load(a, p.a, from_a, barrier);
        tensor_load_multicast(b + 128 * 64 * rank, p.b, from_b, barrier, 3);
    }
    mbarrier_wait(barrier, 0);
    float sums[128];
    UNROLL for (int i = 0; i < 128; i++) sums[i] = 0.0f;
    warpgroup_fence(sums);
    for (uint32_t k = 0; k < p.depth / 16; k++) {
        wgmma_m64n256k16(sums, tile_descriptor(a) + 2 * k, tile_descriptor(b) + 2 * k, true);
    }
    warpgroup_commit();
    mbarrier_arrive_cluster<2>(begun);
    if (rank == 0 || !WRONG(2)) warpgroup_wait_all(sums);
    if ((WRONG(1) || WRONG(2)) && rank == 0) __syncthreads();
    if (threadIdx.x == 0 && (WRONG(1) || WRONG(2)) && rank == 0) {
        if (WRONG(2)) mbarrier_wait(begun, 0);
        mbarrier_arrive_expect_tx(barrier + 1, 128 * 64 * 2);
        tensor_load_multicast(b, p.b, from_b, barrier + 1, 3);
    }
    if (rank == 1 && WRONG(2)) warpgroup_wait_all(sums);
    auto c = p.c.as<float>() + ((uint64_t)rank * 128 + threadIdx.x) * 128;
    UNROLL for (int i = 0; i < 128; i++) c[i] = sums[i];
    cluster_sync();
}
