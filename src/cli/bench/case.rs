//! One row of the op table in one dtype and direction, made ready to run.

use veridical::autograd::Backward;
use veridical::op_table::Row;
use veridical::{DType, Device, Result, Tape, Tensor, Var};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Forward,
    Backward,
}

impl Direction {
    pub const BOTH: [Direction; 2] = [Direction::Forward, Direction::Backward];

    pub fn name(self) -> &'static str {
        match self {
            Direction::Forward => "forward",
            Direction::Backward => "backward",
        }
    }
}

/// What a case does each time it is timed.
pub type Work = Box<dyn FnMut() -> Result<()>>;

/// Makes the row's inputs and, for the backward direction, runs it forward once on a tape that is kept.
///
/// `None` if the row has no gradient to run backward. The forward direction records nothing, as in sampling.
pub fn prepare(row: &Row, dtype: DType, device: &Device, direction: Direction) -> Result<Option<Work>> {
    let tape = Tape::new();
    let mut inputs = Vec::new();
    for (input, values) in row.inputs.iter().zip(row.values(dtype)) {
        let value = values.to_tensor(input.dtype(dtype), device)?;
        let differentiate = input.gradient && direction == Direction::Backward;
        inputs.push(if differentiate { tape.leaf(value) } else { Var::constant(value) });
    }
    if direction == Direction::Forward {
        let row = row.clone();
        return Ok(Some(Box::new(move || row.run(&inputs).map(drop))));
    }
    let y = row.run(&inputs)?;
    if !y.requires_grad() {
        return Ok(None);
    }
    let dy = Tensor::full(1.0, y.shape(), y.dtype(), device)?;
    Ok(Some(Box::new(move || {
        y.backward_with(Backward { cotangent: Some(dy.clone()), only: None, retain: true }).map(drop)
    })))
}
