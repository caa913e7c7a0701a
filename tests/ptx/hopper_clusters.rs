//! The same of the kernels for clusters of two blocks: PTX that was changed in one place does not make what the kernel
//! for all GPUs makes.

use veridical::backend::PtxModules;
use veridical::{Device, ops};

use super::hardware;
use super::hopper::{all_are_noticed, ended, lines, whole};

/// A product of 66 rows of tiles, two stages each.
fn product(device: &Device) -> veridical::Result<Vec<f64>> {
    let (a, b) = (whole(&[66 * 128, 128], 7, device)?, whole(&[256, 128], 13, device)?);
    ops::matmul_transposed(a, false, b, true)?.value().to_f64()
}

/// The part of the text that is the kernel for clusters, changed, and the rest as it is.
fn of_clusters(text: &str, change: impl Fn(&str) -> String) -> String {
    let begin = text.find(".entry matmul_fwd_nt_hopper_cluster_bf16").unwrap();
    let end = text[begin..].find("\n}").map_or(text.len(), |end| begin + end);
    format!("{}{}{}", &text[..begin], change(&text[begin..end]), &text[end..])
}

#[test]
fn changes_to_the_instructions_of_clusters_are_caught() {
    if hardware::ptx().is_none() {
        return;
    }
    let expected = product(&Device::Cpu).unwrap();
    let run = |change: &dyn Fn(&str) -> String| {
        let mut modules = PtxModules::of_this_build()?.hopper(true).hopper_clusters(true);
        let text = modules.text_mut("matmul").unwrap();
        *text = of_clusters(text, change);
        product(&Device::ptx_of(&modules)?)
    };
    assert!(run(&|text| text.into()).unwrap() == expected, "the text as it is");
    // The first or the second of two.
    let without = |word: &'static str, which: usize| {
        move |text: &str| {
            let (at, _) = text.match_indices(word).nth(which).unwrap();
            format!("{}{}", &text[..at], &text[at + word.len()..])
        }
    };
    let [arrive, wait] = ["barrier.cluster.arrive.release.aligned;", "barrier.cluster.wait.acquire.aligned;"];
    let cases: [(&str, &dyn Fn(&str) -> String); 14] = [
        ("no barrier at the beginning", &|text| without(wait, 0)(&without(arrive, 0)(text))),
        ("no barrier at the end", &|text| without(wait, 1)(&without(arrive, 1)(text))),
        ("no wait at the beginning", &without(wait, 0)),
        ("no arrival at the end", &without(arrive, 1)),
        ("the own block alone, of the first", &|text| lines(text, "multicast::cluster", |line| ended(line, "1"))),
        ("no block at all", &|text| lines(text, "multicast::cluster", |line| ended(line, "0"))),
        ("a third block", &|text| lines(text, "multicast::cluster", |line| ended(line, "7"))),
        ("each block for itself", &|text| {
            lines(text, "multicast::cluster", |line| {
                let (line, _) = line.rsplit_once(", ").unwrap();
                format!("{};", line.replace(".multicast::cluster", ""))
            })
        }),
        ("fewer bytes announced", &|text| lines(text, "arrive.expect_tx", |line| ended(line, "32768"))),
        ("mbarriers for the arrivals of one block alone", &|text| {
            lines(text, "mov.", |line| if line.ends_with(", 16;") { ended(line, "8") } else { line.into() })
        }),
        ("arrivals at the own mbarriers alone", &|text| {
            lines(text, "mapa.", |line| {
                let (line, _) = line.rsplit_once(", ").unwrap();
                format!("{};", line.replace("mapa.shared::cluster.u32", "mov.b32"))
            })
        }),
        ("arrivals at a third block's", &|text| lines(text, "mapa.", |line| ended(line, "2"))),
        ("no arrivals", &|text| text.replace("mbarrier.arrive.shared::cluster.b64 _, [there];", "")),
        ("no clusters", &|text| text.replace(".reqnctapercluster 2, 1, 1", "")),
    ];
    all_are_noticed("matmul", &cases, &expected, &|change| run(change));
}
