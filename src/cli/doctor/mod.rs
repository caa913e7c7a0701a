//! `veridical doctor`: what there is to compute with, and whether it computes what it should.

mod check;
mod machine;

use std::path::PathBuf;
use std::time::Instant;

use check::Check;
use serde::Serialize;
use veridical::backend::inventory::{self, CudaKernels, GpuInfo};
use veridical::files::write_atomic;
use veridical::op_table::Row;
use veridical::{Device, Error, Result};

use super::output::{self, Form};
use super::{Ended, interrupt, say};

/// Show what there is to compute with, and try it: processors, GPUs, driver, and the kernels of this build.
///
/// On every device that there is (the CPU, the emulator if it is built in, each GPU) a few real kernels run, and are
/// held against the same operations in plain loops in f64. What is missing or fails is said with what to do about it.
/// The exit code is 1 if a device that should work does not, or gives wrong results; a GPU that is merely not there,
/// too old, or that this build has no kernels for is none.
#[derive(clap::Args)]
pub struct Args {
    /// Write what was found as JSON, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// How a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// Every kernel is right.
    Right,
    /// Some kernel is wrong.
    Wrong,
    /// It should work, and does not.
    Fails,
    /// It is there, but not for this build.
    Unused,
}

/// A device, and what became of the kernels on it.
#[derive(Debug, Serialize)]
struct Finding {
    device: String,
    state: State,
    checks: Vec<Check>,
    seconds: f64,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

pub fn run(args: Args) -> Result<Ended> {
    output::check([("--json", Form::Json, args.json.as_ref())])?;
    let driver = inventory::driver();
    let mut found = machine::describe(&driver);
    for line in machine::lines(&found) {
        say(&line)?;
    }
    let rows = check::rows();
    let mut findings = Vec::new();
    let mut find = |finding: Finding| -> Result<()> {
        say(&finding.line())?;
        findings.push(finding);
        Ok(())
    };
    find(Finding::of("cpu", Ok(Device::Cpu), &rows))?;
    if cfg!(feature = "emulator") {
        find(Finding::of("emulator", Device::emulator(), &rows))?;
    }
    for gpu in driver.iter().flat_map(|driver| &driver.gpus) {
        find(match unused(gpu, CudaKernels::of_this_build()) {
            Some(finding) => finding,
            None => Finding::of(&format!("cuda:{}", gpu.ordinal), Device::cuda(gpu.ordinal), &rows),
        })?;
    }
    let _writing = interrupt::writing();
    if let Some(path) = &args.json {
        found["devices"] = serde_json::to_value(&findings).map_err(|e| Error::argument("doctor", e.to_string()))?;
        write_atomic(path, format!("{found:#}\n").as_bytes())?;
    }
    verdict(&findings).map(|()| interrupt::ended())
}

/// Why a GPU that is there is not tried, if it is not.
fn unused(gpu: &GpuInfo, kernels: CudaKernels) -> Option<Finding> {
    let (why, advice) = match kernels.remedy() {
        _ if !gpu.is_new_enough() => {
            let (major, minor) = gpu.capability;
            let why = format!("compute capability {major}.{minor}; the kernels need 8.0 (Ampere) or newer");
            (why, "use the CPU (--device cpu)")
        }
        Some(remedy) => (format!("this build has no CUDA kernels ({kernels})"), remedy),
        None => return None,
    };
    Some(Finding {
        device: format!("cuda:{}", gpu.ordinal),
        state: State::Unused,
        checks: Vec::new(),
        seconds: 0.0,
        why: Some(why),
        advice: Some(advice.into()),
    })
}

impl Finding {
    /// What becomes of the rows on a device that should work.
    fn of(name: &str, device: Result<Device>, rows: &[Row]) -> Finding {
        let started = Instant::now();
        let checks = device.and_then(|device| check::run(rows, &device));
        let seconds = started.elapsed().as_secs_f64();
        let finding = |state, checks, why, advice| Finding { device: name.into(), state, checks, seconds, why, advice };
        let checks = match checks {
            Ok(checks) => checks,
            // The error says what to do.
            Err(error) => return finding(State::Fails, Vec::new(), Some(error.to_string()), None),
        };
        let wrong: Vec<&Check> = checks.iter().filter(|check| !check.right).collect();
        let Some(first) = wrong.first() else { return finding(State::Right, checks, None, None) };
        let off = first.off.map_or("NaN, infinite or of another size".into(), |off| format!("off by {off:.1e}"));
        let why = format!(
            "{} of {} kernels are wrong, such as {} {} in {}: {off}, where rounding explains {:.1e}",
            wrong.len(),
            checks.len(),
            first.op,
            first.case,
            first.dtype,
            first.allowed
        );
        let advice = match name {
            "cpu" => {
                "use nothing that it computes; try VERIDICAL_CPU_KERNEL=portable, and report it with the file of --json"
            }
            "emulator" => {
                "report it with the file of --json; the emulator is for tests, other devices are not touched by it"
            }
            _ => {
                "use nothing that it computes: take --device cpu, look for errors of its memory (nvidia-smi -q -d ECC), \
                 update the driver, and report it with the file of --json"
            }
        };
        finding(State::Wrong, checks, Some(why), Some(advice.into()))
    }

    fn line(&self) -> String {
        let Finding { device, state, checks, seconds, why, advice } = self;
        let said = match (state, why) {
            (State::Right, _) => {
                let share = |check: &Check| check.off.unwrap_or(0.0) / check.allowed;
                let most = checks.iter().map(share).fold(0.0, f64::max);
                let count = checks.len();
                format!(
                    "right: {count} kernels, off by at most {:.0}% of what rounding explains ({seconds:.1} s)",
                    100.0 * most
                )
            }
            (State::Unused, why) => format!("not used: {}", why.as_deref().unwrap_or_default()),
            (State::Wrong, why) => format!("WRONG: {}", why.as_deref().unwrap_or_default()),
            (State::Fails, why) => format!("FAILS: {}", why.as_deref().unwrap_or_default()),
        };
        let advice = advice.as_ref().map_or(String::new(), |advice| format!("; {advice}"));
        format!("{device:<13} {said}{advice}")
    }
}

/// Errors if a device that should work does not.
fn verdict(findings: &[Finding]) -> Result<()> {
    let named = |state: State, what: &str| {
        let devices: Vec<&str> =
            findings.iter().filter(|finding| finding.state == state).map(|finding| finding.device.as_str()).collect();
        (!devices.is_empty()).then(|| format!("{} {what}", devices.join(", ")))
    };
    let sick: Vec<String> = [named(State::Wrong, "computes wrong results"), named(State::Fails, "does not work")]
        .into_iter()
        .flatten()
        .collect();
    match sick.is_empty() {
        true => Ok(()),
        false => Err(Error::Device { op: "doctor", what: format!("{}; see above", sick.join("; ")) }),
    }
}

#[cfg(test)]
mod tests {
    use veridical::op_table::input;
    use veridical::ops;

    use super::*;

    fn gpu(capability: (i32, i32)) -> GpuInfo {
        GpuInfo { ordinal: 2, name: "GPU".into(), capability, memory: 1 << 34, free: None }
    }

    #[test]
    fn a_gpu_that_this_build_does_not_use_is_no_fault() {
        let compiled = CudaKernels::Compiled { nvcc: "13.0.88", archs: "80" };
        assert!(unused(&gpu((8, 0)), compiled).is_none());
        let old = unused(&gpu((7, 0)), compiled).unwrap();
        assert_eq!(
            old.line(),
            "cuda:2        not used: compute capability 7.0; the kernels need 8.0 (Ampere) or newer; use the CPU (--device cpu)"
        );
        let without = unused(&gpu((9, 0)), CudaKernels::NoCompiler).unwrap();
        assert!(
            without.line().contains("no nvcc was found") && without.line().contains("set NVCC"),
            "{}",
            without.line()
        );
        verdict(&[old, without]).unwrap();
    }

    #[test]
    fn a_device_that_is_wrong_or_fails_is_an_error() {
        let wrong = Row::new("cube", vec![input(&[7])], |x| ops::mul(&x[0], &x[0]), |x| x[0].map(|x| x * x * x));
        let right = Finding::of("cpu", Ok(Device::Cpu), &check::rows());
        assert!(right.state == State::Right && right.line().contains("right: "), "{}", right.line());
        verdict(std::slice::from_ref(&right)).unwrap();

        let wrong = Finding::of("cuda:0", Ok(Device::Cpu), &[wrong]);
        assert_eq!(wrong.state, State::Wrong);
        for part in ["WRONG: 3 of 3 kernels", "cube [7] in f32: off by", "--device cpu", "ECC"] {
            assert!(wrong.line().contains(part), "{part} is not in {}", wrong.line());
        }
        let gone =
            Error::Unavailable { device: "cuda:1".into(), why: "the GPU has fallen off the bus; mend it".into() };
        let fails = Finding::of("cuda:1", Err(gone), &check::rows());
        assert!(
            fails.line().starts_with("cuda:1        FAILS: no cuda:1 device: the GPU has fallen"),
            "{}",
            fails.line()
        );
        assert_eq!(
            verdict(&[right, wrong, fails]).unwrap_err().to_string(),
            "doctor: cuda:0 computes wrong results; cuda:1 does not work; see above"
        );
    }
}
