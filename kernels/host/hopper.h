// What Hopper's engines work on asynchronously: mbarriers, boxes of tensors, products of warpgroups. The models are the
// emulator's (src/backend/emulator/{mbarriers,boxes,warpgroup,cluster}.rs); from here it is only called.
#pragma once

#include "host/language.h"

namespace veridical {
namespace host {

inline void mbarrier_init(const void* barrier, uint32_t count) {
    runtime->mbarrier_init(state(), reinterpret_cast<uintptr_t>(barrier), count);
}
inline void mbarrier_init_fence() { runtime->mbarrier_init_fence(state()); }
inline void mbarrier_arrive(const void* barrier, uint32_t bytes) {
    runtime->mbarrier_arrive(state(), reinterpret_cast<uintptr_t>(barrier), bytes);
}
inline void mbarrier_wait(const void* barrier, uint32_t parity) {
    runtime->mbarrier_wait(state(), reinterpret_cast<uintptr_t>(barrier), parity);
}
inline void cluster_barrier() { runtime->cluster_barrier(state()); }
inline void mbarrier_arrive_at(const void* barrier, uint32_t rank) {
    runtime->mbarrier_arrive_at(state(), reinterpret_cast<uintptr_t>(barrier), rank);
}
inline void proxy_fence() { runtime->proxy_fence(state()); }

// `end` is where the shared array ends that the box goes to.
inline void tensor_load(const void* to, uintptr_t end, const void* map, const int32_t* at, uint32_t axes,
                        const void* barrier, uint32_t blocks = 0) {
    BoxLoad load = {reinterpret_cast<uintptr_t>(to), end, map, at, axes, reinterpret_cast<uintptr_t>(barrier), blocks};
    runtime->tensor_load(state(), &load);
}

// An address in shared memory as a descriptor holds it.
inline uint32_t shared_window(const void* at) { return runtime->shared_window(state(), reinterpret_cast<uintptr_t>(at)); }

inline void wgmma_fence(float* sums, uint32_t count) { runtime->wgmma_fence(state(), sums, count); }
inline void wgmma(float* sums, uint32_t count, uint64_t a, uint64_t b, bool add, bool a_transposed, bool b_transposed) {
    WarpgroupMultiply multiply = {sums, count, add, a, b, {a_transposed, b_transposed}};
    runtime->wgmma(state(), &multiply);
}
inline void wgmma_commit() { runtime->wgmma_commit(state()); }
inline void wgmma_wait(uint32_t pending) { runtime->wgmma_wait(state(), pending); }
inline void set_registers(uint32_t count, bool more) { runtime->set_registers(state(), count, more); }

}  // namespace host
}  // namespace veridical
