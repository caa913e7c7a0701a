// permute: y = x with its axes in another order. Elements are moved, not computed with: bits of f32 and u32 (suffix
// f32), or of bf16. One read and one write of everything is the floor.
//   permute_fwd: element i of y (n of them; or runs of 16 bytes, `wide`) stands at index (i4, ..., i0) of `extents` and
//   comes from the dot product of that index with `strides`. For permutations that leave the innermost axis, and for
//   short axes.
//   permute_fwd_tile: x is contiguous along `rows`, y along `columns`; the other axes are the batch. A block moves one
//   tile of 32 x 32 by way of shared memory, so that reads and writes are both along contiguous memory.
#include "device/veridical.cuh"

struct PermuteParams {
    buffer x;
    buffer y;
    uint64_t n;
    uint64_t extents[5];
    uint64_t strides[5];
    uint64_t wide;
};

struct PermuteTileParams {
    buffer x;
    buffer y;
    uint64_t rows;
    uint64_t columns;
    uint64_t x_pitch;
    uint64_t y_pitch;
    uint64_t batch[3];
    uint64_t x_strides[3];
    uint64_t y_strides[3];
};

template <int N, class T>
DEVICE void gather(const PermuteParams& p) {
    auto x = p.x.as<const T>();
    auto y = p.y.as<T>();
    for (uint64_t i = global_thread(); i < p.n; i += grid_threads()) {
        uint64_t from = 0, rest = i;
        for (int axis = 4; axis >= 0; axis--) {
            uint64_t extent = p.extents[axis];
            if (extent == 1) continue;
            from += rest % extent * p.strides[axis];
            rest /= extent;
        }
        store_vec(y, i * N, load_vec<N>(x, from));
    }
}

template <class T>
DEVICE void permute(const PermuteParams& p) {
    if (p.wide) return gather<16 / sizeof(T), T>(p);
    gather<1, T>(p);
}

template <class T>
DEVICE void permute_tiles(const PermuteTileParams& p) {
    constexpr uint32_t TILE = 32;
    SHARED(T, tile, TILE * (TILE + 1));
    uint64_t down = (p.rows + TILE - 1) / TILE, across = (p.columns + TILE - 1) / TILE;
    uint64_t tasks = p.batch[0] * p.batch[1] * p.batch[2] * down * across;
    uint32_t steps = blockDim.x / TILE, fast = threadIdx.x % TILE, slow = threadIdx.x / TILE;
    for (uint64_t task = blockIdx.x; task < tasks; task += gridDim.x) {
        uint64_t row = task % down * TILE, column = task / down % across * TILE, image = task / down / across;
        auto x = p.x.as<const T>();
        auto y = p.y.as<T>();
        for (int axis = 2; axis >= 0; axis--) {
            uint64_t index = image % p.batch[axis];
            image /= p.batch[axis];
            x += index * p.x_strides[axis];
            y += index * p.y_strides[axis];
        }
        for (uint32_t k = slow; k < TILE; k += steps) {
            if (row + fast < p.rows && column + k < p.columns) {
                tile[k * (TILE + 1) + fast] = x[row + fast + (column + k) * p.x_pitch];
            }
        }
        __syncthreads();
        for (uint32_t k = slow; k < TILE; k += steps) {
            if (row + k < p.rows && column + fast < p.columns) {
                y[(row + k) * p.y_pitch + column + fast] = tile[fast * (TILE + 1) + k];
            }
        }
        __syncthreads();
    }
}

KERNEL(permute_fwd_f32, PermuteParams) { permute<uint32_t>(p); }
KERNEL(permute_fwd_bf16, PermuteParams) { permute<uint16_t>(p); }
KERNEL_BOUNDS(permute_fwd_tile_f32, PermuteTileParams, 256) { permute_tiles<uint32_t>(p); }
KERNEL_BOUNDS(permute_fwd_tile_bf16, PermuteTileParams, 256) { permute_tiles<uint16_t>(p); }
