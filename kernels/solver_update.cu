// solver_update: y = x + a d + b z, z standard normal, addressed by (stream, sample, element).
//   x, d, y [rows, len] f32 or bf16; x or d may be absent     ids [rows] u32, or absent: row i is sample first + i
//   a, b: scalars, or a_each, b_each [rows] f32
// One thread handles the four elements of a Philox block: one read of x and d, one write of y; z is never stored.
#include "device/veridical.cuh"

struct SolverUpdateParams {
    buffer x;
    buffer d;
    buffer y;
    buffer a_each;
    buffer b_each;
    buffer ids;
    uint64_t rows;
    uint64_t len;
    float a;
    float b;
    uint32_t noisy;
    uint32_t first;
    uint32_t key0;
    uint32_t key1;
    uint32_t step;
    uint32_t site;
    uint32_t wide;
    uint32_t unused;
};

template <class T>
DEVICE void solver_update(const SolverUpdateParams& p) {
    draws noise = draws_of(p);
    auto x = p.x.as<const T>();
    auto d = p.d.as<const T>();
    auto y = p.y.as<T>();
    auto a_each = p.a_each.as<const float>();
    auto b_each = p.b_each.as<const float>();
    uint64_t per_row = (p.len + 3) / 4;
    for (uint64_t i = global_thread(); i < p.rows * per_row; i += grid_threads()) {
        row_block at = split_row(i, per_row);
        vec<float, 4> v = {};
        if (x) v = load_block(x, at, p.len, p.wide);
        if (d) {
            vec<float, 4> slope = load_block(d, at, p.len, p.wide);
            float a = a_each ? a_each[at.row] : p.a;
            for (int k = 0; k < 4; ++k) v[k] = exact_fma(a, slope[k], v[k]);
        }
        if (p.noisy) {
            vec<float, 4> z = normal_block(random_block(noise.stream, noise.id(at.row), at.block));
            float b = b_each ? b_each[at.row] : p.b;
            for (int k = 0; k < 4; ++k) v[k] = exact_fma(b, z[k], v[k]);
        }
        vec<T, 4> rounded;
        for (int k = 0; k < 4; ++k) rounded[k] = from_float<T>(v[k]);
        store_block(y, at, p.len, p.wide, rounded);
    }
}

KERNEL(solver_update_fwd_f32, SolverUpdateParams) { solver_update<float>(p); }
KERNEL(solver_update_fwd_bf16, SolverUpdateParams) { solver_update<bf16>(p); }
