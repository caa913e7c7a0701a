// Division by a number that is known at launch: a product and a shift. src/backend/divisor.rs makes them.
#pragma once

#include "core.cuh"

namespace veridical {

// magic = ceil(2^p / divisor) with p = 31 + ceil(log2 divisor).
struct Divisor {
    uint32_t divisor;
    uint32_t magic;
};
// n / d, exact for n < 2^31.
DEVICE uint32_t quotient(uint32_t n, Divisor d) { return (uint32_t)((uint64_t)n * d.magic >> (63 - __clz(d.divisor - 1))); }

}  // namespace veridical
