//! The walk back.

use std::collections::BTreeMap;
use std::fmt;

use super::tape::{Kind, Node, Place, Rule, Tape, Var};
use crate::error::{Error, Result};
use crate::stop;
use crate::tensor::Tensor;

/// How to run a backward pass; see [`Var::backward_with`].
#[derive(Default)]
pub struct Backward<'a> {
    /// The gradient of the result. May be left out where the result has one element: it is 1 then.
    pub cotangent: Option<Tensor>,
    /// Compute only what these variables' gradients need (they need not be leaves). `None`: every leaf.
    pub only: Option<&'a [&'a Var]>,
    /// Keep what the tape holds, so that another backward pass can follow.
    pub retain: bool,
}

/// Gradients of the leaves (or of the variables asked for) after a backward pass.
#[derive(Default)]
pub struct Gradients {
    tape: Tape,
    by_id: BTreeMap<usize, Tensor>,
}

impl Gradients {
    /// The gradient with respect to `var`; `None` if `var` is a constant or had no part in the result.
    pub fn get(&self, var: &Var) -> Option<&Tensor> {
        match &var.node {
            Some(node) if node.tape.same(&self.tape) => self.by_id.get(&node.id),
            _ => None,
        }
    }

    /// The gradient with respect to `var`, taken out. Errors if there is none: `var` is a constant, or had no part in
    /// the result, or its gradient was taken before.
    pub fn of(&mut self, var: &Var) -> Result<Tensor> {
        let what = if var.requires_grad() { "no part in the result" } else { "no place on a tape" };
        let missing = || Error::Autograd(format!("there is no gradient for a variable that has {what}"));
        self.take(var).ok_or_else(missing)
    }

    /// Takes the gradient out, so that its memory is freed when the caller is done with it.
    pub fn take(&mut self, var: &Var) -> Option<Tensor> {
        match &var.node {
            Some(node) if node.tape.same(&self.tape) => self.by_id.remove(&node.id),
            _ => None,
        }
    }

    /// Adds the gradients of another pass over the same tape.
    pub(crate) fn add(&mut self, other: Gradients, sum: Sum) -> Result<()> {
        if !self.tape.same(&other.tape) {
            return Err(Error::Autograd("the two sets of gradients belong to different tapes".into()));
        }
        other.by_id.into_iter().try_for_each(|(id, gradient)| add(&mut self.by_id, id, gradient, sum))
    }
}

impl fmt::Debug for Gradients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.by_id).finish()
    }
}

/// How two gradients of one variable become their sum, in the place of the first where nobody else holds it. It is an
/// operation, and the tape knows of none.
pub(crate) type Sum<G = Tensor> = fn(G, &G) -> Result<G>;

fn add<G>(by_id: &mut BTreeMap<usize, G>, id: usize, gradient: G, sum: Sum<G>) -> Result<()> {
    let sum = match by_id.remove(&id) {
        Some(there) => sum(there, &gradient)?,
        None => gradient,
    };
    by_id.insert(id, sum);
    Ok(())
}

/// What flows back over a tape: tensors, or variables, whose own computation is recorded.
trait Flow: Sized {
    /// Whether rules stay on the tape, whatever the caller says.
    const RETAINS: bool;

    /// The gradients of the inputs of entry `id`.
    fn through(&self, step: &Step, tape: &Tape, id: usize, wanted: &[bool]) -> Result<Vec<Option<Self>>>;

    fn tensor(&self) -> &Tensor;
}

impl Flow for Tensor {
    const RETAINS: bool = false;

    fn through(&self, step: &Step, _: &Tape, id: usize, wanted: &[bool]) -> Result<Vec<Option<Self>>> {
        match &step.rule {
            Rule::Tensors(rule) => rule(self, wanted),
            Rule::Vars(rule) => {
                let place = Place { tape: None, inputs: &step.inputs, result: id, wanted };
                let gradients = rule(&Var::constant(self.clone()), &place)?;
                Ok(gradients.into_iter().map(|gradient| gradient.map(Var::into_value)).collect())
            }
        }
    }

    fn tensor(&self) -> &Tensor {
        self
    }
}

impl Flow for Var {
    const RETAINS: bool = true;

    fn through(&self, step: &Step, tape: &Tape, id: usize, wanted: &[bool]) -> Result<Vec<Option<Self>>> {
        match &step.rule {
            Rule::Tensors(_) => Err(Error::NoHigherGradient { op: step.op }),
            Rule::Vars(rule) => rule(self, &Place { tape: Some(tape), inputs: &step.inputs, result: id, wanted }),
        }
    }

    fn tensor(&self) -> &Tensor {
        self.value()
    }
}

impl Var {
    /// The backward pass, in which `sum` adds gradients.
    pub(crate) fn pass(&self, options: Backward<'_>, sum: Sum) -> Result<Gradients> {
        let Node { tape, id } = self.origin()?;
        let seed = match options.cotangent {
            Some(dy) => self.fitting(dy)?,
            None => self.one()?,
        };
        let by_id = walk(tape, *id, seed, options.only, options.retain, sum)?;
        Ok(Gradients { tape: tape.clone(), by_id })
    }

    /// The backward pass that is itself recorded: the gradients of `of`, where they had a part in this. Nothing is
    /// freed. Without a cotangent this is a scalar.
    pub(crate) fn pass_on_tape(&self, cotangent: Option<&Var>, of: &[&Var], sum: Sum<Var>) -> Result<Vec<Option<Var>>> {
        let Node { tape, id } = self.origin()?;
        let seed = match cotangent {
            Some(dy) => self.fitting(dy.clone())?,
            None => Var::constant(self.one()?),
        };
        let by_id = walk(tape, *id, seed, Some(of), true, sum)?;
        Ok(of.iter().map(|var| by_id.get(&var.node.as_ref()?.id).cloned()).collect())
    }

    /// Where this stands on its tape.
    fn origin(&self) -> Result<&Node> {
        self.node.as_ref().ok_or_else(|| {
            Error::Autograd("a gradient was asked for of a constant: nothing it was computed from requires one".into())
        })
    }

    /// The cotangent of a scalar.
    fn one(&self) -> Result<Tensor> {
        if self.value().len() != 1 {
            return Err(Error::Autograd(format!(
                "a backward pass needs a scalar, but the shape is {}; reduce it first, or pass a cotangent",
                self.shape()
            )));
        }
        Tensor::full(1.0, self.shape(), self.dtype(), &self.device())
    }

    /// The cotangent, if it is one of this.
    fn fitting<G: Flow>(&self, cotangent: G) -> Result<G> {
        let dy = cotangent.tensor();
        if dy.shape() == self.shape() && dy.dtype() == self.dtype() {
            return Ok(cotangent);
        }
        let got = format!("{}{}", dy.dtype(), dy.shape());
        Err(Error::shape("backward", format!("a cotangent {}{}", self.dtype(), self.shape()), got))
    }
}

/// Which entries up to `last` lie between it and what gradients are asked for.
fn wanted(tape: &Tape, last: usize, only: Option<&[&Var]>) -> Result<Vec<bool>> {
    let entries = tape.entries();
    let mut wanted = vec![false; last + 1];
    for var in only.unwrap_or_default() {
        match &var.node {
            Some(node) if node.tape.same(tape) => {
                if let Some(mark) = wanted.get_mut(node.id) {
                    *mark = true;
                }
            }
            _ => {
                return Err(Error::Autograd(
                    "a gradient was asked for with respect to a constant, or to a variable of another tape".into(),
                ));
            }
        }
    }
    for id in 0..=last {
        let entry = &entries[id];
        let leaf = only.is_none() && matches!(entry.kind, Kind::Leaf);
        if leaf || entry.inputs.iter().flatten().any(|&input| wanted[input]) {
            wanted[id] = true;
        }
    }
    Ok(wanted)
}

/// Carries the gradient `seed` of entry `last` back to what `only` names, or to every leaf.
fn walk<G: Flow + Clone>(
    tape: &Tape,
    last: usize,
    seed: G,
    only: Option<&[&Var]>,
    retain: bool,
    sum: Sum<G>,
) -> Result<BTreeMap<usize, G>> {
    let wanted = wanted(tape, last, only)?;
    let mut keep: Vec<usize> = only.unwrap_or_default().iter().filter_map(|v| Some(v.node.as_ref()?.id)).collect();
    keep.sort_unstable();
    let mut pending = BTreeMap::from([(last, seed)]);
    let mut done = BTreeMap::new();
    while let Some((id, gradient)) = pending.pop_last() {
        if !wanted[id] {
            continue;
        }
        let asked_for = keep.binary_search(&id).is_ok();
        let Some(step) = take_rule(tape, id, retain || G::RETAINS)? else {
            done.insert(id, gradient);
            continue;
        };
        let (op, inputs) = (step.op, step.inputs.clone());
        let needs: Vec<bool> = inputs.iter().map(|input| input.is_some_and(|input| wanted[input])).collect();
        if needs.contains(&true) {
            let gradients = gradient.through(&step, tape, id, &needs)?;
            stop::check()?;
            drop(step);
            let gradients = gradients.into_iter().chain(std::iter::repeat_with(|| None));
            for ((input, needed), gradient) in inputs.iter().zip(needs).zip(gradients) {
                if let (Some(input), true) = (*input, needed) {
                    let gradient = gradient.ok_or(Error::NoGradient { op })?;
                    check_fits(tape, op, input, gradient.tensor())?;
                    add(&mut pending, input, gradient, sum)?;
                }
            }
        }
        if asked_for {
            done.insert(id, gradient);
        }
    }
    Ok(done)
}

/// How an entry came about.
struct Step {
    op: &'static str,
    rule: Rule,
    inputs: Vec<Option<usize>>,
}

/// The rule of entry `id`, taken off the tape unless it is to stay; `None` for a leaf.
fn take_rule(tape: &Tape, id: usize, retain: bool) -> Result<Option<Step>> {
    let mut entries = tape.entries();
    let entry = &mut entries[id];
    let rule = match &entry.kind {
        Kind::Leaf => return Ok(None),
        Kind::Op(rule) => rule.clone(),
        Kind::Passed => {
            return Err(Error::Autograd(format!(
                "a second backward pass reached {}, whose saved tensors the first one freed; pass `retain: true` to the first",
                entry.op
            )));
        }
    };
    if !retain {
        entry.kind = Kind::Passed;
    }
    Ok(Some(Step { op: entry.op, rule, inputs: entry.inputs.clone() }))
}

/// A rule that returns a gradient of the wrong shape is a mistake in the operation; say so where it happens.
fn check_fits(tape: &Tape, op: &'static str, input: usize, gradient: &Tensor) -> Result<()> {
    let entries = tape.entries();
    let Some(entry) = entries.get(input) else { return Ok(()) };
    if entry.shape == *gradient.shape() && entry.dtype == gradient.dtype() {
        return Ok(());
    }
    let found = format!("{}{}", gradient.dtype(), gradient.shape());
    Err(Error::Autograd(format!(
        "the gradient rule of {op} returned {found} for an input {}{}",
        entry.dtype, entry.shape
    )))
}
