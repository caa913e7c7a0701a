// Kernels that exist to test the emulator: indices, bounds, barriers, reductions, warp collectives.
#include "device/veridical.cuh"

struct TestMapParams {
    buffer x;
    buffer y;
    uint64_t n;
    float scale;
    uint32_t shift;
};

// y[i] = scale * x[i + shift] for i < n; a wrong n or shift leaves the buffers.
template <class T>
DEVICE void test_map(const TestMapParams& p) {
    auto x = p.x.as<const T>();
    auto y = p.y.as<T>();
    for (uint64_t i = global_thread(); i < p.n; i += grid_threads()) y[i] = from_float<T>(p.scale * to_float(x[i + p.shift]));
}
KERNEL(test_map_f32, TestMapParams) { test_map<float>(p); }
KERNEL(test_map_bf16, TestMapParams) { test_map<bf16>(p); }
KERNEL_BOUNDS(test_map_small_blocks_f32, TestMapParams, 64) { test_map<float>(p); }

// The same by vectors of four.
KERNEL(test_map_vec_f32, TestMapParams) {
    auto x = p.x.as<const float>();
    auto y = p.y.as<float>();
    for (uint64_t i = 4 * global_thread(); i < p.n; i += 4 * grid_threads()) {
        auto v = load_vec<4>(x, i + p.shift);
        for (int j = 0; j < 4; j++) v[j] *= p.scale;
        store_vec(y, i, v);
    }
}

struct TestBlockParams {
    buffer x;
    buffer y;
};

// y[block] = the sum of the block's 256 values, by halving in shared memory.
KERNEL(test_tree_sum, TestBlockParams) {
    SHARED(float, part, 256);
    uint32_t t = threadIdx.x;
    part[t] = p.x.as<const float>()[global_thread()];
    for (uint32_t half = 128; half > 0; half /= 2) {
        __syncthreads();
        if (t < half) part[t] += part[t + half];
    }
    if (t == 0) p.y.as<float>()[blockIdx.x] = part[0];
}

// The same without its barrier.
KERNEL(test_tree_sum_racy, TestBlockParams) {
    SHARED(float, part, 256);
    uint32_t t = threadIdx.x;
    part[t] = p.x.as<const float>()[global_thread()];
    for (uint32_t half = 128; half > 0; half /= 2) {
        if (t < half) part[t] += part[t + half];
    }
    if (t == 0) p.y.as<float>()[blockIdx.x] = part[0];
}

// y = sum, sum of squares, maximum of x over the block; every thread writes its own copy.
KERNEL(test_block_reductions, TestBlockParams) {
    float x = p.x.as<const float>()[threadIdx.x];
    auto y = p.y.as<float>() + 3 * threadIdx.x;
    y[0] = block_sum(x);
    y[1] = block_sum(x * x);
    y[2] = block_max(x);
}

// Eight words per thread, one of each collective.
KERNEL(test_warp_collectives, TestBlockParams) {
    uint32_t x = p.x.as<const uint32_t>()[threadIdx.x];
    auto y = p.y.as<uint32_t>() + 8 * threadIdx.x;
    y[0] = __shfl_sync(FULL_MASK, x, 5);
    y[1] = __shfl_xor_sync(FULL_MASK, x, 3);
    y[2] = __shfl_down_sync(FULL_MASK, x, 4);
    y[3] = __shfl_up_sync(FULL_MASK, x, 4);
    y[4] = __shfl_down_sync(FULL_MASK, x, 2, 8);
    y[5] = __ballot_sync(FULL_MASK, x % 3 == 0);
    // Two halves of the warp, each in its own collective, are under way at the same time.
    y[6] = lane() < 16 ? __shfl_xor_sync(0x0000ffffu, x, 1) : __shfl_xor_sync(0xffff0000u, x, 2);
    __syncwarp();
    y[7] = __all_sync(FULL_MASK, x < 1000) + 2 * __any_sync(FULL_MASK, x == 7);
}
