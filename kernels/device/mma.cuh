// Matrix instructions: each is carried out by the 32 lanes of a warp together. With g = lane / 4 and t = lane % 4:
//
//   ldmatrix        lane l gives the address of a row of 8 bf16 (16 bytes, 16-byte aligned); rows of matrix j come from
//                   lanes 8j..8j+7.
//                   r[j] of each lane: elements (g, 2t) low and (g, 2t+1) high of matrix j
//   ..._trans       r[j]: elements (2t, g) low and (2t+1, g) high
//   mma m16n8k16    c += a b, with a 16x16, b 16x8, c 16x8
//                   a[0] (g, 2t..)   a[1] (g+8, 2t..)   a[2] (g, 2t+8..)   a[3] (g+8, 2t+8..)
//                   b[0] (2t.., g)   b[1] (2t+8.., g)
//                   c[0], c[1] (g, 2t..)   c[2], c[3] (g+8, 2t..)
#pragma once

#include "bf16.cuh"
#include "memory.cuh"

#ifdef VERIDICAL_HOST
#include "host/matrix.h"
#endif

namespace veridical {

namespace detail {
template <bool TRANS, int N, class T>
DEVICE void ldmatrix(uint32_t (&r)[N], sptr<T> row) {
    static_assert(sizeof(T) == 2, "ldmatrix moves elements of two bytes");
#ifdef VERIDICAL_HOST
    const T* from = lane() < 8 * N ? row.address(0, 8, 16) : nullptr;
    if (from) host::note<true>(from, 16, false);
    host::ldmatrix(from, r, N, TRANS);
#else
    uint32_t a = (uint32_t)__cvta_generic_to_shared(row.at);
    if constexpr (N == 1 && !TRANS) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(a) : "memory");
    } else if constexpr (N == 1) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(a) : "memory");
    } else if constexpr (N == 2 && !TRANS) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                     : "=r"(r[0]), "=r"(r[1]) : "r"(a) : "memory");
    } else if constexpr (N == 2) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                     : "=r"(r[0]), "=r"(r[1]) : "r"(a) : "memory");
    } else if constexpr (N == 4 && !TRANS) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(a) : "memory");
    } else {
        static_assert(N == 1 || N == 2 || N == 4, "ldmatrix loads 1, 2 or 4 matrices");
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(a) : "memory");
    }
#endif
}
}  // namespace detail

template <class T> DEVICE void ldmatrix_x1(uint32_t (&r)[1], sptr<T> row) { detail::ldmatrix<false>(r, row); }
template <class T> DEVICE void ldmatrix_x2(uint32_t (&r)[2], sptr<T> row) { detail::ldmatrix<false>(r, row); }
template <class T> DEVICE void ldmatrix_x4(uint32_t (&r)[4], sptr<T> row) { detail::ldmatrix<false>(r, row); }
template <class T> DEVICE void ldmatrix_x1_trans(uint32_t (&r)[1], sptr<T> row) { detail::ldmatrix<true>(r, row); }
template <class T> DEVICE void ldmatrix_x2_trans(uint32_t (&r)[2], sptr<T> row) { detail::ldmatrix<true>(r, row); }
template <class T> DEVICE void ldmatrix_x4_trans(uint32_t (&r)[4], sptr<T> row) { detail::ldmatrix<true>(r, row); }

DEVICE void mma_m16n8k16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#ifdef VERIDICAL_HOST
    host::mma_m16n8k16(c, a, b);
#else
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

}  // namespace veridical
