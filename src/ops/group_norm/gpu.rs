use super::{Gradients, Setting};
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::error::{Error, Result};
use crate::ops::kernel;
use crate::params;
use crate::tensor::{DType, Tensor};

params! {
    struct GroupNormParams {
        x: Ptr,
        gamma: Ptr,
        beta: Ptr,
        stats: Ptr,
        y: Ptr,
        dy: Ptr,
        dx: Ptr,
        partial: Ptr,
        pixels: u64,
        channels: u32,
        groups: u32,
        groups_per_block: u32,
        elements_per_load: u32,
        resident: u32,
        silu: u32,
        affine_f32: u32,
        eps: f32,
    }
}

params! {
    struct GroupNormAffineParams {
        partial: Ptr,
        dgamma: Ptr,
        dbeta: Ptr,
        images: u64,
        channels: u32,
        affine_f32: u32,
    }
}

pub fn forward(gpu: &Gpu, setting: &Setting, x: &Tensor, gamma: &Tensor, beta: &Tensor) -> Result<(Tensor, Tensor)> {
    let kernel = kernel!(setting.op, x.dtype(), "group_norm_fwd")?;
    let mut y = x.empty_like()?;
    let mut stats = Tensor::empty([setting.images, setting.groups, 2], DType::F32, &x.device())?;
    let (x_at, y_at) = (x.ptr()?, y.ptr_mut()?);
    let plan = Plan::forward(setting, x.dtype(), Ptr::all_wide(&[x_at, y_at]));
    let params = GroupNormParams { x: x_at, y: y_at, stats: stats.ptr_mut()?, ..plan.params(setting, gamma, beta)? };
    gpu.launch(&plan.launch(setting, kernel, plan.tile_bytes)?, &params)?;
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
    let (x_at, dy_at, dx_at) = (x.ptr()?, dy.ptr()?, gradients.x.ptr_mut()?);
    let plan = Plan::backward(setting, x.dtype(), Ptr::all_wide(&[x_at, dy_at, dx_at]));
    let params = GroupNormParams {
        x: x_at,
        dy: dy_at,
        dx: dx_at,
        stats: stats.ptr()?,
        partial: partial.ptr_mut()?,
        ..plan.params(setting, gamma, beta)?
    };
    gpu.launch(&plan.launch(setting, kernel, plan.backward_shared())?, &params)?;

    let params = GroupNormAffineParams {
        partial: partial.ptr()?,
        dgamma: gradients.gamma.ptr_mut()?,
        dbeta: gradients.beta.ptr_mut()?,
        images: setting.images as u64,
        channels: setting.channels as u32,
        affine_f32: (gamma.dtype() == DType::F32).into(),
    };
    let blocks = setting.channels.div_ceil(32) as u32;
    // One warp per image, up to what a block holds.
    let threads = 32 * setting.images.clamp(1, 32) as u32;
    gpu.launch(&Launch::blocks(affine_kernel, [blocks, 2, 1], threads), &params)?;
    Ok(gradients)
}

/// How an image is cut. It depends on the image and the dtype, not on the number of images: a picture's bits do not depend
/// on its batch.
struct Plan {
    groups_per_block: usize,
    elements_per_load: usize,
    threads: usize,
    resident: bool,
    /// Columns of `elements_per_load` channels in a block's strip.
    columns: usize,
    /// Shared memory for all tiles.
    tile_bytes: usize,
}

impl Plan {
    /// A strip's rows should fill two sectors of a cache line, and a strip be worth a block.
    const ROW: usize = 64;
    const STRIP: usize = 8 << 10;

    /// `x` alone is kept in shared memory.
    fn forward(setting: &Setting, dtype: DType, wide: bool) -> Self {
        Self::new(setting, dtype, 1, wide)
    }

    /// `x` and `dy` are kept in shared memory.
    fn backward(setting: &Setting, dtype: DType, wide: bool) -> Self {
        Self::new(setting, dtype, 2, wide)
    }

    fn new(setting: &Setting, dtype: DType, tiles: usize, wide: bool) -> Self {
        let (width, size) = (setting.width(), dtype.size());
        // What 99 KB of shared memory hold beside the sums; two such blocks fit an H100.
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
        let resident = bytes <= limit;
        let tile_bytes = if resident { bytes } else { 0 };
        Plan { groups_per_block, elements_per_load, threads, resident, columns, tile_bytes }
    }

    /// The part of the parameters that both directions share.
    fn params(&self, setting: &Setting, gamma: &Tensor, beta: &Tensor) -> Result<GroupNormParams> {
        let narrow = |count: usize| {
            u32::try_from(count)
                .map_err(|_| Error::argument(setting.op, format!("{count} channels are too many for a GPU")))
        };
        Ok(GroupNormParams {
            gamma: gamma.ptr()?,
            beta: beta.ptr()?,
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

    /// Shared memory of the backward kernel, laid out as there.
    fn backward_shared(&self) -> usize {
        let width = self.columns * self.elements_per_load;
        let side_by_side = self.columns.min(self.threads);
        let pitch = side_by_side * self.elements_per_load + 1;
        let sums = 4 * (2 * width + 2 * self.groups_per_block + 2 * (self.threads / side_by_side) * pitch);
        sums.next_multiple_of(16) + self.tile_bytes
    }
}
