// flatten: flat[offset[i] + j] = part[i][j], or += with `add`, for up to 32 parts a launch.
//   part[i] [count[i]] f32 or bf16     flat [n] f32
// The grid's y axis counts parts, x and the threads walk along one. One read and one write an element (two reads with `add`).
#include "device/veridical.cuh"

struct FlattenParams {
    buffer flat;
    buffer part[32];
    uint64_t offset[32];
    uint64_t count[32];
    uint64_t add;
};
LAYOUT(FlattenParams, flat, part, offset, count, add)

template <class T>
DEVICE void flatten(const FlattenParams& p) {
    auto part = p.part[blockIdx.y].as<const T>();
    auto flat = p.flat.as<float>() + p.offset[blockIdx.y];
    uint64_t count = p.count[blockIdx.y];
    if (p.add) {
        for (uint64_t j = global_thread(); j < count; j += grid_threads()) flat[j] = exact_add(flat[j], to_float(part[j]));
    } else {
        for (uint64_t j = global_thread(); j < count; j += grid_threads()) flat[j] = to_float(part[j]);
    }
}

KERNEL(flatten_fwd_f32, FlattenParams) { flatten<float>(p); }
KERNEL(flatten_fwd_bf16, FlattenParams) { flatten<bf16>(p); }
