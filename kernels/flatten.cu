// flatten: flat[offset[i] + j] = part[i][j], or += with `add`, for up to 32 parts a launch.
//   part[i] [count[i]] f32 or bf16     flat [n] f32
// The grid's y axis counts parts, x and the threads walk along one. One read and one write an element (two reads with
// `add`), 16 bytes of a part at a time where its addresses allow (its bit of `wide`).
#include "device/veridical.cuh"

struct FlattenParams {
    buffer flat;
    buffer part[32];
    uint64_t offset[32];
    uint64_t count[32];
    uint32_t add;
    uint32_t wide;
};

template <class T>
DEVICE void flatten(const FlattenParams& p) {
    auto part = p.part[blockIdx.y].as<const T>();
    auto flat = p.flat.as<float>() + p.offset[blockIdx.y];
    uint64_t count = p.count[blockIdx.y];
    constexpr int N = 16 / sizeof(T);
    uint64_t vectors = p.wide >> blockIdx.y & 1 ? count / N : 0;
    for (uint64_t i = global_thread(); i < vectors; i += grid_threads()) {
        vec<T, N> v = load_vec<N>(part, i * N);
        for (int k = 0; k < N; k += 4) {
            vec<float, 4> sum;
            if (p.add) sum = load_vec<4>(flat, i * N + k);
            for (int j = 0; j < 4; j++) sum[j] = p.add ? exact_add(sum[j], to_float(v[k + j])) : to_float(v[k + j]);
            store_vec(flat, i * N + k, sum);
        }
    }
    for (uint64_t j = vectors * N + global_thread(); j < count; j += grid_threads())
        flat[j] = p.add ? exact_add(flat[j], to_float(part[j])) : to_float(part[j]);
}

KERNEL(flatten_fwd_f32, FlattenParams) { flatten<float>(p); }
KERNEL(flatten_fwd_bf16, FlattenParams) { flatten<bf16>(p); }
