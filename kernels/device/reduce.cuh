// Sums and maxima over a warp, a part of one, and a block. The order of the operations is fixed, so equal inputs give
// equal bits, and every thread gets the same result. All threads must take part; blocks are multiples of 32 threads.
#pragma once

#include "memory.cuh"

namespace veridical {

namespace detail {
struct Sum {
    template <class T> DEVICE static T identity() { return T(0); }
    template <class T> DEVICE static T join(T a, T b) { return a + b; }
};
struct Max {
    template <class T> DEVICE static T identity();
    template <class T> DEVICE static T join(T a, T b) { return a > b ? a : b; }
};
template <> DEVICE uint32_t Max::identity<uint32_t>() { return 0; }
template <> DEVICE uint64_t Max::identity<uint64_t>() { return 0; }
template <> DEVICE int32_t Max::identity<int32_t>() { return INT32_MIN; }
template <> DEVICE float Max::identity<float>() { return -__uint_as_float(0x7f800000u); }
// fmaxf: a NaN loses against a number.
template <> DEVICE float Max::join<float>(float a, float b) { return fmaxf(a, b); }

// A butterfly: at step s lane l joins its value with that of lane l ^ s.
template <class Op, class T>
DEVICE T warp_reduce(T v) {
#ifdef VERIDICAL_HOST
    return host::warp_butterfly(v, Op::template join<T>);
#else
#pragma unroll
    for (uint32_t step = WARP / 2; step > 0; step /= 2) v = Op::join(v, __shfl_xor_sync(FULL_MASK, v, step));
    return v;
#endif
}

template <class Op, class T>
DEVICE T block_reduce(T v) {
    SHARED(T, partial, WARP);
    v = warp_reduce<Op>(v);
    if (lane() == 0) partial[warp()] = v;
    __syncthreads();
    v = warp_reduce<Op>(lane() < warps() ? partial[lane()] : Op::template identity<T>());
    __syncthreads();  // `partial` is free again for the next call
    return v;
}
}  // namespace detail

// float, double, int32_t, uint32_t, uint64_t
template <class T> DEVICE T warp_sum(T v) { return detail::warp_reduce<detail::Sum>(v); }
template <class T> DEVICE T block_sum(T v) { return detail::block_reduce<detail::Sum>(v); }
// float, int32_t, uint32_t, uint64_t
template <class T> DEVICE T warp_max(T v) { return detail::warp_reduce<detail::Max>(v); }
template <class T> DEVICE T block_max(T v) { return detail::block_reduce<detail::Max>(v); }

// Over each group of LANES neighbouring lanes, a power of two of them.
template <uint32_t LANES>
DEVICE float group_sum(float v) {
    for (uint32_t step = LANES / 2; step > 0; step /= 2) v += __shfl_xor_sync(FULL_MASK, v, step);
    return v;
}
template <uint32_t LANES>
DEVICE float group_max(float v) {
    for (uint32_t step = LANES / 2; step > 0; step /= 2) v = fmaxf(v, __shfl_xor_sync(FULL_MASK, v, step));
    return v;
}

}  // namespace veridical
