//! Two machines whose cable is cut: network namespaces, where the system lets us make them.
#![cfg(target_os = "linux")]

use std::fs;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::locate;

/// Two namespaces with a cable between them, which go with it.
struct Machines(u32);

impl Machines {
    fn name(&self, rank: usize) -> String {
        format!("veridical-{}-{rank}", self.0)
    }

    fn ip(&self, arguments: &str) -> bool {
        Command::new("ip").args(arguments.split(' ')).output().is_ok_and(|output| output.status.success())
    }

    /// `None` where they cannot be had.
    fn new() -> Option<Self> {
        let machines = Machines(std::process::id());
        let [a, b] = [machines.name(0), machines.name(1)];
        let commands = [
            format!("netns add {a}"),
            format!("netns add {b}"),
            format!("link add veth0 netns {a} type veth peer name veth1 netns {b}"),
            format!("-n {a} addr add 10.77.0.1/24 dev veth0"),
            format!("-n {b} addr add 10.77.0.2/24 dev veth1"),
            format!("-n {a} link set veth0 up"),
            format!("-n {b} link set veth1 up"),
        ];
        commands.iter().all(|command| machines.ip(command)).then_some(machines)
    }

    fn start(&self, rank: usize, command: &Command) -> Child {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.name(rank)]).arg(command.get_program()).args(command.get_args());
        inside
            .env("RANK", rank.to_string())
            .env("WORLD_SIZE", "2")
            .env("LOCAL_RANK", "0")
            .env("RAYON_NUM_THREADS", "1");
        inside.env("MASTER_ADDR", "10.77.0.1").env("MASTER_PORT", "29511").env("VERIDICAL_RANKS_SILENCE", "3");
        inside.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for rank in 0..2 {
            self.ip(&format!("netns del {}", self.name(rank)));
        }
    }
}

#[test]
fn a_cable_that_is_cut_ends_both_with_what_is_whole() {
    let Some(machines) = Machines::new() else {
        eprintln!("no network namespaces can be made here: not tried");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let mut command = Command::new(locate::program());
    command.args(["train", "--data", "digits", "--device", "cpu", "--batch", "16", "--steps", "1000000"]);
    command.args(["--set", "train.slots=2", "--set", "train.checkpoint_every=5", "--set", "train.sample_every=0"]);
    command.args(["--set", "model.model_channels=8", "--set", "model.num_blocks=1", "--out"]).arg(&run);
    let children: Vec<Child> = (0..2).map(|rank| machines.start(rank, &command)).collect();
    let began = Instant::now();
    while !run.join("checkpoints/step-000000005").exists() {
        assert!(began.elapsed() < Duration::from_secs(120), "no checkpoint");
        thread::sleep(Duration::from_millis(5));
    }
    assert!(machines.ip(&format!("-n {} link set veth0 down", machines.name(0))));
    let outputs: Vec<Output> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    for (rank, output) in outputs.iter().enumerate() {
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(&format!("rank {} has not been heard of for 3 seconds", 1 - rank)), "{text}");
        assert!(text.contains("the last good checkpoint is"), "{text}");
    }
    let kept = String::from_utf8_lossy(&outputs[0].stderr).into_owned();
    let newest = fs::read_dir(run.join("checkpoints")).unwrap().map(|entry| entry.unwrap().file_name()).max().unwrap();
    assert!(kept.contains(newest.to_str().unwrap()), "{newest:?}: {kept}");
}
