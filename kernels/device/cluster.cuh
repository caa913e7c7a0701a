// Clusters: neighbouring blocks that run at the same time, each of which can reach into the shared memory of the
// others. A kernel has them that is declared by KERNEL_CLUSTER. What stands at one place of a block's shared memory
// stands at the same place of the others'.
//
//   cluster_rank              this block's number in its cluster
//   cluster_sync              the barrier of all threads of the cluster. Before it no other block's memory may be
//                             reached, as that block need not have begun; and a block may not end without it while
//                             another may still reach into its memory
//   mbarrier_arrive_cluster   the arrival of one warp at the mbarrier of each block, for what its lanes and products
//                             have read: whoever waits there may write over it. What they have written it does not
//                             make known to other blocks
//   tensor_load_multicast     tensor_load to several blocks at once, for one pass through the L2 cache: the box comes
//                             to the same place in each block of the mask, its bytes count at the mbarrier of each
//
// They are Hopper's here, as mbarriers are.
#pragma once

#include "tensor_map.cuh"

namespace veridical {

DEVICE uint32_t cluster_rank() {
#ifdef VERIDICAL_HOST
    return host::context.cluster_rank;
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
    uint32_t rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
#else
    __trap();
    return 0;
#endif
}

DEVICE void cluster_sync() {
#ifdef VERIDICAL_HOST
    host::cluster_barrier();
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
    __syncwarp();  // lanes that took another way come here together
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#else
    __trap();
#endif
}

// Lane r tells block r. Not with a release for the whole cluster, which would wait for every write of the thread that
// is under way, in each step of a product; reads are over when their results are there.
template <int BLOCKS>
DEVICE void mbarrier_arrive_cluster(sptr<uint64_t> barrier) {
    static_assert(BLOCKS <= (int)WARP, "a lane for each block");
    __syncwarp();
#ifdef VERIDICAL_HOST
    if (lane() < (uint32_t)BLOCKS) host::mbarrier_arrive_at(barrier.address(0, 1, 8), lane());
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
    if (lane() < (uint32_t)BLOCKS) {
        asm volatile(
            "{\n\t.reg .b32 there;\n\t"
            "mapa.shared::cluster.u32 there, %0, %1;\n\t"
            "mbarrier.arrive.shared::cluster.b64 _, [there];\n\t}" ::"r"(shared_address(barrier)),
            "r"(lane())
            : "memory");
    }
#else
    __trap();
#endif
}

// Bit r of `blocks` stands for block r of the cluster.
template <int AXES>
DEVICE void tensor_load_multicast(sptr<bf16> to, const TensorMap& map, const int32_t (&at)[AXES],
                                  sptr<uint64_t> barrier, uint16_t blocks) {
    static_assert(AXES >= 2 && AXES <= 4, "tensor_load_multicast knows tensors of 2 to 4 axes");
#ifdef VERIDICAL_HOST
    host::tensor_load(to.address(0, 64, 128), to.range.end, &map, at, AXES, barrier.address(0, 1, 8), blocks);
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
    uint32_t shared = shared_address(to), counts = shared_address(barrier);
    uint64_t from = reinterpret_cast<uint64_t>(&map);
    if constexpr (AXES == 2) {
        asm volatile(
            "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster "
            "[%0], [%1, {%4, %5}], [%2], %3;" ::"r"(shared), "l"(from), "r"(counts), "h"(blocks), "r"(at[0]), "r"(at[1])
            : "memory");
    } else if constexpr (AXES == 3) {
        asm volatile(
            "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster "
            "[%0], [%1, {%4, %5, %6}], [%2], %3;" ::"r"(shared), "l"(from), "r"(counts), "h"(blocks), "r"(at[0]),
            "r"(at[1]), "r"(at[2])
            : "memory");
    } else {
        asm volatile(
            "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster "
            "[%0], [%1, {%4, %5, %6, %7}], [%2], %3;" ::"r"(shared), "l"(from), "r"(counts), "h"(blocks), "r"(at[0]),
            "r"(at[1]), "r"(at[2]), "r"(at[3])
            : "memory");
    }
#else
    __trap();
#endif
}

}  // namespace veridical
