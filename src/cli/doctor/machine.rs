//! What the machine has, and what this build has for it.

use serde_json::{Value, json};
use veridical::backend::cpu::Isa;
use veridical::backend::inventory::{CudaKernels, GpuDriver, features, memory, processor};
use veridical::files;

use crate::cli::version;

/// Version, commit, features and kernels of the build; processors, threads and memory of the machine; the driver.
pub fn describe(driver: &Result<GpuDriver, String>) -> Value {
    let kernels = CudaKernels::of_this_build();
    let compiled = match kernels {
        CudaKernels::Compiled { nvcc, archs } => json!({ "nvcc": nvcc, "archs": archs.split(',').collect::<Vec<_>>() }),
        _ => Value::Null,
    };
    let supported: Vec<String> = Isa::ALL.iter().filter(|isa| isa.is_supported()).map(Isa::to_string).collect();
    let gpus = |driver: &GpuDriver| -> Vec<Value> {
        let one = |gpu: &veridical::backend::inventory::GpuInfo| {
            let (major, minor) = gpu.capability;
            json!({
                "device": format!("cuda:{}", gpu.ordinal),
                "name": gpu.name,
                "compute_capability": format!("{major}.{minor}"),
                "memory": gpu.memory,
                "free": gpu.free,
            })
        };
        driver.gpus.iter().map(one).collect()
    };
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "commit": version::commit(),
        "features": features(),
        "cuda_kernels": compiled,
        "no_cuda_kernels": kernels.remedy().map(|remedy| format!("{kernels}; for a GPU {remedy}")),
        "system": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        "processor": processor(),
        "processors": std::thread::available_parallelism().ok().map(usize::from),
        "threads": rayon::current_num_threads(),
        "cpu_kernels": Isa::current().to_string(),
        "cpu_kernels_supported": supported,
        "memory": memory().map(|memory| json!({
            "total": memory.total,
            "available": memory.available,
            "limit": memory.limit,
        })),
        "driver": driver.as_ref().ok().map(|driver| json!({
            "cuda": format!("{}.{}", driver.cuda.0, driver.cuda.1),
            "kernel_module": kernel_module(),
        })),
        "no_driver": driver.as_ref().err(),
        "gpus": driver.as_ref().map_or(Vec::new(), gpus),
    })
}

/// The version of the driver's part in the kernel, as Linux has it.
fn kernel_module() -> Option<String> {
    let text = files::system("/proc/driver/nvidia/version")?;
    module_version(&text)
}

/// The first word that is a number with points.
fn module_version(text: &str) -> Option<String> {
    let number = |word: &&str| word.contains('.') && word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.lines().next()?.split_whitespace().find(number).map(String::from)
}

/// The same for a person.
pub fn lines(found: &Value) -> Vec<String> {
    let text = |key: &str| found[key].as_str().unwrap_or("unknown").to_string();
    let list = |value: &Value| {
        let words = value.as_array().map_or(&[][..], Vec::as_slice);
        words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    let number = |key: &str| found[key].as_u64().map_or("unknown".into(), |number| number.to_string());
    let kernels = match found["cuda_kernels"].as_object() {
        Some(kernels) => {
            format!("for {}, by nvcc {}", list(&kernels["archs"]), kernels["nvcc"].as_str().unwrap_or("?"))
        }
        None => text("no_cuda_kernels"),
    };
    let size = |value: &Value| value.as_u64().map_or("unknown".into(), gibibytes);
    let memory = &found["memory"];
    let limit = match memory["limit"].is_null() {
        true => String::new(),
        false => format!("; this process may have {}", size(&memory["limit"])),
    };
    let memory = match memory.is_null() {
        true => "unknown".into(),
        false => format!("{}, {} available{limit}", size(&memory["total"]), size(&memory["available"])),
    };
    let driver = match found["driver"]["cuda"].as_str() {
        Some(cuda) => {
            let module = found["driver"]["kernel_module"].as_str();
            format!("for CUDA {cuda}{}", module.map_or(String::new(), |module| format!(" (kernel module {module})")))
        }
        None => format!("none: {}; for a GPU install NVIDIA's driver", text("no_driver")),
    };
    let hidden = found["driver"].is_object() && found["gpus"].as_array().is_none_or(Vec::is_empty);
    let hidden = if hidden { ", which sees no GPU (CUDA_VISIBLE_DEVICES or a container may hide them)" } else { "" };
    let mut lines = vec![
        format!("veridical     {}, commit {}", text("version"), text("commit")),
        format!("features      {}", list(&found["features"])),
        format!("system        {}, {}", text("system"), text("processor")),
        format!("processors    {}, used by {} threads", number("processors"), number("threads")),
        format!("CPU kernels   {} (supported: {})", text("cpu_kernels"), list(&found["cpu_kernels_supported"])),
        format!("memory        {memory}"),
        format!("CUDA kernels  {kernels}"),
        format!("CUDA driver   {driver}{hidden}"),
    ];
    for gpu in found["gpus"].as_array().map_or(&[][..], Vec::as_slice) {
        let text = |key: &str| gpu[key].as_str().unwrap_or("unknown");
        let (capability, total, free) = (text("compute_capability"), size(&gpu["memory"]), size(&gpu["free"]));
        lines.push(format!(
            "{:<13} {}, compute capability {capability}, {total}, {free} free",
            text("device"),
            text("name")
        ));
    }
    lines
}

/// Bytes in units of 2^30.
fn gibibytes(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64)
}

#[cfg(test)]
mod tests {
    use veridical::backend::inventory::GpuInfo;

    use super::*;

    #[test]
    fn a_gpu_is_described() {
        let gpu =
            GpuInfo { ordinal: 1, name: "NVIDIA L4".into(), capability: (8, 9), memory: 24 << 30, free: Some(3 << 29) };
        let found = describe(&Ok(GpuDriver { cuda: (12, 4), gpus: vec![gpu] }));
        let said = lines(&found).join("\n");
        for part in ["for CUDA 12.4", "cuda:1        NVIDIA L4, compute capability 8.9, 24.0 GiB, 1.5 GiB free"] {
            assert!(said.contains(part), "{part} is not in {said}");
        }
        let none = describe(&Err("no CUDA driver library".into()));
        let line = "CUDA driver   none: no CUDA driver library; for a GPU install NVIDIA's driver";
        assert!(lines(&none).iter().any(|found| found == line));
        let empty = lines(&describe(&Ok(GpuDriver { cuda: (12, 4), gpus: Vec::new() }))).join("\n");
        assert!(empty.contains("CUDA driver   for CUDA 12.4") && empty.contains("sees no GPU"), "{empty}");
        assert_eq!(none["gpus"], json!([]));
    }

    /// What drivers of two kinds write.
    #[test]
    fn the_kernel_module_is_found() {
        let closed = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\nGCC version:  gcc 12\n";
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\n";
        assert_eq!(module_version(closed).as_deref(), Some("550.54.15"));
        assert_eq!(module_version(open).as_deref(), Some("570.86.15"));
        assert_eq!(module_version(""), None);
    }
}
