//! Commands that several processes share: started by `--ranks`, `torchrun`, `srun` or `mpirun`.

use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use veridical::distributed::{Launch, Patience, Ranks};
use veridical::tensor::Device;
use veridical::train::together;
use veridical::{Error, Result};

use super::progress::{be_quiet, note};
use super::{Ended, interrupt};

/// How many processes share the work.
#[derive(clap::Args)]
#[group(skip)]
pub struct Args {
    /// Share the work among so many processes on this machine, with a GPU each (or a share of the processors); to
    /// train, train.slots must be that many at least. torchrun, srun and mpirun start them on several machines
    #[arg(long, visible_alias = "gpus", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    ranks: Option<u16>,
}

static RANKS: Mutex<Option<Ranks>> = Mutex::new(None);

fn joined() -> MutexGuard<'static, Option<Ranks>> {
    RANKS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Args {
    /// Starts the processes that `--ranks` asks for and waits for them; `None` in each of those, and without it: the
    /// command is to be done here.
    pub fn started(&self) -> Result<Option<Ended>> {
        let Some(wanted) = self.ranks.map(usize::from) else { return Ok(None) };
        match Launch::of_environment()? {
            Some(launch) if launch.size == wanted => Ok(None),
            Some(launch) => Err(Error::Config(format!(
                "--ranks {wanted}: this process was started as one of {} already (WORLD_SIZE); leave --ranks out",
                launch.size
            ))),
            None if wanted == 1 => Ok(None),
            None => start(wanted).map(Some),
        }
    }
}

/// Meets the other processes, if there are any, to do the same `command`. From here on only the first one talks.
pub fn join(command: &str, resume: bool) -> Result<Ranks> {
    let Some(launch) = Launch::of_environment()? else { return Ok(Ranks::alone()) };
    if launch.rank != 0 {
        be_quiet();
        super::be_mute();
    }
    if let Some(local) = launch.local_rank {
        Device::prefer(local);
    }
    let ranks = launch.join(patience()?, &mut |text| note(text))?;
    note(&format!("{} ranks, this one is rank {}", launch.size, launch.rank));
    interrupt::is_asked_for();
    *joined() = Some(ranks.clone());
    ranks
        .check_same(&[("command", command.into()), ("--resume", if resume { "given" } else { "not given" }.into())])?;
    Ok(ranks)
}

/// Whether other processes share the work of this one.
pub fn are_several() -> bool {
    joined().as_ref().is_some_and(|ranks| !ranks.is_alone())
}

/// The processes that share the work, all with these settings, of which `slots` is one. Errors if they differ, or if
/// there are not slots enough.
pub fn same(document: &str, slots: usize) -> Result<Ranks> {
    let ranks = joined().clone().unwrap_or_default();
    ranks.check_same(&[("settings", together::without_device(document))])?;
    ranks.check_slots(slots)?;
    Ok(ranks)
}

/// Errors where several processes were started for a command that one does alone.
pub fn refuse(command: &str) -> Result<()> {
    match Launch::of_environment()? {
        None => Ok(()),
        Some(launch) => Err(Error::Config(format!(
            "veridical {command} is done by one process, and this one was started as one of {} (WORLD_SIZE); start it \
             without torchrun, srun or mpirun, or unset WORLD_SIZE",
            launch.size
        ))),
    }
}

/// Tells the others how this process ended.
pub fn leave(failed: Option<&Error>) {
    let Some(ranks) = joined().take() else { return };
    match failed {
        None | Some(Error::Rank { .. } | Error::Stopped) => {}
        Some(error) => ranks.abort(&error.to_string()),
    }
}

/// Which rank this process is, among others that have met.
pub fn rank() -> Option<usize> {
    joined().as_ref().map(Ranks::rank)
}

/// How long to wait, where the environment says it.
fn patience() -> Result<Patience> {
    /// Longer than anything goes on, and no time that a clock cannot tell.
    const MOST: u64 = 100_000_000;
    let seconds = |name: &str, least: u64, usual: Duration| match std::env::var(name) {
        Err(_) => Ok(usual),
        Ok(text) => match text.trim().parse::<u64>() {
            Ok(seconds) if (least..=MOST).contains(&seconds) => Ok(Duration::from_secs(seconds)),
            _ => Err(Error::Config(format!("{name}={text}: expected seconds, a whole number from {least} to {MOST}"))),
        },
    };
    let usual = Patience::default();
    Ok(Patience {
        meeting: seconds("VERIDICAL_RANKS_MEETING", 1, usual.meeting)?,
        // Signs of life come once a second.
        silence: seconds("VERIDICAL_RANKS_SILENCE", 3, usual.silence)?,
        work: seconds("VERIDICAL_RANKS_PATIENCE", 1, usual.work)?,
    })
}

/// How long the others are left to end by themselves once one has failed.
const LEFT_ALONE: Duration = Duration::from_secs(60);

/// The processes that were started and have not ended.
struct Started(Vec<(usize, Child)>);

impl Drop for Started {
    fn drop(&mut self) {
        for (_, child) in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts this command `count` times, and waits.
fn start(count: usize) -> Result<Ended> {
    let program = std::env::current_exe().map_err(|e| Error::io("the program itself", e))?;
    let port = free_port()?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = (processors / count).max(1);
    let _keeping = interrupt::keeping("the ranks stop, and keep what is whole");
    let mut started = Started(Vec::new());
    for rank in 0..count {
        let mut command = Command::new(&program);
        command.args(std::env::args_os().skip(1));
        let [index, size] = [rank, count].map(|number| number.to_string());
        command.env("RANK", &index).env("LOCAL_RANK", &index).env("WORLD_SIZE", size);
        command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", port.to_string());
        command.env_remove("TORCHELASTIC_USE_AGENT_STORE");
        if std::env::var_os("RAYON_NUM_THREADS").is_none() {
            command.env("RAYON_NUM_THREADS", threads.to_string());
        }
        alone_with(&mut command);
        let child = command.spawn().map_err(|e| Error::io(&program, e))?;
        started.0.push((rank, child));
    }
    let (mut worst, mut asked, mut failed) = (0, false, None::<Instant>);
    while !started.0.is_empty() {
        std::thread::sleep(Duration::from_millis(20));
        // One that fails before all have met would be waited for in vain.
        let is_left_alone = failed.is_some_and(|at| at.elapsed() > LEFT_ALONE);
        if (interrupt::requested() || is_left_alone) && !asked {
            asked = true;
            started.0.iter().for_each(|(_, child)| terminate(child));
        }
        let mut left = Vec::new();
        for (rank, mut child) in started.0.drain(..) {
            match child.try_wait() {
                Ok(None) => left.push((rank, child)),
                Ok(Some(status)) if status.success() => {}
                Ok(Some(status)) => {
                    failed.get_or_insert_with(Instant::now);
                    // A signal has no code.
                    worst = worst.max(status.code().unwrap_or(1));
                }
                Err(e) => return Err(Error::io(format!("rank {rank}"), e)),
            }
        }
        started.0 = left;
    }
    match u8::try_from(worst) {
        Ok(0) => Ok(Ended::Done),
        Ok(Ended::INTERRUPTED) => Ok(Ended::Interrupted),
        Ok(code) => Ok(Ended::Failed(code)),
        Err(_) => Ok(Ended::Failed(1)),
    }
}

/// Has a process get no signal but those that come by way of this one: once each, and one when this one is gone.
#[cfg(unix)]
fn alone_with(command: &mut Command) {
    use std::mem::zeroed;
    use std::os::unix::process::CommandExt;
    command.process_group(0);
    let unmasked = || {
        // SAFETY: between fork and exec these system calls are allowed; the set is plain old data of this function.
        let failed = unsafe {
            let mut none: libc::sigset_t = zeroed();
            // This process blocks signals to wait for them, and what it blocks the other would inherit.
            libc::sigemptyset(&mut none);
            let masked = libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
            #[cfg(target_os = "linux")]
            let masked = masked | libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            masked != 0
        };
        if failed { Err(std::io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: the closure allocates nothing and takes no lock.
    unsafe { command.pre_exec(unmasked) };
}

#[cfg(not(unix))]
fn alone_with(_: &mut Command) {}

#[cfg(unix)]
fn terminate(child: &Child) {
    // SAFETY: a signal to a process of ours that nobody has waited for yet, so the number is still its own.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) };
}

#[cfg(not(unix))]
fn terminate(_: &Child) {}

/// A port that nobody listens at. Another program could take it before rank 0 does, which then says so.
fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).map_err(|e| Error::io("a port to meet at", e))?;
    listener.local_addr().map(|address| address.port()).map_err(|e| Error::io("a port to meet at", e))
}
