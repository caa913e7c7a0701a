// Tiles of bf16 in shared memory, and the pieces of them that mma takes. Rows of a tile are permuted in units of 16
// bytes (by XOR with the row), so that the eight rows that ldmatrix reads together lie in different banks.
#pragma once

#include "mma.cuh"

namespace veridical::fragments {

// Where element (row, column) of a tile with rows of WIDTH elements is; column is a multiple of 8.
template <int WIDTH>
DEVICE uint32_t swizzled(uint32_t row, uint32_t column) {
    constexpr uint32_t UNITS = WIDTH / 8;
    // Rows of 64 bytes: two rows share the 32 banks, so the row's pairs are what must differ.
    uint32_t key = UNITS >= 8 ? row & 7 : (row >> 1) & (UNITS - 1);
    return row * WIDTH + ((column / 8) ^ key) * 8;
}

// Sixteen lines from `line` by sixteen steps from `k` of a; see mma.cuh for which lane holds what.
template <bool TRANSPOSED, int LINES, int BK>
DEVICE void load_a(uint32_t (&r)[4], sptr<bf16> tile, uint32_t line, uint32_t k) {
    uint32_t l = lane();
    if constexpr (TRANSPOSED) {
        ldmatrix_x4_trans(r, tile + swizzled<LINES>(k + l / 16 * 8 + l % 8, line + l / 8 % 2 * 8));
    } else {
        ldmatrix_x4(r, tile + swizzled<BK>(line + l % 16, k + l / 16 * 8));
    }
}

// Sixteen lines from `line` by sixteen steps from `k` of b: r[0], r[1] belong to the first eight lines.
template <bool TRANSPOSED, int LINES, int BK>
DEVICE void load_b(uint32_t (&r)[4], sptr<bf16> tile, uint32_t line, uint32_t k) {
    uint32_t l = lane();
    if constexpr (TRANSPOSED) {
        ldmatrix_x4_trans(r, tile + swizzled<LINES>(k + l / 8 % 2 * 8 + l % 8, line + l / 16 * 8));
    } else {
        ldmatrix_x4(r, tile + swizzled<BK>(line + l / 16 * 8 + l % 8, k + l / 8 % 2 * 8));
    }
}

}  // namespace veridical::fragments
