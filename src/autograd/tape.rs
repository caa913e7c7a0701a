//! The record of a computation.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::stop;
use crate::tensor::{DType, Device, Shape, Tensor};

/// Turns the gradient of a result into the gradients of its inputs.
#[derive(Clone)]
pub(super) enum Rule {
    /// Of tensors: gradients of the first order. `true` marks the inputs that need one.
    Tensors(Arc<dyn Fn(&Tensor, &[bool]) -> Result<Vec<Option<Tensor>>> + Send + Sync>),
    /// Of variables: gradients of any order.
    Vars(Arc<dyn Fn(&Var, &Place) -> Result<Vec<Option<Var>>> + Send + Sync>),
}

/// Where a rule in variables is asked for gradients; see [`Var::record_higher`].
///
/// A rule keeps tensors. Where gradients are to be differentiated in turn, the place makes of them the variables that
/// they were; in an ordinary backward pass it makes constants, and nothing is recorded.
pub struct Place<'a> {
    /// The tape that gradients are recorded on; `None` in an ordinary backward pass.
    pub(super) tape: Option<&'a Tape>,
    pub(super) inputs: &'a [Option<usize>],
    pub(super) result: usize,
    pub(super) wanted: &'a [bool],
}

impl Place<'_> {
    /// Whether the gradient of input `i` is wanted.
    pub fn wants(&self, i: usize) -> bool {
        self.wanted.get(i).copied().unwrap_or(false)
    }

    /// The gradient of input `i`, as `gradient` computes it, if it is wanted.
    pub fn wanted(&self, i: usize, gradient: impl FnOnce() -> Result<Var>) -> Result<Option<Var>> {
        self.wants(i).then(gradient).transpose()
    }

    /// Input `i`, whose value the rule has kept.
    pub fn input(&self, i: usize, value: &Tensor) -> Var {
        self.var(value, self.inputs.get(i).copied().flatten())
    }

    /// The operation's result, whose value the rule has kept.
    pub fn result(&self, value: &Tensor) -> Var {
        self.var(value, Some(self.result))
    }

    fn var(&self, value: &Tensor, id: Option<usize>) -> Var {
        let node = self.tape.zip(id).map(|(tape, id)| Node { tape: tape.clone(), id });
        Var { value: value.clone(), node }
    }
}

pub(super) struct Entry {
    pub op: &'static str,
    pub shape: Shape,
    pub dtype: DType,
    /// Tape positions of the inputs; `None` for constants.
    pub inputs: Vec<Option<usize>>,
    pub kind: Kind,
}

pub(super) enum Kind {
    Leaf,
    Op(Rule),
    /// A backward pass went through here and dropped the rule.
    Passed,
}

/// A record of operations, for one forward and backward pass. Cheap to clone; clones are the same tape.
#[derive(Clone, Default)]
pub struct Tape(Arc<Mutex<Vec<Entry>>>);

impl Tape {
    /// An empty tape.
    pub fn new() -> Self {
        Self::default()
    }

    /// A variable that gradients are wanted for: a weight, or an input to differentiate by.
    ///
    /// Integer tensors have no gradient and become constants.
    pub fn leaf(&self, value: Tensor) -> Var {
        if !value.dtype().is_float() {
            return Var::constant(value);
        }
        let entry = Entry {
            op: "leaf",
            shape: value.shape().clone(),
            dtype: value.dtype(),
            inputs: Vec::new(),
            kind: Kind::Leaf,
        };
        let id = self.push(entry);
        Var { value, node: Some(Node { tape: self.clone(), id }) }
    }

    /// Number of recorded entries, leaves included.
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether nothing has been recorded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn same(&self, other: &Tape) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn push(&self, entry: Entry) -> usize {
        let mut entries = self.entries();
        entries.push(entry);
        entries.len() - 1
    }
}

#[derive(Clone)]
pub(super) struct Node {
    pub tape: Tape,
    pub id: usize,
}

/// A tensor on its way through a computation; either recorded on a tape, or a constant.
#[derive(Clone)]
pub struct Var {
    value: Tensor,
    pub(super) node: Option<Node>,
}

impl Var {
    /// A tensor that no gradient flows to.
    pub fn constant(value: Tensor) -> Self {
        Var { value, node: None }
    }

    /// The tensor.
    pub fn value(&self) -> &Tensor {
        &self.value
    }

    /// The tensor, given up by the variable.
    pub fn into_value(self) -> Tensor {
        self.value
    }

    /// The tensor's shape.
    pub fn shape(&self) -> &Shape {
        self.value.shape()
    }

    /// The tensor's dtype.
    pub fn dtype(&self) -> DType {
        self.value.dtype()
    }

    /// The tensor's device.
    pub fn device(&self) -> Device {
        self.value.device()
    }

    /// Whether a gradient flows to this variable.
    pub fn requires_grad(&self) -> bool {
        self.node.is_some()
    }

    /// The same tensor as a constant: gradients stop here.
    pub fn detach(&self) -> Var {
        Var::constant(self.value.clone())
    }

    /// Records `y`, computed by `op` from `inputs`.
    ///
    /// `rule` gets the gradient of `y` and, for each input, whether its gradient is wanted; it returns the wanted ones,
    /// each in the input's shape and dtype. It keeps what it needs by capturing it. If no input requires a gradient
    /// nothing is recorded and `rule` is dropped at once. Errors if the inputs are on different tapes, and once the
    /// calling thread is to [stop](crate::stop).
    pub fn record<const N: usize>(
        op: &'static str,
        y: Tensor,
        inputs: [&Var; N],
        rule: impl Fn(&Tensor, [bool; N]) -> Result<[Option<Tensor>; N]> + Send + Sync + 'static,
    ) -> Result<Var> {
        Self::record_all(op, y, &inputs, move |dy, wanted| {
            let wanted = std::array::from_fn(|i| wanted.get(i).copied().unwrap_or(false));
            rule(dy, wanted).map(Vec::from)
        })
    }

    /// As [`record`](Self::record), for any number of inputs.
    pub fn record_all(
        op: &'static str,
        y: Tensor,
        inputs: &[&Var],
        rule: impl Fn(&Tensor, &[bool]) -> Result<Vec<Option<Tensor>>> + Send + Sync + 'static,
    ) -> Result<Var> {
        Self::record_by(op, y, inputs, || Rule::Tensors(Arc::new(rule)))
    }

    /// As [`record`](Self::record), with a rule in variables: its gradients can be differentiated in turn, to any
    /// order ([`Var::gradient`]).
    ///
    /// `rule` gets the gradient of `y` and the [`Place`] it stands at, and computes with operations of variables what a
    /// rule in tensors computes with their kernels. It must not capture a variable (which would keep its tape for ever)
    /// but tensors, and have the place make variables of them.
    ///
    /// ```
    /// use veridical::{Device, Result, Tape, Tensor, Var};
    ///
    /// /// `x^3`
    /// fn cube(x: &Var) -> Result<Var> {
    ///     let kept = x.value().clone();
    ///     let y = (x.detach().square()? * x.detach())?.into_value();
    ///     Var::record_higher("cube", y, [x], move |dy, at| {
    ///         let x = at.input(0, &kept);
    ///         Ok([Some((dy * (3.0 * x.square()?)?)?)])
    ///     })
    /// }
    ///
    /// # fn main() -> Result<()> {
    /// let x = Tape::new().leaf(Tensor::from_vec(vec![2.0], [], &Device::Cpu)?);
    /// let slope = cube(&x)?.gradient(&[&x])?.remove(0);
    /// assert_eq!(slope.value().item()?, 3.0 * 4.0);
    /// assert_eq!(slope.backward()?.of(&x)?.item()?, 6.0 * 2.0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn record_higher<const N: usize>(
        op: &'static str,
        y: Tensor,
        inputs: [&Var; N],
        rule: impl Fn(&Var, &Place) -> Result<[Option<Var>; N]> + Send + Sync + 'static,
    ) -> Result<Var> {
        Self::record_all_higher(op, y, &inputs, move |dy, at| rule(dy, at).map(Vec::from))
    }

    /// As [`record_higher`](Self::record_higher), for any number of inputs.
    pub fn record_all_higher(
        op: &'static str,
        y: Tensor,
        inputs: &[&Var],
        rule: impl Fn(&Var, &Place) -> Result<Vec<Option<Var>>> + Send + Sync + 'static,
    ) -> Result<Var> {
        Self::record_by(op, y, inputs, || Rule::Vars(Arc::new(rule)))
    }

    fn record_by(op: &'static str, y: Tensor, inputs: &[&Var], rule: impl FnOnce() -> Rule) -> Result<Var> {
        stop::check()?;
        let mut nodes = inputs.iter().filter_map(|input| input.node.as_ref());
        let Some(Node { tape, .. }) = nodes.next() else {
            return Ok(Var::constant(y));
        };
        if nodes.any(|node| !node.tape.same(tape)) {
            return Err(Error::Autograd(format!("the inputs of {op} are on different tapes; `detach()` one of them")));
        }
        if !y.dtype().is_float() {
            return Err(Error::NoGradient { op });
        }
        let entry = Entry {
            op,
            shape: y.shape().clone(),
            dtype: y.dtype(),
            inputs: inputs.iter().map(|input| input.node.as_ref().map(|node| node.id)).collect(),
            kind: Kind::Op(rule()),
        };
        let id = tape.push(entry);
        Ok(Var { value: y, node: Some(Node { tape: tape.clone(), id }) })
    }

    /// Wraps the result of an operation that has no gradient. Errors if an input requires one: a gradient must never
    /// get lost in silence. Errors, too, once the calling thread is to [stop](crate::stop).
    pub fn record_without_gradient(op: &'static str, y: Tensor, inputs: &[&Var]) -> Result<Var> {
        stop::check()?;
        match inputs.iter().any(|input| input.requires_grad()) {
            true => Err(Error::NoGradient { op }),
            false => Ok(Var::constant(y)),
        }
    }

    /// The same elements with other extents. Errors if the counts differ.
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Var> {
        let from = self.shape().clone();
        Var::record_higher("reshape", self.value.reshape(shape)?, [self], move |dy, _| Ok([Some(dy.reshape(&from)?)]))
    }
}

impl From<Tensor> for Var {
    fn from(value: Tensor) -> Self {
        Var::constant(value)
    }
}

impl From<&Var> for Var {
    fn from(var: &Var) -> Self {
        var.clone()
    }
}

impl From<&Tensor> for Var {
    fn from(value: &Tensor) -> Self {
        Var::constant(value.clone())
    }
}

/// The values, as [`Tensor`] shows them.
impl fmt::Display for Var {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.value, f)
    }
}

impl fmt::Debug for Var {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{}", self.value, if self.requires_grad() { ", requires grad" } else { "" })
    }
}
