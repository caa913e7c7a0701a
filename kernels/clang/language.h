// For clang: what nvcc knows by itself of CUDA C++. scripts/second_compiler makes PTX of the kernels with it, without
// clang's own headers for CUDA, which are not everywhere that clang is. What an inline instruction says of its operands
// so holds for an optimiser, too, that moves and merges otherwise than nvcc's.
#pragma once

#include <stdint.h>

#define __device__ __attribute__((device))
#define __global__ __attribute__((global))
#define __shared__ __attribute__((shared))
#define __constant__ __attribute__((constant))
#define __grid_constant__ __attribute__((grid_constant))
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...) __attribute__((launch_bounds(__VA_ARGS__)))
#define __cluster_dims__(...) __attribute__((cluster_dims(__VA_ARGS__)))

struct uint3 { uint32_t x, y, z; };
struct __align__(8) uint2 { uint32_t x, y; };
struct __align__(16) uint4 { uint32_t x, y, z, w; };
struct __align__(8) float2 { float x, y; };
struct __align__(16) float4 { float x, y, z, w; };

#define CLANG_INDEX(name)                                                                            \
    (uint3{(uint32_t)__nvvm_read_ptx_sreg_##name##_x(), (uint32_t)__nvvm_read_ptx_sreg_##name##_y(), \
           (uint32_t)__nvvm_read_ptx_sreg_##name##_z()})
#define threadIdx CLANG_INDEX(tid)
#define blockIdx CLANG_INDEX(ctaid)
#define blockDim CLANG_INDEX(ntid)
#define gridDim CLANG_INDEX(nctaid)

#define CLANG_DEVICE static __device__ __forceinline__

CLANG_DEVICE uint2 make_uint2(uint32_t x, uint32_t y) { return {x, y}; }
CLANG_DEVICE uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }
CLANG_DEVICE float2 make_float2(float x, float y) { return {x, y}; }
CLANG_DEVICE float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

CLANG_DEVICE void __syncwarp(uint32_t mask = 0xffffffffu) { __nvvm_bar_warp_sync(mask); }
CLANG_DEVICE void __threadfence_block() { __nvvm_membar_cta(); }
CLANG_DEVICE void __threadfence() { __nvvm_membar_gl(); }
CLANG_DEVICE void __trap() { __builtin_trap(); }

CLANG_DEVICE uint32_t __float_as_uint(float f) { return __builtin_bit_cast(uint32_t, f); }
CLANG_DEVICE int32_t __float_as_int(float f) { return __builtin_bit_cast(int32_t, f); }
CLANG_DEVICE float __uint_as_float(uint32_t u) { return __builtin_bit_cast(float, u); }
CLANG_DEVICE float __int_as_float(int32_t i) { return __builtin_bit_cast(float, i); }

// Shuffles of numbers of 4 bytes, and of 8 in two halves.
#define CLANG_SHUFFLE(name, instruction, clamp)                                                                 \
    template <class T>                                                                                          \
    CLANG_DEVICE T name(uint32_t mask, T value, uint32_t by, uint32_t width = 32) {                             \
        static_assert(sizeof(T) == 4 || sizeof(T) == 8, "a shuffle moves a number");                            \
        const uint32_t segment = (32 - width) << 8 | clamp;                                                     \
        if constexpr (sizeof(T) == 4) {                                                                         \
            return __builtin_bit_cast(T, instruction(mask, __builtin_bit_cast(int, value), by, segment));       \
        } else {                                                                                                \
            uint2 halves = __builtin_bit_cast(uint2, value);                                                    \
            halves.x = (uint32_t)instruction(mask, (int)halves.x, by, segment);                                 \
            halves.y = (uint32_t)instruction(mask, (int)halves.y, by, segment);                                 \
            return __builtin_bit_cast(T, halves);                                                               \
        }                                                                                                       \
    }
CLANG_SHUFFLE(__shfl_sync, __nvvm_shfl_sync_idx_i32, 31)
CLANG_SHUFFLE(__shfl_xor_sync, __nvvm_shfl_sync_bfly_i32, 31)
CLANG_SHUFFLE(__shfl_down_sync, __nvvm_shfl_sync_down_i32, 31)
CLANG_SHUFFLE(__shfl_up_sync, __nvvm_shfl_sync_up_i32, 0)
CLANG_DEVICE uint32_t __ballot_sync(uint32_t mask, int vote) { return __nvvm_vote_ballot_sync(mask, vote != 0); }
CLANG_DEVICE int __any_sync(uint32_t mask, int vote) { return __nvvm_vote_any_sync(mask, vote != 0); }
CLANG_DEVICE int __all_sync(uint32_t mask, int vote) { return __nvvm_vote_all_sync(mask, vote != 0); }

CLANG_DEVICE int __popc(uint32_t u) { return __builtin_popcount(u); }
CLANG_DEVICE int __clz(uint32_t u) { return u == 0 ? 32 : __builtin_clz(u); }
CLANG_DEVICE int __ffs(uint32_t u) { return __builtin_ffs((int)u); }
CLANG_DEVICE uint32_t __umulhi(uint32_t a, uint32_t b) { return (uint32_t)((uint64_t)a * b >> 32); }
CLANG_DEVICE uint64_t __umul64hi(uint64_t a, uint64_t b) { return (uint64_t)((unsigned __int128)a * b >> 64); }

CLANG_DEVICE void memcpy(void* to, const void* from, uint64_t bytes) { __builtin_memcpy(to, from, bytes); }
template <class T> CLANG_DEVICE T min(T a, T b) { return b < a ? b : a; }
template <class T> CLANG_DEVICE T max(T a, T b) { return a < b ? b : a; }
// Of integers alone, as for the host: the sum of floats depends on the order.
template <class T>
CLANG_DEVICE T atomicAdd(T* p, T v) {
    static_assert(__is_integral(T), "an atomic sum is of integers");
    return __atomic_fetch_add(p, v, __ATOMIC_RELAXED);
}

CLANG_DEVICE uint64_t __cvta_generic_to_shared(const void* p) {
    return (uint64_t)(__attribute__((address_space(3))) const void*)p;
}
CLANG_DEVICE uint64_t __cvta_generic_to_global(const void* p) {
    return (uint64_t)(__attribute__((address_space(1))) const void*)p;
}

// The mathematics is libdevice's, as with nvcc.
#define CLANG_MATH(type, name, operands) CLANG_MATH_AS(type, name, name, operands)
#define CLANG_MATH_AS(type, name, inner, operands) CLANG_MATH_##operands(type, name, inner)
#define CLANG_MATH_1(type, name, inner)            \
    extern "C" __device__ type __nv_##inner(type); \
    CLANG_DEVICE type name(type a) { return __nv_##inner(a); }
#define CLANG_MATH_2(type, name, inner)                  \
    extern "C" __device__ type __nv_##inner(type, type); \
    CLANG_DEVICE type name(type a, type b) { return __nv_##inner(a, b); }
#define CLANG_MATH_3(type, name, inner)                        \
    extern "C" __device__ type __nv_##inner(type, type, type); \
    CLANG_DEVICE type name(type a, type b, type c) { return __nv_##inner(a, b, c); }
CLANG_MATH(float, erfcf, 1)
CLANG_MATH(float, expf, 1)
CLANG_MATH(float, exp2f, 1)
CLANG_MATH(float, logf, 1)
CLANG_MATH(float, log1pf, 1)
CLANG_MATH(float, sinf, 1)
CLANG_MATH(float, cosf, 1)
CLANG_MATH(float, tanhf, 1)
CLANG_MATH(float, sqrtf, 1)
CLANG_MATH(float, fabsf, 1)
CLANG_MATH(float, fminf, 2)
CLANG_MATH(float, fmaxf, 2)
CLANG_MATH(float, fmaf, 3)
CLANG_MATH(double, exp, 1)
CLANG_MATH(double, exp2, 1)
CLANG_MATH(double, log, 1)
CLANG_MATH(double, sin, 1)
CLANG_MATH(double, cos, 1)
CLANG_MATH(double, sqrt, 1)
CLANG_MATH(double, rint, 1)
CLANG_MATH(double, fma, 3)
CLANG_MATH_AS(float, __fadd_rn, fadd_rn, 2)
CLANG_MATH_AS(float, __fmul_rn, fmul_rn, 2)
CLANG_MATH_AS(float, __fdiv_rn, fdiv_rn, 2)
CLANG_MATH_AS(float, __fsqrt_rn, fsqrt_rn, 1)
CLANG_MATH_AS(float, __fmaf_rn, fmaf_rn, 3)
