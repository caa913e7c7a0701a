// bf16: the upper half of a float. Stored in two bytes, computed with as a float.
#pragma once

#include "core.cuh"

namespace veridical {

struct bf16 {
    uint16_t bits;
};

DEVICE float to_float(float x) { return x; }
DEVICE float to_float(bf16 x) { return __uint_as_float((uint32_t)x.bits << 16); }

// Nearest value, ties to even. NaN becomes 0x7fff, as cvt.rn.bf16.f32 has it.
template <class T> DEVICE T from_float(float f);
template <> DEVICE float from_float<float>(float f) { return f; }
template <> DEVICE bf16 from_float<bf16>(float f) {
    bf16 r;
#ifdef VERIDICAL_HOST
    uint32_t u = __float_as_uint(f);
    r.bits = f != f ? (uint16_t)0x7fff : (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
#else
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r.bits) : "f"(f));
#endif
    return r;
}

// Two values in one 32-bit register, as the matrix instructions take them: `low` in bits 0..15.
DEVICE uint32_t pack_bf16(float low, float high) {
#ifdef VERIDICAL_HOST
    return (uint32_t)from_float<bf16>(low).bits | (uint32_t)from_float<bf16>(high).bits << 16;
#else
    uint32_t r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
#endif
}
DEVICE float unpack_low(uint32_t pair) { return __uint_as_float(pair << 16); }
DEVICE float unpack_high(uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }

}  // namespace veridical
