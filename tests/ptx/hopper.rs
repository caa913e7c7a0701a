//! PTX of the kernels for Hopper that was changed in one place is not what the CPU computes, or is an error: so the
//! tests of them can fail.

use veridical::backend::PtxModules;
use veridical::{DType, Device, Tensor, ops};

use super::hardware;

/// Whole numbers from -2 to 2 in bf16.
pub fn whole(shape: &[usize], step: usize, device: &Device) -> veridical::Result<Tensor> {
    let data: Vec<f32> =
        (0..shape.iter().product()).map(|i: usize| ((i * step + i / 64 + 3) % 5) as f32 - 2.0).collect();
    ops::cast(Tensor::from_slice(&data, shape, &Device::Cpu)?, DType::BF16)?.value().to_device(device)
}

/// A product that is given to warpgroups: 66 tiles of three stages each.
fn product(device: &Device) -> veridical::Result<Vec<f64>> {
    let (a, b) = (whole(&[66 * 128, 192], 7, device)?, whole(&[256, 192], 13, device)?);
    ops::matmul_transposed(a, false, b, true)?.value().to_f64()
}

/// Changes every line that holds `word`.
pub fn lines(text: &str, word: &str, change: impl Fn(&str) -> String) -> String {
    text.lines().map(|line| if line.contains(word) { change(line) } else { line.into() } + "\n").collect()
}

/// The line with two operands the other way round, counted from behind.
pub fn swapped(line: &str, from_behind: usize) -> String {
    let mut operands: Vec<&str> = line.split(", ").collect();
    let at = operands.len() - 1 - from_behind;
    operands.swap(at, at - 1);
    operands.join(", ")
}

/// The line with another last operand.
pub fn ended(line: &str, last: &str) -> String {
    line.rsplit_once(", ").map_or(line.into(), |(rest, _)| format!("{rest}, {last};"))
}

#[test]
fn changes_to_the_instructions_of_hopper_are_caught() {
    if hardware::ptx().is_none() {
        return;
    }
    let expected = product(&Device::Cpu).unwrap();
    let run = |change: &dyn Fn(&str) -> String| {
        let mut modules = PtxModules::of_this_build()?.hopper(true);
        let text = modules.text_mut("matmul").unwrap();
        *text = change(text);
        product(&Device::ptx_of(&modules)?)
    };
    assert!(run(&|text| text.into()).unwrap() == expected, "the text as it is");
    let cases: [(&str, &dyn Fn(&str) -> String); 16] = [
        ("two sums", &|text| {
            lines(text, "wgmma.mma_async", |line| {
                let (opcode, rest) = line.split_once('{').unwrap();
                let (first, rest) = rest.split_once(", ").unwrap();
                let (second, rest) = rest.split_once(", ").unwrap();
                format!("{opcode}{{{second}, {first}, {rest}")
            })
        }),
        ("the descriptors", &|text| lines(text, "wgmma.mma_async", |line| swapped(line, 5))),
        ("a factor transposed", &|text| text.replace("add, 1, 1, 0, 0;", "add, 1, 1, 0, 1;")),
        ("a factor negated", &|text| text.replace("add, 1, 1, 0, 0;", "add, 1, -1, 0, 0;")),
        ("the other predicate", &|text| text.replace("setp.ne.b32 add", "setp.eq.b32 add")),
        ("no fence", &|text| text.replace("wgmma.fence.sync.aligned;", "")),
        ("no commit", &|text| text.replace("wgmma.commit_group.sync.aligned;", "")),
        ("no last wait", &|text| text.replace("wgmma.wait_group.sync.aligned 0;", "")),
        ("fewer bytes announced", &|text| lines(text, "arrive.expect_tx", |line| ended(line, "49136"))),
        ("one parity only", &|text| lines(text, "try_wait.parity", |line| ended(line, "0"))),
        ("more arrivals", &|text| lines(text, "mbarrier.init", |line| ended(line, "9"))),
        ("no mbarrier", &|text| lines(text, "mbarrier.init", |_| String::new())),
        ("other coordinates", &|text| {
            lines(text, "cp.async.bulk.tensor.3d", |line| {
                let (map, rest) = line.split_once('{').unwrap();
                let (at, rest) = rest.split_once('}').unwrap();
                format!("{map}{{{}}}{rest}", swapped(at, 1))
            })
        }),
        ("a box to another place", &|text| {
            lines(text, "cp.async.bulk.tensor.3d", |line| line.replacen("],", "+1024],", 1))
        }),
        ("a box that is not there", &|text| text.replace("cp.async.bulk.tensor.3d", "cp.async.bulk.tensor.2d")),
        ("registers", &|text| {
            text.replace("setmaxnreg.inc.sync.aligned.u32 232", "setmaxnreg.inc.sync.aligned.u32 233")
        }),
    ];
    all_are_noticed("matmul", &cases, &expected, &run);
}

/// Every change to the text of `kernels/<file>.cu` is an error, or makes other numbers than are expected.
pub fn all_are_noticed(
    file: &str,
    cases: &[(&str, &dyn Fn(&str) -> String)],
    expected: &[f64],
    run: &dyn Fn(&dyn Fn(&str) -> String) -> veridical::Result<Vec<f64>>,
) {
    let mut unnoticed = Vec::new();
    for &(fault, change) in cases {
        let text = PtxModules::of_this_build().unwrap().text_mut(file).unwrap().clone();
        assert!(change(&text) != text, "{fault}: nothing was changed");
        match run(change) {
            Ok(got) => {
                // NaN is no number's equal.
                let wrong = got.iter().zip(expected).filter(|(a, b)| a != b).count();
                println!("{fault}: {wrong} of {} numbers are wrong", expected.len());
                unnoticed.extend((wrong == 0).then_some(fault));
            }
            Err(error) => println!("{fault}: {error}"),
        }
    }
    assert!(unnoticed.is_empty(), "{unnoticed:?} made no difference");
}

/// On a GPU that is no Hopper, these kernels do not run.
#[test]
fn an_older_device_refuses_them() {
    let Some(device) = hardware::ptx() else { return };
    let Device::Gpu(gpu) = &device else { panic!("an interpreter is a GPU") };
    assert!(gpu.hopper().is_none());
    assert_eq!(product(&device).unwrap(), product(&Device::Cpu).unwrap(), "by the kernel for all GPUs");
}
