// contrastive: losses of the logits s_ij = scale (q_i . k_j) + offset_j and their gradients, a strip of rows at a time.
//   q [rows, depth] of the strip, the first of which is row `first` of all     k [columns, depth]
//   scale, weight, dloss one fp32     offset [columns] fp32 or absent     labels [all rows] u32 (own)
//   lse, counts [all rows], column_lse [columns] fp32     slopes [rows, columns] like q     dk [columns, depth] fp32
// Kinds: rows, a softmax over each row whose positive is the diagonal; both, the same and over each column; own, rows
// against themselves, without the diagonal, positives are equal labels; sigmoid, softplus of each logit, of minus those
// on the diagonal.
// A block makes a tile of inner products as matmul does (tensor cores for bf16, sums in fp32), leaves it in shared
// memory, and sums it there: forward to the largest logit and the sum of exponentials of each of its rows and columns,
// which fwd_rows and fwd_columns join in order. The backward pass makes the tile again, and of it the slopes dL/ds,
// whose products are gradients; for `own` it is the sum of the slopes and their transpose. No strip's tiles are kept:
// traffic is that of the products, and three elements a logit for the slopes. Equal inputs give equal bits.
// Multiply-adds: rows columns depth forward, and as many for each of slopes, dq and dk.
#include "device/veridical.cuh"
#include "device/product.cuh"

using namespace veridical::gemm;

// 0: rows.
constexpr uint32_t BOTH = 1, OWN = 2, SIGMOID = 3;

struct ContrastiveParams {
    buffer q;
    buffer k;
    buffer scale;
    buffer offset;
    buffer labels;
    buffer row_parts;     // forward: [column tiles, rows, 4]: largest logit, sum, sum of positives, number of positives
    buffer column_parts;  // forward: [row tiles, columns, 2]: largest, sum; backward: [row tiles, columns] sums of slopes
    buffer lse;
    buffer column_lse;
    buffer counts;
    buffer weight;
    buffer dloss;
    buffer slopes;
    buffer products;  // backward: [blocks] sums of slopes times inner products, or absent
    uint64_t first;
    uint32_t rows;
    uint32_t columns;
    uint32_t depth;
    uint32_t kind;
    uint32_t wide_q;
    uint32_t wide_k;
};

DEVICE float infinity() { return __uint_as_float(0x7f800000u); }

// A tile in shared memory. Rows are one longer than the tile is wide: threads that walk down neighbouring rows meet no
// bank twice.
template <int SIZE>
struct Staged {
    static constexpr uint32_t PITCH = SIZE + 1;
    sptr<float> tile;
    TilePosition at;
    template <int N>
    DEVICE void store(uint32_t row, uint32_t column, const float (&sums)[N]) const {
        UNROLL for (int i = 0; i < N; i++) tile[(row - at.row) * PITCH + (column - at.column) + i] = sums[i];
    }
};

// The block's tile of inner products; all of it is there when this returns.
template <class T, int SIZE>
DEVICE Staged<SIZE> inner_products(const ContrastiveParams& p) {
    using Tile = typename tile_of<T, SIZE>::type;
    SHARED_DYNAMIC(float, tile);
    Staged<SIZE> staged{tile, tile_position<SIZE, SIZE>(p.rows, p.columns)};
    Factor<MatrixSource<T>, false> a{{p.q.as<const T>(), p.depth}, p.rows, p.wide_q != 0};
    Factor<MatrixSource<T>, false> b{{p.k.as<const T>(), p.depth}, p.columns, p.wide_k != 0};
    if constexpr (std::is_same<T, float>::value) fma_product<Tile>(a, b, staged.at, 0, p.depth, staged);
    else tensor_product<Tile>(a, b, staged.at, 0, p.depth, staged);
    __syncthreads();
    return staged;
}

// Every element of the tile is given to f(row in the tile, column in it, value), and becomes what f returns.
template <int SIZE, class F>
DEVICE void each_element(const Staged<SIZE>& staged, F f) {
    for (uint32_t e = threadIdx.x; e < SIZE * SIZE; e += blockDim.x) {
        uint32_t r = e / SIZE, c = e % SIZE;
        auto value = staged.tile + (r * Staged<SIZE>::PITCH + c);
        value[0] = f(r, c, value[0]);
    }
    __syncthreads();
}

DEVICE float softplus(float x) { return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x))); }
DEVICE float logistic(float x) {
    float e = expf(-fabsf(x)), above = 1.0f / (1.0f + e);
    return x < 0.0f ? e * above : above;
}

// The largest and the sum of exponentials of `count` numbers `step` apart.
DEVICE vec<float, 2> sum_along(sptr<float> from, uint32_t step, uint32_t count) {
    float largest = -infinity(), sum = 0.0f;
    for (uint32_t i = 0; i < count; i++) largest = fmaxf(largest, from[i * step]);
    if (largest == -infinity()) largest = 0.0f;
    for (uint32_t i = 0; i < count; i++) sum += expf(from[i * step] - largest);
    return {{largest, sum}};
}

template <class T, int SIZE>
DEVICE void forward(const ContrastiveParams& p) {
    Staged<SIZE> staged = inner_products<T, SIZE>(p);
    constexpr uint32_t PITCH = Staged<SIZE>::PITCH;
    TilePosition at = staged.at;
    auto labels = p.labels.as<const uint32_t>();
    auto offset = p.offset.as<const float>();
    float scale = p.scale.as<const float>()[0];
    each_element(staged, [&](uint32_t r, uint32_t c, float dot) {
        uint32_t row = at.row + r, column = at.column + c;
        if (row >= p.rows || column >= p.columns) return 0.0f;
        float s = dot * scale + (offset ? offset[column] : 0.0f);
        bool own = p.first + row == column;
        if (p.kind == SIGMOID) return softplus(own ? -s : s);
        return p.kind == OWN && own ? -infinity() : s;
    });
    uint32_t rows = min(p.rows - at.row, (uint32_t)SIZE), columns = min(p.columns - at.column, (uint32_t)SIZE);
    // The first SIZE threads' work is a row each, that of the next a column.
    for (uint32_t i = threadIdx.x; i < (p.kind == BOTH ? 2 : 1) * SIZE; i += blockDim.x) {
        if (i >= SIZE) {
            uint32_t c = i - SIZE;
            if (c >= columns) continue;
            vec<float, 2> sums = sum_along(staged.tile + c, PITCH, rows);
            store_vec(p.column_parts.as<float>(), ((uint64_t)(at.row / SIZE) * p.columns + at.column + c) * 2, sums);
            continue;
        }
        uint32_t row = at.row + i;
        if (i >= rows) continue;
        auto from = staged.tile + i * PITCH;
        vec<float, 4> part = {};
        if (p.kind == SIGMOID) {
            for (uint32_t c = 0; c < columns; c++) part[1] += from[c];
        } else {
            vec<float, 2> sums = sum_along(from, 1, columns);
            part[0] = sums[0];
            part[1] = sums[1];
            uint64_t own = p.first + row;
            if (p.kind == OWN) {
                uint32_t label = labels[own];
                for (uint32_t c = 0; c < columns; c++) {
                    if (labels[at.column + c] != label || at.column + c == own) continue;
                    part[2] += from[c];
                    part[3] += 1.0f;
                }
            } else if (own >= at.column && own - at.column < columns) {
                part[2] = from[own - at.column];
            }
        }
        store_vec(p.row_parts.as<float>(), ((uint64_t)(at.column / SIZE) * p.rows + row) * 4, part);
    }
}

struct ContrastiveJoinParams {
    buffer parts;      // as above, of one strip
    buffer lse;        // [all rows], not of sigmoid
    buffer losses;     // [all rows]: lse less the mean of the positives
    buffer positives;  // [all rows]: the sum of the positives' logits
    buffer counts;     // [all rows], of own
    buffer largest;    // [columns], as far as the strips before go
    buffer sums;       // [columns], likewise
    uint64_t first;    // row of the strip
    uint64_t lines;    // rows of the strip, or columns
    uint32_t tiles;
    uint32_t kind;
};

// Adds to a sum of exponentials relative to the largest logit.
DEVICE void merge(float& largest, float& sum, float more_largest, float more) {
    if (more == 0.0f) return;
    float shift = sum == 0.0f ? more_largest : fmaxf(largest, more_largest);
    sum = (sum == 0.0f ? 0.0f : sum * expf(largest - shift)) + more * expf(more_largest - shift);
    largest = shift;
}

// Each row of a strip, over its tiles from left to right.
KERNEL(contrastive_fwd_rows_f32, ContrastiveJoinParams) {
    for (uint64_t r = global_thread(); r < p.lines; r += grid_threads()) {
        float largest = 0.0f, sum = 0.0f, positive = 0.0f, count = 0.0f;
        for (uint32_t t = 0; t < p.tiles; t++) {
            vec<float, 4> part = load_vec<4>(p.parts.as<const float>(), (t * p.lines + r) * 4);
            if (p.kind == SIGMOID) sum += part[1];
            else merge(largest, sum, part[0], part[1]);
            positive += part[2];
            count += part[3];
        }
        uint64_t row = p.first + r;
        if (p.kind == SIGMOID) {
            p.losses.as<float>()[row] = sum;
            continue;
        }
        float mean = p.kind == OWN ? positive / count : positive;
        p.losses.as<float>()[row] = p.kind == OWN && count == 0.0f ? 0.0f : logf(sum) - (mean - largest);
        p.lse.as<float>()[row] = largest + logf(sum);
        p.positives.as<float>()[row] = positive;
        if (p.kind == OWN) p.counts.as<float>()[row] = count;
    }
}

// Each column, over the tiles of a strip from top to bottom, added to what earlier strips say of it.
KERNEL(contrastive_fwd_columns_f32, ContrastiveJoinParams) {
    for (uint64_t c = global_thread(); c < p.lines; c += grid_threads()) {
        float largest = 0.0f, sum = 0.0f;
        if (p.first > 0) {
            largest = p.largest.as<float>()[c];
            sum = p.sums.as<float>()[c];
        }
        for (uint32_t t = 0; t < p.tiles; t++) {
            vec<float, 2> part = load_vec<2>(p.parts.as<const float>(), (t * p.lines + c) * 2);
            merge(largest, sum, part[0], part[1]);
        }
        p.largest.as<float>()[c] = largest;
        p.sums.as<float>()[c] = sum;
    }
}

struct ContrastiveLossParams {
    buffer losses;
    buffer positives;
    buffer counts;
    buffer largest;
    buffer sums;
    buffer column_lse;
    buffer weight;  // written: p.factor, divided by the anchors of own
    buffer loss;
    uint64_t rows;
    uint64_t columns;  // of both; else 0
    float factor;
    uint32_t own;
};

// The loss, by one block. Without an anchor the weight is infinite, and the loss NaN.
KERNEL_BOUNDS(contrastive_fwd_loss_f32, ContrastiveLossParams, 1024) {
    float total = 0.0f, anchors = 0.0f;
    for (uint64_t i = threadIdx.x; i < p.rows; i += blockDim.x) {
        total += p.losses.as<const float>()[i];
        if (p.own && p.counts.as<const float>()[i] > 0.0f) anchors += 1.0f;
    }
    for (uint64_t j = threadIdx.x; j < p.columns; j += blockDim.x) {
        float largest = p.largest.as<const float>()[j], log_sum = logf(p.sums.as<const float>()[j]);
        total += log_sum - (p.positives.as<const float>()[j] - largest);
        p.column_lse.as<float>()[j] = largest + log_sum;
    }
    total = block_sum(total);
    anchors = block_sum(anchors);
    if (threadIdx.x == 0) {
        float weight = p.own ? p.factor / anchors : p.factor;
        p.weight.as<float>()[0] = weight;
        p.loss.as<float>()[0] = weight * total;
    }
}

template <class T, int SIZE>
DEVICE void slopes(const ContrastiveParams& p) {
    Staged<SIZE> staged = inner_products<T, SIZE>(p);
    constexpr uint32_t PITCH = Staged<SIZE>::PITCH;
    TilePosition at = staged.at;
    auto labels = p.labels.as<const uint32_t>();
    auto offset = p.offset.as<const float>(), lse = p.lse.as<const float>(), counts = p.counts.as<const float>();
    auto column_lse = p.column_lse.as<const float>();
    auto out = p.slopes.as<T>();
    float scale = p.scale.as<const float>()[0];
    float factor = p.weight.as<const float>()[0] * p.dloss.as<const float>()[0];
    float products = 0.0f;
    each_element(staged, [&](uint32_t r, uint32_t c, float dot) {
        uint32_t row = at.row + r, column = at.column + c;
        if (row >= p.rows || column >= p.columns) return 0.0f;
        uint64_t own = p.first + row;
        float s = dot * scale + (offset ? offset[column] : 0.0f), slope;
        if (p.kind == SIGMOID) {
            slope = own == column ? -logistic(-s) : logistic(s);
        } else if (p.kind == OWN) {
            // As the rows' slopes and those of the same pair the other way round. A row without positives is no anchor.
            float count = counts[own], other_count = counts[column];
            slope = (count > 0.0f ? expf(s - lse[own]) : 0.0f) + (other_count > 0.0f ? expf(s - lse[column]) : 0.0f);
            if (labels[own] == labels[column]) slope -= 1.0f / count + 1.0f / other_count;
            // Where nobody is an anchor all is NaN, as the loss is.
            if (own == column) slope = factor < infinity() ? 0.0f : factor - factor;
        } else {
            slope = expf(s - lse[own]) + (p.kind == BOTH ? expf(s - column_lse[column]) : 0.0f);
            if (own == column) slope -= p.kind == BOTH ? 2.0f : 1.0f;
        }
        slope *= factor;
        products += slope * dot;
        out[(uint64_t)row * p.columns + column] = from_float<T>(slope * scale);
        return slope;
    });
    if (p.column_parts) {
        for (uint32_t c = threadIdx.x; c < SIZE && at.column + c < p.columns; c += blockDim.x) {
            float sum = 0.0f;
            for (uint32_t r = 0; r < SIZE; r++) sum += staged.tile[r * PITCH + c];
            p.column_parts.as<float>()[(uint64_t)(at.row / SIZE) * p.columns + at.column + c] = sum;
        }
    }
    if (p.products) {
        products = block_sum(products);
        // Of rows against themselves every pair is here twice.
        if (threadIdx.x == 0) p.products.as<float>()[blockIdx.x] = p.kind == OWN ? 0.5f * products : products;
    }
}

struct ContrastiveKeysParams {
    buffer slopes;
    buffer q;
    buffer dk;
    uint32_t rows;
    uint32_t columns;
    uint32_t depth;
    uint32_t wide_slopes;
    uint32_t wide_q;
    uint32_t add;
};

// Sums that go to fp32, added to what is there if p.add.
struct Added {
    gptr<float> to;
    uint32_t m;
    uint32_t n;
    bool add;
    template <int N>
    DEVICE void store(uint32_t row, uint32_t column, const float (&sums)[N]) const {
        if (row >= m) return;
        uint64_t at = (uint64_t)row * n + column;
        UNROLL for (int i = 0; i < N; i++) {
            if (column + i < n) to[at + i] = add ? to[at + i] + sums[i] : sums[i];
        }
    }
};

// dk (+)= slopes^T q, of one strip.
template <class T, int SIZE>
DEVICE void keys(const ContrastiveKeysParams& p) {
    using Tile = typename tile_of<T, SIZE>::type;
    Factor<MatrixSource<T>, true> a{{p.slopes.as<const T>(), p.columns}, p.columns, p.wide_slopes != 0};
    Factor<MatrixSource<T>, true> b{{p.q.as<const T>(), p.depth}, p.depth, p.wide_q != 0};
    Added out{p.dk.as<float>(), p.columns, p.depth, p.add != 0};
    TilePosition at = tile_position<SIZE, SIZE>(p.columns, p.depth);
    if constexpr (std::is_same<T, float>::value) fma_product<Tile>(a, b, at, 0, p.rows, out);
    else tensor_product<Tile>(a, b, at, 0, p.rows, out);
}

struct ContrastiveSumParams {
    buffer parts;  // [count, n]
    buffer sums;   // [n]
    uint64_t count;
    uint64_t n;
    uint32_t add;
    uint32_t unused;
};

// sums (+)= the parts in order: of columns, one thread each; of one number, one block.
KERNEL(contrastive_bwd_columns_f32, ContrastiveSumParams) {
    auto sums = p.sums.as<float>();
    for (uint64_t c = global_thread(); c < p.n; c += grid_threads()) {
        float sum = p.add ? sums[c] : 0.0f;
        for (uint64_t i = 0; i < p.count; i++) sum += p.parts.as<const float>()[i * p.n + c];
        sums[c] = sum;
    }
}
KERNEL_BOUNDS(contrastive_bwd_scale_f32, ContrastiveSumParams, 1024) {
    auto sums = p.sums.as<float>();
    float sum = 0.0f;
    for (uint64_t i = threadIdx.x; i < p.count; i += blockDim.x) sum += p.parts.as<const float>()[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) sums[0] = p.add ? sums[0] + sum : sum;
}

KERNEL_BOUNDS(contrastive_fwd_large_bf16, ContrastiveParams, (product_threads<bf16, LARGE>)) { forward<bf16, LARGE>(p); }
KERNEL_BOUNDS(contrastive_fwd_small_bf16, ContrastiveParams, (product_threads<bf16, SMALL>)) { forward<bf16, SMALL>(p); }
KERNEL_BOUNDS(contrastive_fwd_large_f32, ContrastiveParams, (product_threads<float, LARGE>)) { forward<float, LARGE>(p); }
KERNEL_BOUNDS(contrastive_fwd_small_f32, ContrastiveParams, (product_threads<float, SMALL>)) { forward<float, SMALL>(p); }
KERNEL_BOUNDS(contrastive_bwd_slopes_large_bf16, ContrastiveParams, (product_threads<bf16, LARGE>)) { slopes<bf16, LARGE>(p); }
KERNEL_BOUNDS(contrastive_bwd_slopes_small_bf16, ContrastiveParams, (product_threads<bf16, SMALL>)) { slopes<bf16, SMALL>(p); }
KERNEL_BOUNDS(contrastive_bwd_slopes_large_f32, ContrastiveParams, (product_threads<float, LARGE>)) { slopes<float, LARGE>(p); }
KERNEL_BOUNDS(contrastive_bwd_slopes_small_f32, ContrastiveParams, (product_threads<float, SMALL>)) { slopes<float, SMALL>(p); }
KERNEL_BOUNDS(contrastive_bwd_keys_large_bf16, ContrastiveKeysParams, (product_threads<bf16, LARGE>)) { keys<bf16, LARGE>(p); }
KERNEL_BOUNDS(contrastive_bwd_keys_small_bf16, ContrastiveKeysParams, (product_threads<bf16, SMALL>)) { keys<bf16, SMALL>(p); }
KERNEL_BOUNDS(contrastive_bwd_keys_large_f32, ContrastiveKeysParams, (product_threads<float, LARGE>)) { keys<float, LARGE>(p); }
KERNEL_BOUNDS(contrastive_bwd_keys_small_f32, ContrastiveKeysParams, (product_threads<float, SMALL>)) { keys<float, SMALL>(p); }
