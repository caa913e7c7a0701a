// Models of ldmatrix and mma.sync: each lane brings its registers, the last to come computes for all 32.
// Lane maps: PTX ISA, "Matrix fragments for mma.m16n8k16" and "ldmatrix"; device/mma.cuh has them in short.
#pragma once

#include "host/language.h"

namespace veridical {
namespace host {

struct LoadMatrix {
    const void* row;
    uint32_t* r;
    int count;
};

template <bool TRANS>
inline void ldmatrix_warp(void* const* lanes, uint32_t) {
    const int count = static_cast<LoadMatrix*>(lanes[0])->count;
    for (int m = 0; m < count; m++) {
        uint16_t e[8][8];
        for (int row = 0; row < 8; row++) memcpy(e[row], static_cast<LoadMatrix*>(lanes[8 * m + row])->row, 16);
        for (int l = 0; l < 32; l++) {
            const int g = l / 4, t = l % 4;
            const uint16_t low = TRANS ? e[2 * t][g] : e[g][2 * t];
            const uint16_t high = TRANS ? e[2 * t + 1][g] : e[g][2 * t + 1];
            static_cast<LoadMatrix*>(lanes[l])->r[m] = (uint32_t)low | (uint32_t)high << 16;
        }
    }
}

inline void ldmatrix(const void* row, uint32_t* r, int count, bool trans) {
    LoadMatrix load = {row, r, count};
    runtime->collective(state(), trans ? "ldmatrix.trans" : "ldmatrix", 0xffffffffu, &load,
                        trans ? ldmatrix_warp<true> : ldmatrix_warp<false>);
}

struct MatrixMultiply {
    float* c;
    const uint32_t* a;
    const uint32_t* b;
};

inline float low_half(uint32_t pair) { return __uint_as_float(pair << 16); }
inline float high_half(uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }

// Products of bf16 are exact in f64; the sum with c is rounded once. The hardware, whose order and intermediate
// precision are not documented, may differ in the last bits of a float; sums of integers below 2^24 agree exactly.
inline void mma_m16n8k16_warp(void* const* lanes, uint32_t) {
    double a[16][16], b[16][8], c[16][8];
    for (int l = 0; l < 32; l++) {
        const int g = l / 4, t = l % 4;
        const MatrixMultiply* m = static_cast<MatrixMultiply*>(lanes[l]);
        for (int r = 0; r < 4; r++) {
            const int row = g + 8 * (r % 2), col = 2 * t + 8 * (r / 2);
            a[row][col] = low_half(m->a[r]);
            a[row][col + 1] = high_half(m->a[r]);
        }
        for (int r = 0; r < 2; r++) {
            b[2 * t + 8 * r][g] = low_half(m->b[r]);
            b[2 * t + 8 * r + 1][g] = high_half(m->b[r]);
        }
        for (int e = 0; e < 4; e++) c[g + 8 * (e / 2)][2 * t + e % 2] = m->c[e];
    }
    for (int i = 0; i < 16; i++) {
        for (int k = 0; k < 16; k++) {
            for (int j = 0; j < 8; j++) c[i][j] += a[i][k] * b[k][j];
        }
    }
    for (int l = 0; l < 32; l++) {
        const int g = l / 4, t = l % 4;
        for (int e = 0; e < 4; e++) {
            static_cast<MatrixMultiply*>(lanes[l])->c[e] = (float)c[g + 8 * (e / 2)][2 * t + e % 2];
        }
    }
}

inline void mma_m16n8k16(float* c, const uint32_t* a, const uint32_t* b) {
    MatrixMultiply m = {c, a, b};
    runtime->collective(state(), "mma.m16n8k16", 0xffffffffu, &m, mma_m16n8k16_warp);
}

}  // namespace host
}  // namespace veridical
