//! PTX that was changed in one place is not what the CPU computes: so the tests of operations can fail.

use veridical::backend::PtxModules;
use veridical::{DType, Device, Tensor, ops};

use super::hardware;

/// An operation on a device.
type Run<'a> = &'a dyn Fn(&Device) -> veridical::Result<Vec<f64>>;

/// Whole numbers from -2 to 2.
fn whole(shape: &[usize], step: usize, dtype: DType, device: &Device) -> veridical::Result<Tensor> {
    let data: Vec<f32> = (0..shape.iter().product()).map(|i: usize| ((i * step + 3) % 5) as f32 - 2.0).collect();
    ops::cast(Tensor::from_slice(&data, shape, &Device::Cpu)?, dtype)?.value().to_device(device)
}

/// The product of two matrices of whole numbers, which is exact on every device.
fn product(device: &Device, dtype: DType, [m, k, n]: [usize; 3]) -> veridical::Result<Vec<f64>> {
    ops::matmul(whole(&[m, k], 7, dtype, device)?, whole(&[k, n], 13, dtype, device)?)?.value().to_f64()
}

/// A device whose module `file` was changed.
fn device_after(file: &str, change: impl Fn(&str) -> String) -> veridical::Result<Device> {
    let mut modules = PtxModules::of_this_build()?;
    let text = modules.text_mut(file).unwrap();
    let changed = change(text);
    assert!(changed != *text, "nothing was changed");
    *text = changed;
    Device::ptx_of(&modules)
}

/// Changes every line that holds `word`.
fn lines(text: &str, word: &str, change: impl Fn(&str) -> String) -> String {
    text.lines().map(|line| if line.contains(word) { change(line) } else { line.into() } + "\n").collect()
}

const SIZES: [usize; 3] = [40, 72, 48];

/// Without the change the operation gives what the CPU does, up to `tolerance`; with it an error or other numbers.
fn noticed(fault: &str, file: &str, change: impl Fn(&str) -> String, run: Run, tolerance: f64) {
    let Some(device) = hardware::ptx() else { return };
    let expected = run(&Device::Cpu).unwrap();
    // NaN is close to nothing.
    let close = |a: f64, b: f64| (a - b).abs() <= tolerance;
    let wrong = |got: Vec<f64>| got.iter().zip(&expected).filter(|(a, b)| !close(**a, **b)).count();
    assert_eq!(wrong(run(&device).unwrap()), 0, "{fault}: the text as it is");
    match device_after(file, change).and_then(|device| run(&device)) {
        Ok(got) => {
            let wrong = wrong(got);
            assert!(wrong > 0, "{fault}: nothing was noticed");
            println!("{fault}: {wrong} of {} numbers are wrong", expected.len());
        }
        Err(error) => println!("{fault}: {error}"),
    }
}

/// The same of a product.
fn caught(fault: &str, change: impl Fn(&str) -> String, dtype: DType, sizes: [usize; 3]) {
    noticed(fault, "matmul", change, &|device| product(device, dtype, sizes), 0.0);
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
    let same = device_after("matmul", |text| format!("// {text}")).unwrap();
    assert_eq!(product(&same, DType::BF16, SIZES).unwrap(), product(&Device::Cpu, DType::BF16, SIZES).unwrap());
}

/// The line with the last two registers of a list the other way round.
fn swapped(line: &str, list: usize) -> String {
    let mut lists: Vec<String> = line.split('{').map(String::from).collect();
    let (inside, rest) = lists[list + 1].split_once('}').unwrap();
    let mut registers: Vec<&str> = inside.split(", ").collect();
    let last = registers.len() - 1;
    registers.swap(last, last - 1);
    lists[list + 1] = format!("{}}}{rest}", registers.join(", "));
    lists.join("{")
}

/// Registers of a, of b, and of the sums, the other way round.
#[test]
fn swapped_operands_of_mma_are_caught() {
    for list in [0, 1, 2] {
        let change = |text: &str| lines(text, "mma.sync", |line| swapped(line, list));
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

/// Instructions that products have none of, in operations that have them.
#[test]
fn faults_in_other_operations_are_caught() {
    let attention = |device: &Device| {
        let [q, k, v] = [3, 7, 11].map(|step| whole(&[1, 65, 48], step, DType::BF16, device));
        ops::attention(q?, k?, v?, 3, true)?.value().to_f64()
    };
    let halves = |line: &str| match line.trim_end_matches(';').split(", ").collect::<Vec<_>>()[..] {
        [to, high, low] => format!("{to}, {low}, {high};"),
        _ => line.into(),
    };
    let change = |text: &str| lines(text, "cvt.rn.bf16x2.f32", halves);
    noticed("halves of bf16x2", "attention", change, &attention, 0.02);
    let change = |text: &str| lines(text, "mma.sync", |line| swapped(line, 1));
    noticed("list 1 of mma in attention", "attention", change, &attention, 0.02);

    let softmax = |device: &Device| ops::softmax(whole(&[5, 70], 3, DType::F32, device)?)?.value().to_f64();
    let change = |text: &str| text.replace("shfl.sync.bfly", "shfl.sync.down");
    noticed("another shfl", "softmax", change, &softmax, 1e-6);

    let norm = |device: &Device| {
        let [gamma, beta] = [3, 7].map(|step| whole(&[16], step, DType::F32, device));
        ops::group_norm_silu(whole(&[2, 5, 3, 16], 3, DType::BF16, device)?, gamma?, beta?, 4, 1e-5)?.value().to_f64()
    };
    let change = |text: &str| text.replace("rcp.approx.ftz", "ex2.approx.ftz");
    noticed("ex2 for rcp", "group_norm", change, &norm, 0.05);

    let convolution = |device: &Device| {
        let (x, w) = (whole(&[2, 9, 7, 16], 7, DType::BF16, device)?, whole(&[24, 3, 3, 16], 3, DType::BF16, device)?);
        ops::conv2d(x, w, None, 1, 1)?.value().to_f64()
    };
    let change = |text: &str| lines(text, "cp.async.cg", |line| line.replacen("], 16, ", "+16], 16, ", 1));
    noticed("cp.async from the next pixel", "conv2d", change, &convolution, 0.0);
}
