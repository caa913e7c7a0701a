//! What whoever starts the processes tells each of its place among them.

use std::net::IpAddr;

use super::{Patience, Ranks, Tcp};
use crate::error::{Error, Result};

/// Processes that are still taken for meant.
const MOST: usize = 4096;

/// The port where ranks meet, if nobody says another one: that of PyTorch.
const PORT: u16 = 29500;

/// A process's place among those that train together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Which one it is, from 0 on.
    pub rank: usize,
    /// How many there are.
    pub size: usize,
    /// Which one it is on its own machine, from 0 on: the GPU that it takes. `None`: nobody said.
    pub local_rank: Option<usize>,
    /// Where rank 0 can be reached: a name or an address.
    pub host: String,
    /// The port where rank 0 waits for the others.
    pub port: u16,
}

impl Launch {
    /// What the variables of `torchrun` (`RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `MASTER_ADDR`, `MASTER_PORT`), `srun`
    /// (`SLURM_PROCID`, `SLURM_STEP_NUM_TASKS` or `SLURM_NPROCS`, `SLURM_LOCALID`, `SLURM_STEP_NODELIST`), Open MPI's
    /// `mpirun` (`OMPI_COMM_WORLD_*`) or MPICH's (`PMI_RANK`, `PMI_SIZE`, `MPI_LOCALRANKID`) say, the first that are
    /// there. `None` for a process without others.
    ///
    /// The address and port of rank 0 are `MASTER_ADDR` and `MASTER_PORT` in all cases; where all are on one machine,
    /// or Slurm says which machine is the first, they may be left out.
    ///
    /// Errors on variables that contradict each other or are no numbers, naming them.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let variable = |name: &str| variable(name).filter(|text| !text.is_empty());
        // A batch script of Slurm has these as well, but nobody has started it several times.
        let srun = variable("SLURM_JOB_ID").is_none() || variable("SLURM_STEP_ID").is_some();
        let slurm_size =
            if variable("SLURM_STEP_NUM_TASKS").is_some() { "SLURM_STEP_NUM_TASKS" } else { "SLURM_NPROCS" };
        let launchers = [
            (true, ["RANK", "WORLD_SIZE", "LOCAL_RANK"]),
            (true, ["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"]),
            (true, ["PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"]),
            (srun, ["SLURM_PROCID", slurm_size, "SLURM_LOCALID"]),
        ];
        let named = launchers.into_iter().find(|(is, [rank, size, _])| {
            *is && variable(size).is_some() && (*rank == "RANK" || variable(rank).is_some())
        });
        let Some((_, [rank_name, size_name, local_name])) = named else {
            return match variable("RANK") {
                Some(rank) if rank.trim() != "0" => Err(Error::Config(format!(
                    "RANK={rank} without WORLD_SIZE: say how many processes there are, or unset RANK"
                ))),
                _ => Ok(None),
            };
        };
        let number = |name: &str| match variable(name) {
            None => Ok(None),
            Some(text) => match text.trim().parse::<usize>() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(Error::Config(format!("{name}={text}: expected a whole number"))),
            },
        };
        let size = number(size_name)?.unwrap_or(1);
        if !(1..=MOST).contains(&size) {
            return Err(Error::Config(format!("{size_name}={size}: expected 1 to {MOST} processes")));
        }
        let rank = match number(rank_name)? {
            Some(rank) if rank < size => rank,
            Some(rank) => {
                return Err(Error::Config(format!(
                    "{rank_name}={rank} and {size_name}={size}: ranks are counted from 0, so the last one is {}",
                    size - 1
                )));
            }
            None if size == 1 => 0,
            None => {
                return Err(Error::Config(format!(
                    "{size_name}={size} without {rank_name}: say which of them this process is, or unset {size_name}"
                )));
            }
        };
        if size == 1 {
            return Ok(None);
        }
        let local_rank = number(local_name)?;
        let one_machine = number("OMPI_COMM_WORLD_LOCAL_SIZE")? == Some(size)
            || number("MPI_LOCALNRANKS")? == Some(size)
            || variable("SLURM_NNODES").is_some_and(|nodes| nodes == "1");
        let nodes = || variable("SLURM_STEP_NODELIST").or_else(|| variable("SLURM_NODELIST"));
        let host = match variable("MASTER_ADDR") {
            Some(host) => host,
            None if one_machine => "127.0.0.1".into(),
            None if rank_name == "SLURM_PROCID" => nodes()
                .and_then(|list| first_host(&list))
                .or_else(|| variable("SLURM_LAUNCH_NODE_IPADDR"))
                .unwrap_or_else(|| "127.0.0.1".into()),
            None => {
                return Err(Error::Config(format!(
                    "{size_name}={size} without MASTER_ADDR: set it, on every rank, to the address of the machine of \
                     rank 0 (127.0.0.1 if there is only one machine)"
                )));
            }
        };
        let port = match variable("MASTER_PORT") {
            None => PORT,
            Some(text) => match text.trim().parse::<u16>() {
                Ok(port) if port > 0 => port,
                _ => return Err(Error::Config(format!("MASTER_PORT={text}: expected a port, 1 to 65535"))),
            },
        };
        // torchrun keeps the port itself for its own store, and the ranks meet beside it.
        let taken = variable("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let port = if taken { port.checked_add(1).unwrap_or(port - 1) } else { port };
        Ok(Some(Launch { rank, size, local_rank, host, port }))
    }

    /// As [`of`](Self::of), of this process's own variables.
    pub fn of_environment() -> Result<Option<Self>> {
        // What is no text is no number either, and named as that.
        Self::of(|name| std::env::var_os(name).map(|text| text.to_string_lossy().into_owned()))
    }

    /// Meets the other ranks. `waiting` gets a line where some are late.
    ///
    /// Errors if they cannot be reached within the time of `patience`, naming those that did not come, and if what
    /// answers is no rank of this version and run.
    pub fn join(&self, patience: Patience, waiting: &mut dyn FnMut(&str)) -> Result<Ranks> {
        Ok(Ranks::new(Tcp::join(self, patience, waiting)?))
    }

    /// Whether all ranks are on this machine.
    pub(super) fn is_local(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }
}

/// The first machine of a list as Slurm writes it: `node[03-05,9],other`.
fn first_host(list: &str) -> Option<String> {
    let first = list.split(',').next()?;
    let host = match first.split_once('[') {
        None => first.to_string(),
        Some((name, numbers)) => {
            let number: String = numbers.chars().take_while(char::is_ascii_digit).collect();
            // Names may go on after the bracket: rack[1-2]n4.
            let rest = list.split_once(']').map_or("", |(_, rest)| rest.split(',').next().unwrap_or(""));
            if rest.contains('[') {
                return None;
            }
            format!("{name}{number}{rest}")
        }
    };
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Option<Launch>> {
        Launch::of(|name| variables.iter().find(|(other, _)| *other == name).map(|(_, text)| text.to_string()))
    }

    fn launch(rank: usize, size: usize, local_rank: Option<usize>, host: &str, port: u16) -> Option<Launch> {
        Some(Launch { rank, size, local_rank, host: host.into(), port })
    }

    #[test]
    fn each_launcher_is_understood() {
        let torchrun = [
            ("RANK", "1"),
            ("WORLD_SIZE", "2"),
            ("LOCAL_RANK", "1"),
            ("MASTER_ADDR", "10.0.0.7"),
            ("MASTER_PORT", "9"),
        ];
        assert_eq!(of(&torchrun).unwrap(), launch(1, 2, Some(1), "10.0.0.7", 9));
        let agent = [&torchrun[..], &[("TORCHELASTIC_USE_AGENT_STORE", "True")]].concat();
        assert_eq!(of(&agent).unwrap(), launch(1, 2, Some(1), "10.0.0.7", 10));
        let mpi = [
            ("OMPI_COMM_WORLD_RANK", "3"),
            ("OMPI_COMM_WORLD_SIZE", "4"),
            ("OMPI_COMM_WORLD_LOCAL_RANK", "3"),
            ("OMPI_COMM_WORLD_LOCAL_SIZE", "4"),
        ];
        assert_eq!(of(&mpi).unwrap(), launch(3, 4, Some(3), "127.0.0.1", PORT));
        let error = of(&mpi[..3]).unwrap_err().to_string();
        assert!(error.contains("MASTER_ADDR"), "{error}");
        let mpich = [("PMI_RANK", "0"), ("PMI_SIZE", "2"), ("MPI_LOCALNRANKS", "2"), ("MPI_LOCALRANKID", "0")];
        assert_eq!(of(&mpich).unwrap(), launch(0, 2, Some(0), "127.0.0.1", PORT));
        let slurm = [
            ("SLURM_PROCID", "5"),
            ("SLURM_NPROCS", "8"),
            ("SLURM_LOCALID", "1"),
            ("SLURM_STEP_NODELIST", "gpu[07-08],login"),
        ];
        assert_eq!(of(&slurm).unwrap(), launch(5, 8, Some(1), "gpu07", PORT));
        let batch_script = [&slurm[..], &[("SLURM_JOB_ID", "77")]].concat();
        assert_eq!(of(&batch_script).unwrap(), None);
        let step = [&batch_script[..], &[("SLURM_STEP_ID", "0"), ("MASTER_ADDR", "other")]].concat();
        assert_eq!(of(&step).unwrap().unwrap().host, "other");
    }

    #[test]
    fn a_process_without_others_is_alone() {
        assert_eq!(of(&[]).unwrap(), None);
        assert_eq!(of(&[("WORLD_SIZE", "1")]).unwrap(), None);
        assert_eq!(of(&[("RANK", "0"), ("WORLD_SIZE", "1")]).unwrap(), None);
        assert_eq!(of(&[("RANK", "0")]).unwrap(), None);
        assert_eq!(of(&[("SLURM_NPROCS", "4")]).unwrap(), None);
    }

    #[test]
    fn what_contradicts_itself_is_named() {
        for (variables, says) in [
            (&[("RANK", "2"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "x")][..], "RANK=2 and WORLD_SIZE=2"),
            (&[("WORLD_SIZE", "2"), ("MASTER_ADDR", "x")], "without RANK"),
            (&[("RANK", "1")], "without WORLD_SIZE"),
            (&[("RANK", "0"), ("WORLD_SIZE", "two")], "WORLD_SIZE=two"),
            (&[("RANK", "-1"), ("WORLD_SIZE", "2")], "RANK=-1"),
            (&[("RANK", "0"), ("WORLD_SIZE", "0")], "WORLD_SIZE=0"),
            (&[("RANK", "0"), ("WORLD_SIZE", "1000000000000")], "expected 1 to 4096"),
            (&[("RANK", "0"), ("WORLD_SIZE", "2")], "MASTER_ADDR"),
            (
                &[("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "x"), ("MASTER_PORT", "70000")],
                "MASTER_PORT=70000",
            ),
        ] {
            let error = of(variables).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn the_first_machine_of_a_list() {
        for (list, first) in [
            ("n1", Some("n1")),
            ("n1,n2", Some("n1")),
            ("n[3,7-9]", Some("n3")),
            ("r[1-2]n4,x", Some("r1n4")),
            ("", None),
        ] {
            assert_eq!(first_host(list).as_deref(), first, "{list}");
        }
    }
}
