//! The same of the gradient of a convolution's weight, whose factors lie transposed: PTX that was changed in one place
//! does not make what the kernel for all GPUs makes.

use veridical::backend::PtxModules;
use veridical::{DType, Device, Tape, ops};

use super::hardware;
use super::hopper::{all_are_noticed, ended, lines, swapped, whole};

/// The gradient of a weight of 128 outputs and 256 channels: nine tiles in eight parts of four stages each.
fn gradient(device: &Device) -> veridical::Result<Vec<f64>> {
    let tape = Tape::new();
    let w = tape.leaf(whole(&[128, 3, 3, 256], 5, device)?);
    let (x, dy) = (whole(&[32, 8, 8, 256], 7, device)?, whole(&[32, 8, 8, 128], 13, device)?);
    let y = ops::conv2d(x, &w, None, 1, 1)?;
    let gradients = ops::mul(&y, dy)?.sum_all()?.backward()?;
    ops::cast(gradients.get(&w).unwrap().clone(), DType::F32)?.value().to_f64()
}

/// A descriptor's constant bits: LBO, SBO, and swizzled by 128 bytes.
fn descriptor(lines_apart: u64, steps_apart: u64) -> String {
    ((lines_apart >> 4) << 16 | (steps_apart >> 4) << 32 | 1 << 62).to_string()
}

#[test]
fn changes_to_transposed_factors_are_caught() {
    if hardware::ptx().is_none() {
        return;
    }
    let modules = || PtxModules::of_this_build().unwrap().hopper(true);
    let expected = gradient(&Device::ptx_of(&modules()).unwrap()).unwrap();
    let run = |change: &dyn Fn(&str) -> String| {
        let mut modules = modules().hopper_weights(true);
        let text = modules.text_mut("conv2d").unwrap();
        *text = change(text);
        gradient(&Device::ptx_of(&modules)?)
    };
    assert!(run(&|text| text.into()).unwrap() == expected, "the text as it is");
    let good = descriptor(8192, 1024);
    // How far it is to a product's steps stands alone in nvcc's text, and within the descriptor in clang's.
    let further = |offset: u64| (good.parse::<u64>().unwrap() + offset).to_string();
    let third = [("384".to_string(), "6".to_string()), (further(384), further(6))];
    let of = |lines_apart, steps_apart| {
        let (good, other) = (good.clone(), descriptor(lines_apart, steps_apart));
        move |text: &str| text.replace(&good, &other)
    };
    let coordinates = |line: &str, from_behind: usize| {
        let (map, rest) = line.split_once('{').unwrap();
        let (at, rest) = rest.split_once('}').unwrap();
        format!("{map}{{{}}}{rest}", swapped(at, from_behind))
    };
    let cases: [(&str, &dyn Fn(&str) -> String); 10] = [
        ("another LBO", &of(4096, 1024)),
        ("another SBO", &of(8192, 2048)),
        ("LBO and SBO changed for each other", &of(1024, 8192)),
        ("no transposed left factor", &|text| text.replace("add, 1, 1, 1, 1;", "add, 1, 1, 0, 1;")),
        ("no transposed right factor", &|text| text.replace("add, 1, 1, 1, 1;", "add, 1, 1, 1, 0;")),
        ("steps of depth as if they stood side by side", &|text| {
            lines(text, "add.s64", |line| {
                let found = third.iter().find(|(far, _)| line.ends_with(&format!(", {far};")));
                found.map_or(line.into(), |(_, near)| ended(line, near))
            })
        }),
        ("fewer bytes announced", &|text| lines(text, "arrive.expect_tx", |line| ended(line, "49136"))),
        ("a tap moved down for one moved right", &|text| {
            lines(text, "cp.async.bulk.tensor.4d", |line| coordinates(line, 1))
        }),
        ("pixels for channels", &|text| lines(text, "cp.async.bulk.tensor.2d", |line| coordinates(line, 0))),
        ("a box that is not there", &|text| text.replace("cp.async.bulk.tensor.2d", "cp.async.bulk.tensor.3d")),
    ];
    all_are_noticed("conv2d", &cases, &expected, &run);
}
