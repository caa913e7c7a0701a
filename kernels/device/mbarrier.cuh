// mbarriers: barriers in shared memory that count arrivals and, besides, bytes that the copy engine writes. One goes
// through phases: a phase is over when all have arrived and all bytes that were announced are there. Who waits names
// the parity of the phase, 0 for the first; parity 1 before the first is over does not wait at all.
//
//   mbarrier_init               one thread, for `count` arrivals a phase; then mbarrier_init_fence, then a barrier of
//                               the block
//   mbarrier_arrive             the arrival of one warp, for what all its lanes have done
//   mbarrier_arrive_expect_tx   the arrival of one thread, which announces `bytes` bytes of tensor_load
//   mbarrier_wait               until the phase of this parity is over
//
// They are Hopper's here: a kernel that is compiled for anything but sm_90a stops where it comes to one.
#pragma once

#include "memory.cuh"

#ifdef VERIDICAL_HOST
#include "host/hopper.h"
#endif

namespace veridical {

// Whether this compilation has the instructions of sm_90a. Code for other architectures need not be more than a stub.
#if defined(VERIDICAL_HOST) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
constexpr bool HOPPER = true;
#else
constexpr bool HOPPER = false;
#endif

#ifndef VERIDICAL_HOST
// An address as instructions on shared memory take it.
template <class T>
DEVICE uint32_t shared_address(sptr<T> p) { return (uint32_t)__cvta_generic_to_shared(p.at); }
#endif

DEVICE void mbarrier_init(sptr<uint64_t> barrier, uint32_t count) {
#ifdef VERIDICAL_HOST
    host::mbarrier_init(barrier.address(0, 1, 8), count);
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count) : "memory");
#else
    __trap();
#endif
}

// The mbarriers that this thread has made are there for the copy engine too.
DEVICE void mbarrier_init_fence() {
#ifdef VERIDICAL_HOST
    host::mbarrier_init_fence();
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#else
    __trap();
#endif
}

DEVICE void mbarrier_arrive(sptr<uint64_t> barrier) {
    __syncwarp();
#ifdef VERIDICAL_HOST
    if (lane() == 0) host::mbarrier_arrive(barrier.address(0, 1, 8), 0);
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
    if (lane() == 0) {
        asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
    }
#else
    __trap();
#endif
}

DEVICE void mbarrier_arrive_expect_tx(sptr<uint64_t> barrier, uint32_t bytes) {
#ifdef VERIDICAL_HOST
    host::mbarrier_arrive(barrier.address(0, 1, 8), bytes);
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
                 : "memory");
#else
    __trap();
#endif
}

DEVICE void mbarrier_wait(sptr<uint64_t> barrier, uint32_t parity) {
#ifdef VERIDICAL_HOST
    host::mbarrier_wait(barrier.address(0, 1, 8), parity);
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
    uint32_t over;
    do {
        asm volatile(
            "{\n\t.reg .pred over;\n\t"
            "mbarrier.try_wait.parity.shared::cta.b64 over, [%1], %2;\n\t"
            "selp.u32 %0, 1, 0, over;\n\t}"
            : "=r"(over)
            : "r"(shared_address(barrier)), "r"(parity)
            : "memory");
    } while (over == 0);
#else
    __trap();
#endif
}

// What this thread has written to shared memory is there for the copy engine and wgmma, which do not see it otherwise.
// A barrier behind it makes that of all.
DEVICE void proxy_fence() {
#ifdef VERIDICAL_HOST
    host::proxy_fence();
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#else
    __trap();
#endif
}

}  // namespace veridical
