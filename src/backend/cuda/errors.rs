//! What the driver's error codes mean to a person.

use cudarc::driver::DriverError;
use cudarc::driver::sys::CUresult;

use crate::error::Error;

/// The driver's own words.
pub(super) fn text(error: DriverError) -> String {
    let name = error.error_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_else(|_| "?".into());
    let words = error.error_string().map(|words| words.to_string_lossy().into_owned()).unwrap_or_default();
    format!("{name} ({words})")
}

/// The error of a call that did `what`, which is put into words only when it is needed.
pub(super) fn failed(what: impl FnOnce() -> String) -> impl FnOnce(DriverError) -> Error {
    move |error| Error::Driver { what: blamed(error.0, what()), why: text(error) }
}

/// What failed: a kernel's fault comes to light in some later call, and in every call from then on.
fn blamed(code: CUresult, what: String) -> String {
    use CUresult::*;
    match code {
        CUDA_ERROR_ILLEGAL_ADDRESS
        | CUDA_ERROR_LAUNCH_TIMEOUT
        | CUDA_ERROR_ASSERT
        | CUDA_ERROR_HARDWARE_STACK_ERROR
        | CUDA_ERROR_ILLEGAL_INSTRUCTION
        | CUDA_ERROR_MISALIGNED_ADDRESS
        | CUDA_ERROR_INVALID_ADDRESS_SPACE
        | CUDA_ERROR_INVALID_PC
        | CUDA_ERROR_LAUNCH_FAILED
        | CUDA_ERROR_ECC_UNCORRECTABLE => format!(
            "a launch before this failed, and the GPU is lost to this process (seen while {what}; set VERIDICAL_SYNC=1 to learn \
             which launch)"
        ),
        _ => what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernels_fault_is_not_put_on_the_call_that_meets_it() {
        let what = || "allocating 8 bytes".to_string();
        let lost = blamed(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS, what());
        assert!(lost.contains("a launch before this failed") && lost.contains("VERIDICAL_SYNC=1"), "{lost}");
        assert_eq!(blamed(CUresult::CUDA_ERROR_INVALID_VALUE, what()), "allocating 8 bytes");
    }
}
