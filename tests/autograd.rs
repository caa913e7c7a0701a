//! The tape, as users of PyTorch expect it to behave.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use veridical::autograd::{Backward, checkpoint};
use veridical::{DType, Device, Error, Result, Tape, Tensor, Var, ops};

fn tensor(values: &[f64]) -> Tensor {
    Tensor::from_slice(values, [values.len()], &Device::Cpu).unwrap()
}

fn total(x: &Var) -> Var {
    ops::sum(x, &[0]).unwrap()
}

fn values(tensor: Option<&Tensor>) -> Vec<f64> {
    tensor.expect("a gradient").to_vec().unwrap()
}

#[test]
fn a_second_use_accumulates() {
    let tape = Tape::new();
    let x = tape.leaf(tensor(&[2., 3.]));
    let y = total(&ops::add(ops::mul(&x, &x).unwrap(), ops::scale(&x, 5.0).unwrap()).unwrap());
    assert_eq!(values(y.backward().unwrap().get(&x)), [9., 11.]);
}

#[test]
fn two_passes_accumulate_like_one_over_the_sum() {
    let tape = Tape::new();
    let x = tape.leaf(tensor(&[2., 3.]));
    let first = total(&ops::mul(&x, &x).unwrap());
    let second = total(&ops::scale(&x, -4.0).unwrap());
    let mut gradients = first.backward().unwrap();
    gradients.accumulate(second.backward().unwrap()).unwrap();
    assert_eq!(values(gradients.get(&x)), [0., 2.]);
    assert!(gradients.accumulate(Default::default()).is_err(), "gradients of different tapes do not mix");
}

#[test]
fn an_unused_leaf_has_no_gradient() {
    let tape = Tape::new();
    let (x, unused) = (tape.leaf(tensor(&[1.])), tape.leaf(tensor(&[1.])));
    let gradients = total(&x).backward().unwrap();
    assert!(gradients.get(&unused).is_none() && gradients.get(&x).is_some());
    assert!(gradients.get(&Var::constant(tensor(&[1.]))).is_none());
}

#[test]
fn gradients_stop_at_detached_values() {
    let tape = Tape::new();
    let x = tape.leaf(tensor(&[3.]));
    let y = total(&ops::mul(&x, x.detach()).unwrap());
    assert_eq!(values(y.backward().unwrap().get(&x)), [3.]);
    let error = total(&x.detach()).backward().unwrap_err().to_string();
    assert!(error.contains("constant"), "{error}");
}

#[test]
fn an_operation_without_gradient_is_refused_when_it_is_recorded() {
    let tape = Tape::new();
    let x = tape.leaf(tensor(&[1., 2.]));
    let result = Var::record_without_gradient("round", tensor(&[1., 2.]), &[&x]);
    assert!(matches!(result, Err(Error::NoGradient { op: "round" })));
    assert!(Var::record_without_gradient("round", tensor(&[1., 2.]), &[&x.detach()]).is_ok());
    let labels = Tensor::zeros([2], DType::U32, &Device::Cpu).unwrap();
    assert!(!tape.leaf(labels.clone()).requires_grad(), "integers have no gradient");
    let rounded = Var::record("round", labels, [&x], |_, _| Ok([None]));
    assert!(matches!(rounded, Err(Error::NoGradient { .. })));
}

#[test]
fn a_rule_that_forgets_a_gradient_or_its_shape_is_an_error() {
    let tape = Tape::new();
    let x = tape.leaf(tensor(&[1., 2.]));
    let forgets = Var::record("forgets", tensor(&[1.]), [&x], |_, _| Ok([None])).unwrap();
    assert!(matches!(forgets.backward(), Err(Error::NoGradient { op: "forgets" })));
    let all = Var::record_all("forgets all", tensor(&[1.]), &[&x], |_, _| Ok(Vec::new())).unwrap();
    assert!(matches!(all.backward(), Err(Error::NoGradient { op: "forgets all" })));
    let wrong = Var::record("wrong", tensor(&[1.]), [&x], |dy, _| Ok([Some(dy.clone())])).unwrap();
    let error = wrong.backward().unwrap_err().to_string();
    assert!(error.contains("wrong") && error.contains("f64[1]") && error.contains("f64[2]"), "{error}");
}

#[test]
fn a_second_pass_needs_the_first_to_retain() {
    let tape = Tape::new();
    let x = tape.leaf(tensor(&[2.]));
    let y = total(&ops::mul(&x, &x).unwrap());
    let retained = y.backward_with(Backward { retain: true, ..Default::default() }).unwrap();
    assert_eq!(values(retained.get(&x)), [4.]);
    assert_eq!(values(y.backward().unwrap().get(&x)), [4.]);
    let error = y.backward().expect_err("the tape is used up").to_string();
    assert!(error.contains("retain"), "{error}");
}

#[test]
fn a_result_of_many_elements_needs_a_cotangent() {
    let tape = Tape::new();
    let x = tape.leaf(tensor(&[2., 3.]));
    let y = ops::mul(&x, &x).unwrap();
    assert!(y.backward().unwrap_err().to_string().contains("scalar"));
    let with = |dy: Tensor| y.backward_with(Backward { cotangent: Some(dy), retain: true, ..Default::default() });
    assert_eq!(values(with(tensor(&[1., 10.])).unwrap().get(&x)), [4., 60.]);
    assert!(with(tensor(&[1.])).is_err());
    assert!(with(Tensor::zeros([2], DType::F32, &Device::Cpu).unwrap()).is_err());
}

#[test]
fn variables_of_two_tapes_do_not_meet() {
    let (a, b) = (Tape::new().leaf(tensor(&[1.])), Tape::new().leaf(tensor(&[1.])));
    assert!(matches!(ops::add(&a, &b), Err(Error::Autograd(_))));
}

/// An identity that counts how often its gradient is computed.
fn counted(x: &Var, count: &Arc<AtomicUsize>) -> Var {
    let count = count.clone();
    Var::record("counted", x.value().clone(), [x], move |dy, _| {
        count.fetch_add(1, Ordering::Relaxed);
        Ok([Some(dy.clone())])
    })
    .unwrap()
}

#[test]
fn gradients_of_chosen_inputs_skip_the_weights() {
    let tape = Tape::new();
    let (x, w) = (tape.leaf(tensor(&[2.])), tape.leaf(tensor(&[5.])));
    let count = Arc::new(AtomicUsize::new(0));
    let hidden = ops::mul(&x, counted(&w, &count)).unwrap();
    let y = total(&ops::mul(&hidden, &hidden).unwrap());
    let only = |vars: &[&Var]| y.backward_with(Backward { only: Some(vars), retain: true, ..Default::default() });
    let gradients = only(&[&x]).unwrap();
    assert_eq!(values(gradients.get(&x)), [100.]);
    assert!(gradients.get(&w).is_none());
    assert_eq!(count.load(Ordering::Relaxed), 0, "the weight's branch was not walked");
    // Variables in the middle can be asked for, too.
    let gradients = only(&[&hidden, &w]).unwrap();
    assert_eq!((values(gradients.get(&hidden)), values(gradients.get(&w))), (vec![20.], vec![40.]));
    assert!(gradients.get(&x).is_none());
    assert!(only(&[&Var::constant(tensor(&[1.]))]).is_err());
}

/// Something that a rule keeps, and a way to see when it is gone.
fn keeper() -> (Arc<()>, Weak<()>) {
    let kept = Arc::new(());
    let weak = Arc::downgrade(&kept);
    (kept, weak)
}

#[test]
fn what_a_rule_keeps_is_freed_as_soon_as_backward_has_passed_it() {
    let tape = Tape::new();
    let x = tape.leaf(tensor(&[1.]));
    let (kept, late) = keeper();
    let still_there = late.clone();
    // `early` is passed after `y`: by then what `y`'s rule kept must be gone.
    let early = Var::record("early", tensor(&[1.]), [&x], move |dy, _| {
        assert!(still_there.upgrade().is_none(), "the later rule still holds its tensors");
        Ok([Some(dy.clone())])
    })
    .unwrap();
    let y = Var::record("late", tensor(&[1.]), [&early], move |dy, _| {
        let _ = &kept;
        Ok([Some(dy.clone())])
    })
    .unwrap();
    assert!(late.upgrade().is_some());
    assert!(y.backward().unwrap().get(&x).is_some());
}

#[test]
fn nothing_is_kept_for_constants() {
    let (kept, weak) = keeper();
    let x = Var::constant(tensor(&[1.]));
    let y = Var::record("op", tensor(&[1.]), [&x], move |dy, _| {
        let _ = &kept;
        Ok([Some(dy.clone())])
    })
    .unwrap();
    assert!(weak.upgrade().is_none() && !y.requires_grad());
}

#[test]
fn a_checkpointed_block_has_the_same_gradients_and_keeps_nothing_inside() {
    let block = |vars: &[Var]| -> Result<Var> { ops::mul(&ops::silu(&vars[0])?, &ops::tanh(&vars[1])?) };
    let run = |checkpointed: bool| {
        let tape = Tape::new();
        let (x, w) = (tape.leaf(tensor(&[0.3, -1.2])), tape.leaf(tensor(&[0.7, 0.1])));
        let inner = ops::scale(&x, 2.0).unwrap();
        let y = match checkpointed {
            true => checkpoint(&[&inner, &w], block).unwrap(),
            false => block(&[inner, w.clone()]).unwrap(),
        };
        let recorded = tape.len();
        let loss = total(&ops::mul(&y, &y).unwrap());
        let value = loss.value().item().unwrap();
        let gradients = loss.backward().unwrap();
        (value, values(gradients.get(&x)), values(gradients.get(&w)), recorded)
    };
    let (plain, saved) = (run(false), run(true));
    assert_eq!((plain.0, &plain.1, &plain.2), (saved.0, &saved.1, &saved.2));
    assert_eq!((plain.3, saved.3), (6, 4), "the block is one entry on the tape");
}

#[test]
fn a_checkpointed_block_must_not_capture_variables() {
    let tape = Tape::new();
    let (x, w) = (tape.leaf(tensor(&[1.])), tape.leaf(tensor(&[1.])));
    let error = checkpoint(&[&x], move |vars| ops::mul(&vars[0], &w)).unwrap_err().to_string();
    assert!(error.contains("captured"), "{error}");
}

#[test]
fn tapes_and_variables_cross_threads() {
    fn assert_send_and_sync<T: Send + Sync>() {}
    assert_send_and_sync::<Tape>();
    assert_send_and_sync::<Var>();
    assert_send_and_sync::<Tensor>();
    assert_send_and_sync::<Device>();
}
