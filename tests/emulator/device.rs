//! Devices under every schedule, and typed buffers on them.

use bytemuck::Pod;
use veridical::backend::gpu::{Gpu, GpuBuffer, KernelParams, Launch};
use veridical::backend::{EmulatorOptions, Order};
use veridical::{Device, Error};

use super::hardware;

/// Every kind of schedule, the shuffled one under several seeds, and both one worker and several.
pub const ORDERS: [Order; 6] = [
    Order::Early,
    Order::Late,
    Order::Shuffled(1),
    Order::Shuffled(2),
    Order::Shuffled(0xdead_beef),
    Order::Shuffled(u64::MAX),
];

pub fn device(order: Order) -> Gpu {
    Gpu::emulator(EmulatorOptions::default().order(order).workers(2)).unwrap()
}

/// One that lets races in shared memory happen, for what comes of them.
pub fn lenient(order: Order) -> Gpu {
    Gpu::emulator(EmulatorOptions::default().order(order).workers(2).races(false)).unwrap()
}

/// As [`device`], of a Hopper.
pub fn hopper(order: Order) -> Gpu {
    Gpu::emulator(EmulatorOptions::default().order(order).workers(2).hopper(true)).unwrap()
}

/// The same as [`devices`], where they are Hoppers.
pub fn hoppers() -> Vec<Gpu> {
    let mut devices: Vec<Gpu> = ORDERS.map(hopper).into();
    #[cfg(feature = "ptx")]
    if hardware::ptx().is_some() {
        let modules = veridical::backend::PtxModules::of_this_build().unwrap().hopper(true);
        if let Device::Gpu(gpu) = Device::ptx_of(&modules).unwrap() {
            devices.push(gpu);
        }
    }
    if cfg!(has_cuda_test_kernels) {
        let gpus = hardware::cuda().into_iter().filter_map(|device| match device {
            Device::Gpu(gpu) => gpu.hopper().map(|_| gpu),
            Device::Cpu => None,
        });
        devices.extend(gpus);
    }
    devices
}

/// The emulator under every order, the interpreter of PTX if it is built in, and the first GPU if the build holds the
/// test kernels for it (`VERIDICAL_TEST_KERNELS=1`).
pub fn devices() -> Vec<Gpu> {
    let mut devices: Vec<Gpu> = ORDERS.map(device).into();
    #[cfg(feature = "ptx")]
    if let Some(Device::Gpu(gpu)) = hardware::ptx() {
        devices.push(gpu);
    }
    if cfg!(has_cuda_test_kernels) {
        devices.extend(hardware::cuda().into_iter().filter_map(|device| match device {
            Device::Gpu(gpu) => Some(gpu),
            Device::Cpu => None,
        }));
    }
    devices
}

pub fn upload<T: Pod>(gpu: &Gpu, values: &[T]) -> GpuBuffer {
    gpu.upload(bytemuck::cast_slice(values)).unwrap()
}

pub fn download<T: Pod>(buffer: &GpuBuffer) -> Vec<T> {
    let mut values = vec![T::zeroed(); buffer.len() / size_of::<T>()];
    buffer.download(0, bytemuck::cast_slice_mut(&mut values)).unwrap();
    values
}

/// Starts a kernel. What the emulator is to refuse may be wrong on purpose.
pub fn start<P: KernelParams>(gpu: &Gpu, launch: &Launch, params: &P) -> Result<(), Error> {
    // SAFETY: the emulator checks every access; what also runs on a GPU is given buffers of its own, as large as the
    // kernel's file says.
    unsafe { gpu.launch(launch, params) }
}

pub fn launch(kernel: &'static str, blocks: u32, threads: u32) -> Launch {
    Launch::blocks(kernel, [blocks, 1, 1], threads)
}

/// The text of an error; the launch must have failed.
pub fn refusal(result: Result<(), Error>) -> String {
    result.expect_err("the launch should have been refused").to_string()
}

/// Small integers, so that every sum is exact in any order.
pub fn integers(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 + 13) % 61) as f32 - 30.0).collect()
}
