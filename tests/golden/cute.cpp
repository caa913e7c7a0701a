// Writes cute.json: what NVIDIA's CuTe (CUTLASS 4.7.0, include/cute) says of the instructions that kernels/device
// wraps. It runs on the host and needs no GPU; CUDA's headers come with nvcc:
//
//     g++ -std=c++17 -I CUTLASS/include -I CUDA/include -I CUDA/include/cccl cute.cpp -o cute && ./cute cute.json
//
// (It says that addresses in shared memory cannot be had on a host, and takes 0, which is what is wanted.)
//
// A layout gives a number for each pair of coordinates: each coordinate is taken apart by its shape, the first part
// running fastest, the parts are multiplied by their strides, and all are added up. A tile's number, of elements, is
// then swizzled: the `bits` bits from `base + shift` on are crossed into those from `base` on. The samples are some
// pairs and their numbers as CuTe's own code finds them, so that a reader of the file sees whether he reads it right.
#include <cstdio>

#include <cute/arch/mma_sm80.hpp>
#include <cute/atom/copy_traits_sm75.hpp>
#include <cute/atom/mma_atom.hpp>
#include <cute/tensor.hpp>
#include <cutlass/version.h>

using namespace cute;
using bf16 = cutlass::bfloat16_t;

static FILE* out;

template <class T>
void numbers(T const& tree) {
    if constexpr (is_tuple<T>::value) {
        const char* before = "[";
        for_each(tree, [&](auto const& part) {
            std::fputs(before, out);
            before = ", ";
            numbers(part);
        });
        std::fputs("]", out);
    } else {
        std::fprintf(out, "%d", int(tree));
    }
}

template <class Parts, class Whole>
void layout(const char* name, Parts const& parts, Whole const& whole) {
    std::fprintf(out, ",\n  \"%s\": {\n    \"shape\": ", name);
    numbers(shape(parts));
    std::fputs(", \"stride\": ", out);
    numbers(stride(parts));
    std::fputs(",\n    \"samples\": ", out);
    for (int s = 0; s < 16; ++s) {
        const int i = s * 37 % int(size<0>(parts)), j = (s * 23 + s / 3) % int(size<1>(parts));
        std::fprintf(out, "%s[%d, %d, %d]", s ? ", " : "[", i, j, int(whole(i, j)));
    }
    std::fputs("]", out);
}

template <class L>
void plain(const char* name, L const& of) {
    layout(name, of, of);
    std::fputs("\n  }", out);
}

// A tile of lines of 64 steps in shared memory, and the descriptors of its products of 16 steps, if it begins at 0.
template <bool LEFT, GMMA::Major MAJOR, class Tile>
void tile(const char* name, Tile const& of) {
    auto elements = as_position_independent_swizzle_layout(of);
    auto swizzle = get_swizzle_portion(elements);
    layout(name, get_nonswizzle_portion(elements), elements);
    std::fprintf(out, ",\n    \"swizzle\": {\"bits\": %d, \"base\": %d, \"shift\": %d},\n    \"descriptors\": ",
                 swizzle.num_bits, swizzle.num_base, swizzle.num_shft);
    static bf16 memory[256 * 64];
    auto tensor = make_tensor(make_smem_ptr(memory), of);
    auto whole = make_tiled_mma(SM90_64x256x16_F32BF16BF16_SS<MAJOR, MAJOR>{}).get_slice(0);
    auto descriptors = [&] {
        if constexpr (LEFT) return whole.make_fragment_A(whole.partition_A(tensor));
        else return whole.make_fragment_B(whole.partition_B(tensor));
    }();
    for (int k = 0; k < 4; ++k) {
        const unsigned long long bits = (*descriptors(_, _, k).data()).desc_;
        std::fprintf(out, "%s\"%#018llx\"", k ? ", " : "[", bits);
    }
    std::fputs("]\n  }", out);
}

int main(int count, char** arguments) {
    if (count != 2 || !(out = std::fopen(arguments[1], "w"))) return std::puts("which file to write?"), 2;
    std::fprintf(out, "{\n  \"made by\": \"cute.cpp with CUTLASS %d.%d.%d\"", CUTLASS_MAJOR, CUTLASS_MINOR,
                 CUTLASS_PATCH);
    using Mma = MMA_Traits<SM80_16x8x16_F32BF16BF16F32_TN>;
    // (lane, value) to row + rows * column; of b to column + columns * step.
    plain("mma_m16n8k16 a", Mma::ALayout{});
    plain("mma_m16n8k16 b", Mma::BLayout{});
    plain("mma_m16n8k16 c", Mma::CLayout{});
    // (lane, bit of its registers) to the bit of the matrices, row after row.
    plain("ldmatrix_x1", Copy_Traits<SM75_U32x1_LDSM_N>::DstLayout{});
    plain("ldmatrix_x2", Copy_Traits<SM75_U32x2_LDSM_N>::DstLayout{});
    plain("ldmatrix_x4", Copy_Traits<SM75_U32x4_LDSM_N>::DstLayout{});
    plain("ldmatrix_x1_trans", Copy_Traits<SM75_U16x2_LDSM_T>::DstLayout{});
    plain("ldmatrix_x2_trans", Copy_Traits<SM75_U16x4_LDSM_T>::DstLayout{});
    plain("ldmatrix_x4_trans", Copy_Traits<SM75_U16x8_LDSM_T>::DstLayout{});
    // (thread, value) to row + 64 * column.
    plain("wgmma_m64n64k16 c", GMMA::CLayout_64x64{});
    plain("wgmma_m64n256k16 c", GMMA::CLayout_64x256{});
    // (line, step) to the element's place.
    constexpr auto K = GMMA::Major::K, MN = GMMA::Major::MN;
    using Lines = GMMA::Layout_K_SW128_Atom<bf16>;
    using Transposed = GMMA::Layout_MN_SW128_Atom<bf16>;
    tile<true, K>("a", tile_to_shape(Lines{}, Shape<_64, _64>{}));
    tile<false, K>("b", tile_to_shape(Lines{}, Shape<_256, _64>{}));
    tile<true, MN>("a transposed", tile_to_shape(Transposed{}, Shape<_64, _64>{}));
    // The patterns of 64 lines by 8 steps follow each other along the steps first, or along the lines.
    tile<false, MN>("b transposed, steps first", tile_to_shape(Transposed{}, Shape<_256, _64>{}, Step<_2, _1>{}));
    tile<false, MN>("b transposed, lines first", tile_to_shape(Transposed{}, Shape<_256, _64>{}, Step<_1, _2>{}));
    std::fputs("\n}\n", out);
    return std::fclose(out);
}
