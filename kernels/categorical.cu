// categorical: labels[i] = argmax_j(logits[i, j] + g_ij), the smallest j among equals; g Gumbel, addressed by (stream,
//   sample, j).
//   logits [rows, len] f32 or bf16     labels [rows] u32     bad [1] u32, 0 on entry, set to 1 if a row has
//   no distribution
//   ids [rows] u32, or absent: row i is sample first + i
// `team` lanes of a warp (a power of two) share a row, four labels a lane and turn. One read of the logits, one pass.
// A row that is all -inf, or has a NaN or +inf, gets the label 2^32 - 1.
#include "device/veridical.cuh"

struct CategoricalParams {
    buffer logits;
    buffer labels;
    buffer bad;
    buffer ids;
    uint64_t rows;
    uint64_t len;
    uint32_t first;
    uint32_t key0;
    uint32_t key1;
    uint32_t step;
    uint32_t site;
    uint32_t team;
};

template <class T>
DEVICE void categorical(const CategoricalParams& p) {
    const uint32_t no_label = 0xffffffffu;
    const float infinity = float_of_bits(0x7f800000u);
    draws d = draws_of(p);
    auto logits = p.logits.as<const T>();
    auto labels = p.labels.as<uint32_t>();
    uint32_t member = lane() % p.team;
    uint64_t blocks = (p.len + 3) / 4;
    // All lanes of a warp take the same number of turns, as the shuffles want; rows past the end are read as the last
    // one.
    for (uint64_t i = global_thread(); i - lane() < p.rows * p.team; i += grid_threads()) {
        uint64_t row = i / p.team;
        bool inside = row < p.rows;
        if (!inside) row = p.rows - 1;
        uint32_t sample = d.id(row);
        float best = -infinity;
        uint32_t label = no_label;
        uint32_t bad = 0;
        for (uint64_t b = member; b < blocks; b += p.team) {
            row_block at = {row, static_cast<uint32_t>(b)};
            vec<float, 4> v = load_block(logits, at, p.len, false);
            vec<float, 4> g = gumbel_block(random_block(d.stream, sample, at.block));
            for (int k = 0; k < 4; ++k) {
                uint64_t j = 4 * b + k;
                if (j >= p.len) break;
                float value = exact_add(v[k], g[k]);
                if (!(value < infinity)) bad = 1;
                if (value > best) {
                    best = value;
                    label = static_cast<uint32_t>(j);
                }
            }
        }
        for (uint32_t step = p.team / 2; step > 0; step /= 2) {
            float other = __shfl_xor_sync(FULL_MASK, best, step);
            uint32_t other_label = __shfl_xor_sync(FULL_MASK, label, step);
            bad |= __shfl_xor_sync(FULL_MASK, bad, step);
            if (other > best || (other == best && other_label < label)) {
                best = other;
                label = other_label;
            }
        }
        if (inside && member == 0) {
            if (bad) label = no_label;
            if (label == no_label) p.bad.as<uint32_t>()[0] = 1;
            labels[row] = label;
        }
    }
}

KERNEL(categorical_fwd_f32, CategoricalParams) { categorical<float>(p); }
KERNEL(categorical_fwd_bf16, CategoricalParams) { categorical<bf16>(p); }
