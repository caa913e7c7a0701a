//! PTX that was changed in one place is not what the CPU computes: so the tests of operations can fail.

use veridical::backend::PtxModules;
use veridical::{DType, Device, Tensor, ops};

use super::hardware;

/// Two factors of whole numbers, whose product is exact on every device, and the product on one.
fn product(device: &Device, dtype: DType, [m, k, n]: [usize; 3]) -> veridical::Result<Vec<f64>> {
    let whole = |rows: usize, columns: usize, step: usize| {
        let data: Vec<f32> = (0..rows * columns).map(|i| ((i * step + 3) % 5) as f32 - 2.0).collect();
        let x = Tensor::from_slice(&data, [rows, columns], &Device::Cpu)?;
        ops::cast(x, dtype)?.value().to_device(device)
    };
    ops::matmul(whole(m, k, 7)?, whole(k, n, 13)?)?.value().to_f64()
}

/// The same on a device whose module `matmul` was changed. Errors if nothing was changed.
fn product_after(change: impl Fn(&str) -> String, dtype: DType, sizes: [usize; 3]) -> veridical::Result<Vec<f64>> {
    let mut modules = PtxModules::of_this_build().unwrap();
    let text = modules.text_mut("matmul").unwrap();
    let changed = change(text);
    assert!(changed != *text, "nothing was changed");
    *text = changed;
    product(&Device::ptx_of(&modules).unwrap(), dtype, sizes)
}

/// Changes every line that holds `word`.
fn lines(text: &str, word: &str, change: impl Fn(&str) -> String) -> String {
    text.lines().map(|line| if line.contains(word) { change(line) } else { line.into() } + "\n").collect()
}

const SIZES: [usize; 3] = [40, 72, 48];

/// Errors and other numbers are both what a test sees.
fn caught(fault: &str, change: impl Fn(&str) -> String, dtype: DType, sizes: [usize; 3]) {
    if hardware::ptx().is_none() {
        return;
    }
    let expected = product(&Device::Cpu, dtype, sizes).unwrap();
    match product_after(change, dtype, sizes) {
        Ok(got) => {
            // NaN differs from everything.
            let wrong = got.iter().zip(&expected).filter(|(got, expected)| !(got == expected)).count();
            assert!(wrong > 0, "{fault}: nothing was noticed");
            println!("{fault}: {wrong} of {} numbers are wrong", expected.len());
        }
        Err(error) => println!("{fault}: {error}"),
    }
}

#[test]
fn the_text_as_it_is_gives_what_the_cpu_does() {
    let Some(device) = hardware::ptx() else { return };
    for dtype in [DType::BF16, DType::F32] {
        for sizes in [SIZES, [65, 33, 63]] {
            assert_eq!(product(&device, dtype, sizes).unwrap(), product(&Device::Cpu, dtype, sizes).unwrap());
        }
    }
    // A comment changes nothing.
    let same = product_after(|text| format!("// {text}"), DType::BF16, SIZES).unwrap();
    assert_eq!(same, product(&Device::Cpu, DType::BF16, SIZES).unwrap());
}

/// The second and third register of a, of b, and of the sums, the other way round.
#[test]
fn swapped_operands_of_mma_are_caught() {
    for list in [0, 1, 2] {
        let swap = |line: &str| {
            let mut lists: Vec<String> = line.split('{').map(String::from).collect();
            let (inside, rest) = lists[list + 1].split_once('}').unwrap();
            let mut registers: Vec<&str> = inside.split(", ").collect();
            let last = registers.len() - 1;
            registers.swap(last, last - 1);
            lists[list + 1] = format!("{}}}{rest}", registers.join(", "));
            lists.join("{")
        };
        let change = |text: &str| lines(text, "mma.sync", swap);
        caught(&format!("list {list} of mma"), change, DType::BF16, SIZES);
    }
}

#[test]
fn matrices_that_are_not_transposed_are_caught() {
    let change = |text: &str| text.replace("ldmatrix.sync.aligned.m8n8.x4.trans", "ldmatrix.sync.aligned.m8n8.x4");
    caught("ldmatrix without .trans", change, DType::BF16, SIZES);
}

#[test]
fn copies_of_another_size_are_caught() {
    let size = |line: &str| line.rsplit_once(", ").unwrap().0.to_string() + ", 8;";
    caught("half of every cp.async", |text| lines(text, "cp.async.cg", size), DType::BF16, SIZES);
    // Where a row ends within a tile, what is beyond it must be zeros.
    let all = |line: &str| line.rsplit_once(", ").unwrap().0.to_string() + ", 16;";
    caught("all of every cp.async", |text| lines(text, "cp.async.cg", all), DType::BF16, SIZES);
    caught("cp.async of 24", |text| text.replace("], 16, %r", "], 24, %r"), DType::BF16, SIZES);
}

#[test]
fn copies_that_are_not_waited_for_are_caught() {
    let change = |text: &str| lines(text, "cp.async.wait_group", |_| "cp.async.wait_group 9;".into());
    caught("no wait", change, DType::BF16, SIZES);
    let change = |text: &str| text.replace("cp.async.commit_group;", "");
    caught("no commit", change, DType::BF16, SIZES);
}

/// Every branch around an access beyond the end of a matrix is taken away.
#[test]
fn dropped_predicates_are_caught() {
    let never = |line: &str| if line.contains("bra ") { String::new() } else { line.into() };
    caught("no branch", |text| lines(text, "@%p", never), DType::F32, [65, 33, 63]);
    let always = |line: &str| line.trim_start().split_once(' ').map_or(String::new(), |(_, rest)| rest.into());
    caught("every branch", |text| lines(text, "@%p", always), DType::F32, [65, 33, 63]);
}

#[test]
fn barriers_that_are_not_there_are_caught() {
    caught("no barrier", |text| text.replace("bar.sync \t0;", ""), DType::F32, SIZES);
    caught("no barrier", |text| text.replace("bar.sync \t0;", ""), DType::BF16, SIZES);
}

#[test]
fn addresses_that_are_off_are_caught() {
    let off = |line: &str| line.replacen("],", "+8],", 1);
    caught("cp.async to another place", |text| lines(text, "cp.async.cg", off), DType::BF16, SIZES);
    let off = |line: &str| line.replace("];", "+16];");
    caught("ldmatrix from another place", |text| lines(text, "ldmatrix", off), DType::BF16, SIZES);
}
