//! The library that lets file calls go wrong, and commands under it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::locate;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The process is killed; if the call is a write, after half of it.
    Kill,
    /// The call fails, once.
    Eio,
    /// The disk is full from this call on.
    Enospc,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Kill => "kill",
            Kind::Eio => "eio",
            Kind::Enospc => "enospc",
        }
    }

    pub fn named(name: &str) -> Kind {
        let all = [Kind::Kill, Kind::Eio, Kind::Enospc];
        all.into_iter().find(|kind| kind.name() == name).expect("kill, eio or enospc")
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Fault {
    pub kind: Kind,
    /// Which file call, counted from 1.
    pub at: u64,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VERIDICAL_FAULTS={}:{}", self.kind.name(), self.at)
    }
}

pub struct Shim {
    library: PathBuf,
}

impl Shim {
    /// Compiles it, with the C compiler of the system (`CC`, else `cc`); the emulator takes a compiler, too.
    pub fn build(folder: &Path) -> Self {
        let source = locate::root().join("tests/faults/shim.c");
        let library = folder.join("shim.so");
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
        let mut command = Command::new(&compiler);
        command.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(source).arg("-ldl");
        let output =
            command.output().unwrap_or_else(|e| panic!("no C compiler to build tests/faults/shim.c: {compiler}: {e}"));
        assert!(output.status.success(), "{compiler}: {}", String::from_utf8_lossy(&output.stderr));
        Shim { library }
    }

    /// Runs the command with these arguments, with a fault below `root`. On one thread: the tests use the processors
    /// side by side.
    pub fn run(&self, args: &[String], root: &Path, fault: Option<Fault>) -> Output {
        let mut command = self.command(args, root);
        if let Some(Fault { kind, at }) = fault {
            command.env("FAULT_KIND", kind.name()).env("FAULT_AT", at.to_string());
        }
        command.output().unwrap()
    }

    /// Runs the command undisturbed, and counts its calls on files below `root`.
    pub fn count(&self, args: &[String], root: &Path) -> (Output, u64) {
        let count = self.library.with_file_name("count");
        let output = self.command(args, root).env("FAULT_COUNT", &count).output().unwrap();
        let calls = std::fs::read_to_string(&count).unwrap_or_default();
        (output, calls.parse().unwrap_or(0))
    }

    fn command(&self, args: &[String], root: &Path) -> Command {
        let mut command = Command::new(locate::program());
        command.args(args).env("LD_PRELOAD", &self.library).env("FAULT_ROOT", root).env("RAYON_NUM_THREADS", "1");
        command
    }
}
