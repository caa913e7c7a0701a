//! What the ranks of a run agree on.

use super::checkpoint::arithmetic;
use super::observer::End;
use super::plan::Plan;
use super::trained::Trained;
use crate::distributed::Ranks;
use crate::error::{Error, Result};
use crate::tensor::Device;

/// Shares the batches of all players. Errors where there is nothing to share.
pub fn share(trained: &mut dyn Trained, ranks: &Ranks) -> Result<()> {
    trained.players_mut().into_iter().try_for_each(|(_, trainer)| trainer.share_with(ranks))
}

/// Errors unless all ranks train the same on the same data in the same arithmetic, and stand at the same step.
pub fn check_same(trained: &dyn Trained, plan: &Plan, ranks: &Ranks) -> Result<()> {
    if ranks.is_alone() {
        return Ok(());
    }
    let device = trained.players().first().map_or(Device::Cpu, |(_, trainer)| trainer.weights().device());
    let (step, _) = trained.progress();
    ranks.check_same(&[
        ("settings", without_device(&plan.settings)),
        ("data", plan.data.clone()),
        ("arithmetic", kind(&device)),
        ("feature cuda", cfg!(feature = "cuda").to_string()),
        ("step to go on from", step.to_string()),
    ])?;
    check_apart(&device, ranks)
}

/// Has ranks that are [alike](check_same) exchange gradients as directly as their devices can; a line on how, if that
/// is worth one.
pub fn connect(trained: &mut dyn Trained, ranks: &Ranks) -> Result<Option<String>> {
    #[cfg(feature = "cuda")]
    if let Some(device) = trained.players().first().map(|(_, trainer)| trainer.weights().device()) {
        let (direct, how) = crate::distributed::on_device(ranks, &device)?;
        share(trained, &direct)?;
        return Ok(how);
    }
    let _ = (trained, ranks);
    Ok(None)
}

/// Has every rank know all players' whole state, where each keeps a share of it. All ranks call this together.
pub fn gather(trained: &mut dyn Trained) -> Result<()> {
    trained.players_mut().into_iter().try_for_each(|(_, trainer)| trainer.gather())
}

/// Settings but for the device, of which each rank has its own.
pub fn without_device(document: &str) -> String {
    document.lines().filter(|line| !line.starts_with("device = ")).collect::<Vec<_>>().join("\n")
}

/// What computes: of the CPU its instructions, of a GPU its name.
pub fn kind(device: &Device) -> String {
    match device {
        Device::Cpu => arithmetic(device),
        other => other.to_string(),
    }
}

/// Errors if two ranks compute on the same GPU.
fn check_apart(device: &Device, ranks: &Ranks) -> Result<()> {
    let own = match device {
        Device::Gpu(gpu) => gpu.identity().unwrap_or_default(),
        Device::Cpu => String::new(),
    };
    let all = ranks.gather(own.as_bytes())?;
    for (rank, place) in all.iter().enumerate().filter(|(_, place)| !place.is_empty()) {
        if let Some(other) = all[..rank].iter().position(|earlier| earlier == place) {
            return Err(Error::Config(format!(
                "ranks {other} and {rank} compute on one and the same {device}; leave the device at cuda, so that each takes the GPU of its \
                 LOCAL_RANK, and start as many processes as there are GPUs"
            )));
        }
    }
    Ok(())
}

/// How the run ends here, if it does: as any rank wants it, with a stop before all else.
pub fn end(ranks: &Ranks, wanted: Option<End>) -> Result<Option<End>> {
    if ranks.is_alone() {
        return Ok(wanted);
    }
    let code = match wanted {
        None => 0,
        Some(End::OutOfTime) => 1,
        Some(_) => 2,
    };
    let most = ranks.gather(&[code])?.into_iter().flatten().max();
    Ok(match most {
        Some(2) => Some(End::Stopped),
        Some(1) => Some(End::OutOfTime),
        _ => None,
    })
}

/// The last that a run does, on the first rank, for which the others wait. Errors where it does.
pub fn last(ranks: &Ranks, act: impl FnOnce() -> Result<End>) -> Result<End> {
    let done = ranks.on_first(act)?;
    ranks.as_first_finds(
        || done.unwrap_or(End::Stopped),
        |end| vec![*end as u8],
        |code| {
            let ends = [End::Finished, End::OutOfTime, End::Stopped];
            ends.into_iter()
                .find(|end| code == [*end as u8])
                .ok_or_else(|| Error::Rank { rank: 0, what: "ended in an unknown way".into() })
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::gpu::{Driver, Field, Gpu, Launch as KernelLaunch};
    use crate::backend::tensor_map::{Boxes, TensorMap};
    use crate::distributed::{Launch, Patience};

    /// A GPU of which nothing is known but which one it is.
    struct Known(&'static str);

    fn nothing<T>() -> Result<T> {
        Err(Error::Driver { what: "a test's device".into(), why: "it does nothing".into() })
    }

    impl Driver for Known {
        fn name(&self) -> String {
            "some card".into()
        }
        fn identity(&self) -> Option<String> {
            Some(self.0.into())
        }
        fn tensor_map(&self, _: &Boxes) -> Result<TensorMap> {
            nothing()
        }
        fn allocate(&self, _: usize) -> Result<u64> {
            nothing()
        }
        fn free(&self, _: u64, _: usize) {}
        fn upload(&self, _: u64, _: &[u8]) -> Result<()> {
            nothing()
        }
        fn download(&self, _: u64, _: &mut [u8]) -> Result<()> {
            nothing()
        }
        fn copy(&self, _: u64, _: u64, _: usize) -> Result<()> {
            nothing()
        }
        fn zero(&self, _: u64, _: usize) -> Result<()> {
            nothing()
        }
        fn launch(&self, _: &KernelLaunch, _: &[u8], _: &'static [Field]) -> Result<()> {
            nothing()
        }
        fn synchronize(&self) -> Result<()> {
            nothing()
        }
    }

    /// What each of three ranks is told, each on a device.
    fn told(devices: [Device; 3]) -> Vec<Result<()>> {
        let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        std::thread::scope(|scope| {
            let rank = |(rank, device): (usize, Device)| {
                scope.spawn(move || {
                    let launch = Launch { rank, size: 3, local_rank: None, host: "127.0.0.1".into(), port };
                    check_apart(&device, &launch.join(Patience::default(), &mut |_| ()).unwrap())
                })
            };
            let all: Vec<_> = devices.into_iter().enumerate().map(rank).collect();
            all.into_iter().map(|rank| rank.join().unwrap()).collect()
        })
    }

    #[test]
    fn two_ranks_on_one_gpu_are_an_error_on_all() {
        let gpu = |identity| Device::Gpu(Gpu::new(Known(identity)));
        for outcome in told([gpu("a"), gpu("b"), gpu("a")]) {
            let error = outcome.unwrap_err().to_string();
            assert!(error.contains("ranks 0 and 2 compute on one and the same some card"), "{error}");
        }
        assert!(told([gpu("a"), gpu("b"), gpu("c")]).iter().all(Result::is_ok));
        assert!(told([Device::Cpu, Device::Cpu, Device::Cpu]).iter().all(Result::is_ok));
    }
}
