//! Ranks on GPUs that exchange gradients by NCCL, from the memory of one to that of another.
//!
//! NCCL moves bytes and adds nothing. All else that ranks say to each other goes over the connections that they met by,
//! which also tell when one of them is lost: NCCL itself would wait for it for ever.

mod carrier;
mod library;

use std::env::var_os;
use std::ffi::OsString;

use self::carrier::Nccl;
use self::library::Library;
use super::Ranks;
use crate::backend::gpu::Gpu;
use crate::error::{Error, Result};
use crate::tensor::Device;

/// What says whether NCCL is used, and which.
const VARIABLE: &str = "VERIDICAL_NCCL";

/// What a person wants.
#[derive(PartialEq)]
enum Wanted {
    Off,
    /// If it is there.
    Any,
    Required,
    /// The library in this file, for the emulator too.
    File(OsString),
}

impl Wanted {
    fn of_environment() -> Self {
        match var_os(VARIABLE) {
            None => Wanted::Any,
            Some(text) if text.is_empty() => Wanted::Any,
            Some(text) if text == "off" => Wanted::Off,
            Some(text) if text == "required" => Wanted::Required,
            Some(file) => Wanted::File(file),
        }
    }

    /// The library, or why not.
    fn library(&self) -> Result<&'static Library, String> {
        match self {
            Wanted::Off => Err(format!("{VARIABLE}=off")),
            // Calls would wait for ranks that are lost.
            _ if var_os("NCCL_COMM_BLOCKING").is_some_and(|value| value == "1") => {
                Err("NCCL_COMM_BLOCKING=1 has it wait for ranks that are lost: unset that".into())
            }
            Wanted::File(file) => Library::loaded(Some(file)),
            Wanted::Any | Wanted::Required => Library::loaded(None),
        }
    }

    /// What becomes of ranks that go without NCCL: an error where they must not, else a line on why, if there is more
    /// to say than that they have no GPUs.
    fn without(&self, ranks: &Ranks, gpu: Option<&Gpu>, why: &str) -> Result<(Ranks, Option<String>)> {
        let must = *self == Wanted::Required || (matches!(self, Wanted::File(_)) && gpu.is_some());
        let why = if why.is_empty() { "a rank has no GPU that it knows" } else { why };
        match must {
            true => Err(Error::Config(format!("{VARIABLE} asks for NCCL, and it cannot be used: {why}"))),
            false => {
                let line = format!("gradients go through the memory of the host, without NCCL: {why}");
                Ok((ranks.clone(), gpu.map(|_| line)))
            }
        }
    }
}

/// The same ranks, with tensors exchanged by NCCL where each has a GPU and the same version of it, and a line on what
/// was decided, if there was anything to decide. All ranks call this together, each with its device.
///
/// `VERIDICAL_NCCL` says `off`, `required`, or which file. Errors where it must be and cannot.
pub fn on(ranks: &Ranks, device: &Device) -> Result<(Ranks, Option<String>)> {
    // Without word of ranks that are lost there would be nothing to end NCCL's waiting.
    let (false, Some(patience)) = (ranks.is_alone(), ranks.patience()) else { return Ok((ranks.clone(), None)) };
    let wanted = Wanted::of_environment();
    let gpu = match device {
        Device::Gpu(gpu) if gpu.identity().is_some() || matches!(wanted, Wanted::File(_)) => Some(gpu),
        _ => None,
    };
    let found = gpu.map_or(Err(String::new()), |_| wanted.library());
    let said = match &found {
        Ok(library) => format!("+{}", library.version()),
        Err(why) => format!("-{why}"),
    };
    let all = ranks.gather(said.as_bytes())?;
    let all: Vec<_> = all.iter().map(|said| String::from_utf8_lossy(said).into_owned()).collect();
    if let Some(why) = why_not(&all) {
        return wanted.without(ranks, gpu, &why);
    }
    let (Ok(library), Some(gpu)) = (found, gpu) else { return wanted.without(ranks, gpu, "") };
    let met = Nccl::meet(ranks, library, gpu, patience);
    // A rank that is lost is no reason to go another way, but that NCCL finds no way between those that there are is.
    let told = match &met {
        Err(Error::Exchange { what }) => what.clone().into_bytes(),
        Err(_) => return met.map(|nccl| (Ranks::new(nccl), None)),
        Ok(_) => Vec::new(),
    };
    let failed = ranks.gather(&told)?.into_iter().find(|told| !told.is_empty());
    match (failed, met) {
        (None, Ok(nccl)) => {
            let line = format!("gradients are exchanged by NCCL {}", library.version());
            Ok((Ranks::new(nccl), Some(line)))
        }
        (failed, _) => wanted.without(ranks, Some(gpu), &String::from_utf8_lossy(&failed.unwrap_or_default())),
    }
}

/// Why ranks that say this of NCCL (`+` and a version, or `-` and why they have none) cannot use it; empty where there
/// is a rank without a GPU.
fn why_not(all: &[String]) -> Option<String> {
    let first = all.first().map_or("", String::as_str);
    let (rank, said) = all.iter().enumerate().find(|(_, said)| !said.starts_with('+') || *said != first)?;
    Some(match (rank, said.strip_prefix('-')) {
        (_, Some("")) => String::new(),
        (0, why) => why.unwrap_or_default().to_string(),
        (rank, Some(why)) => format!("on rank {rank}: {why}"),
        (rank, None) => format!("rank {rank} has version {} of it, and rank 0 {}", &said[1..], &first[1..]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_have_the_same_or_one_is_named() {
        let why = |all: &[&str]| why_not(&all.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(why(&["+2.27.3", "+2.27.3"]), None);
        assert_eq!(why(&["-", "-"]).as_deref(), Some(""));
        assert_eq!(why(&["+2.27.3", "-not there"]).as_deref(), Some("on rank 1: not there"));
        assert_eq!(why(&["-not there", "+2.27.3"]).as_deref(), Some("not there"));
        let two = why(&["+2.27.3", "+2.27.3", "+2.20.0"]);
        assert_eq!(two.as_deref(), Some("rank 2 has version 2.20.0 of it, and rank 0 2.27.3"));
    }

    #[test]
    fn what_must_be_is_an_error_where_it_is_not() {
        let said = |wanted: Wanted| wanted.without(&Ranks::alone(), None, "").map(|(_, line)| line);
        assert!(said(Wanted::Required).unwrap_err().to_string().contains("a rank has no GPU"));
        for wanted in [Wanted::Any, Wanted::Off, Wanted::File("libnccl.so.2".into())] {
            assert_eq!(said(wanted).unwrap(), None, "nothing to say on a CPU");
        }
    }
}
