//! Every row of the op table, on every device there is: values against plain f64 loops, gradients against differences,
//! devices against each other.

mod hardware;
mod locate;

use veridical::autograd::{Backward, GradCheck, grad_check, second_grad_check};
use veridical::backend::cpu::Isa;
use veridical::op_table::{Array, Row, rows};
use veridical::{DType, Device, Error, Tape, Tensor, Var};

/// What one device made of a row: the result, then the gradients.
type Outcome = Vec<(String, Tensor)>;

fn cotangent(shape: &[usize]) -> Array {
    Array::from_fn(shape, |i| ((i * 7 + 3) % 11) as f64 - 4.0)
}

/// Runs a row forward and backward. `padded` puts every input at an odd offset of a larger buffer, so that no address
/// is aligned for wide loads.
fn run(row: &Row, dtype: DType, device: &Device, padded: bool) -> veridical::Result<Outcome> {
    // What an operation reads without having written it is NaN.
    veridical::backend::cpu::poison(true);
    let tape = Tape::new();
    let mut inputs = Vec::new();
    for (input, values) in row.inputs.iter().zip(row.values(dtype)) {
        let dtype = input.dtype(dtype);
        let value = if padded { misaligned(&values, dtype, device) } else { values.to_tensor(dtype, device) }?;
        inputs.push(if input.gradient { tape.leaf(value) } else { Var::constant(value) });
    }
    let y = row.run(&inputs)?;
    let mut outcome = vec![("result".to_string(), y.value().clone())];
    if y.requires_grad() {
        let shape = y.shape().to_vec();
        let dy = cotangent(&shape).to_tensor(y.dtype(), device)?;
        let gradients = y.backward_with(Backward { cotangent: Some(dy), ..Default::default() })?;
        for (i, input) in inputs.iter().enumerate().filter(|(_, input)| input.requires_grad()) {
            let zero = || Tensor::zeros(input.shape(), dtype, device);
            let gradient = gradients.get(input).cloned().map_or_else(zero, Ok)?;
            outcome.push((format!("gradient {i}"), gradient));
        }
    }
    Ok(outcome)
}

/// The elements as a tensor, one element into a larger buffer.
fn misaligned(values: &Array, dtype: DType, device: &Device) -> veridical::Result<Tensor> {
    let padded = Array { shape: vec![values.data.len() + 1], data: [&[0.0], values.data.as_slice()].concat() };
    padded.to_tensor(dtype, device)?.narrow(1, values.data.len())?.reshape(values.shape.as_slice())
}

fn compare(name: &str, row: &Row, got: &Tensor, expected: &[f64], tolerance: f64, exact: bool) {
    let got = got.to_f64().unwrap();
    assert_eq!(got.len(), expected.len(), "{name}: {} elements", row.case);
    let scale = expected.iter().filter(|x| x.is_finite()).fold(0f64, |max, x| max.max(x.abs()));
    for (i, (&got, &expected)) in got.iter().zip(expected).enumerate() {
        let same = got == expected || (got.is_nan() && expected.is_nan());
        let close = (got - expected).abs() <= if exact { 0.0 } else { tolerance * scale };
        assert!(
            same || close,
            "{name} {}: element {i} is {got}, expected {expected} (off by {:e}, allowed {:e})",
            row.case,
            (got - expected).abs(),
            tolerance * scale
        );
    }
}

/// The CPU in f64 is the measure of everything else; it is itself measured against plain loops and differences.
fn check_values(row: &Row, device: &Device, dtype: DType, padded: bool) -> Outcome {
    let name = format!("{} {dtype} on {device}", row.op);
    let outcome = run(row, dtype, device, padded).unwrap_or_else(|error| panic!("{name} {}: {error}", row.case));
    let reference = row.expected(dtype);
    assert_eq!(outcome[0].1.shape().to_vec(), reference.shape, "{name} {}: shape", row.case);
    let tolerance = match dtype {
        DType::F64 => 1e-11,
        DType::BF16 => row.tolerance.bf16,
        _ => row.tolerance.f32,
    };
    // bf16 holds whole numbers up to 256; larger exact results are rounded.
    let exact = row.is_exact() && (dtype != DType::BF16 || reference.data.iter().all(|x| x.abs() <= 256.0));
    compare(&name, row, &outcome[0].1, &reference.data, tolerance, exact);
    if dtype != DType::F64 {
        // Gradients of the same rounded inputs in f64.
        let precise = run_rounded(row, dtype);
        for ((what, got), (_, expected)) in outcome.iter().zip(&precise).skip(1) {
            let expected = expected.to_f64().unwrap();
            compare(&format!("{name} {what}"), row, got, &expected, 2.0 * tolerance, false);
        }
    }
    outcome
}

/// The row in f64 on the CPU, from inputs rounded to `dtype`.
fn run_rounded(row: &Row, dtype: DType) -> Outcome {
    let tape = Tape::new();
    let inputs: Vec<Var> = row
        .inputs
        .iter()
        .zip(row.values(dtype))
        .map(|(input, values)| {
            let value = values.to_tensor(input.dtype(DType::F64), &Device::Cpu).unwrap();
            if input.gradient { tape.leaf(value) } else { Var::constant(value) }
        })
        .collect();
    let y = row.run(&inputs).unwrap();
    let mut outcome = vec![("result".to_string(), y.value().clone())];
    if y.requires_grad() {
        let dy = cotangent(y.shape()).to_tensor(DType::F64, &Device::Cpu).unwrap();
        let gradients = y.backward_with(Backward { cotangent: Some(dy), ..Default::default() }).unwrap();
        for (i, input) in inputs.iter().enumerate().filter(|(_, input)| input.requires_grad()) {
            let zero = || Tensor::zeros(input.shape(), DType::F64, &Device::Cpu).unwrap();
            outcome.push((format!("gradient {i}"), gradients.get(input).cloned().unwrap_or_else(zero)));
        }
    }
    outcome
}

fn assert_same_bits(name: &str, row: &Row, a: &Outcome, b: &Outcome) {
    for ((what, a), (_, b)) in a.iter().zip(b) {
        let bits = |t: &Tensor| t.to_f64().unwrap().into_iter().map(f64::to_bits).collect::<Vec<_>>();
        assert!(bits(a) == bits(b), "{name} {}: {what} differs between two runs", row.case);
    }
}

/// The rows to check: all, or those of the operations in `VERIDICAL_OPS` (names with commas between them).
fn chosen() -> Vec<Row> {
    let mut rows = rows();
    if let Ok(names) = std::env::var("VERIDICAL_OPS") {
        rows.retain(|row| names.split(',').any(|name| name == row.op));
        assert!(!rows.is_empty(), "VERIDICAL_OPS={names}: no such operations");
    }
    rows
}

fn small() -> impl Iterator<Item = Row> {
    chosen().into_iter().filter(|row| !row.bench)
}

/// Every operation has rows, and the table's size is printed.
#[test]
fn the_table_holds_every_operation() {
    let rows = rows();
    let table = locate::root().join("src/op_table");
    let folders = std::fs::read_dir(locate::root().join("src/ops")).unwrap();
    for op in folders.map(Result::unwrap).filter(|entry| entry.path().is_dir()) {
        let op = op.file_name().into_string().unwrap();
        if ["broadcast", "product"].contains(&op.as_str()) {
            continue; // what several operations share
        }
        let listed = table.join(format!("{op}.rs")).exists() || rows.iter().any(|row| row.op == op);
        assert!(listed, "src/ops/{op} has no row in src/op_table");
    }
    let names: std::collections::BTreeSet<_> = rows.iter().map(|row| row.op).collect();
    let small = rows.iter().filter(|row| !row.bench);
    let by_dtype: usize = small.clone().map(|row| row.dtypes.len()).sum();
    let on_gpus: usize = small.clone().flat_map(|row| &row.dtypes).filter(|&&dtype| dtype != DType::F64).count();
    println!(
        "{} operations, {} rows: {by_dtype} rows x dtypes on the CPU, {on_gpus} on a GPU or in one order of the emulator; {} more for benchmarks",
        names.len(),
        small.count(),
        rows.iter().filter(|row| row.bench).count()
    );
}

#[test]
fn cpu_values_match_plain_loops() {
    for row in small() {
        for &dtype in &row.dtypes {
            check_values(&row, &Device::Cpu, dtype, false);
        }
    }
}

/// The level of vector instructions is decided once for a process, so each lower one has a process of its own.
#[test]
fn cpu_values_match_plain_loops_on_every_level() {
    const LEVEL: &str = "VERIDICAL_CPU_KERNEL";
    if std::env::var_os(LEVEL).is_some() {
        return; // in one of these processes, or where somebody chose
    }
    for level in Isa::ALL.into_iter().filter(|level| level.is_supported() && *level < Isa::current()) {
        let mut test = std::process::Command::new(std::env::current_exe().unwrap());
        let output = test.args(["--exact", "cpu_values_match_plain_loops"]).env(LEVEL, level.to_string()).output();
        let output = output.unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{level}: {text}");
    }
}

/// The row as a function of those of its inputs that have gradients, and their values; `None` unless it is a small one
/// in f64 with gradients.
fn differentiable(row: &Row, most: usize) -> Option<(Vec<Tensor>, impl Fn(&[Var]) -> veridical::Result<Var>)> {
    let elements: usize = row.inputs.iter().map(|input| input.shape.iter().product::<usize>()).sum();
    let wanted: Vec<usize> = (0..row.inputs.len()).filter(|&i| row.inputs[i].gradient).collect();
    if elements > most || !row.dtypes.contains(&DType::F64) || wanted.is_empty() {
        return None;
    }
    let values = row.values(DType::F64);
    let make = |i: usize| values[i].to_tensor(row.inputs[i].dtype(DType::F64), &Device::Cpu).unwrap();
    let all: Vec<Tensor> = (0..values.len()).map(make).collect();
    let leaves = wanted.iter().map(|&i| all[i].clone()).collect();
    let row = row.clone();
    let f = move |vars: &[Var]| {
        let mut inputs: Vec<Var> = all.iter().map(Var::from).collect();
        for (var, &i) in vars.iter().zip(&wanted) {
            inputs[i] = var.clone();
        }
        row.run(&inputs)
    };
    Some((leaves, f))
}

#[test]
fn gradients_match_differences() {
    let mut checked = 0;
    for row in small() {
        let Some((leaves, f)) = differentiable(&row, 700) else { continue };
        if let Err(error) = grad_check(f, &leaves, GradCheck::default()) {
            panic!("{} {}: {error}", row.op, row.case);
        }
        checked += 1;
    }
    println!("{checked} rows checked against differences");
    assert!(checked > 0 || std::env::var_os("VERIDICAL_OPS").is_some());
}

/// Operations whose gradients are of first order only.
const FIRST_ORDER: [&str; 13] = [
    "batch_norm",
    "batch_norm_with",
    "clip_symmetric",
    "fourier_embedding",
    "gumbel rao",
    "gumbel softmax",
    "info_nce",
    "l2_normalize",
    "nt_xent",
    "positional_embedding",
    "siglip",
    "solver update",
    "sup_con",
];

#[test]
fn gradients_of_gradients_match_differences() {
    let (mut checked, mut off) = (0, Vec::new());
    for row in small() {
        let Some((leaves, f)) = differentiable(&row, 300) else { continue };
        match second_grad_check(f, &leaves, GradCheck::default()) {
            Ok(()) => checked += 1,
            Err(Error::NoHigherGradient { op }) if FIRST_ORDER.contains(&op) => {}
            Err(error) => off.push(format!("{} {}: {error}", row.op, row.case)),
        }
    }
    assert!(off.is_empty(), "{}", off.join("\n"));
    println!("{checked} rows checked against differences of their gradients");
    assert!(checked > 0 || std::env::var_os("VERIDICAL_OPS").is_some());
}

/// A benchmark's rate is only as good as the counts it states.
#[test]
fn benchmark_rows_state_what_they_move() {
    let mut names = std::collections::BTreeSet::new();
    for row in rows().into_iter().filter(|row| row.bench) {
        let name = format!("{} {}", row.op, row.case);
        assert!(names.insert(name.clone()), "{name} stands twice in the table");
        let moved: usize = row.inputs.iter().map(|input| input.shape.iter().product::<usize>()).sum();
        let result = run(&row, DType::F32, &Device::Cpu, false).unwrap()[0].1.len();
        assert!(row.flops >= 0.0 && row.flops.is_finite(), "{name}: {} flops", row.flops);
        assert!(row.elements > 0.0, "{name} moves nothing");
        // No pass must touch more than its operands, its result and their gradients.
        assert!(row.elements <= (moved + result) as f64, "{name}: {} of {} elements", row.elements, moved + result);
        let (flops, elements) = row.backward_work();
        assert!(flops >= 0.0 && elements >= 0.0, "{name}: backward {flops} flops, {elements} elements");
        assert!(elements <= 2.0 * (moved + result) as f64, "{name}: backward {elements} elements");
    }
}

#[test]
fn one_thread_and_many_give_the_same_bits() {
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let four = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
    for row in chosen() {
        if row.bench && row.elements * 4.0 > 64e6 {
            continue;
        }
        let run = || run(&row, DType::F32, &Device::Cpu, false).unwrap();
        assert_same_bits("1 and 4 threads", &row, &one.install(run), &four.install(run));
    }
}

/// All rows on a device that runs the CUDA kernels: values, gradients, equal bits twice, and unaligned operands.
#[allow(dead_code)] // without the emulator and without a GPU there is nothing to check
fn check_gpu(device: &Device) {
    let mut runs = 0;
    for row in small() {
        for &dtype in row.dtypes.iter().filter(|&&dtype| dtype != DType::F64) {
            let name = format!("{} {dtype} on {device}", row.op);
            let first = check_values(&row, device, dtype, false);
            let second = check_values(&row, device, dtype, true);
            for ((what, aligned), (_, padded)) in first.iter().zip(&second) {
                let (aligned, padded) = (aligned.to_f64().unwrap(), padded.to_f64().unwrap());
                assert_eq!(aligned.len(), padded.len(), "{name} {}: {what}", row.case);
            }
            let again = run(&row, dtype, device, false).unwrap();
            assert_same_bits(&name, &row, &first, &again);
            runs += 1;
        }
    }
    device.synchronize().unwrap();
    println!("{runs} rows x dtypes on {device}");
}

#[cfg(feature = "emulator")]
mod emulator {
    use super::*;
    use veridical::backend::{EmulatorOptions, Order};

    /// Races are found in any order, so that one is enough to look for them.
    fn check(order: Order, races: bool) {
        check_gpu(&Device::emulator_with(EmulatorOptions::default().order(order).races(races)).unwrap());
    }

    #[test]
    fn early() {
        check(Order::Early, false);
    }

    #[test]
    fn late() {
        check(Order::Late, false);
    }

    #[test]
    fn shuffled() {
        check(Order::Shuffled(7), true);
    }

    /// These share tiles between threads in more ways than any other operation.
    #[test]
    fn every_order_gives_the_same_bits() {
        let device = |order| Device::emulator_with(EmulatorOptions::default().order(order)).unwrap();
        let [early, late, shuffled] = [Order::Early, Order::Late, Order::Shuffled(7)].map(device);
        let shares =
            |row: &Row| ["attention", "clip_symmetric", "info_nce", "nt_xent", "siglip", "sup_con"].contains(&row.op);
        for row in rows().into_iter().filter(|row| shares(row) && !row.bench) {
            for dtype in [DType::F32, DType::BF16] {
                let first = run(&row, dtype, &early, false).unwrap();
                for device in [&late, &shuffled] {
                    let other = run(&row, dtype, device, false).unwrap();
                    assert_same_bits(&format!("{} {dtype} early and on {device}", row.op), &row, &first, &other);
                }
            }
        }
    }
}

/// The benchmark's sizes, whose tilings no small row has. Plain loops would take hours, so the CPU in the same dtype is
/// the measure.
#[test]
fn cuda_large() {
    let Some(device) = hardware::cuda() else { return };
    for row in chosen().into_iter().filter(|row| row.bench) {
        for &dtype in row.dtypes.iter().filter(|&&dtype| dtype != DType::F64) {
            let name = format!("{} {dtype} on {device}", row.op);
            let on = |device: &Device| run(&row, dtype, device, false).unwrap_or_else(|e| panic!("{name}: {e}"));
            let (first, again, cpu) = (on(&device), on(&device), on(&Device::Cpu));
            assert_same_bits(&name, &row, &first, &again);
            let tolerance = if dtype == DType::BF16 { row.tolerance.bf16 } else { row.tolerance.f32 };
            for ((what, got), (_, expected)) in first.iter().zip(&cpu) {
                let expected = expected.to_f64().unwrap();
                compare(&format!("{name} {what}"), &row, got, &expected, 2.0 * tolerance, false);
            }
        }
    }
}

/// What nvcc made of the kernels, run on the CPU.
#[cfg(feature = "ptx")]
#[test]
fn ptx() {
    let Some(device) = hardware::ptx() else { return };
    check_gpu(&device);
    let kernels = veridical::backend::ptx::kernels().into_iter();
    // Large tiles, and kernels for Hopper: the unit tests of `ops::product` and its like. Copies in bf16:
    // `tests/optim.rs`.
    let elsewhere = |name: &str| {
        ["_large_", "_hopper_", "_turn_", "ceiling", "adam_fwd_bf16", "sgd_fwd_bf16"].iter().any(|w| name.contains(w))
    };
    let left: Vec<_> = kernels.filter(|(name, started)| !started && !elsewhere(name)).map(|(name, _)| name).collect();
    assert!(left.is_empty() || std::env::var_os("VERIDICAL_OPS").is_some(), "no row starts {left:?}");
}

#[test]
fn cuda() {
    if let Some(device) = hardware::cuda() {
        check_gpu(&device);
    }
}
