// categorical: labels[i] = argmax_j(logits[i, j] + g_ij), the smallest j among equals; g Gumbel, addressed by (stream,
//   sample, j).
//   logits [rows, len] f32 or bf16     labels [rows] u32     bad [1] u32, 0 on entry, set to 1 if a row has
//   no distribution
//   ids [rows] u32, or absent: row i is sample first + i
// A team of `lanes` neighbouring lanes, or a block (lanes = 0), shares a row, as in gumbel_softmax. One read of the
// logits, one pass. A row that is all -inf, or has a NaN or +inf, gets the label 2^32 - 1.
#include "device/veridical.cuh"
#include "device/gumbel_rows.cuh"

struct CategoricalParams {
    buffer logits;
    buffer labels;
    buffer bad;
    buffer ids;
    uint64_t rows;
    uint32_t len;
    uint32_t first;
    uint32_t key0;
    uint32_t key1;
    uint32_t step;
    uint32_t site;
    uint32_t lanes;
    uint32_t columns_per_lane;
    uint32_t width;
    uint32_t unused;
};

template <class T, int C>
DEVICE void label_rows(const CategoricalParams& p) {
    draws d = draws_of(p);
    for (RowTeam team(p.rows, p.lanes); team.more(p.rows); team.next()) {
        uint64_t row = team.inside() ? team.row : 0;
        auto logits = p.logits.as<const T>() + row * p.len;
        uint32_t label = label_of_row<C>(team, logits, d.stream, d.id(row), p.len, p.width);
        if (team.inside() && team.rank == 0) {
            if (label == Largest::NONE) p.bad.as<uint32_t>()[0] = 1;
            p.labels.as<uint32_t>()[row] = label;
        }
    }
}

template <class T>
DEVICE void categorical(const CategoricalParams& p) {
    if (p.columns_per_lane == 4) label_rows<T, 4>(p);
    else if constexpr (sizeof(T) == 2) label_rows<T, 8>(p);
}

KERNEL_BOUNDS(categorical_fwd_f32, CategoricalParams, 512) { categorical<float>(p); }
KERNEL_BOUNDS(categorical_fwd_bf16, CategoricalParams, 512) { categorical<bf16>(p); }
