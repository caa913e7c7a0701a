// cp.async: copies from global to shared memory that a thread starts and later waits for.
// cp_async_commit closes a group; cp_async_wait<N> waits until at most the N youngest groups of this thread are under
// way.
// What other threads copied is only there after their wait *and* a barrier.
#pragma once

#include "memory.cuh"

namespace veridical {

namespace detail {
template <int BYTES, class D, class S>
DEVICE void cp_async(sptr<D> to, gptr<S> from, bool valid) {
    static_assert(std::is_same<D, std::remove_const_t<S>>::value, "cp_async copies between equal types");
    static_assert(BYTES % sizeof(D) == 0, "cp_async copies whole elements");
    constexpr uint32_t count = BYTES / sizeof(D);
    D* dst = to.address(0, count, BYTES);
#ifdef VERIDICAL_HOST
    const S* src = valid ? from.address(0, count, BYTES) : nullptr;
    host::async_copy(dst, src, BYTES);
#else
    uint32_t shared = (uint32_t)__cvta_generic_to_shared(dst);
    uint64_t global = __cvta_generic_to_global(from.at);
    uint32_t bytes = valid ? BYTES : 0;  // the rest of the 16 bytes is filled with zeros; with 0 nothing is read
    if constexpr (BYTES == 16) {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(bytes) : "memory");
    } else {
        asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;" ::"r"(shared), "l"(global), "r"(bytes), "n"(BYTES)
                     : "memory");
    }
#endif
}
}  // namespace detail

// 16 (8, 4) bytes; both addresses must be multiples of that. When !valid, zeros are written and `from` is not read.
template <class D, class S>
DEVICE void cp_async16(sptr<D> to, gptr<S> from, bool valid = true) { detail::cp_async<16>(to, from, valid); }
template <class D, class S>
DEVICE void cp_async8(sptr<D> to, gptr<S> from, bool valid = true) { detail::cp_async<8>(to, from, valid); }
template <class D, class S>
DEVICE void cp_async4(sptr<D> to, gptr<S> from, bool valid = true) { detail::cp_async<4>(to, from, valid); }

DEVICE void cp_async_commit() {
#ifdef VERIDICAL_HOST
    host::async_commit();
#else
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

template <int N>
DEVICE void cp_async_wait() {
#ifdef VERIDICAL_HOST
    host::async_wait(N);
#else
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#endif
}

}  // namespace veridical
