// The two ways to multiply behind one name: bf16 on tensor cores, fp32 by multiply-adds; each with large and small
// tiles. A product may be cut in depth: then parts go to fp32 scratch, and sum_parts adds them in order.
#pragma once

#include "gemm_fma.cuh"
#include "gemm_tensor.cuh"

namespace veridical::gemm {

constexpr int LARGE = 128, SMALL = 64;

template <class T, int SIZE> struct tile_of;
template <int SIZE> struct tile_of<float, SIZE> { using type = FmaTile<SIZE, SIZE / 16>; };
template <int SIZE> struct tile_of<bf16, SIZE> { using type = TensorTile<SIZE, SIZE, SIZE / 2, SIZE / 2>; };

// Threads of a block.
template <class T, int SIZE> constexpr int product_threads = tile_of<T, SIZE>::type::THREADS;

// Computes the tile that blockIdx.x names, from part blockIdx.y of the depth. If there are several parts, `out.parts`
// is given, and part p starts at m * n * p of it. ALL_WIDE says that both factors are wide, and leaves out the other
// way.
template <class T, int SIZE, bool ALL_WIDE = false, class A, class B>
DEVICE void product(const A& a, const B& b, uint32_t depth, uint32_t depth_per_part, Output<T> out) {
    using Tile = typename tile_of<T, SIZE>::type;
    TilePosition at = tile_position<Tile::BM, Tile::BN>(out.m, out.n);
    uint32_t begin = blockIdx.y * depth_per_part, end = min(begin + depth_per_part, depth);
    if (out.parts) out.parts += (uint64_t)blockIdx.y * out.m * out.n;
    if constexpr (std::is_same<T, float>::value) {
        fma_product<Tile>(a, b, at, begin, end, out);
    } else {
        tensor_product<Tile, ALL_WIDE>(a, b, at, begin, end, out);
    }
}

}  // namespace veridical::gemm
