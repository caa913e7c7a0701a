// One warp and one instruction wrapper of kernels/device/ after the other, whose results on a GPU are recorded
// (tests/golden/ptx).
#include "device/exact.cuh"
#include "device/veridical.cuh"

struct TestWordsParams {
    buffer x;
    buffer y;
    uint64_t n;
};

// y[2i] = the bf16 of x[i], y[2i + 1] = x[i] and its successor in one word.
KERNEL(test_to_bf16, TestWordsParams) {
    auto x = p.x.as<const float>();
    auto y = p.y.as<uint32_t>();
    for (uint32_t i = lane(); i < p.n; i += WARP) {
        y[2 * i] = from_float<bf16>(x[i]).bits;
        y[2 * i + 1] = pack_bf16(x[i], x[(i + 1) % p.n]);
    }
}

// Seven words for each i, of a, b, c = x[i], x[i + 1], x[i + 2] (round and round): a b + c, a b, a + b, a / b, the root
// of a, the larger of a and b, and the high word of the product of their bits.
KERNEL(test_exact, TestWordsParams) {
    auto x = p.x.as<const float>();
    auto y = p.y.as<uint32_t>();
    for (uint32_t i = lane(); i < p.n; i += WARP) {
        float a = x[i], b = x[(i + 1) % p.n], c = x[(i + 2) % p.n];
        y[7 * i] = bits_of_float(exact_fma(a, b, c));
        y[7 * i + 1] = bits_of_float(exact_mul(a, b));
        y[7 * i + 2] = bits_of_float(exact_add(a, b));
        y[7 * i + 3] = bits_of_float(exact_div(a, b));
        y[7 * i + 4] = bits_of_float(exact_sqrt(a));
        y[7 * i + 5] = bits_of_float(fmaxf(a, b));
        y[7 * i + 6] = __umulhi(bits_of_float(a), bits_of_float(b));
    }
}

// y = 3 tiles of 32 x 4 words: x by copies of 16, of 8 and of 4 bytes, where every third lane copies nothing.
KERNEL(test_async_sizes, TestWordsParams) {
    SHARED(float, tile, 3 * 128);
    auto x = p.x.as<const float>();
    uint32_t at = 4 * lane();
    bool valid = lane() % 3 != 2;
    cp_async16(tile + at, x + at, valid);
    cp_async_commit();
    for (uint32_t j = 0; j < 4; j += 2) cp_async8(tile + 128 + at + j, x + 128 + at + j, valid);
    cp_async_commit();
    for (uint32_t j = 0; j < 4; j++) cp_async4(tile + 256 + at + j, x + 256 + at + j, valid);
    cp_async_commit();
    cp_async_wait<1>();
    __syncwarp();
    for (uint32_t i = lane(); i < 256; i += WARP) p.y.as<float>()[i] = tile[i];
    cp_async_wait<0>();
    __syncwarp();
    for (uint32_t i = 256 + lane(); i < 384; i += WARP) p.y.as<float>()[i] = tile[i];
}

// y = x by words of 2, 4, 8 and 16 bytes: 32 x 8 bf16 each time.
KERNEL(test_vectors, TestWordsParams) {
    auto x = p.x.as<const bf16>();
    auto y = p.y.as<bf16>();
    for (uint32_t i = lane(); i < 256; i += WARP) store_vec(y, i, load_vec<1>(x, i));
    for (uint32_t i = 2 * lane(); i < 256; i += 2 * WARP) store_vec(y, 256 + i, load_vec<2>(x, i));
    for (uint32_t i = 4 * lane(); i < 256; i += 4 * WARP) store_vec(y, 512 + i, load_vec<4>(x, i));
    store_vec(y, 768 + 8 * lane(), load_vec<8>(x, 8 * lane()));
}
