// Arithmetic with prescribed rounding, for kernels whose results are the same to the bit on every device.
#pragma once

#include "core.cuh"

#ifdef VERIDICAL_HOST
#include <cmath>
#include <cstring>
#endif

namespace veridical {

// Operations that no compiler setting fuses, splits or approximates.
#ifndef VERIDICAL_HOST
DEVICE float exact_fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
DEVICE float exact_mul(float a, float b) { return __fmul_rn(a, b); }
DEVICE float exact_add(float a, float b) { return __fadd_rn(a, b); }
DEVICE float exact_div(float a, float b) { return __fdiv_rn(a, b); }
DEVICE float exact_sqrt(float a) { return __fsqrt_rn(a); }
DEVICE float float_of_bits(uint32_t b) { return __uint_as_float(b); }
DEVICE uint32_t bits_of_float(float f) { return __float_as_uint(f); }
#else
DEVICE float exact_fma(float a, float b, float c) { return std::fma(a, b, c); }
DEVICE float exact_mul(float a, float b) { return a * b; }  // compiled with -ffp-contract=off
DEVICE float exact_add(float a, float b) { return a + b; }
DEVICE float exact_div(float a, float b) { return a / b; }
DEVICE float exact_sqrt(float a) { return std::sqrt(a); }
DEVICE float float_of_bits(uint32_t b) {
    float f;
    std::memcpy(&f, &b, 4);
    return f;
}
DEVICE uint32_t bits_of_float(float f) {
    uint32_t b;
    std::memcpy(&b, &f, 4);
    return b;
}
#endif

// A running average that moves towards w by `part` of the distance; with part = 1 it is w, which the sum would only
// meet up to rounding.
DEVICE float follow_weight(float part, float average, float w) {
    return part == 1.0f ? w : exact_fma(part, exact_add(w, -average), average);
}

}  // namespace veridical
