// multinomial: counts[i, j] = how many of n draws from row i of the weights came out as j.
//   weights [rows, len] f32, bf16 or u32     table [rows, len] u64 (cumulative sums)     counts [rows, len] u32
//   bad [rows] u32, set to 1 where a row has no distribution     ids [rows] u32, or absent: row i is sample first + i
// `table`: a block owns a row and adds up its weights in integers: u32 as they are, floats times the power of two that
// takes the largest into [2^40, 2^41), rounded down. It also clears the counts. `draw`: a thread makes two draws from a
// block of Philox, finds each in the table by halving, and adds 1 to its count. Integers throughout, so the order of
// nothing matters. Traffic: the weights once, the table once written, and log2(len) reads of it a draw, mostly from the
// cache.
#include "device/veridical.cuh"

struct MultinomialParams {
    buffer weights;
    buffer table;
    buffer counts;
    buffer bad;
    buffer ids;
    uint64_t rows;
    uint64_t len;
    uint32_t n;
    uint32_t first;
    uint32_t key0;
    uint32_t key1;
    uint32_t step;
    uint32_t site;
};

// How a weight becomes an integer, given the exponent of the row's largest.
template <class T>
struct Weight {
    DEVICE static uint32_t bits(T w) { return bits_of_float(to_float(w)); }
    DEVICE static bool sound(T w) { return bits(w) < 0x7f800000u || bits(w) == 0x80000000u; }
    // The exponent's field, of subnormal numbers that of the smallest normal one; x = mantissa 2^(exponent - 150).
    DEVICE static uint32_t exponent(T w) {
        uint32_t e = (bits(w) >> 23) & 0xffu;
        return e > 0 ? e : 1;
    }
    DEVICE static uint64_t fixed(T w, uint32_t largest) {
        uint32_t b = bits(w);
        uint64_t mantissa = (b & 0x7fffffu) | ((b & 0x7f800000u) != 0 ? 0x800000u : 0u);
        uint32_t below = largest - exponent(w);
        if (below <= 17) return mantissa << (17 - below);
        return below - 17 < 64 ? mantissa >> (below - 17) : 0;
    }
};
template <>
struct Weight<uint32_t> {
    DEVICE static bool sound(uint32_t) { return true; }
    DEVICE static uint32_t exponent(uint32_t) { return 1; }
    DEVICE static uint64_t fixed(uint32_t w, uint32_t) { return w; }
};

template <class T>
DEVICE void make_table(const MultinomialParams& p) {
    SHARED(uint64_t, totals, WARP);
    for (uint64_t row = blockIdx.x; row < p.rows; row += gridDim.x) {
        auto weights = p.weights.as<const T>() + row * p.len;
        auto table = p.table.as<uint64_t>() + row * p.len;
        auto counts = p.counts.as<uint32_t>() + row * p.len;
        uint32_t largest = 1, unsound = 0;
        for (uint64_t i = threadIdx.x; i < p.len; i += blockDim.x) {
            T w = weights[i];
            if (!Weight<T>::sound(w)) unsound = 1;
            largest = max(largest, Weight<T>::exponent(w));
            counts[i] = 0;
        }
        largest = block_max(largest);
        unsound = block_max(unsound);
        uint64_t before = 0;
        for (uint64_t tile = 0; tile < p.len; tile += blockDim.x) {
            uint64_t i = tile + threadIdx.x;
            uint64_t sum = i < p.len && !unsound ? Weight<T>::fixed(weights[i], largest) : 0;
            for (uint32_t step = 1; step < WARP; step *= 2) {
                uint64_t other = __shfl_up_sync(FULL_MASK, sum, step);
                if (lane() >= step) sum += other;
            }
            if (lane() == WARP - 1) totals[warp()] = sum;
            __syncthreads();
            uint64_t all = 0;
            for (uint32_t w = 0; w < warps(); w++) {
                if (w == warp()) sum += before + all;
                all += totals[w];
            }
            __syncthreads();  // `totals` is free again
            if (i < p.len) table[i] = sum;
            before += all;
        }
        if (threadIdx.x == 0 && before == 0) p.bad.as<uint32_t>()[row] = 1;
    }
}

KERNEL_BOUNDS(multinomial_table_f32, MultinomialParams, 256) { make_table<float>(p); }
KERNEL_BOUNDS(multinomial_table_bf16, MultinomialParams, 256) { make_table<bf16>(p); }
KERNEL_BOUNDS(multinomial_table_u32, MultinomialParams, 256) { make_table<uint32_t>(p); }

KERNEL(multinomial_draw, MultinomialParams) {
    draws d = draws_of(p);
    uint64_t pairs = (static_cast<uint64_t>(p.n) + 1) / 2;
    for (uint64_t i = global_thread(); i < p.rows * pairs; i += grid_threads()) {
        row_block at = split_row(i, pairs);
        auto table = p.table.as<const uint64_t>() + at.row * p.len;
        auto counts = p.counts.as<uint32_t>() + at.row * p.len;
        uint64_t total = table[p.len - 1];
        if (total == 0) continue;
        random_words words = random_block(d.stream, d.id(at.row), at.block);
        for (uint32_t k = 0; k < 2; k++) {
            if (2 * static_cast<uint64_t>(at.block) + k >= p.n) break;
            uint64_t word = static_cast<uint64_t>(words.w[2 * k + 1]) << 32 | words.w[2 * k];
            uint64_t drawn = __umul64hi(word, total);
            // The first outcome whose sum exceeds what was drawn.
            uint64_t low = 0, high = p.len - 1;
            while (low < high) {
                uint64_t middle = (low + high) / 2;
                if (table[middle] > drawn) high = middle;
                else low = middle + 1;
            }
            atomicAdd(&counts[low], 1u);
        }
    }
}
