//! Which vector instructions the CPU kernels use, decided once when the program runs, and the one place where a kernel
//! is compiled for each.

use std::fmt;
use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
use super::amx;

/// A level of vector instructions, from the one that every CPU has upwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// What the compiler assumes of every CPU of the architecture.
    Portable,
    /// 128-bit vectors with fused multiply-add, which every 64-bit Arm has.
    Neon,
    /// 256-bit vectors with fused multiply-add.
    Avx2,
    /// 512-bit vectors.
    Avx512,
    /// The same with an instruction that multiplies pairs of bf16 and adds both products to an f32: products of bf16
    /// matrices at up to twice the rate. It takes numbers below 2^-126 for 0.
    Avx512Bf16,
    /// The same with tiles (AMX) for products of bf16 matrices: several times the rate again. It takes numbers
    /// below 2^-126 for 0, and Linux has to grant it.
    Amx,
}

impl Isa {
    /// Every level, lowest first.
    pub const ALL: [Isa; 6] = [Isa::Portable, Isa::Neon, Isa::Avx2, Isa::Avx512, Isa::Avx512Bf16, Isa::Amx];

    /// Whether this CPU can run it, and the system lets it. Tests can also run what is modelled (`amx::model`).
    pub fn is_supported(self) -> bool {
        #[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
        if self == Isa::Amx && Isa::Avx512.is_supported() && amx::model::stands_in() {
            return true;
        }
        self.lack().is_none()
    }

    /// Why this machine cannot run it, if it cannot.
    fn lack(self) -> Option<String> {
        #[cfg(target_arch = "x86_64")]
        if self == Isa::Amx && Isa::Avx512Bf16.is_supported() {
            return amx::lack().map(String::from);
        }
        (!self.is_in_cpu()).then(|| format!("this CPU has no {self}"))
    }

    /// Whether the CPU has the vector instructions; those that are not only the CPU's matter count as missing.
    fn is_in_cpu(self) -> bool {
        match self {
            Isa::Portable => true,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => true,
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
            _ => false,
        }
    }

    /// The level in use: what `VERIDICAL_CPU_KERNEL` (`amx`, `avx512bf16`, `avx512`, `avx2`, `neon` or `portable`) asks
    /// for, otherwise the best there is. A level that this machine lacks, or a name that is none of these, is reported
    /// once on standard error and passed over.
    pub fn current() -> Isa {
        static CURRENT: OnceLock<Isa> = OnceLock::new();
        *CURRENT.get_or_init(|| {
            let wanted = std::env::var("VERIDICAL_CPU_KERNEL").ok();
            // Asked for by name, a level may also be one that is only modelled for tests.
            let lack = |isa: Isa| {
                let named = wanted.as_deref().is_some_and(|wanted| wanted.trim() == isa.to_string());
                if named && isa.is_supported() { None } else { isa.lack() }
            };
            let (isa, complaint) = choose(wanted.as_deref(), lack);
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
            Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => unsafe { with_avx512(f) },
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
            Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => unsafe { kernel_with_avx512(kernel) },
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
            Isa::Neon => "neon",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Avx512Bf16 => "avx512bf16",
            Isa::Amx => "amx",
        })
    }
}

fn choose(wanted: Option<&str>, lack: impl Fn(Isa) -> Option<String>) -> (Isa, Option<String>) {
    // Not looked for where a level is named that is there: the highest ones have to be asked for.
    let best = || Isa::ALL.into_iter().rev().find(|&isa| lack(isa).is_none()).unwrap_or(Isa::Portable);
    let Some(wanted) = wanted.map(str::trim).filter(|name| !name.is_empty()) else { return (best(), None) };
    let passed_over = |why: String| {
        let best = best();
        (best, Some(format!("VERIDICAL_CPU_KERNEL={wanted}: {why}; using {best}")))
    };
    match Isa::ALL.into_iter().find(|isa| isa.to_string() == wanted) {
        Some(isa) => lack(isa).map_or((isa, None), passed_over),
        None => passed_over("expected amx, avx512bf16, avx512, avx2, neon or portable".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_chooses_only_what_the_cpu_has() {
        let no_avx512 = |isa: Isa| (isa >= Isa::Avx512).then(|| format!("this CPU has no {isa}"));
        let all = |_| None;
        assert_eq!(choose(None, no_avx512), (Isa::Avx2, None));
        assert_eq!(choose(Some("portable"), no_avx512), (Isa::Portable, None));
        assert_eq!(choose(Some(""), all), (Isa::Amx, None));
        assert_eq!(choose(Some("avx512"), all), (Isa::Avx512, None));
        let (isa, complaint) = choose(Some("avx512"), no_avx512);
        assert_eq!(isa, Isa::Avx2);
        assert!(complaint.unwrap().contains("no avx512; using avx2"));
        let (isa, complaint) = choose(Some("sse9"), all);
        assert_eq!(isa, Isa::Amx);
        assert!(complaint.unwrap().contains("expected amx, avx512bf16, avx512, avx2, neon or portable"));
    }

    /// A system that does not grant tiles is passed over in silence, unless they were asked for.
    #[test]
    fn tiles_that_are_not_granted_are_complained_of_where_they_were_asked_for() {
        let refused = |isa| (isa == Isa::Amx).then(|| "the system does not grant amx".to_string());
        assert_eq!(choose(None, refused), (Isa::Avx512Bf16, None));
        assert_eq!(choose(Some("avx512"), refused), (Isa::Avx512, None));
        let (isa, complaint) = choose(Some("amx"), refused);
        assert_eq!(isa, Isa::Avx512Bf16);
        let expected = "VERIDICAL_CPU_KERNEL=amx: the system does not grant amx; using avx512bf16";
        assert_eq!(complaint.as_deref(), Some(expected));
    }

    /// The system is not asked for tiles where a lower level was asked for.
    #[test]
    fn a_level_that_is_there_is_the_only_one_looked_for() {
        let looked_for = std::cell::RefCell::new(Vec::new());
        let lack = |isa| {
            looked_for.borrow_mut().push(isa);
            None
        };
        assert_eq!(choose(Some("avx2"), lack), (Isa::Avx2, None));
        assert_eq!(*looked_for.borrow(), [Isa::Avx2]);
    }
}
