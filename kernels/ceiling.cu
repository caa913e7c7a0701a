// ceiling: what a GPU can do at most, for the benchmarks to hold the other kernels against.
//   out [threads of the grid]: each thread's sum, so that no compiler can drop the work. Nothing is read.
//   fma: 16 chains of multiply-adds between registers in each thread, `steps` long.
//   mma: 4 chains of 16x8x16 matrix products in each warp, `steps` long.
#include "device/veridical.cuh"

struct CeilingParams {
    buffer out;
    uint64_t steps;
    float factor;
    float step;
};

KERNEL_BOUNDS(ceiling_fwd_fma_f32, CeilingParams, 256) {
    constexpr int CHAINS = 16;
    float x[CHAINS];
    for (int i = 0; i < CHAINS; ++i) x[i] = 1.0f + (float)i;
    for (uint64_t s = 0; s < p.steps; ++s) {
        for (int i = 0; i < CHAINS; ++i) x[i] = fmaf(x[i], p.factor, p.step);
    }
    float sum = 0.0f;
    for (int i = 0; i < CHAINS; ++i) sum += x[i];
    p.out.as<float>()[global_thread()] = sum;
}

KERNEL_BOUNDS(ceiling_fwd_mma_bf16, CeilingParams, 256) {
    constexpr int CHAINS = 4;
    vec<bf16, 2> pair;
    pair.v[0] = from_float<bf16>(p.factor);
    pair.v[1] = from_float<bf16>(p.step);
    uint32_t word;
    memcpy(&word, &pair, sizeof word);
    uint32_t a[4] = {word, word, word, word}, b[2] = {word, word};
    float c[CHAINS][4] = {};
    for (uint64_t s = 0; s < p.steps; ++s) {
        for (int i = 0; i < CHAINS; ++i) mma_m16n8k16(c[i], a, b);
    }
    float sum = 0.0f;
    for (int i = 0; i < CHAINS; ++i) sum += c[i][0] + c[i][1] + c[i][2] + c[i][3];
    p.out.as<float>()[global_thread()] = sum;
}
