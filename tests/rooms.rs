//! The rooms of the crate, and which of them may know which: reads the imports of `src` and fails on a wrong one, and
//! on circles.

#[path = "rooms/imports.rs"]
mod imports;

use std::collections::BTreeMap;

use imports::{Circle, circles, rooms};

/// What every room may use: errors, what protects a computation, what numbers look like as text and as pixels, and what
/// they mean.
const GROUND: [&str; 11] =
    ["error", "escape", "figures", "files", "checksum", "settings", "stop", "memory", "threads", "pixels", "units"];

/// Every room, lowest first, with those below it that it may use besides the [`GROUND`]: the order in which a batch
/// walks down.
const RULE: [(&str, &[&str]); 18] = [
    ("backend", &[]),
    ("linear_algebra", &[]),
    ("random", &["backend"]),
    ("tensor", &["backend"]),
    ("autograd", &["tensor"]),
    ("ops", &["autograd", "random", "tensor", "backend"]),
    ("op_table", &["ops", "autograd", "random", "tensor"]),
    ("optim", &["ops", "autograd", "tensor"]),
    ("nn", &["ops", "autograd", "random", "tensor"]),
    ("diffusion", &["nn", "ops", "autograd", "random", "tensor"]),
    ("players", &["nn", "ops", "autograd", "random", "tensor"]),
    ("data", &["ops", "random", "tensor"]),
    ("metrics", &["linear_algebra", "random"]),
    ("report", &[]),
    ("distributed", &["ops", "tensor", "backend"]),
    (
        "train",
        &[
            "report",
            "data",
            "metrics",
            "diffusion",
            "distributed",
            "optim",
            "nn",
            "ops",
            "autograd",
            "random",
            "tensor",
            "backend",
        ],
    ),
    ("evaluate", &["train", "data", "metrics", "distributed", "optim", "nn", "ops", "autograd", "random", "tensor"]),
    (
        "methods",
        &[
            "evaluate",
            "train",
            "report",
            "data",
            "metrics",
            "players",
            "diffusion",
            "optim",
            "nn",
            "ops",
            "autograd",
            "random",
            "tensor",
            "linear_algebra",
        ],
    ),
];

/// Modules side by side that know each other, each for a reason.
const CIRCLES: [(&str, &[&str]); 1] = [
    // The scheduler, its fibers, and what a kernel asks of them are one machine.
    (
        "backend::emulator",
        &[
            "abi",
            "block",
            "boxes",
            "cluster",
            "copies",
            "descriptor",
            "fiber",
            "launch",
            "mbarriers",
            "memory",
            "shared",
            "waits",
            "warpgroup",
        ],
    ),
];

#[test]
fn rooms_know_only_those_below_them() {
    let allowed: BTreeMap<&str, &[&str]> = RULE.into_iter().collect();
    let mut wrong = Vec::new();
    for (room, imports) in rooms() {
        if room == "cli" || GROUND.contains(&room.as_str()) {
            continue; // the command is as a program on its own; the ground is checked by the circles
        }
        let Some(below) = allowed.get(room.as_str()) else {
            wrong.push(format!("the room `{room}` has no line in RULE"));
            continue;
        };
        for (other, file) in imports {
            if !below.contains(&other.as_str()) && !GROUND.contains(&other.as_str()) {
                wrong.push(format!("{file} uses crate::{other}, which `{room}` may not know"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn modules_side_by_side_do_not_know_each_other() {
    let known = |circle: &Circle| {
        CIRCLES.iter().any(|(parent, members)| *parent == circle.parent && circle.members.iter().eq(members.iter()))
    };
    let new: Vec<String> = circles().into_iter().filter(|circle| !known(circle)).map(|c| c.to_string()).collect();
    assert!(new.is_empty(), "modules that import each other:\n{}", new.join("\n"));
}

#[test]
fn every_exception_is_one() {
    let found = circles();
    for (parent, members) in CIRCLES {
        let there = found.iter().any(|c| c.parent == parent && c.members.iter().eq(members.iter()));
        assert!(there, "{parent}: {members:?} is no circle any more; take it off the list");
    }
}

/// What the rules above are worth depends on imports being seen, however they are written.
#[test]
fn imports_are_read_in_every_form() {
    let cases: [(&str, &str, &[&str]); 8] = [
        ("nn::mlp", "use crate::train::Trainer;", &["train"]),
        ("nn::mlp", "use crate::{ops::{self, silu}, Tensor};", &["ops", "tensor"]),
        ("nn::mlp", "use super::layers::{Linear as Affine, conv2d::Conv2d};", &["nn::layers", "nn::layers::conv2d"]),
        ("ops::silu_like", "use super::super::{nn::mlp, autograd};", &["autograd", "nn::mlp"]),
        ("backend::dtype", "match d { $crate::tensor::DType::F32 => 1 }", &["tensor"]),
        (
            "nn::mlp",
            "fn f() -> crate::Result<crate::Var> { crate::optim::schedule::at() }",
            &["autograd", "error", "optim::schedule"],
        ),
        ("methods::ambient", "pub(in crate::methods) fn f() {} crate::choice! {}", &["methods"]),
        ("nn::mlp", "use self::parts::Part; use serde::Serialize; let x = other_crate::train::run;", &[]),
    ];
    for (base, text, expected) in cases {
        assert_eq!(imports::used(base, text), expected, "in {base}: {text}");
    }
}

#[test]
#[should_panic(expected = "leads to nothing that lib.rs names")]
fn an_unknown_name_at_the_root_is_noticed() {
    imports::used("nn::mlp", "use crate::Nonsense;");
}

/// Comments are as wide as code, but for tables and examples.
#[test]
fn comments_are_at_most_120_columns_wide() {
    const MOST: usize = 120;
    const PLACES: [&str; 8] = ["src", "kernels", "build.rs", "build", "tests", "examples", "benches", "fuzz"];
    let mut wide = Vec::new();
    for (file, text) in imports::sources(&PLACES) {
        let mut example = false;
        for (number, line) in text.lines().enumerate() {
            let Some(comment) = line.trim_start().strip_prefix("//") else { continue };
            let comment = comment.trim_start_matches(['/', '!']).trim_start();
            example ^= comment.starts_with("```");
            if line.chars().count() > MOST && !example && !comment.starts_with('|') {
                wide.push(format!("{file}:{}: {} columns", number + 1, line.chars().count()));
            }
        }
    }
    assert!(wide.is_empty(), "{}", wide.join("\n"));
}
