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

/// Errors unless all ranks are of the same version, train the same on the same data in the same arithmetic, and stand
/// at the same step. They say first what they have: all of them end in that error.
pub fn check_same(trained: &dyn Trained, plan: &Plan, ranks: &Ranks) -> Result<()> {
    if ranks.is_alone() {
        return Ok(());
    }
    let device = trained.players().first().map_or(Device::Cpu, |(_, trainer)| trainer.weights().device());
    // Of the device its kind alone: each rank has one of its own.
    let computes = match device {
        Device::Cpu => arithmetic(&device),
        other => other.to_string().split(':').next().unwrap_or_default().to_string(),
    };
    let (step, _) = trained.progress();
    let facts = [
        ("version", env!("CARGO_PKG_VERSION").to_string()),
        (
            "settings",
            plan.settings.lines().filter(|line| !line.starts_with("device = ")).collect::<Vec<_>>().join("\n"),
        ),
        ("data", plan.data.clone()),
        ("arithmetic", computes),
        ("step to go on from", step.to_string()),
    ];
    let told = serde_json::to_vec(&facts).map_err(|e| Error::argument("check_same", e.to_string()))?;
    let all = ranks.gather(&told)?;
    let read = |bytes: &[u8]| serde_json::from_slice::<Vec<(String, String)>>(bytes).unwrap_or_default();
    let first = all.first().map(|bytes| read(bytes)).unwrap_or_default();
    for (rank, bytes) in all.iter().enumerate().skip(1) {
        let other = read(bytes);
        let differs = first.iter().zip(&other).find(|(a, b)| a != b);
        match differs {
            Some(((what, here), (_, there))) => {
                let (here, there) = difference(here, there);
                return Err(Error::Config(format!(
                    "rank {rank} is not like rank 0: its {what} is {there}, and that of rank 0 {here}; give all ranks the \
                     same command, data and build"
                )));
            }
            None if other.len() != first.len() => {
                return Err(Error::Config(format!("rank {rank} is of another version than rank 0")));
            }
            None => {}
        }
    }
    Ok(())
}

/// Of two texts the first lines that differ.
fn difference<'a>(a: &'a str, b: &'a str) -> (&'a str, &'a str) {
    let (mut a, mut b) = (a.lines(), b.lines());
    loop {
        match (a.next(), b.next()) {
            (None, None) => return ("the same", "the same"),
            (x, y) if x != y => return (x.unwrap_or("shorter"), y.unwrap_or("shorter")),
            _ => {}
        }
    }
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
