// Uniform, exponential, Gumbel and normal variates from 32-bit words, in f32. The same bits as src/random/variates.rs,
// where the reasons are: the same IEEE operations in the same order, no library function. Change one side and the other
// must follow.
#pragma once

#include "exact.cuh"
#include "philox.cuh"

namespace veridical {

// x = 2^k (1 + f), f in [-1/3, 1/3).
struct log_split {
    float f, k;
};

DEVICE log_split split_for_log(float x) {
    uint32_t exponent = (bits_of_float(x) - 0x3f2aaaabu) & 0xff800000u;
    float m = float_of_bits(bits_of_float(x) - exponent);
    return {exact_add(m, -1.0f), static_cast<float>(static_cast<int32_t>(exponent) >> 23)};
}

// k ln 2 + ln(1 + f).
DEVICE float log_of_split(log_split s) {
    float f = s.f;
    float f2 = exact_mul(f, f);
    float even = -0.12873761f;
    float odd = 0.13986503f;
    even = exact_fma(even, f2, -0.12188463f);
    odd = exact_fma(odd, f2, 0.14005376f);
    even = exact_fma(even, f2, -0.16680177f);
    odd = exact_fma(odd, f2, 0.20010443f);
    even = exact_fma(even, f2, -0.24999805f);
    odd = exact_fma(odd, f2, 0.33333215f);
    even = exact_fma(even, f2, -0.5f);
    float q = exact_fma(odd, f, even);
    return exact_fma(s.k, 0.693147180559945309f, exact_fma(q, f2, f));
}

// ln x of a positive normal number, within 1 ulp.
DEVICE float exact_log(float x) { return log_of_split(split_for_log(x)); }

// In [2^-33, 1 - 2^-24].
DEVICE float uniform_of_word(uint32_t w) {
    float u = exact_fma(static_cast<float>(w), 0x1p-32f, 0x1p-33f);
    float most = 1.0f - 0x1p-24f;
    return u < most ? u : most;
}

// -ln(1 - u), in [1.16e-10, 22.9].
DEVICE float exponential_of_word(uint32_t w) {
    bool low = static_cast<int32_t>(w) >= 0;
    int32_t h = static_cast<int32_t>(low ? w : ~w);
    float s = exact_fma(static_cast<float>(h), 0x1p-32f, 0x1p-33f);
    log_split up = split_for_log(s);
    log_split down = {-s, 0.0f};
    if (s > 1.0f / 3.0f) down = {exact_fma(-2.0f, s, 1.0f), -1.0f};
    return -log_of_split(low ? down : up);
}

// -ln(-ln(1 - u)), in [-3.14, 22.9].
DEVICE float gumbel_of_word(uint32_t w) { return -exact_log(exponential_of_word(w)); }

struct float_pair {
    float a, b;
};

// sin and cos of 2 pi u.
DEVICE float_pair sin_cos_turn(uint32_t w) {
    uint32_t quarter = (w + (1u << 29)) >> 30;
    int32_t rest = static_cast<int32_t>(w - (quarter << 30));
    float y = exact_fma(static_cast<float>(rest), 0x1p-31f, 0x1p-32f);
    float y2 = exact_mul(y, y);
    float s = -0.5892776f;
    s = exact_fma(s, y2, 2.5497947f);
    s = exact_fma(s, y2, -5.167709f);
    s = exact_fma(s, y2, -8.742278e-8f);
    s = exact_fma(y, 3.14159265358979324f, exact_mul(y, s));
    float c = 0.2289852f;
    c = exact_fma(c, y2, -1.334758f);
    c = exact_fma(c, y2, 4.058697f);
    c = exact_fma(c, y2, -4.934802f);
    c = exact_fma(c, y2, 1.0f);
    bool swap = (quarter & 1) != 0;
    uint32_t sin_bits = bits_of_float(swap ? c : s) ^ ((quarter & 2) << 30);
    uint32_t cos_bits = bits_of_float(swap ? s : c) ^ (((quarter + 1) & 2) << 30);
    return {float_of_bits(sin_bits), float_of_bits(cos_bits)};
}

// Two standard normal numbers.
DEVICE float_pair normal_pair(uint32_t radius, uint32_t angle) {
    float r = exact_sqrt(exact_mul(2.0f, exponential_of_word(radius)));
    float_pair t = sin_cos_turn(angle);
    return {exact_mul(r, t.b), exact_mul(r, t.a)};
}

}  // namespace veridical
