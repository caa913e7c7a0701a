//! What a device can do at most, measured: arithmetic between registers, and copies that no cache can hold.

use std::time::Instant;

use super::cpu::ceiling as cpu;
use super::dtype::DType;
use super::gpu::{Gpu, Launch};
use super::params::CeilingParams;
use crate::error::{Error, Result};

/// The rates that the kernels' own instructions reach on a device when nothing else holds them up; data that are still
/// in a cache can be faster.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ceiling {
    /// Operations per second in f32 (a multiply-add is two), from registers.
    pub f32: f64,
    /// The same with bf16 operands and f32 sums: on a GPU the tensor cores' by `mma.sync` (Hopper has faster
    /// instructions, which large products use), on a CPU that of its instruction for tiles or pairs of bf16, or the f32
    /// rate where it has none.
    pub bf16: f64,
    /// Bytes per second, read plus written, of a large copy.
    pub bytes: f64,
}

impl Ceiling {
    /// Measures this machine's processors once; takes some tenths of a second, so that a benchmark can repeat it
    /// between its cases, as clocks and neighbours change.
    pub fn of_cpu() -> Result<Ceiling> {
        // More threads than processors raise no ceiling, and each copies between buffers of its own.
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = rayon::current_num_threads().min(processors);
        let f32 = 1e9 * cpu::multiply_add_gflops(threads, 5)?;
        let bf16 = cpu::bf16_gflops(threads, 5)?.map_or(f32, |rate| 1e9 * rate);
        Ok(Ceiling { f32, bf16, bytes: 1e9 * cpu::copy_gbytes_per_second(threads, COPY_CPU, 3)? })
    }

    /// As [`of_cpu`](Self::of_cpu), of a GPU.
    pub fn of_gpu(gpu: &Gpu) -> Result<Ceiling> {
        Ok(Ceiling {
            f32: arithmetic(gpu, "ceiling_fwd_fma_f32", 8192, 8192)?,
            bf16: arithmetic(gpu, "ceiling_fwd_mma_bf16", 8192, 2048)?,
            bytes: copy(gpu)?,
        })
    }

    /// Operations per second in `dtype`. Errors for integers.
    pub fn operations(&self, dtype: DType) -> Result<f64> {
        match dtype {
            DType::F32 => Ok(self.f32),
            DType::BF16 => Ok(self.bf16),
            // Half as many fit a vector register. GPUs do not get here: they have no f64 kernels.
            DType::F64 => Ok(self.f32 / 2.0),
            DType::U32 => Err(Error::dtype("Ceiling::operations", "a floating-point dtype", dtype)),
        }
    }
}

/// Bytes per thread.
const COPY_CPU: usize = 64 << 20;
const COPY_GPU: usize = 512 << 20;
const COPIES: usize = 8;
const THREADS: u32 = 256;

/// Operations of one thread in one step: 16 multiply-adds, or a 32nd of four 16x8x16 products.
fn operations(kernel: &str) -> f64 {
    if kernel == "ceiling_fwd_fma_f32" { 16.0 * 2.0 } else { 4.0 * 2.0 * (16 * 8 * 16) as f64 / 32.0 }
}

fn arithmetic(gpu: &Gpu, kernel: &'static str, blocks: u32, steps: u64) -> Result<f64> {
    let threads = u64::from(blocks * THREADS);
    let out = gpu.allocate(threads as usize * size_of::<f32>())?;
    let params = CeilingParams { out: out.ptr(0), steps, factor: 0.999, step: 0.001 };
    let launch = Launch::blocks(kernel, [blocks, 1, 1], THREADS);
    // SAFETY: each thread writes one number of `out`, which is the only address and lives until the function ends.
    let seconds = fastest(gpu, || unsafe { gpu.launch(&launch, &params) })?;
    Ok(operations(kernel) * (threads * steps) as f64 / seconds)
}

fn copy(gpu: &Gpu) -> Result<f64> {
    let (mut from, mut to) = (gpu.allocate(COPY_GPU)?, gpu.allocate(COPY_GPU)?);
    from.zero()?;
    // Several in a row, so that starting them and waiting for them counts for little.
    let seconds = fastest(gpu, || (0..COPIES).try_for_each(|_| to.copy_from(0, &from, 0, COPY_GPU)))?;
    Ok(2.0 * (COPIES * COPY_GPU) as f64 / seconds)
}

/// Runs a kernel on one warp and looks at what it made: whether this build's machine code works on the device at all.
#[cfg(any(feature = "cuda", all(test, any(feature = "emulator", feature = "ptx"))))]
pub(super) fn probe(gpu: &Gpu) -> Result<()> {
    const KERNEL: &str = "ceiling_fwd_fma_f32";
    let out = gpu.allocate(32 * size_of::<f32>())?;
    // x <- 2x + 1 once from 1, 2, ..., 16, summed.
    let params = CeilingParams { out: out.ptr(0), steps: 1, factor: 2.0, step: 1.0 };
    // SAFETY: each of the 32 threads writes one number of `out`, which is the only address.
    unsafe { gpu.launch(&Launch::blocks(KERNEL, [1, 1, 1], 32), &params) }?;
    let mut sums = [0f32; 32];
    out.download(0, bytemuck::cast_slice_mut(&mut sums))?;
    if sums != [288.0; 32] {
        return Err(Error::Driver { what: KERNEL.into(), why: format!("it made {} instead of 288", sums[0]) });
    }
    Ok(())
}

/// The best of a few runs: launches, unlike the loops on a CPU, are hardly disturbed but may start late.
fn fastest(gpu: &Gpu, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    work()?;
    gpu.synchronize()?;
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        work()?;
        gpu.synchronize()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(any(feature = "emulator", feature = "ptx"))]
    use crate::tensor::Device;

    /// What runs the kernels on the CPU.
    #[cfg(any(feature = "emulator", feature = "ptx"))]
    fn gpus() -> impl Iterator<Item = Gpu> {
        let mut devices: Vec<Device> = Vec::new();
        #[cfg(feature = "emulator")]
        devices.push(Device::emulator().unwrap());
        // Without nvcc there is none.
        #[cfg(feature = "ptx")]
        devices.extend(Device::ptx().ok());
        devices.into_iter().filter_map(|device| if let Device::Gpu(gpu) = device { Some(gpu) } else { None })
    }

    #[test]
    fn a_cpu_has_ceilings() {
        let ceiling = Ceiling::of_cpu().unwrap();
        for rate in [ceiling.f32, ceiling.bf16, ceiling.bytes] {
            assert!(rate.is_finite() && rate > 1e8, "{rate}");
        }
        assert_eq!(ceiling.operations(DType::F64).unwrap(), ceiling.f32 / 2.0);
        assert!(ceiling.operations(DType::U32).is_err());
    }

    #[cfg(any(feature = "emulator", feature = "ptx"))]
    #[test]
    fn a_device_that_works_passes_the_probe() {
        gpus().for_each(|gpu| probe(&gpu).unwrap());
    }

    #[cfg(any(feature = "emulator", feature = "ptx"))]
    #[test]
    fn the_kernels_do_the_work_they_are_counted_for() {
        let run = |gpu: &Gpu, kernel, factor: f32, step: f32| {
            let out = gpu.allocate(64 * 4).unwrap();
            let params = CeilingParams { out: out.ptr(0), steps: 3, factor, step };
            // SAFETY: each of the 64 threads writes one number of `out`, which is the only address.
            unsafe { gpu.launch(&Launch::blocks(kernel, [2, 1, 1], 32), &params) }.unwrap();
            let mut sums = vec![0f32; 64];
            out.download(0, bytemuck::cast_slice_mut(&mut sums)).unwrap();
            sums
        };
        for gpu in gpus() {
            // x <- 2x + 1 three times from 1, 2, ..., 16: 8x + 7, summed.
            let sum = (1..=16).map(|x| (8 * x + 7) as f32).sum::<f32>();
            assert_eq!(run(&gpu, "ceiling_fwd_fma_f32", 2.0, 1.0), vec![sum; 64]);
            // Each element of each of the 4 products: 8 pairs (0.5, 0.25) against themselves, three times; 4 elements a
            // thread.
            assert_eq!(run(&gpu, "ceiling_fwd_mma_bf16", 0.5, 0.25), vec![4.0 * 4.0 * 3.0 * 8.0 * (0.25 + 0.0625); 64]);
        }
    }
}
