// Kernels that are wrong on purpose, or when asked to: the emulator must say so.
#include "device/veridical.cuh"

struct TestFaultParams {
    buffer y;
    uint64_t n;
    uint32_t how;
    uint32_t unused;
};

// Reads element n of a static (how 0) or dynamic (how 1) shared array of 64 floats, or (how 2) writes it.
KERNEL(test_shared_bounds, TestFaultParams) {
    SHARED(uint32_t, other, 64);
    SHARED(float, tile, 64);
    SHARED_DYNAMIC(float, dynamic);
    other[threadIdx.x] = 0;
    if (p.how == 0) {
        p.y.as<float>()[0] = sptr<const float>(tile)[p.n];
    } else if (p.how == 1) {
        p.y.as<float>()[0] = sptr<const float>(dynamic)[p.n];
    } else {
        if (threadIdx.x == 0) tile[p.n] = 1.0f;
    }
}

// More static shared memory than there is.
KERNEL(test_shared_limit, TestFaultParams) {
    SHARED(float, small, 1024);
    small[threadIdx.x] = 0.0f;
    if (p.how == 1) {
        SHARED(float, large, 12 * 1024);
        large[threadIdx.x] = 0.0f;
    }
}

// Writes behind the emulator's back, past the end of y (how 0) or before its beginning (how 1).
KERNEL(test_guard_zone, TestFaultParams) {
    float* y = &p.y.as<float>()[0];
    if (p.how == 0) {
        y[p.n] = 1.0f;
    } else {
        y[-1] = 1.0f;
    }
}

// Waits that never end.
KERNEL(test_deadlock, TestFaultParams) {
    switch (p.how) {
        case 0:  // half of the block leaves before the barrier
            if (threadIdx.x >= 32) return;
            __syncthreads();
            break;
        case 1:  // two different barriers
            if (threadIdx.x < 32) named_barrier_sync(3, 64);
            __syncthreads();
            break;
        case 2:  // lanes 4.. do not come to the shuffle
            if (lane() < 4) __shfl_xor_sync(FULL_MASK, 1.0f, 1);
            break;
        case 3:  // one half shuffles, the other votes
            if (lane() < 16) {
                __shfl_xor_sync(FULL_MASK, 1.0f, 1);
            } else {
                __ballot_sync(FULL_MASK, 1);
            }
            break;
        case 4:  // a lane that its own mask leaves out
            __shfl_sync(0xfffffffeu, 1.0f, 1);
            break;
        case 5:  // one barrier, two opinions about its size
            named_barrier_sync(1, threadIdx.x < 32 ? 64 : 96);
            break;
        default:  // no such barrier
            named_barrier_sync(16, 64);
    }
}
