//! What there is to do in a launch: operations, bytes and instructions, by the kernel's parameters.

use super::work::Work;
use super::{loops, products};
use crate::backend::gpu::{Launch, Ptr};
use crate::backend::params::{
    AdamParams, ArithmeticParams, AverageParams, BatchNormParams, CastParams, ConcatParams, Conv2dTurnParams,
    CrossEntropyMeanParams, CrossEntropyParams, DropoutParams, ElementwiseParams, EmbeddingParams, FlattenParams,
    FrequencyEmbeddingParams, GradientNormParams, GroupNormAffineParams, GroupNormParams, GumbelSoftmaxParams,
    L2NormalizeParams, LayerNormAffineParams, LayerNormParams, PermuteParams, PermuteTileParams, Pool2dParams,
    RandomParams, ReduceParams, ResampleParams, SgdParams, SoftmaxParams, SolverUpdateParams, SumPartsParams,
};

/// Bytes of an element by a kernel's name.
fn size(kernel: &str) -> f64 {
    if kernel.ends_with("_bf16") { 2.0 } else { 4.0 }
}

/// What there is to do for a kernel whose parameter struct is called `of`.
pub(super) fn of(launch: &Launch, of: &str, params: &[u8], buffers: &[(&'static str, usize)]) -> Work {
    let blocks = launch.grid.iter().map(|&n| f64::from(n)).product();
    match of {
        "MatmulParams" => products::matmul(launch, &read(params)),
        "Conv2dParams" => products::conv2d(launch, &read(params)),
        "MatmulFewParams" => products::matmul_few(launch, &read(params)),
        "MatmulHopperParams" => products::matmul_hopper(launch, &read(params)),
        "Conv2dWeightHopperParams" => products::conv2d_weight_hopper(launch, &read(params)),
        "Conv2dHopperParams" => products::conv2d_hopper(launch, &read(params)),
        "AttentionParams" => products::attention(launch, &read(params)),
        "ContrastiveParams" => products::contrastive(launch, &read(params)),
        "ContrastiveKeysParams" => products::contrastive_keys(launch, &read(params)),
        _ => match stream(launch, of, params) {
            Some((elements, bytes)) => {
                // Thirty-two elements are an instruction of a warp.
                let instructions = elements * loops::per_element(launch.kernel) / 32.0;
                Work { bytes, instructions, blocks, ..Work::default() }
            }
            None => {
                let bytes = buffers.iter().map(|(_, bytes)| *bytes as f64).sum();
                Work { bytes, blocks, assumed: true, ..Work::default() }
            }
        },
    }
}

/// The struct of which these are the bytes.
fn read<P: bytemuck::Pod>(params: &[u8]) -> P {
    bytemuck::try_pod_read_unaligned(params).unwrap_or_else(|_| P::zeroed())
}

/// One for each buffer that is there.
fn present<const N: usize>(buffers: [Ptr; N]) -> f64 {
    buffers.iter().filter(|buffer| !buffer.is_null()).count() as f64
}

fn product(extents: &[u64]) -> f64 {
    extents.iter().map(|&extent| extent as f64).product()
}

/// Elements that a kernel without a product goes over, and the bytes that it moves for them.
fn stream(launch: &Launch, of: &str, params: &[u8]) -> Option<(f64, f64)> {
    let (kernel, size) = (launch.kernel, size(launch.kernel));
    let moved = |elements: f64, tensors: f64| (elements, elements * tensors * size);
    Some(match of {
        "AdamParams" => {
            let p: AdamParams = read(params);
            let each = 24.0 + 8.0 * present([p.ema]) + 2.0 * present([p.copy]) + size;
            (p.n as f64, p.n as f64 * each)
        }
        "Conv2dTurnParams" => {
            let p: Conv2dTurnParams = read(params);
            moved(product(&[p.outputs.into(), p.inputs.into(), p.taps.into()]), 2.0)
        }
        "SgdParams" => {
            let p: SgdParams = read(params);
            let each = 8.0 + 8.0 * present([p.momentum, p.squares, p.ema]) + 2.0 * present([p.copy]) + size;
            (p.n as f64, p.n as f64 * each)
        }
        "AverageParams" => {
            let p: AverageParams = read(params);
            (p.n as f64, 12.0 * p.n as f64)
        }
        "ArithmeticParams" => {
            let p: ArithmeticParams = read(params);
            // What stands along an axis for all is read from a cache.
            let distinct = |at: Ptr, strides: [u64; 5]| {
                let own = p.extents.iter().zip(strides).filter(|(_, stride)| *stride > 0).map(|(extent, _)| *extent);
                let elements = if p.contiguous == 1 { p.n as f64 } else { own.map(|extent| extent as f64).product() };
                elements * present([at])
            };
            let read = distinct(p.a, p.a_strides) + distinct(p.b, p.b_strides);
            (p.n as f64, (p.n as f64 + read) * size)
        }
        "ElementwiseParams" => {
            let p: ElementwiseParams = read(params);
            moved(p.n as f64, present([p.dy, p.x, p.y]))
        }
        "CastParams" => {
            let p: CastParams = read(params);
            (p.n as f64, 6.0 * p.n as f64)
        }
        "ConcatParams" => {
            let p: ConcatParams = read(params);
            let elements = |width: u64| product(&[p.rows, width]);
            let moves = p.x.iter().zip(p.width).map(|(&x, width)| elements(width) * present([x, p.y])).sum::<f64>();
            (p.width.into_iter().map(elements).sum(), moves * size)
        }
        "DropoutParams" => {
            let p: DropoutParams = read(params);
            moved(product(&[p.rows, p.len]), 2.0)
        }
        "EmbeddingParams" => {
            let p: EmbeddingParams = read(params);
            moved(product(&[p.n, p.width]), present([p.table, p.y]))
        }
        "FlattenParams" => {
            let p: FlattenParams = read(params);
            let elements = p.count.iter().map(|&count| count as f64).sum();
            (elements, elements * (size + if p.add == 1 { 8.0 } else { 4.0 }))
        }
        "FrequencyEmbeddingParams" => {
            let p: FrequencyEmbeddingParams = read(params);
            moved(product(&[p.n, p.half]), 2.0)
        }
        "GradientNormParams" => {
            let p: GradientNormParams = read(params);
            (p.n as f64, p.n as f64 * if p.gradient.is_null() { 8.0 } else { size })
        }
        "RandomParams" => {
            let p: RandomParams = read(params);
            moved(product(&[p.rows, p.len]), 1.0)
        }
        "SolverUpdateParams" => {
            let p: SolverUpdateParams = read(params);
            moved(product(&[p.rows, p.len]), present([p.x, p.d, p.y]))
        }
        "PermuteParams" => {
            let p: PermuteParams = read(params);
            let each = if p.wide == 1 { 16.0 } else { size };
            (p.n as f64, 2.0 * p.n as f64 * each)
        }
        "PermuteTileParams" => {
            let p: PermuteTileParams = read(params);
            moved(product(&[p.rows, p.columns]) * product(&p.batch), 2.0)
        }
        "Pool2dParams" => {
            let p: Pool2dParams = read(params);
            let (from, to) = (f64::from(p.height * p.width), f64::from(p.out_height * p.out_width));
            let taps = to * 4.0 * present([p.taps]);
            let images = p.images as f64 * f64::from(p.channels);
            (images * from, images * ((from + to) * size + taps))
        }
        "ResampleParams" => {
            let p: ResampleParams = read(params);
            let pixels = f64::from(p.from[0] * p.from[1]) + f64::from(p.to[0] * p.to[1]);
            moved(p.n as f64 * pixels * f64::from(p.c), 1.0)
        }
        "SumPartsParams" => {
            let p: SumPartsParams = read(params);
            let elements = product(&[p.size, p.batch]);
            (elements, elements * (4.0 * p.count as f64 + size))
        }
        "ReduceParams" => {
            let p: ReduceParams = read(params);
            let elements = product(&[p.outer, p.n, p.inner]);
            let sums = product(&[p.outer, p.n.div_ceil(p.rows.max(1)), p.inner]);
            // The two passes of a long sum have f32 between them.
            let from = if kernel.contains("_final") { 4.0 } else { size };
            let to = if kernel.contains("_partial") { 4.0 } else { size };
            (elements, elements * from + sums * to)
        }
        _ => return normalised(launch, of, params),
    })
}

/// As [`stream`], of the kernels that go over rows or groups.
fn normalised(launch: &Launch, of: &str, params: &[u8]) -> Option<(f64, f64)> {
    let size = size(launch.kernel);
    let moved = |elements: f64, tensors: f64| (elements, elements * tensors * size);
    Some(match of {
        "GroupNormParams" => {
            let p: GroupNormParams = read(params);
            let images = f64::from(launch.grid[0]) * f64::from(p.groups_per_block) / f64::from(p.groups.max(1));
            let elements = images * p.pixels as f64 * f64::from(p.channels);
            // What does not fit shared memory is read again in each pass.
            let tensors = match (p.dy.is_null(), p.resident == 1) {
                (true, true) => 2.0,
                (true, false) => 4.0,
                (false, true) => 3.0,
                (false, false) => 5.0,
            };
            moved(elements, tensors)
        }
        "GroupNormAffineParams" => {
            let p: GroupNormAffineParams = read(params);
            let elements = 2.0 * p.images as f64 * f64::from(p.channels);
            (elements, 4.0 * elements)
        }
        "LayerNormParams" => {
            let p: LayerNormParams = read(params);
            moved(p.rows as f64 * f64::from(p.channels), if p.dy.is_null() { 2.0 } else { 3.0 })
        }
        "LayerNormAffineParams" => {
            let p: LayerNormAffineParams = read(params);
            match launch.kernel.contains("_join_") {
                true => moved(f64::from(p.chunks) * f64::from(p.channels), 8.0 / size),
                false => moved(p.rows as f64 * f64::from(p.channels), 2.0),
            }
        }
        "BatchNormParams" => {
            let p: BatchNormParams = read(params);
            let tensors = present([p.x, p.y, p.dy]);
            moved(p.rows as f64 * f64::from(p.channels), tensors)
        }
        "SoftmaxParams" => {
            let p: SoftmaxParams = read(params);
            moved(product(&[p.rows, p.columns]), if p.dy.is_null() { 2.0 } else { 3.0 })
        }
        "GumbelSoftmaxParams" => {
            let p: GumbelSoftmaxParams = read(params);
            moved(p.rows as f64 * f64::from(p.len), present([p.x, p.noise, p.soft, p.y, p.dy]))
        }
        "L2NormalizeParams" => {
            let p: L2NormalizeParams = read(params);
            moved(product(&[p.rows, p.columns]), present([p.x, p.dy, p.y]))
        }
        "CrossEntropyParams" => {
            let p: CrossEntropyParams = read(params);
            moved(product(&[p.rows, p.columns]), if p.dx.is_null() { 1.0 } else { 2.0 })
        }
        "CrossEntropyMeanParams" => {
            let p: CrossEntropyMeanParams = read(params);
            (p.rows as f64, 4.0 * p.rows as f64)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those that are taken to move all that they are given, which for them is near the truth.
    #[cfg(not(has_cuda_test_kernels))]
    const WHOLE_BUFFERS: [&str; 7] = [
        "CategoricalParams",
        "CeilingParams",
        "ContrastiveJoinParams",
        "ContrastiveLossParams",
        "ContrastiveSumParams",
        "GumbelRaoParams",
        "MultinomialParams",
    ];

    #[cfg(not(has_cuda_test_kernels))] // whose structs nobody predicts
    #[test]
    fn every_kernel_has_a_rule_or_is_known_to_have_none() {
        use crate::backend::kernels::KERNELS;
        let launch = |kernel| Launch::blocks(kernel, [3, 1, 1], 32);
        let assumed = KERNELS.iter().filter(|kernel| of(&launch(kernel.name), kernel.params, &[], &[]).assumed);
        let found: std::collections::BTreeSet<&str> = assumed.map(|kernel| kernel.params).collect();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), WHOLE_BUFFERS);
    }

    #[test]
    fn what_has_no_rule_moves_its_buffers() {
        let work = of(&Launch::blocks("ceiling_fwd_fma_f32", [3, 1, 1], 32), "CeilingParams", &[], &[("out", 384)]);
        assert_eq!(work, Work { bytes: 384.0, blocks: 3.0, assumed: true, ..Work::default() });
    }
}
