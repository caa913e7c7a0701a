// What all products c = a b share: where factors are read from, how a block of threads fetches a tile of one, the order
// of tiles, and where results go. A factor is a matrix in memory or one that is made while it is read (a convolution's
// patches): rows of contiguous columns. `TRANSPOSED` says that the rows are steps in depth instead of lines (rows of a,
// columns of b).
#pragma once

#include "veridical.cuh"

namespace veridical::gemm {

// A source has data, row(r) and column(c), which hold what is worth computing once, and find(row, column, offset),
// which says where the element is, or false if it is a zero that is not in memory.
template <class T>
struct MatrixSource {
    using Element = T;
    gptr<const T> data;
    uint64_t stride;
    struct Row {
        uint64_t offset;
    };
    struct Column {
        uint32_t offset;
    };
    DEVICE Row row(uint32_t r) const { return {r * stride}; }
    DEVICE Column column(uint32_t c) const { return {c}; }
    DEVICE bool find(const Row& r, const Column& c, uint64_t& offset) const {
        offset = r.offset + c.offset;
        return true;
    }
};

// The patches of an image [batch, height, width, channels]: one row per pixel of a grid, columns [tap_y, tap_x,
// channel]. SPREAD: the image is read as if spread - 1 zeros stood between its pixels.
template <class T, bool SPREAD>
struct PatchSource {
    using Element = T;
    gptr<const T> data;
    uint32_t height;
    uint32_t width;
    Divisor channels;
    Divisor grid_height;
    Divisor grid_width;
    Divisor kernel;
    uint32_t step;  // pixels between neighbours on the grid
    uint32_t spread;
    int32_t padding;
    struct Row {
        uint64_t offset;  // of the pixel that the kernel's first tap stands on, as if the image went on beyond its borders
        int32_t y;
        int32_t x;
    };
    struct Column {
        uint64_t offset;  // of the tap from the kernel's first one, and of the channel
        int32_t y;
        int32_t x;
    };
    DEVICE Row row(uint32_t r) const {
        uint32_t line = quotient(r, grid_width);
        uint32_t x = r - line * grid_width.divisor;
        uint32_t image = quotient(line, grid_height);
        uint32_t y = line - image * grid_height.divisor;
        int32_t top = (int32_t)(y * step) - padding, left = (int32_t)(x * step) - padding;
        return {(uint64_t)image * height * width * channels.divisor + between(top, left), top, left};
    }
    DEVICE Column column(uint32_t c) const {
        uint32_t tap = quotient(c, channels);
        uint32_t y = quotient(tap, kernel);
        uint32_t x = tap - y * kernel.divisor;
        return {between(y, x) + (c - tap * channels.divisor), (int32_t)y, (int32_t)x};
    }
    DEVICE bool find(const Row& r, const Column& c, uint64_t& offset) const {
        int32_t y = r.y + c.y, x = r.x + c.x;
        offset = r.offset + c.offset;
        if constexpr (SPREAD) {
            if (spread > 1) {
                if (y < 0 || x < 0 || y % (int32_t)spread != 0 || x % (int32_t)spread != 0) return false;
                y /= (int32_t)spread;
                x /= (int32_t)spread;
                offset += between(y, x) - between(r.y + c.y, r.x + c.x);
            }
        }
        return (uint32_t)y < height && (uint32_t)x < width;
    }
    // From an image's first element to its pixel (y, x), which may lie outside: modulo 2^64.
    DEVICE uint64_t between(int32_t y, int32_t x) const {
        return (uint64_t)(((int64_t)y * (int32_t)width + x) * (int32_t)channels.divisor);
    }
};

// A convolution's weight [outputs, taps, inputs] read as [taps * outputs, inputs], taps in reverse.
template <class T>
struct ReversedWeightSource {
    using Element = T;
    gptr<const T> data;
    Divisor outputs;
    uint32_t taps;
    uint32_t inputs;
    struct Row {
        uint64_t offset;
    };
    struct Column {
        uint32_t offset;
    };
    DEVICE Row row(uint32_t r) const {
        uint32_t tap = quotient(r, outputs);
        uint32_t output = r - tap * outputs.divisor;
        return {((uint64_t)output * taps + (taps - 1 - tap)) * inputs};
    }
    DEVICE Column column(uint32_t c) const { return {c}; }
    DEVICE bool find(const Row& r, const Column& c, uint64_t& offset) const {
        offset = r.offset + c.offset;
        return true;
    }
};

// One factor's part in a product.
template <class Source, bool TRANSPOSED_>
struct Factor {
    static constexpr bool TRANSPOSED = TRANSPOSED_;
    using Src = Source;
    Source source;
    uint32_t lines;
    bool wide;  // 16 bytes at a time: data, row lengths and starts, and the extent along a row are multiples of 16 bytes
};

// Fetches a tile of LINES lines by BK steps of depth, 16 bytes (VEC elements) of a row at a time, with THREADS threads.
template <class F, int LINES, int BK, int THREADS>
struct Fetch {
    using Source = typename F::Src;
    using T = typename Source::Element;
    static constexpr bool TRANSPOSED = F::TRANSPOSED;
    static constexpr int VEC = 16 / sizeof(T);
    static constexpr int PER_ROW = (TRANSPOSED ? LINES : BK) / VEC;
    static constexpr int ROWS = TRANSPOSED ? BK : LINES;
    static constexpr int STEP = THREADS / PER_ROW;
    static constexpr int COUNT = ROWS / STEP;
    static_assert(THREADS % PER_ROW == 0 && ROWS % STEP == 0 && COUNT > 0, "every thread fetches the same number of vectors");

    const F& factor;
    uint32_t first_line;
    uint32_t depth_end;
    typename Source::Row rows[TRANSPOSED ? 1 : COUNT];
    typename Source::Column column;

    DEVICE Fetch(const F& f, uint32_t line, uint32_t end) : factor(f), first_line(line), depth_end(end) {
        if constexpr (TRANSPOSED) {
            column = f.source.column(line + tile_column());
        } else {
            UNROLL for (int i = 0; i < COUNT; i++) rows[i] = f.source.row(line + tile_row(i));
        }
    }
    // Where vector i of this thread belongs in the tile.
    DEVICE static uint32_t tile_column() { return threadIdx.x % PER_ROW * VEC; }
    DEVICE static uint32_t tile_row(int i) { return threadIdx.x / PER_ROW + i * STEP; }

    // Calls put(i, offset, valid) for each vector of the tile that starts at `depth`.
    template <class Put>
    DEVICE void wide(uint32_t depth, const Put& put) const {
        if constexpr (TRANSPOSED) {
            bool line_valid = first_line + tile_column() < factor.lines;
            UNROLL for (int i = 0; i < COUNT; i++) {
                uint32_t k = depth + tile_row(i);
                uint64_t offset = 0;
                bool valid = factor.source.find(factor.source.row(k), column, offset) && line_valid && k < depth_end;
                put(i, offset, valid);
            }
        } else {
            uint32_t k = depth + tile_column();
            typename Source::Column c = factor.source.column(k);
            UNROLL for (int i = 0; i < COUNT; i++) {
                uint64_t offset = 0;
                bool valid = factor.source.find(rows[i], c, offset) && k < depth_end && first_line + tile_row(i) < factor.lines;
                put(i, offset, valid);
            }
        }
    }

    // Vector i of the tile that starts at `depth`, element by element.
    DEVICE vec<T, VEC> gather(uint32_t depth, int i) const {
        vec<T, VEC> v;
        uint32_t row = tile_row(i) + (TRANSPOSED ? depth : first_line);
        typename Source::Row r = factor.source.row(row);
        for (int e = 0; e < VEC; e++) {
            uint32_t c = tile_column() + e + (TRANSPOSED ? first_line : depth);
            uint32_t line = TRANSPOSED ? c : row, k = TRANSPOSED ? row : c;
            uint64_t offset = 0;
            bool valid = line < factor.lines && k < depth_end && factor.source.find(r, factor.source.column(c), offset);
            v[e] = valid ? factor.source.data[offset] : from_float<T>(0.0f);
        }
        return v;
    }
};

// Which tile of the result is number `index`, the block's own: down a group of eight rows of tiles, then the next
// column, so that blocks that run together share what they read.
struct TilePosition {
    uint32_t row;
    uint32_t column;
};
template <int BM, int BN>
DEVICE TilePosition tile_position(uint32_t m, uint32_t n, uint32_t index = blockIdx.x) {
    constexpr uint32_t GROUP = 8;
    uint32_t rows = (m + BM - 1) / BM, columns = (n + BN - 1) / BN;
    uint32_t group = index / (GROUP * columns);
    uint32_t group_rows = min(rows - group * GROUP, GROUP);
    uint32_t in_group = index - group * GROUP * columns;
    return {(group * GROUP + in_group % group_rows) * BM, in_group / group_rows * BN};
}

// Where sums go: c[r, column] = sum (+ bias[column]), rounded once; or, if the depth is cut, to fp32 parts as they are.
template <class T>
struct Output {
    gptr<T> c;
    gptr<const T> bias;  // may be absent
    gptr<float> parts;   // may be absent
    uint32_t m;
    uint32_t n;
    bool wide;  // c is aligned to 16 bytes, and so are its rows
    template <int N>
    DEVICE void store(uint32_t row, uint32_t column, const float (&sums)[N]) const {
        float all[N];
        UNROLL for (int i = 0; i < N; i++) {
            all[i] = sums[i] + (!parts && bias && column + i < n ? to_float(bias[column + i]) : 0.0f);
        }
        put(row, column, all);
    }
    // The same, with the bias in the sums already.
    template <int N>
    DEVICE void put(uint32_t row, uint32_t column, const float (&sums)[N]) const {
        if (row >= m || column >= n) return;
        uint64_t at = (uint64_t)row * n + column;
        if (parts) {
            vec<float, N> v;
            UNROLL for (int i = 0; i < N; i++) v[i] = sums[i];
            put(parts, at, column, v, n % 4 == 0);
            return;
        }
        vec<T, N> v;
        UNROLL for (int i = 0; i < N; i++) v[i] = from_float<T>(sums[i]);
        put(c, at, column, v, wide);
    }
    template <class U, int N>
    DEVICE void put(gptr<U> to, uint64_t at, uint32_t column, const vec<U, N>& v, bool whole) const {
        if (whole) {
            store_vec(to, at, v);
        } else {
            UNROLL for (int i = 0; i < N; i++) {
                if (column + i < n) to[at + i] = v[i];
            }
        }
    }
};

}  // namespace veridical::gemm
