// cp.async and named barriers, right and wrong.
#include "device/veridical.cuh"

struct TestAsyncParams {
    buffer x;
    buffer y;
    uint32_t n;
    uint32_t omit;
};

// y = x with neighbouring groups of four swapped, by way of shared memory; elements from n on are zero.
// omit: 1 the wait, 2 the commit, 4 the barrier.
KERNEL(test_async_swap, TestAsyncParams) {
    SHARED(float, tile, 512);
    uint32_t at = 4 * threadIdx.x;
    cp_async16(tile + at, p.x.as<const float>() + at, at < p.n);
    if (!(p.omit & 2)) cp_async_commit();
    if (!(p.omit & 1)) cp_async_wait<0>();
    if (!(p.omit & 4)) __syncthreads();
    auto v = load_vec<4>(tile, at ^ 4);
    store_vec(p.y.as<float>(), at, v);
}

// Four tiles through two buffers. omit 1: waits for one group too few; 2: starts the next copy before all have read.
KERNEL(test_async_pipeline, TestAsyncParams) {
    SHARED(float, tile, 2 * 128);
    auto x = p.x.as<const float>();
    auto y = p.y.as<float>();
    uint32_t t = threadIdx.x;
    auto fetch = [&](uint32_t k) {
        if (k < 4) cp_async16(tile + (k % 2) * 128 + 4 * t, x + k * 128 + 4 * t);
        cp_async_commit();
    };
    fetch(0);
    for (uint32_t k = 0; k < 4; k++) {
        fetch(k + 1);
        if (p.omit & 1) {
            cp_async_wait<2>();
        } else {
            cp_async_wait<1>();
        }
        __syncthreads();
        for (uint32_t j = 0; j < 4; j++) y[k * 128 + j * 32 + t] = tile[(k % 2) * 128 + 127 - (j * 32 + t)];
        if (!(p.omit & 2)) __syncthreads();
    }
}

// The second warp waits for what the first one makes. omit 1: the first one makes it after it has arrived.
KERNEL(test_late_producer, TestAsyncParams) {
    SHARED(float, slot, 32);
    if (warp() == 0) {
        if (p.omit & 1) named_barrier_arrive(1, 64);
        slot[lane()] = p.x.as<const float>()[lane()];
        if (!(p.omit & 1)) named_barrier_arrive(1, 64);
    } else {
        named_barrier_sync(1, 64);
        p.y.as<float>()[lane()] = slot[31 - lane()];
    }
}

// The first warp makes what the second consumes: "full" is barrier 1, "empty" barrier 2. omit 1: the consumer does not
// wait.
KERNEL(test_warp_roles, TestAsyncParams) {
    SHARED(float, slot, 32);
    if (warp() == 0) {
        for (uint32_t k = 0; k < p.n; k++) {
            if (k > 0) named_barrier_sync(2, 64);
            slot[lane()] = p.x.as<const float>()[32 * k + lane()];
            named_barrier_arrive(1, 64);
        }
        named_barrier_sync(2, 64);
    } else {
        for (uint32_t k = 0; k < p.n; k++) {
            if (p.omit & 1) {
                named_barrier_arrive(1, 64);
            } else {
                named_barrier_sync(1, 64);
            }
            p.y.as<float>()[32 * k + lane()] = slot[31 - lane()];
            named_barrier_arrive(2, 64);
        }
    }
}
