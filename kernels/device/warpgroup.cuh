// wgmma: products of matrices in shared memory that the four warps of a warpgroup start together and later wait for.
// A warpgroup is 128 threads from a multiple of 128 on.
//
//   warpgroup_fence      before the first product, and again when the sums were used otherwise: orders registers
//   wgmma_m64n256k16     sums (+)= a b with a 64x16, b 16x256 in bf16, in tiles that tensor_load has swizzled by 128
//                        bytes: each either with its steps of depth side by side, see tile_descriptor, or, transposed,
//                        with its lines (rows of a, columns of b), see transposed_descriptor
//   warpgroup_commit     closes a group of products
//   warpgroup_wait<N>    until at most the N youngest groups of this warp are under way
//
// Between a product and the wait for it nobody may touch its sums, nor write what it reads. With w = warp % 4,
// g = lane / 4 and t = lane % 4, sums[4 j + e] is row 16 w + g + 8 (e / 2), column 8 j + 2 t + e % 2.
#pragma once

#include "mbarrier.cuh"
#include "bf16.cuh"

namespace veridical {

constexpr uint32_t WARPGROUP = 128;
DEVICE uint32_t warpgroup() { return threadIdx.x / WARPGROUP; }

// How wgmma finds a tile whose lines of 64 elements lie 128 bytes apart, swizzled, eight of them in each 1024 bytes.
// It begins at the steps of depth that are wanted: 16 steps further on is 32 bytes more, 2 more in the descriptor.
//   bits 0-13: the address / 16    16-29: not used in this layout, 1    32-45: from eight lines to the next, 1024 / 16
//   49-51: where the address lies within the pattern, 0 for a tile at a multiple of 1024    62-63: 1, swizzled by 128
//   bytes
DEVICE uint64_t tile_descriptor(sptr<bf16> tile) {
#ifdef VERIDICAL_HOST
    uint32_t address = host::shared_window(tile.address(0, 8, 16));
#else
    uint32_t address = shared_address(tile);
#endif
    return (uint64_t)(address >> 4 & 0x3fff) | (uint64_t)1 << 16 | (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
}

// The same for a tile whose lines stand side by side: 64 of them are the 128 bytes of one step of depth, eight steps
// are 1024 bytes, which is one pattern of the swizzle. It begins at a multiple of 1024; 16 steps further on are two
// times `steps_apart`. (CuTe's canonical form, in units of 16 bytes: ((8,n),(8,k)):((1,LBO),(8,SBO)).)
//   bits 16-29 (LBO): bytes from 64 lines to the next, / 16    32-45 (SBO): from eight steps to the next, / 16
// The instruction has to be told that the factor is transposed; the descriptor does not say so.
DEVICE uint64_t transposed_descriptor(sptr<bf16> tile, uint32_t lines_apart, uint32_t steps_apart) {
#ifdef VERIDICAL_HOST
    uint32_t address = host::shared_window(tile.address(0, 8, 16));
#else
    uint32_t address = shared_address(tile);
#endif
    return (uint64_t)(address >> 4 & 0x3fff) | (uint64_t)(lines_apart >> 4) << 16 | (uint64_t)(steps_apart >> 4) << 32 |
           (uint64_t)1 << 62;
}

namespace detail {
// The compiler has the sums in their registers here, and knows nothing of what stands in them afterwards.
template <int N>
DEVICE void pin([[maybe_unused]] float (&sums)[N]) {
#ifndef VERIDICAL_HOST
    UNROLL for (int i = 0; i < N; i++) asm volatile("" : "+f"(sums[i])::"memory");
#endif
}
}  // namespace detail

template <int N>
DEVICE void warpgroup_fence(float (&sums)[N]) {
#ifdef VERIDICAL_HOST
    host::wgmma_fence(sums, N);
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
    detail::pin(sums);
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#else
    __trap();
#endif
}

DEVICE void warpgroup_commit() {
#ifdef VERIDICAL_HOST
    host::wgmma_commit();
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#else
    __trap();
#endif
}

template <int PENDING>
DEVICE void warpgroup_wait() {
#ifdef VERIDICAL_HOST
    host::wgmma_wait(PENDING);
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
#else
    __trap();
#endif
}
// For all of them: the sums may be used.
template <int N>
DEVICE void warpgroup_wait_all(float (&sums)[N]) {
    warpgroup_wait<0>();
    detail::pin(sums);
}

// How many registers each thread of this warpgroup has from here on, a multiple of 8: fewer, or, as others have fewer,
// more. All four warps come to it.
template <int COUNT>
DEVICE void fewer_registers() {
    static_assert(COUNT >= 24 && COUNT <= 256 && COUNT % 8 == 0, "registers are given in eights, from 24 to 256");
#ifdef VERIDICAL_HOST
    host::set_registers(COUNT, false);
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(COUNT));
#else
    __trap();
#endif
}
template <int COUNT>
DEVICE void more_registers() {
    static_assert(COUNT >= 24 && COUNT <= 256 && COUNT % 8 == 0, "registers are given in eights, from 24 to 256");
#ifdef VERIDICAL_HOST
    host::set_registers(COUNT, true);
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(COUNT));
#else
    __trap();
#endif
}

// sums = a b, or, if `add`, sums += a b. Which factors are transposed is part of the instruction.
template <bool A_TRANSPOSED = false, bool B_TRANSPOSED = false>
DEVICE void wgmma_m64n256k16(float (&sums)[128], uint64_t a, uint64_t b, bool add) {
#ifdef VERIDICAL_HOST
    host::wgmma(sums, 128, a, b, add, A_TRANSPOSED, B_TRANSPOSED);
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
    asm volatile(
        "{\n\t.reg .pred add;\n\tsetp.ne.b32 add, %130, 0;\n\t"
        "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
        "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
        "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
        "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
        "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127}, "
        "%128, %129, add, 1, 1, %131, %132;\n\t}"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3]),
          "+f"(sums[4]), "+f"(sums[5]), "+f"(sums[6]), "+f"(sums[7]),
          "+f"(sums[8]), "+f"(sums[9]), "+f"(sums[10]), "+f"(sums[11]),
          "+f"(sums[12]), "+f"(sums[13]), "+f"(sums[14]), "+f"(sums[15]),
          "+f"(sums[16]), "+f"(sums[17]), "+f"(sums[18]), "+f"(sums[19]),
          "+f"(sums[20]), "+f"(sums[21]), "+f"(sums[22]), "+f"(sums[23]),
          "+f"(sums[24]), "+f"(sums[25]), "+f"(sums[26]), "+f"(sums[27]),
          "+f"(sums[28]), "+f"(sums[29]), "+f"(sums[30]), "+f"(sums[31]),
          "+f"(sums[32]), "+f"(sums[33]), "+f"(sums[34]), "+f"(sums[35]),
          "+f"(sums[36]), "+f"(sums[37]), "+f"(sums[38]), "+f"(sums[39]),
          "+f"(sums[40]), "+f"(sums[41]), "+f"(sums[42]), "+f"(sums[43]),
          "+f"(sums[44]), "+f"(sums[45]), "+f"(sums[46]), "+f"(sums[47]),
          "+f"(sums[48]), "+f"(sums[49]), "+f"(sums[50]), "+f"(sums[51]),
          "+f"(sums[52]), "+f"(sums[53]), "+f"(sums[54]), "+f"(sums[55]),
          "+f"(sums[56]), "+f"(sums[57]), "+f"(sums[58]), "+f"(sums[59]),
          "+f"(sums[60]), "+f"(sums[61]), "+f"(sums[62]), "+f"(sums[63]),
          "+f"(sums[64]), "+f"(sums[65]), "+f"(sums[66]), "+f"(sums[67]),
          "+f"(sums[68]), "+f"(sums[69]), "+f"(sums[70]), "+f"(sums[71]),
          "+f"(sums[72]), "+f"(sums[73]), "+f"(sums[74]), "+f"(sums[75]),
          "+f"(sums[76]), "+f"(sums[77]), "+f"(sums[78]), "+f"(sums[79]),
          "+f"(sums[80]), "+f"(sums[81]), "+f"(sums[82]), "+f"(sums[83]),
          "+f"(sums[84]), "+f"(sums[85]), "+f"(sums[86]), "+f"(sums[87]),
          "+f"(sums[88]), "+f"(sums[89]), "+f"(sums[90]), "+f"(sums[91]),
          "+f"(sums[92]), "+f"(sums[93]), "+f"(sums[94]), "+f"(sums[95]),
          "+f"(sums[96]), "+f"(sums[97]), "+f"(sums[98]), "+f"(sums[99]),
          "+f"(sums[100]), "+f"(sums[101]), "+f"(sums[102]), "+f"(sums[103]),
          "+f"(sums[104]), "+f"(sums[105]), "+f"(sums[106]), "+f"(sums[107]),
          "+f"(sums[108]), "+f"(sums[109]), "+f"(sums[110]), "+f"(sums[111]),
          "+f"(sums[112]), "+f"(sums[113]), "+f"(sums[114]), "+f"(sums[115]),
          "+f"(sums[116]), "+f"(sums[117]), "+f"(sums[118]), "+f"(sums[119]),
          "+f"(sums[120]), "+f"(sums[121]), "+f"(sums[122]), "+f"(sums[123]),
          "+f"(sums[124]), "+f"(sums[125]), "+f"(sums[126]), "+f"(sums[127])
        : "l"(a), "l"(b), "r"((uint32_t)add), "n"((int)A_TRANSPOSED), "n"((int)B_TRANSPOSED)
        : "memory");
#else
    __trap();
#endif
}

// sums = a b, or, if `add`, sums += a b. As above.
template <bool A_TRANSPOSED = false, bool B_TRANSPOSED = false>
DEVICE void wgmma_m64n64k16(float (&sums)[32], uint64_t a, uint64_t b, bool add) {
#ifdef VERIDICAL_HOST
    host::wgmma(sums, 32, a, b, add, A_TRANSPOSED, B_TRANSPOSED);
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
    asm volatile(
        "{\n\t.reg .pred add;\n\tsetp.ne.b32 add, %34, 0;\n\t"
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
        "%32, %33, add, 1, 1, %35, %36;\n\t}"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3]),
          "+f"(sums[4]), "+f"(sums[5]), "+f"(sums[6]), "+f"(sums[7]),
          "+f"(sums[8]), "+f"(sums[9]), "+f"(sums[10]), "+f"(sums[11]),
          "+f"(sums[12]), "+f"(sums[13]), "+f"(sums[14]), "+f"(sums[15]),
          "+f"(sums[16]), "+f"(sums[17]), "+f"(sums[18]), "+f"(sums[19]),
          "+f"(sums[20]), "+f"(sums[21]), "+f"(sums[22]), "+f"(sums[23]),
          "+f"(sums[24]), "+f"(sums[25]), "+f"(sums[26]), "+f"(sums[27]),
          "+f"(sums[28]), "+f"(sums[29]), "+f"(sums[30]), "+f"(sums[31])
        : "l"(a), "l"(b), "r"((uint32_t)add), "n"((int)A_TRANSPOSED), "n"((int)B_TRANSPOSED)
        : "memory");
#else
    __trap();
#endif
}

}  // namespace veridical
