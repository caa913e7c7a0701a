use super::{Gradients, Setting};
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::backend::params::{GroupNormAffineParams, GroupNormParams};
use crate::backend::shared_memory::MOST;
use crate::error::{Error, Result};
use crate::ops::{kernel, start};
use crate::tensor::{DType, Tensor};

pub fn forward(gpu: &Gpu, setting: &Setting, x: &Tensor, gamma: &Tensor, beta: &Tensor) -> Result<(Tensor, Tensor)> {
    let kernel = kernel!(setting.op, x.dtype(), "group_norm_fwd")?;
    let mut y = x.empty_like()?;
    let mut stats = Tensor::empty([setting.images, setting.groups, 2], DType::F32, &x.device())?;
    let (x_at, y_at) = (x.ptr(gpu)?, y.ptr_mut(gpu)?);
    let plan = Plan::forward(setting, x.dtype(), Ptr::all_wide(&[x_at, y_at]));
    let params =
        GroupNormParams { x: x_at, y: y_at, stats: stats.ptr_mut(gpu)?, ..plan.params(gpu, setting, gamma, beta)? };
    start(gpu, &plan.launch(setting, kernel, plan.tile_bytes)?, &params)?;
    Ok((y, stats))
}

pub fn backward(
    gpu: &Gpu,
    setting: &Setting,
    dy: &Tensor,
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    stats: &Tensor,
) -> Result<Gradients> {
    let kernel = kernel!(setting.op, x.dtype(), "group_norm_bwd")?;
    let affine_kernel = kernel!(setting.op, x.dtype(), "group_norm_bwd_affine")?;
    let mut gradients = Gradients { x: x.empty_like()?, gamma: gamma.empty_like()?, beta: beta.empty_like()? };
    let mut partial = Tensor::empty([setting.images, 2, setting.channels], DType::F32, &x.device())?;
    let (x_at, dy_at, dx_at) = (x.ptr(gpu)?, dy.ptr(gpu)?, gradients.x.ptr_mut(gpu)?);
    let plan = Plan::backward(setting, x.dtype(), Ptr::all_wide(&[x_at, dy_at, dx_at]))?;
    let params = GroupNormParams {
        x: x_at,
        dy: dy_at,
        dx: dx_at,
        stats: stats.ptr(gpu)?,
        partial: partial.ptr_mut(gpu)?,
        ..plan.params(gpu, setting, gamma, beta)?
    };
    start(gpu, &plan.launch(setting, kernel, plan.sums + plan.tile_bytes)?, &params)?;

    let params = GroupNormAffineParams {
        partial: partial.ptr(gpu)?,
        dgamma: gradients.gamma.ptr_mut(gpu)?,
        dbeta: gradients.beta.ptr_mut(gpu)?,
        images: setting.images as u64,
        channels: setting.channels as u32,
        affine_f32: (gamma.dtype() == DType::F32).into(),
    };
    let blocks = setting.channels.div_ceil(32) as u32;
    // One warp per image, up to what a block holds.
    let threads = 32 * setting.images.clamp(1, 32) as u32;
    start(gpu, &Launch::blocks(affine_kernel, [blocks, 2, 1], threads), &params)?;
    Ok(gradients)
}

/// How an image is cut. It depends on the image and the dtype, not on the number of images: a picture's bits do not
/// depend on its batch.
struct Plan {
    groups_per_block: usize,
    elements_per_load: usize,
    threads: usize,
    resident: bool,
    /// Columns of `elements_per_load` channels in a block's strip.
    columns: usize,
    /// Shared memory for sums: dynamic in the backward kernel, static in the forward one.
    sums: usize,
    /// Shared memory for all tiles.
    tile_bytes: usize,
}

impl Plan {
    /// A strip's rows should fill two sectors of a cache line, and a strip be worth a block.
    const ROW: usize = 64;
    const STRIP: usize = 8 << 10;
    /// Two arrays of 1024 floats.
    const FORWARD_SUMS: usize = 8 << 10;

    /// `x` alone is kept in shared memory.
    fn forward(setting: &Setting, dtype: DType, wide: bool) -> Self {
        Self::new(setting, dtype, 1, wide)
    }

    /// `x` and `dy` are kept in shared memory. Errors if a group has more channels than have room for their sums.
    fn backward(setting: &Setting, dtype: DType, wide: bool) -> Result<Self> {
        let plan = Self::new(setting, dtype, 2, wide);
        if plan.sums <= MOST {
            return Ok(plan);
        }
        let (width, sums) = (setting.width(), plan.sums);
        let what = format!(
            "a group of {width} channels needs {sums} bytes of shared memory for its gradient, and a GPU has {MOST}: use \
             more groups"
        );
        Err(Error::argument(setting.op, what))
    }

    fn new(setting: &Setting, dtype: DType, tiles: usize, wide: bool) -> Self {
        let (width, size) = (setting.width(), dtype.size());
        // For tiles of several groups: what leaves room for the sums.
        let limit = if tiles == 1 { 88 << 10 } else { 72 << 10 };
        let most_threads = if tiles == 1 { 512 } else { 256 };
        let loads = if wide { [16 / size, 8 / size, 1] } else { [1; 3] };
        let elements_per_load = loads.into_iter().find(|&load| width.is_multiple_of(load)).unwrap_or(1);
        let row = |groups: usize| groups * width * size;
        let columns = |groups: usize| groups * width / elements_per_load;

        let mut groups_per_block = 1;
        for groups in (2..=setting.groups).filter(|&groups| setting.groups.is_multiple_of(groups)) {
            let enough = row(groups_per_block) >= Self::ROW && setting.pixels * row(groups_per_block) >= Self::STRIP;
            let fits = tiles * setting.pixels * row(groups) <= limit && columns(groups) <= 128;
            if enough || !fits {
                break;
            }
            groups_per_block = groups;
        }
        let columns = columns(groups_per_block);
        let threads = match setting.pixels * columns {
            4096.. => most_threads,
            1024.. => 256,
            _ => 128,
        };
        let bytes = tiles * setting.pixels * row(groups_per_block);
        let plan =
            Plan { groups_per_block, elements_per_load, threads, resident: false, columns, sums: 0, tile_bytes: 0 };
        let sums = if tiles == 1 { Self::FORWARD_SUMS } else { plan.backward_sums() };
        let resident = sums + bytes <= MOST;
        Plan { resident, sums, tile_bytes: if resident { bytes } else { 0 }, ..plan }
    }

    /// The part of the parameters that both directions share.
    fn params(&self, gpu: &Gpu, setting: &Setting, gamma: &Tensor, beta: &Tensor) -> Result<GroupNormParams> {
        let narrow = |count: usize| {
            u32::try_from(count)
                .map_err(|_| Error::argument(setting.op, format!("{count} channels are too many for a GPU")))
        };
        Ok(GroupNormParams {
            gamma: gamma.ptr(gpu)?,
            beta: beta.ptr(gpu)?,
            pixels: setting.pixels as u64,
            channels: narrow(setting.channels)?,
            groups: narrow(setting.groups)?,
            groups_per_block: narrow(self.groups_per_block)?,
            elements_per_load: narrow(self.elements_per_load)?,
            resident: self.resident.into(),
            silu: setting.silu.into(),
            affine_f32: (gamma.dtype() == DType::F32).into(),
            eps: setting.eps as f32,
            ..bytemuck::Zeroable::zeroed()
        })
    }

    fn launch(&self, setting: &Setting, kernel: &'static str, shared: usize) -> Result<Launch> {
        let blocks = setting.images * (setting.groups / self.groups_per_block);
        let blocks = i32::try_from(blocks)
            .map_err(|_| Error::argument(setting.op, format!("{blocks} groups in one batch are too many for a GPU")))?;
        Ok(Launch::blocks(kernel, [blocks as u32, 1, 1], self.threads as u32).shared(shared))
    }

    /// Shared memory that the backward kernel has before its tiles, laid out as there.
    fn backward_sums(&self) -> usize {
        let width = self.columns * self.elements_per_load;
        let side_by_side = self.columns.min(self.threads);
        let pitch = side_by_side * self.elements_per_load + 1;
        let sums = 4 * (2 * width + 2 * self.groups_per_block + 2 * (self.threads / side_by_side) * pitch);
        sums.next_multiple_of(16)
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    fn setting(pixels: usize, channels: usize, groups: usize) -> Setting {
        Setting { op: "group_norm", images: 1, pixels, channels, groups, eps: 1e-5, silu: false }
    }

    #[test]
    fn every_plan_fits_every_gpu_or_says_why_not() {
        for pixels in [1, 2, 3, 16, 49, 64, 256, 1024, 4096] {
            for (channels, groups) in
                [(1, 1), (6, 2), (25, 1), (64, 16), (384, 32), (1024, 1), (2048, 2), (8000, 1), (9000, 1), (30_000, 1)]
            {
                for dtype in [DType::F32, DType::BF16] {
                    for wide in [false, true] {
                        let setting = setting(pixels, channels, groups);
                        let plan = Plan::forward(&setting, dtype, wide);
                        assert!(plan.sums + plan.tile_bytes <= MOST);
                        match Plan::backward(&setting, dtype, wide) {
                            Ok(plan) => assert!(plan.sums + plan.tile_bytes <= MOST && channels < 30_000),
                            Err(error) => {
                                assert_eq!(channels, 30_000);
                                assert!(error.to_string().contains("30000 channels"), "{error}");
                            }
                        }
                    }
                }
            }
        }
        // The sums alone leave no room for tiles that would fit by themselves.
        assert!(!Plan::backward(&setting(1, 8000, 1), DType::BF16, true).unwrap().resident);
        assert!(Plan::backward(&setting(64, 64, 16), DType::BF16, true).unwrap().resident);
    }
}
