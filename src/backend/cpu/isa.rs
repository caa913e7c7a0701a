//! Which vector instructions the CPU kernels use, decided once when the program runs, and the one place where a kernel
//! is compiled for each.

use std::fmt;
use std::sync::OnceLock;

/// A level of vector instructions, from the one that every CPU has upwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// What the compiler assumes of every CPU of the architecture.
    Portable,
    /// 256-bit vectors with fused multiply-add.
    Avx2,
    /// 512-bit vectors.
    Avx512,
    /// The same with an instruction that multiplies pairs of bf16 and adds both products to an f32: products of bf16
    /// matrices at up to twice the rate. It takes numbers below 2^-126 for 0.
    Avx512Bf16,
}

impl Isa {
    /// Every level, lowest first.
    pub const ALL: [Isa; 4] = [Isa::Portable, Isa::Avx2, Isa::Avx512, Isa::Avx512Bf16];

    /// Whether this CPU can run it.
    pub fn is_supported(self) -> bool {
        match self {
            Isa::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                Isa::Avx2.is_supported()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 => Isa::Avx512.is_supported() && is_x86_feature_detected!("avx512bf16"),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// The level in use: what `VERIDICAL_CPU_KERNEL` (`avx512bf16`, `avx512`, `avx2` or `portable`) asks for,
    /// otherwise the best there is. A level that this CPU lacks, or a name that is none of these, is reported once on
    /// standard error and passed over.
    pub fn current() -> Isa {
        static CURRENT: OnceLock<Isa> = OnceLock::new();
        *CURRENT.get_or_init(|| {
            let wanted = std::env::var("VERIDICAL_CPU_KERNEL").ok();
            let (isa, complaint) = choose(wanted.as_deref(), Isa::is_supported);
            if let Some(complaint) = complaint {
                eprintln!("veridical: {complaint}");
            }
            isa
        })
    }
}

/// A loop too large for the compiler to inline as a closure of its own accord, which `Isa::run` relies on.
pub trait Kernel {
    /// Does the work. Must be `#[inline(always)]`, and so must what it calls.
    fn run(self);
}

impl Isa {
    /// Runs `f` compiled for this level, which the CPU must have. `f` and what it calls must be small enough to be
    /// inlined.
    #[inline]
    pub(crate) fn run<R>(self, f: impl FnOnce() -> R) -> R {
        debug_assert!(self.is_supported());
        match self {
            // SAFETY: the CPU has the level, as whoever chose it found out.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx512Bf16 => unsafe { with_avx512(f) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { with_avx2(f) },
            _ => f(),
        }
    }

    /// As [`run`](Self::run), for a [`Kernel`] of any size.
    #[inline]
    pub(crate) fn run_kernel<K: Kernel>(self, kernel: K) {
        debug_assert!(self.is_supported());
        match self {
            // SAFETY: the CPU has the level, as whoever chose it found out.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx512Bf16 => unsafe { kernel_with_avx512(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { kernel_with_avx2(kernel) },
            _ => kernel.run(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
fn with_avx512<R>(f: impl FnOnce() -> R) -> R {
    f()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<R>(f: impl FnOnce() -> R) -> R {
    f()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
fn kernel_with_avx512<K: Kernel>(kernel: K) {
    kernel.run();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn kernel_with_avx2<K: Kernel>(kernel: K) {
    kernel.run();
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Avx512Bf16 => "avx512bf16",
        })
    }
}

fn choose(wanted: Option<&str>, supported: impl Fn(Isa) -> bool) -> (Isa, Option<String>) {
    let best = Isa::ALL.into_iter().rev().find(|&isa| supported(isa)).unwrap_or(Isa::Portable);
    let Some(wanted) = wanted.map(str::trim).filter(|name| !name.is_empty()) else { return (best, None) };
    match Isa::ALL.into_iter().find(|isa| isa.to_string() == wanted) {
        Some(isa) if supported(isa) => (isa, None),
        Some(isa) => (best, Some(format!("VERIDICAL_CPU_KERNEL={isa}: this CPU has no {isa}; using {best}"))),
        None => (
            best,
            Some(format!("VERIDICAL_CPU_KERNEL={wanted}: expected avx512bf16, avx512, avx2 or portable; using {best}")),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_chooses_only_what_the_cpu_has() {
        let no_avx512 = |isa| isa < Isa::Avx512;
        assert_eq!(choose(None, no_avx512), (Isa::Avx2, None));
        assert_eq!(choose(Some("portable"), no_avx512), (Isa::Portable, None));
        assert_eq!(choose(Some(""), |_| true), (Isa::Avx512Bf16, None));
        assert_eq!(choose(Some("avx512"), |_| true), (Isa::Avx512, None));
        let (isa, complaint) = choose(Some("avx512"), no_avx512);
        assert_eq!(isa, Isa::Avx2);
        assert!(complaint.unwrap().contains("no avx512; using avx2"));
        let (isa, complaint) = choose(Some("sse9"), |_| true);
        assert_eq!(isa, Isa::Avx512Bf16);
        assert!(complaint.unwrap().contains("expected avx512bf16, avx512, avx2 or portable"));
    }
}
