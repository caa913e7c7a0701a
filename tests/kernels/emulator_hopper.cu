// mbarriers, boxes of tensors and wgmma, right and, when asked to be, wrong in one place: the emulator must say where.
#include "device/veridical.cuh"
#include "device/tensor_map.cuh"
#include "device/warpgroup.cuh"

// What is wrong on purpose is for the emulator: a GPU would hang, and ptxas would not keep sums where they are.
#ifdef VERIDICAL_HOST
#define WRONG(number) (p.fault == (number))
#else
#define WRONG(number) false
#endif

struct TestBoxParams {
    TensorMap map;
    buffer y;
    int32_t at[4];
    uint32_t axes;
    uint32_t bytes;
    uint32_t expected;
    uint32_t fault;
    uint32_t unused[6];
};

// Loads a box of `bytes` bytes and gives what stands in shared memory then, as it stands.
// fault: 1 the mbarrier is not made, 2 is not fenced, 3 has no barrier behind it; 4 nobody waits; 5 waits for the other
// parity; 6 waits twice for the same phase; 7 one arrival more; 8 no arrival; 9 a thread writes where the box comes to;
// 10 the same before it, with no proxy_fence; 11 with one.
KERNEL(test_tensor_load, TestBoxParams) {
    SHARED(uint64_t, barrier, 1);
    SHARED_DYNAMIC(bf16, tile);
    if (threadIdx.x == 0) {
        if (!WRONG(1)) mbarrier_init(barrier, 1);
        if (!WRONG(2)) mbarrier_init_fence();
    }
    if (WRONG(10) || p.fault == 11) {
        for (uint32_t i = threadIdx.x; i < p.bytes / 2; i += blockDim.x) tile[i] = from_float<bf16>(1.0f);
        if (p.fault == 11) proxy_fence();
    }
    if (!WRONG(3)) __syncthreads();
    if (threadIdx.x == 0) {
        if (!WRONG(8)) mbarrier_arrive_expect_tx(barrier, p.expected);
        if (p.axes == 2) {
            const int32_t at[2] = {p.at[0], p.at[1]};
            tensor_load(tile, p.map, at, barrier);
        } else if (p.axes == 3) {
            const int32_t at[3] = {p.at[0], p.at[1], p.at[2]};
            tensor_load(tile, p.map, at, barrier);
        } else {
            const int32_t at[4] = {p.at[0], p.at[1], p.at[2], p.at[3]};
            tensor_load(tile, p.map, at, barrier);
        }
        if (WRONG(7)) mbarrier_arrive_expect_tx(barrier, 0);
    }
    if (WRONG(9) && threadIdx.x == 1) tile[8] = from_float<bf16>(1.0f);
    if (!WRONG(4)) mbarrier_wait(barrier, WRONG(5) ? 1 : 0);
    if (WRONG(6)) mbarrier_wait(barrier, 0);
    auto y = p.y.as<bf16>();
    for (uint32_t i = threadIdx.x; i < p.bytes / 2; i += blockDim.x) {
        if (!WRONG(4)) y[i] = tile[i];
    }
}

struct TestRingParams {
    TensorMap map;
    buffer y;
    uint32_t count;
    uint32_t fault;
    uint32_t unused[12];
};

// Line by line of a matrix with lines of 64 through two slots: the first warp loads, the second gives them back.
// fault: 1 the parity of `full` is never turned, 2 that of `empty`; 3 the producer does not wait; 4 the consumer does
// not; 5 the consumer does not say that it is done; 6 it says so before it has read; 7 the producer announces nothing.
KERNEL(test_box_ring, TestRingParams) {
    SHARED(uint64_t, full, 2);
    SHARED(uint64_t, empty, 2);
    SHARED_DYNAMIC(bf16, slots);
    if (threadIdx.x == 0) {
        for (uint32_t s = 0; s < 2; s++) {
            mbarrier_init(full + s, 1);
            mbarrier_init(empty + s, 1);
        }
        mbarrier_init_fence();
    }
    __syncthreads();
    for (uint32_t k = 0; k < p.count; k++) {
        uint32_t slot = k % 2, parity = k / 2 % 2;
        auto tile = slots + slot * 512;
        if (warp() == 0) {
            if (lane() == 0) {
                if (!WRONG(3)) mbarrier_wait(empty + slot, WRONG(2) ? 1 : parity ^ 1);
                mbarrier_arrive_expect_tx(full + slot, WRONG(7) ? 0 : 128);
                const int32_t at[2] = {0, (int32_t)k};
                tensor_load(tile, p.map, at, full + slot);
            }
        } else {
            if (!WRONG(4)) mbarrier_wait(full + slot, WRONG(1) ? 0 : parity);
            if (WRONG(6)) mbarrier_arrive(empty + slot);
            store_vec(p.y.as<bf16>(), 64 * k + 2 * lane(), load_vec<2>(tile, 2 * lane()));
            if (!WRONG(5) && !WRONG(6)) mbarrier_arrive(empty + slot);
        }
    }
}

struct TestWgmmaParams {
    TensorMap a;
    TensorMap b;
    buffer c;
    uint64_t twist;
    uint32_t depth;
    uint32_t fault;
    uint32_t unused[10];
};

// c[thread][i] = sums[i] of a [64, 64] times b [COLUMNS, 64], of which `depth` steps are multiplied, 16 at a time.
// `twist` is crossed with the descriptor of a.
// fault: 1 no fence; 2 no commit; 3 no wait; 4 the sums are written while a product is under way; 5 they are written
// after the fence; 6 a is loaded again before the wait; 7 a is written by threads, without a proxy_fence; 8 with one;
// 9 warp 3 has another descriptor; 10 warp 3 stays away; 11 the products are begun before a is there; 12 a thread
// writes a while a product reads it.
template <int COLUMNS>
DEVICE void test_wgmma(const TestWgmmaParams& p) {
    constexpr int N = COLUMNS / 2;
    SHARED(uint64_t, barrier, 2);
    SHARED_DYNAMIC(bf16, a);
    auto b = a + 64 * 64;
    if (threadIdx.x == 0) {
        mbarrier_init(barrier, 1);
        mbarrier_init(barrier + 1, 1);
        mbarrier_init_fence();
    }
    __syncthreads();
    const int32_t at[2] = {0, 0};
    if (threadIdx.x == 0) {
        mbarrier_arrive_expect_tx(barrier, (WRONG(7) || p.fault == 8 ? 0 : 8192) + COLUMNS * 128);
        if (!WRONG(7) && p.fault != 8) tensor_load(a, p.a, at, barrier);
        tensor_load(b, p.b, at, barrier);
    }
    if (WRONG(7) || p.fault == 8) {
        // Ones, which are ones in any order.
        for (uint32_t i = threadIdx.x; i < 64 * 64; i += blockDim.x) a[i] = from_float<bf16>(1.0f);
        if (p.fault == 8) proxy_fence();
        __syncthreads();
    }
    if (!WRONG(11)) mbarrier_wait(barrier, 0);
    float sums[N];
    UNROLL for (int i = 0; i < N; i++) sums[i] = 1.0f;
    if (!WRONG(1)) warpgroup_fence(sums);
    if (WRONG(5)) sums[3] = 2.0f;
    uint64_t from_a = tile_descriptor(a) ^ p.twist, from_b = tile_descriptor(b);
    if (WRONG(9) && warp() == 3) from_a += 2;
    if (!WRONG(10) || warp() < 3) {
        for (uint32_t k = 0; k < p.depth / 16; k++) {
            if constexpr (COLUMNS == 256) {
                wgmma_m64n256k16(sums, from_a + 2 * k, from_b + 2 * k, true);
            } else {
                wgmma_m64n64k16(sums, from_a + 2 * k, from_b + 2 * k, k > 0);
            }
        }
    }
    if (WRONG(4)) sums[0] = 0.0f;
    if (WRONG(6) && threadIdx.x == 0) {
        mbarrier_arrive_expect_tx(barrier + 1, 8192);
        tensor_load(a, p.a, at, barrier + 1);
    }
    if (WRONG(12) && threadIdx.x == 5) a[0] = from_float<bf16>(0.0f);
    if (!WRONG(2)) warpgroup_commit();
    if (!WRONG(3)) warpgroup_wait_all(sums);
    if (WRONG(11)) mbarrier_wait(barrier, 0);
    UNROLL for (int i = 0; i < N; i++) p.c.as<float>()[threadIdx.x * N + i] = sums[i];
}

KERNEL_BOUNDS(test_wgmma_n64, TestWgmmaParams, 128, 1) { test_wgmma<64>(p); }
KERNEL_BOUNDS(test_wgmma_n256, TestWgmmaParams, 128, 1) { test_wgmma<256>(p); }

struct TestTransposedParams {
    TensorMap a;
    TensorMap b;
    buffer c;
    uint64_t twist_a;
    uint64_t twist_b;
    uint32_t lines_apart_a;
    uint32_t steps_apart_a;
    uint32_t lines_apart_b;
    uint32_t steps_apart_b;
    uint32_t rows;
    uint32_t expected;
    uint32_t unused[4];
};

// c[thread][i] = sums[i] of a [64, 64] times b [256, 64], of which a transposed one lies as [64 steps, lines]: it comes
// in boxes of 64 lines and `rows` steps, 64 lines and eight steps as far `apart` in bytes as the descriptor says then,
// with which a `twist` is crossed. `expected` bytes are announced. Unless it is SAID, the instruction is not told.
template <bool A, bool B, bool SAID = true>
DEVICE void test_wgmma_transposed(const TestTransposedParams& p) {
    SHARED(uint64_t, barrier, 1);
    SHARED_DYNAMIC(bf16, a);
    auto b = a + 128 * 64;
    if (threadIdx.x == 0) {
        mbarrier_init(barrier, 1);
        mbarrier_init_fence();
        mbarrier_arrive_expect_tx(barrier, p.expected);
        for (uint32_t step = 0; step < (A ? 64 : 1); step += p.rows) {
            const int32_t at[2] = {0, (int32_t)step};
            tensor_load(a + step / 8 * p.steps_apart_a / 2, p.a, at, barrier);
        }
        for (uint32_t line = 0; line < (B ? 256 : 1); line += 64) {
            for (uint32_t step = 0; step < (B ? 64 : 1); step += p.rows) {
                const int32_t at[2] = {(int32_t)line, (int32_t)step};
                tensor_load(b + line / 64 * p.lines_apart_b / 2 + step / 8 * p.steps_apart_b / 2, p.b, at, barrier);
            }
        }
    }
    __syncthreads();
    mbarrier_wait(barrier, 0);
    uint64_t from_a = A ? transposed_descriptor(a, p.lines_apart_a, p.steps_apart_a) : tile_descriptor(a);
    uint64_t from_b = B ? transposed_descriptor(b, p.lines_apart_b, p.steps_apart_b) : tile_descriptor(b);
    from_a ^= p.twist_a;
    from_b ^= p.twist_b;
    float sums[128];
    UNROLL for (int i = 0; i < 128; i++) sums[i] = 0.0f;
    warpgroup_fence(sums);
    for (uint32_t k = 0; k < 4; k++) {
        uint64_t further_a = k * (A ? p.steps_apart_a / 8 : 2), further_b = k * (B ? p.steps_apart_b / 8 : 2);
        wgmma_m64n256k16<A && SAID, B && SAID>(sums, from_a + further_a, from_b + further_b, true);
    }
    warpgroup_commit();
    warpgroup_wait_all(sums);
    UNROLL for (int i = 0; i < 128; i++) p.c.as<float>()[threadIdx.x * 128 + i] = sums[i];
}

KERNEL_BOUNDS(test_wgmma_transposed_a, TestTransposedParams, 128, 1) { test_wgmma_transposed<true, false>(p); }
KERNEL_BOUNDS(test_wgmma_transposed_b, TestTransposedParams, 128, 1) { test_wgmma_transposed<false, true>(p); }
KERNEL_BOUNDS(test_wgmma_transposed_both, TestTransposedParams, 128, 1) { test_wgmma_transposed<true, true>(p); }
KERNEL_BOUNDS(test_wgmma_transposed_unsaid, TestTransposedParams, 128, 1) { test_wgmma_transposed<true, true, false>(p); }

struct TestPlacedParams {
    buffer a;
    buffer b;
    buffer c;
    buffer own;
    uint64_t from_a[4];
    uint64_t from_b[4];
    uint32_t lines_apart_a;
    uint32_t steps_apart_a;
    uint32_t lines_apart_b;
    uint32_t steps_apart_b;
};

// c[thread][i] = sums[i] of a times b, 64 steps deep, which threads put to shared memory as they are given: 64 lines
// and 256. from_a[k] and from_b[k] are the descriptors of 16 steps each, of tiles that begin at 0; `own` is what ours
// are of the first ones.
template <bool A, bool B>
DEVICE void test_wgmma_placed(const TestPlacedParams& p) {
    SHARED_DYNAMIC(bf16, a);
    auto b = a + 64 * 64;
    for (uint32_t i = threadIdx.x; i < 64 * 64; i += WARPGROUP) a[i] = p.a.as<bf16>()[i];
    for (uint32_t i = threadIdx.x; i < 256 * 64; i += WARPGROUP) b[i] = p.b.as<bf16>()[i];
    proxy_fence();
    __syncthreads();
    const uint64_t address = 0x3fff;
    uint64_t own_a = A ? transposed_descriptor(a, p.lines_apart_a, p.steps_apart_a) : tile_descriptor(a);
    uint64_t own_b = B ? transposed_descriptor(b, p.lines_apart_b, p.steps_apart_b) : tile_descriptor(b);
    if (threadIdx.x == 0) {
        p.own.as<uint64_t>()[0] = own_a & ~address;
        p.own.as<uint64_t>()[1] = own_b & ~address;
    }
    float sums[128];
    UNROLL for (int i = 0; i < 128; i++) sums[i] = 0.0f;
    warpgroup_fence(sums);
    UNROLL for (int k = 0; k < 4; k++) {
        wgmma_m64n256k16<A, B>(sums, p.from_a[k] + (own_a & address), p.from_b[k] + (own_b & address), true);
    }
    warpgroup_commit();
    warpgroup_wait_all(sums);
    UNROLL for (int i = 0; i < 128; i++) p.c.as<float>()[threadIdx.x * 128 + i] = sums[i];
}

KERNEL_BOUNDS(test_wgmma_placed, TestPlacedParams, 128, 1) { test_wgmma_placed<false, false>(p); }
KERNEL_BOUNDS(test_wgmma_placed_transposed, TestPlacedParams, 128, 1) { test_wgmma_placed<true, true>(p); }

struct TestRegistersParams {
    buffer y;
    uint64_t fault;
};

// y[warpgroup] = 1 for each of three warpgroups. fault: 1 they want more registers than there are; 2 one of them asks
// for fewer than it has by asking for more; 3 a warp asks for itself alone.
KERNEL_BOUNDS(test_registers, TestRegistersParams, 384, 1) {
    if (warpgroup() == 0) {
        if (WRONG(1)) {
            fewer_registers<160>();
        } else if (!WRONG(3) || warp() == 0) {
            fewer_registers<40>();
        }
    } else if (WRONG(2)) {
        more_registers<24>();
    } else {
        more_registers<232>();
    }
    if (threadIdx.x % WARPGROUP == 0) p.y.as<uint32_t>()[warpgroup()] = 1;
}
