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
