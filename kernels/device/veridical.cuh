// The kernel language: everything a file in kernels/ may use. nvcc compiles the files for the GPU; with
// VERIDICAL_HOST defined a C++17 compiler turns the very same text into functions that the emulator runs on the CPU.
//
//   core.cuh        KERNEL, DEVICE, thread indices, buffer
//   memory.cuh      gptr, sptr, vec, SHARED: pointers that are checked on the host and plain on the device
//   bf16.cuh        bf16, to_float, from_float
//   reduce.cuh      sums and maxima over a warp and over a block, in a fixed order
//   exact.cuh       arithmetic with prescribed rounding
//   philox.cuh      random words by address
//   variates.cuh    uniforms, exponentials, Gumbels and normals from words
//   divisor.cuh     division by a number that is known at launch
//   draws.cuh       how ops address random numbers
//   async_copy.cuh  cp.async
//   mma.cuh         ldmatrix and mma.sync
//   fragments.cuh   tiles in shared memory as those want them
//   mbarrier.cuh    barriers that count bytes        } Hopper only: included where they are used
//   tensor_map.cuh  the copy engine                  }
//   warpgroup.cuh   wgmma                            }
//
// No kernel contains inline assembly: each PTX instruction is a named function in this folder.
#pragma once

#include "core.cuh"
#include "memory.cuh"
#include "bf16.cuh"
#include "reduce.cuh"
#include "exact.cuh"
#include "philox.cuh"
#include "variates.cuh"
#include "divisor.cuh"
#include "draws.cuh"
#include "async_copy.cuh"
#include "mma.cuh"
#include "fragments.cuh"

using namespace veridical;
