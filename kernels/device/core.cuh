// How a kernel is declared and how it finds its place in the grid.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <type_traits>

#ifdef VERIDICAL_HOST
#include "host/language.h"
#endif

// KERNEL(name, Params) { ... p.field ... }            a kernel and the one struct it is given: of buffers, numbers of 4
//                                                     and 8 bytes, tensor maps, and arrays of them, with every gap a
//                                                     field. build.rs reads it (build/params.rs) and makes the Rust
//                                                     struct of it.
// KERNEL_BOUNDS(name, Params, threads) { ... }        the same, for blocks of at most `threads` threads; with a number
//                                                     more, so many of them shall fit a multiprocessor's registers
// KERNEL_CLUSTER(name, Params, 2, threads) { ... }    the same, for Hopper, for clusters of two blocks, or another
//                                                     number, of which a grid has a multiple along x (cluster.cuh)
// DEVICE                                              marks the functions that kernels are made of
// UNROLL                                              before a loop: repeat its body instead of looping, so that arrays
//                                                     that it indexes stay in registers
#ifndef VERIDICAL_HOST
#define UNROLL _Pragma("unroll")
#define DEVICE __device__ __forceinline__
#define KERNEL(name, Params) extern "C" __global__ void name(const __grid_constant__ Params p)
#define KERNEL_BOUNDS(name, Params, ...) \
    extern "C" __global__ void __launch_bounds__(__VA_ARGS__) name(const __grid_constant__ Params p)
// A kernel may ask for a major version of __CUDA_ARCH__ and no more: GPUs of one share their PTX (build/nvcc.rs).
// What is no more than a stub has no clusters: nvcc refuses them for GPUs before Hopper.
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
#define IN_CLUSTERS(blocks) __cluster_dims__(blocks, 1, 1)
#else
#define IN_CLUSTERS(blocks)
#endif
#define KERNEL_CLUSTER(name, Params, blocks, ...)                                     \
    extern "C" __global__ void IN_CLUSTERS(blocks) __launch_bounds__(__VA_ARGS__) name( \
        const __grid_constant__ Params p)
#endif

namespace veridical {

constexpr uint32_t WARP = 32;
constexpr uint32_t FULL_MASK = 0xffffffffu;

// Index of this thread along x in the whole grid, and the number of threads along x: the grid-stride loop
//   for (uint64_t i = global_thread(); i < p.n; i += grid_threads())
DEVICE uint64_t global_thread() { return (uint64_t)blockIdx.x * blockDim.x + threadIdx.x; }
DEVICE uint64_t grid_threads() { return (uint64_t)gridDim.x * blockDim.x; }

// This thread's lane and warp, and the number of warps in the block. Blocks are along x (Launch in src/backend/gpu.rs).
DEVICE uint32_t lane() { return threadIdx.x % WARP; }
DEVICE uint32_t warp() { return threadIdx.x / WARP; }
DEVICE uint32_t warps() { return (blockDim.x + WARP - 1) / WARP; }

// Barrier `id` (1..15) among `threads` threads (a multiple of 32), for kernels whose warps play different parts:
// `sync` waits for all of them, `arrive` is counted and goes on.
DEVICE void named_barrier_sync(uint32_t id, uint32_t threads) {
#ifdef VERIDICAL_HOST
    host::barrier(id, threads, true);
#else
    asm volatile("barrier.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
#endif
}
DEVICE void named_barrier_arrive(uint32_t id, uint32_t threads) {
#ifdef VERIDICAL_HOST
    host::barrier(id, threads, false);
#else
    asm volatile("barrier.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
#endif
}

}  // namespace veridical
