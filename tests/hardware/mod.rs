//! The devices of this machine: the GPU for tests that use one where there is one, and the interpreter of PTX where
//! nvcc has made some.
#![allow(dead_code)] // no test needs all of it

use veridical::Device;

/// The first GPU; `None` where there is none. With `VERIDICAL_GPU=required`, as on a machine that is there to test on
/// it, that is a failure.
pub fn cuda() -> Option<Device> {
    match Device::cuda(0) {
        Ok(device) => Some(device),
        Err(error) if std::env::var_os("VERIDICAL_GPU").is_some_and(|value| value == "required") => {
            panic!("VERIDICAL_GPU=required: {error}")
        }
        Err(error) => {
            println!("not on a GPU: {error}");
            None
        }
    }
}

/// The CPU, the emulator and the interpreter of PTX if they are built in, and the first GPU if there is one.
pub fn devices() -> Vec<Device> {
    let mut devices = vec![Device::Cpu];
    #[cfg(feature = "emulator")]
    devices.push(Device::emulator().unwrap());
    #[cfg(feature = "ptx")]
    devices.extend(ptx());
    devices.extend(cuda());
    devices
}

/// The interpreter of what nvcc made of the kernels, or of what `VERIDICAL_PTX` names, always the same one; `None` in a
/// build without nvcc. With `VERIDICAL_CUDA=required`, as in `.ci/run`, that is a failure, and so is a folder that is
/// named and has none.
#[cfg(feature = "ptx")]
pub fn ptx() -> Option<Device> {
    static DEVICE: std::sync::LazyLock<veridical::Result<Device>> = std::sync::LazyLock::new(Device::ptx);
    match &*DEVICE {
        Ok(device) => Some(device.clone()),
        Err(error) if std::env::var_os("VERIDICAL_CUDA").is_some_and(|value| value == "required") => {
            panic!("VERIDICAL_CUDA=required: {error}")
        }
        Err(error) if std::env::var_os("VERIDICAL_PTX").is_some_and(|folder| !folder.is_empty()) => {
            panic!("{error}")
        }
        Err(error) => {
            println!("not as PTX: {error}");
            None
        }
    }
}
