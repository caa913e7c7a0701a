// Philox4x32-10, and the addresses of random numbers. The same words as src/random/philox.rs; see src/random/mod.rs for
// the scheme.
#pragma once

#include "core.cuh"

namespace veridical {

// Which random numbers: the seed, the step, and purpose << 24 | site.
struct random_stream {
    uint32_t key0, key1, step, site;
};

struct random_words {
    uint32_t w[4];
};

// Counter words c0..c3 under a key of two words.
DEVICE random_words philox4x32_10(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0, uint32_t k1) {
#ifndef VERIDICAL_HOST
#pragma unroll
#endif
    for (int round = 0; round < 10; ++round) {
        uint64_t p0 = static_cast<uint64_t>(c0) * 0xD2511F53u;
        uint64_t p1 = static_cast<uint64_t>(c2) * 0xCD9E8D57u;
        c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
        c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
        c1 = static_cast<uint32_t>(p1);
        c3 = static_cast<uint32_t>(p0);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

// The words of elements 4 * block .. 4 * block + 3 of a sample.
DEVICE random_words random_block(const random_stream& s, uint32_t sample, uint32_t block) {
    return philox4x32_10(block, sample, s.step, s.site, s.key0, s.key1);
}

// The word of one element of a sample.
DEVICE uint32_t random_word(const random_stream& s, uint32_t sample, uint64_t element) {
    return random_block(s, sample, static_cast<uint32_t>(element >> 2)).w[element & 3];
}

}  // namespace veridical
