// conv2d: a 2-D convolution of NHWC images as a product whose patches are gathered while they are read; no patch matrix
//   exists.
//   x [batch, height, width, in]    w [out, kernel, kernel, in]    y, dy [batch, out_height, out_width, out]
//   bias [out]
//   fwd:         y [pixels, out]       = patches(x) w^T (+ bias)
//   bwd_input:   dx [pixels, in]       = patches(dy) w', where w' is w with its taps reversed; for a stride over 1, dy
//                                        is read as if zeros stood between its pixels
//   bwd_weight:  dw [out, taps in]     = dy^T patches(x)
// The result is set. One block makes one tile of one part of the depth (see matmul.cu for the sum of parts). Sums are
// fp32 in an order that the shapes fix. Each image element is read once per tap and column of tiles, mostly from the
// caches.
#include "device/veridical.cuh"
#include "device/hopper_gemm.cuh"
#include "device/product.cuh"

using namespace veridical::gemm;

struct Conv2dParams {
    buffer image;
    buffer other;
    buffer bias;
    buffer result;
    buffer parts;
    uint32_t m;
    uint32_t n;
    uint32_t k;
    uint32_t depth_per_part;
    uint32_t height;
    uint32_t width;
    Divisor channels;
    Divisor grid_height;
    Divisor grid_width;
    Divisor kernel;
    Divisor outputs;
    uint32_t inputs;
    uint32_t step;
    uint32_t spread;
    int32_t padding;
    uint32_t wide_image;
    uint32_t wide_other;
    uint32_t wide_result;
    uint32_t taps;
};

template <class T, bool SPREAD = false>
DEVICE PatchSource<T, SPREAD> patches(const Conv2dParams& p) {
    return {p.image.as<const T>(), p.height, p.width, p.channels, p.grid_height, p.grid_width, p.kernel, p.step, p.spread, p.padding};
}
template <class T>
DEVICE Output<T> output(const Conv2dParams& p) {
    return {p.result.as<T>(), p.bias.as<const T>(), p.parts.as<float>(), p.m, p.n, p.wide_result != 0};
}

template <class T, int SIZE>
DEVICE void forward(const Conv2dParams& p) {
    Factor<PatchSource<T, false>, false> a{patches<T>(p), p.m, p.wide_image != 0};
    Factor<MatrixSource<T>, false> b{{p.other.as<const T>(), p.k}, p.n, p.wide_other != 0};
    product<T, SIZE>(a, b, p.k, p.depth_per_part, output<T>(p));
}

template <class T, int SIZE>
DEVICE void input_gradient(const Conv2dParams& p) {
    Factor<ReversedWeightSource<T>, true> b{{p.other.as<const T>(), p.outputs, p.taps, p.inputs}, p.n, p.wide_other != 0};
    // Where no zeros stand between pixels, the loop that feeds the tensor cores need not divide.
    if constexpr (std::is_same<T, bf16>::value) {
        if (p.spread == 1 && p.wide_image && p.wide_other) {
            Factor<PatchSource<T, false>, false> a{patches<T>(p), p.m, true};
            product<T, SIZE, true>(a, b, p.k, p.depth_per_part, output<T>(p));
            return;
        }
    }
    Factor<PatchSource<T, true>, false> a{patches<T, true>(p), p.m, p.wide_image != 0};
    product<T, SIZE>(a, b, p.k, p.depth_per_part, output<T>(p));
}

template <class T, int SIZE>
DEVICE void weight_gradient(const Conv2dParams& p) {
    Factor<MatrixSource<T>, true> a{{p.other.as<const T>(), p.m}, p.m, p.wide_other != 0};
    Factor<PatchSource<T, false>, true> b{patches<T>(p), p.n, p.wide_image != 0};
    product<T, SIZE>(a, b, p.k, p.depth_per_part, output<T>(p));
}

KERNEL_BOUNDS(conv2d_fwd_large_bf16, Conv2dParams, (product_threads<bf16, LARGE>)) { forward<bf16, LARGE>(p); }
KERNEL_BOUNDS(conv2d_bwd_input_large_bf16, Conv2dParams, (product_threads<bf16, LARGE>)) { input_gradient<bf16, LARGE>(p); }
KERNEL_BOUNDS(conv2d_bwd_weight_large_bf16, Conv2dParams, (product_threads<bf16, LARGE>)) { weight_gradient<bf16, LARGE>(p); }
KERNEL_BOUNDS(conv2d_fwd_small_bf16, Conv2dParams, (product_threads<bf16, SMALL>)) { forward<bf16, SMALL>(p); }
KERNEL_BOUNDS(conv2d_bwd_input_small_bf16, Conv2dParams, (product_threads<bf16, SMALL>)) { input_gradient<bf16, SMALL>(p); }
KERNEL_BOUNDS(conv2d_bwd_weight_small_bf16, Conv2dParams, (product_threads<bf16, SMALL>)) { weight_gradient<bf16, SMALL>(p); }
KERNEL_BOUNDS(conv2d_fwd_large_f32, Conv2dParams, (product_threads<float, LARGE>)) { forward<float, LARGE>(p); }
KERNEL_BOUNDS(conv2d_bwd_input_large_f32, Conv2dParams, (product_threads<float, LARGE>)) { input_gradient<float, LARGE>(p); }
KERNEL_BOUNDS(conv2d_bwd_weight_large_f32, Conv2dParams, (product_threads<float, LARGE>)) { weight_gradient<float, LARGE>(p); }
KERNEL_BOUNDS(conv2d_fwd_small_f32, Conv2dParams, (product_threads<float, SMALL>)) { forward<float, SMALL>(p); }
KERNEL_BOUNDS(conv2d_bwd_input_small_f32, Conv2dParams, (product_threads<float, SMALL>)) { input_gradient<float, SMALL>(p); }
KERNEL_BOUNDS(conv2d_bwd_weight_small_f32, Conv2dParams, (product_threads<float, SMALL>)) { weight_gradient<float, SMALL>(p); }

// conv2d_fwd_hopper: fwd, and bwd_input with a turned weight, for Hopper, of a stride of 1. A tile's 128 pixels are
// whole rows of an image or whole images, so that for each tap and 64 channels the pixels that they are made of are one
// box of the image, whose outside is zeros. Steps of depth are taps, and 64 channels after the other for each. In the
// form for clusters of two blocks a tile is two, one below the other, and the boxes of the weight have half as many
// lines.
struct Conv2dHopperParams {
    TensorMap image;
    TensorMap weight;
    buffer bias;
    buffer result;
    Divisor pixels;  // of an image of the result
    Divisor line;    // and of one of its rows
    Divisor blocks;  // of 64 channels
    Divisor kernel;
    uint32_t m;
    uint32_t n;
    uint32_t steps;
    uint32_t tiles;
    int32_t padding;
    uint32_t wide_result;
    uint32_t unused[14];
};

template <int CLUSTER>
struct Conv2dHopperSource {
    static constexpr bool TRANSPOSED = false;
    static constexpr int BLOCKS = CLUSTER;
    const Conv2dHopperParams& p;
    struct Tile {
        uint32_t row, column;
        int32_t image, top;  // where the tile's first pixel is
    };
    DEVICE uint32_t tiles() const { return p.tiles; }
    DEVICE uint32_t steps(uint32_t) const { return p.steps; }
    DEVICE Tile tile(uint32_t index) const {
        TilePosition at = hopper::position<BLOCKS>(p.m, p.n, index);
        uint32_t image = quotient(at.row, p.pixels);
        uint32_t top = quotient(at.row - image * p.pixels.divisor, p.line);
        return {at.row, at.column, (int32_t)image, (int32_t)top};
    }
    DEVICE void load(sptr<bf16> a, sptr<bf16> b, const Tile& tile, uint32_t step, sptr<uint64_t> full) const {
        uint32_t tap = quotient(step, p.blocks), channel = (step - tap * p.blocks.divisor) * hopper::DEPTH;
        uint32_t y = quotient(tap, p.kernel), x = tap - y * p.kernel.divisor;
        const int32_t from[4] = {(int32_t)channel, (int32_t)x - p.padding, tile.top + (int32_t)y - p.padding, tile.image};
        const uint32_t part = hopper::rank<BLOCKS>() * (hopper::TILE_N / BLOCKS);
        const int32_t weights[2] = {(int32_t)(step * hopper::DEPTH), (int32_t)(tile.column + part)};
        tensor_load(a, p.image, from, full);
        hopper::load_for_all<BLOCKS>(b + part * hopper::DEPTH, p.weight, weights, full);
    }
    DEVICE Output<bf16> output(const Tile&) const {
        return {p.result.as<bf16>(), p.bias.as<const bf16>(), {}, p.m, p.n, p.wide_result != 0};
    }
};

KERNEL_BOUNDS(conv2d_fwd_hopper_bf16, Conv2dHopperParams, hopper::THREADS, 1) { hopper::product(Conv2dHopperSource<1>{p}); }
KERNEL_CLUSTER(conv2d_fwd_hopper_cluster_bf16, Conv2dHopperParams, 2, hopper::THREADS, 1) { hopper::product(Conv2dHopperSource<2>{p}); }

// conv2d_bwd_weight_hopper: the same as bwd_weight, for Hopper, of a stride of 1 and whole 64 channels of the image.
// Its depth is pixels of the result, 64 at a time, which are whole rows of an image, whole images, or a part of a row.
// What is multiplied lies with its lines side by side: outputs of dy, and channels of the image. A tile's 256 columns
// are four blocks of 64 channels of one tap each, so that several taps may share a tile, and the pixels of each are
// one box of the image, moved by its tap; outside are zeros. The depth is cut into parts, and the tiles of one part
// follow each other, so that blocks that run together share what they read. In the form for clusters of two blocks a
// tile is two, one below the other, and each block loads two of the four blocks of columns for both.
struct Conv2dWeightHopperParams {
    TensorMap image;
    TensorMap dy;
    buffer result;
    buffer parts;    // absent if there is one
    Divisor pixels;  // of an image of the result
    Divisor line;    // and of one of its rows
    Divisor blocks;  // of 64 channels
    Divisor kernel;
    Divisor tiles;   // of a part
    uint32_t m;
    uint32_t n;
    uint32_t k;
    uint32_t steps_per_part;
    uint32_t count;  // of parts
    int32_t padding;
    uint32_t wide_result;
    uint32_t unused[11];
};

template <int CLUSTER>
struct Conv2dWeightHopperSource {
    static constexpr bool TRANSPOSED = true;
    static constexpr int BLOCKS = CLUSTER;
    static constexpr int COLUMN_BLOCKS = hopper::TILE_N / 64 / BLOCKS;
    const Conv2dWeightHopperParams& p;
    struct Tile {
        uint32_t row, column, part;
        // Of each block of columns that this block of threads loads: its first channel, and where its tap stands from
        // the result's pixel.
        int32_t channel[COLUMN_BLOCKS], right[COLUMN_BLOCKS], down[COLUMN_BLOCKS];
    };
    DEVICE uint32_t tiles() const { return p.tiles.divisor * p.count; }
    DEVICE uint32_t steps(uint32_t index) const {
        uint32_t steps = (p.k + hopper::DEPTH - 1) / hopper::DEPTH;
        return min(p.steps_per_part, steps - quotient(index, p.tiles) * p.steps_per_part);
    }
    DEVICE Tile tile(uint32_t index) const {
        Tile tile;
        tile.part = quotient(index, p.tiles);
        index -= tile.part * p.tiles.divisor;
        TilePosition at = hopper::position<BLOCKS>(p.m, p.n, index);
        tile.row = at.row;
        tile.column = at.column;
        // Blocks beyond the last column are of taps that there are not, and their sums are stored nowhere.
        UNROLL for (int i = 0; i < COLUMN_BLOCKS; i++) {
            uint32_t block = at.column / 64 + first_block() + i, tap = quotient(block, p.blocks), y = quotient(tap, p.kernel);
            tile.channel[i] = (int32_t)((block - tap * p.blocks.divisor) * 64);
            tile.right[i] = (int32_t)(tap - y * p.kernel.divisor) - p.padding;
            tile.down[i] = (int32_t)y - p.padding;
        }
        return tile;
    }
    DEVICE void load(sptr<bf16> a, sptr<bf16> b, const Tile& tile, uint32_t step, sptr<uint64_t> full) const {
        uint32_t pixel = (tile.part * p.steps_per_part + step) * hopper::DEPTH;
        uint32_t image = quotient(pixel, p.pixels), within = pixel - image * p.pixels.divisor;
        uint32_t y = quotient(within, p.line), x = within - y * p.line.divisor;
        UNROLL for (int i = 0; i < hopper::TILE_M / 64; i++) {
            const int32_t from[2] = {(int32_t)tile.row + 64 * i, (int32_t)pixel};
            tensor_load(a + i * hopper::BLOCK, p.dy, from, full);
        }
        UNROLL for (int i = 0; i < COLUMN_BLOCKS; i++) {
            const int32_t from[4] = {tile.channel[i], (int32_t)x + tile.right[i], (int32_t)y + tile.down[i], (int32_t)image};
            hopper::load_for_all<BLOCKS>(b + (first_block() + i) * hopper::BLOCK, p.image, from, full);
        }
    }
    DEVICE static uint32_t first_block() { return hopper::rank<BLOCKS>() * COLUMN_BLOCKS; }
    DEVICE Output<bf16> output(const Tile& tile) const {
        Output<bf16> out{p.result.as<bf16>(), {}, p.parts.as<float>(), p.m, p.n, p.wide_result != 0};
        if (p.parts) out.parts += (uint64_t)tile.part * p.m * p.n;
        return out;
    }
};

KERNEL_BOUNDS(conv2d_bwd_weight_hopper_bf16, Conv2dWeightHopperParams, hopper::THREADS, 1) { hopper::product(Conv2dWeightHopperSource<1>{p}); }
KERNEL_CLUSTER(conv2d_bwd_weight_hopper_cluster_bf16, Conv2dWeightHopperParams, 2, hopper::THREADS, 1) {
    hopper::product(Conv2dWeightHopperSource<2>{p});
}

// conv2d_bwd_input_turn: y [in, taps, out] = w [out, taps, in] with the taps reversed. Blocks take 32 x 32 elements of
// a tap each, so that both are read and written along their rows.
struct Conv2dTurnParams {
    buffer w;
    buffer y;
    uint32_t outputs;
    uint32_t inputs;
    uint32_t taps;
    uint32_t unused;
};

KERNEL(conv2d_bwd_input_turn_bf16, Conv2dTurnParams) {
    constexpr uint32_t SIDE = 32, PITCH = SIDE + 2;
    SHARED(bf16, tile, SIDE * PITCH);
    auto w = p.w.as<const bf16>();
    auto y = p.y.as<bf16>();
    uint32_t across = (p.inputs + SIDE - 1) / SIDE, down = (p.outputs + SIDE - 1) / SIDE;
    for (uint32_t i = blockIdx.x; i < across * down * p.taps; i += gridDim.x) {
        uint32_t tap = i / (across * down), rest = i - tap * across * down;
        uint32_t output = rest / across * SIDE, input = rest % across * SIDE;
        for (uint32_t r = warp(); r < SIDE; r += warps()) {
            if (output + r < p.outputs && input + lane() < p.inputs)
                tile[r * PITCH + lane()] = w[((uint64_t)(output + r) * p.taps + tap) * p.inputs + input + lane()];
        }
        __syncthreads();
        for (uint32_t r = warp(); r < SIDE; r += warps()) {
            if (input + r < p.inputs && output + lane() < p.outputs)
                y[((uint64_t)(input + r) * p.taps + (p.taps - 1 - tap)) * p.outputs + output + lane()] = tile[lane() * PITCH + r];
        }
        __syncthreads();
    }
}
