//! Real kernels on a device, each held against the same operation in plain loops in f64.

use serde::Serialize;
use veridical::op_table::{self, Row};
use veridical::{DType, Device, Result, Var};

/// What is run: the products, sums and functions that networks are made of, by their names in the op table.
const OPERATIONS: [&str; 6] = ["matmul", "conv2d", "group_norm_silu", "attention", "softmax", "add"];
/// Elements of the largest input, so that plain loops and the emulator take tenths of a second.
const MOST_ELEMENTS: usize = 6000;

/// A kernel's result beside that of the loops.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    pub op: String,
    pub case: String,
    pub dtype: String,
    /// The largest difference, relative to the largest magnitude of the result; none where there are NaNs.
    pub off: Option<f64>,
    /// As much may come from rounding.
    pub allowed: f64,
    pub right: bool,
}

/// What is run on a device.
pub fn rows() -> Vec<Row> {
    let all = op_table::rows();
    let size = |row: &Row| row.inputs.iter().map(|input| input.shape.iter().product::<usize>()).max().unwrap_or(0);
    let largest = |op: &str| {
        let fitting = all.iter().filter(|row| row.op == op && !row.bench && size(row) <= MOST_ELEMENTS);
        fitting.max_by_key(|row| size(row)).cloned()
    };
    OPERATIONS.into_iter().filter_map(largest).collect()
}

/// Runs the rows on a device, in every dtype that it has. Errors where a kernel cannot be run.
pub fn run(rows: &[Row], device: &Device) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    for row in rows {
        // GPUs have no f64 here.
        for &dtype in row.dtypes.iter().filter(|dtype| matches!(device, Device::Cpu) || **dtype != DType::F64) {
            checks.push(one(row, dtype, device)?);
        }
    }
    Ok(checks)
}

fn one(row: &Row, dtype: DType, device: &Device) -> Result<Check> {
    let inputs = row.inputs.iter().zip(row.values(dtype));
    let inputs = inputs.map(|(input, values)| Ok(Var::constant(values.to_tensor(input.dtype(dtype), device)?)));
    let found = row.run(&inputs.collect::<Result<Vec<_>>>()?)?;
    device.synchronize()?;
    let (found, expected) = (found.value().to_f64()?, row.expected(dtype).data);
    let scale = expected.iter().fold(0f64, |most, x| most.max(x.abs())).max(f64::MIN_POSITIVE);
    let mut differences = found.iter().zip(&expected).map(|(found, expected)| (found - expected).abs() / scale);
    let off = match found.len() == expected.len() {
        true => differences.try_fold(0f64, |most, off| (!off.is_nan()).then(|| most.max(off))),
        false => None,
    };
    let allowed = match dtype {
        DType::F64 => 1e-11,
        DType::BF16 => row.tolerance.bf16,
        _ => row.tolerance.f32,
    };
    Ok(Check {
        op: row.op.into(),
        case: row.case.clone(),
        dtype: dtype.to_string(),
        off,
        allowed,
        right: off.is_some_and(|off| off <= allowed),
    })
}

#[cfg(test)]
mod tests {
    use veridical::op_table::{Array, input};
    use veridical::ops;

    use super::*;

    #[test]
    fn there_is_a_row_of_every_operation_that_is_named() {
        let names: Vec<&str> = rows().iter().map(|row| row.op).collect();
        assert_eq!(names, OPERATIONS);
    }

    #[test]
    fn the_processor_is_right() {
        let checks = run(&rows(), &Device::Cpu).unwrap();
        assert!(checks.len() > 2 * OPERATIONS.len());
        for check in checks {
            assert!(check.right, "{check:?}");
        }
    }

    /// The square, where it should be the third power; and NaN.
    #[test]
    fn what_is_wrong_is_found() {
        let cube = |x: &[Array]| x[0].map(|x| x * x * x);
        let square = Row::new("cube", vec![input(&[7])], |x| ops::mul(&x[0], &x[0]), cube);
        let checks = run(&[square], &Device::Cpu).unwrap();
        assert_eq!(checks.len(), 3);
        for check in checks {
            assert!(!check.right && check.off.is_some_and(|off| off > 0.1), "{check:?}");
        }
        let nan = Row::new("cube", vec![input(&[7])], |x| ops::scale(&x[0], f64::NAN), cube);
        for check in run(&[nan], &Device::Cpu).unwrap() {
            assert!(!check.right && check.off.is_none(), "{check:?}");
        }
        let other = Row::new("cube", vec![input(&[7])], |x| x[0].sum_all(), cube);
        assert!(run(&[other], &Device::Cpu).unwrap().iter().all(|check| !check.right && check.off.is_none()));
    }
}
