//! Gradients of gradients, and the penalties made of them.

use std::sync::{Arc, Weak};

use veridical::autograd::{Backward, GradCheck, checkpoint, grad_check, second_grad_check};
use veridical::nn::{Context, Layout, Linear, Module, Weights};
use veridical::ops::random::Draws;
use veridical::players::penalty;
use veridical::random::{Purpose, RandomKey};
use veridical::{DType, Device, Error, Result, Tape, Tensor, Var, ops};

fn tensor(values: &[f64], shape: &[usize]) -> Tensor {
    Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
}

/// Numbers without symmetry, of about this size.
fn numbers(shape: &[usize], size: f64, from: usize) -> Tensor {
    let count: usize = shape.iter().product();
    let value = |i: usize| size * ((((i + from) * 37 + 11) % 101) as f64 / 50.0 - 1.013);
    tensor(&(0..count).map(value).collect::<Vec<_>>(), shape)
}

fn values(x: &Tensor) -> Vec<f64> {
    x.to_f64().unwrap()
}

fn close(got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= tolerance * expected.abs().max(1.0), "{got}, expected {expected}");
    }
}

#[test]
fn every_derivative_of_a_fourth_power_is_had() {
    let x = Tape::new().leaf(tensor(&[2.0, -1.5], &[2]));
    let y = x.square().unwrap().square().unwrap();
    let next = |y: &Var| y.sum_all().unwrap().gradient(&[&x]).unwrap().remove(0);
    let first = next(&y);
    let second = next(&first);
    let third = next(&second);
    let fourth = next(&third);
    let power = |factor: f64, n: i32| [factor * 2f64.powi(n), factor * (-1.5f64).powi(n)];
    close(&values(first.value()), &power(4.0, 3), 1e-14);
    close(&values(second.value()), &power(12.0, 2), 1e-14);
    close(&values(third.value()), &power(24.0, 1), 1e-14);
    close(&values(fourth.value()), &power(24.0, 0), 1e-14);
    // Products of four are made of other rules.
    let x = Tape::new().leaf(tensor(&[2.0], &[]));
    let y = (&x * &(&x * &(&x * &x).unwrap()).unwrap()).unwrap();
    let third = (0..3).fold(y, |y, _| y.gradient(&[&x]).unwrap().remove(0));
    assert_eq!(values(third.value()), [48.0]);
}

#[test]
fn third_derivatives_of_functions_are_those_of_their_formulas() {
    let at = 0.7f64;
    let third = |f: fn(&Var) -> Result<Var>| {
        let x = Tape::new().leaf(tensor(&[at], &[]));
        let y = (0..3).fold(f(&x).unwrap(), |y, _| y.gradient(&[&x]).unwrap().remove(0));
        values(y.value())[0]
    };
    let s = 1.0 / (1.0 + (-at).exp());
    let slope = s * (1.0 - s);
    let t = 1.0 - at.tanh().powi(2);
    let cases = [
        (third(|x| x.sin()), -at.cos()),
        (third(|x| x.cos()), at.sin()),
        (third(|x| x.exp()), at.exp()),
        (third(|x| x.log()), 2.0 / at.powi(3)),
        (third(|x| x.sqrt()), 0.375 * at.powf(-2.5)),
        (third(|x| x.softplus()), slope * (1.0 - 2.0 * s)),
        (third(|x| x.sigmoid()), slope * (1.0 - 6.0 * slope)),
        (third(|x| x.tanh()), -2.0 * t * (1.0 - 3.0 * at.tanh().powi(2))),
        (third(|x| ops::div(tensor(&[1.0], &[]), x)), -6.0 / at.powi(4)),
    ];
    for (i, (got, expected)) in cases.into_iter().enumerate() {
        assert!((got - expected).abs() < 1e-12, "function {i}: {got}, expected {expected}");
    }
}

/// `D(x)` of a small perceptron, whose weights come after `x`.
fn perceptron(act: fn(&Var) -> Result<Var>) -> impl Fn(&[Var]) -> Result<Var> {
    move |v| ops::linear(act(&ops::linear(&v[0], &v[1], Some(&v[2]))?)?, &v[3], Some(&v[4]))
}

#[test]
fn small_discriminators_agree_with_differences() {
    let inputs = [
        numbers(&[3, 4], 1.0, 0),
        numbers(&[5, 4], 0.7, 3),
        numbers(&[5], 0.3, 1),
        numbers(&[1, 5], 1.0, 2),
        numbers(&[1], 0.2, 9),
    ];
    let acts: [fn(&Var) -> Result<Var>; 4] = [|x| x.silu(), |x| x.tanh(), |x| x.softplus(), |x| x.leaky_relu(0.2)];
    for act in acts {
        second_grad_check(perceptron(act), &inputs, GradCheck::default()).unwrap();
    }
    // Convolutions of stride 1 and 2, a filter in between, a norm, and a dense end.
    let inputs = [
        numbers(&[2, 6, 6, 2], 1.0, 0),
        numbers(&[4, 3, 3, 2], 0.5, 3),
        numbers(&[4], 0.3, 1),
        numbers(&[4], 1.0, 6),
        numbers(&[4], 0.4, 7),
        numbers(&[3, 3, 3, 4], 0.4, 2),
        numbers(&[1, 3 * 2 * 2], 0.6, 5),
    ];
    let convolutional = |v: &[Var]| {
        let h = ops::group_norm(ops::conv2d(&v[0], &v[1], Some(&v[2]), 1, 1)?, &v[3], &v[4], 2, 1e-3)?.silu()?;
        let h = ops::downsample2x(&h, &[1.0, 3.0, 3.0, 1.0])?;
        let h = ops::conv2d(&h, &v[5], None, 2, 1)?.leaky_relu(0.2)?;
        ops::linear(h.reshape([2, 12])?, &v[6], None)
    };
    second_grad_check(convolutional, &inputs, GradCheck::default()).unwrap();
}

#[test]
fn dropout_and_casts_pass_gradients_of_gradients() {
    let draws = Draws::new(RandomKey::new(3, Purpose::Dropout));
    let f = |v: &[Var]| ops::dropout(&v[0].square()?, 0.4, &draws);
    second_grad_check(f, &[numbers(&[4, 6], 1.0, 0)], GradCheck::default()).unwrap();
    // Through f32 and back: the values are rounded, the second derivative of x^2 is not.
    let x = Tape::new().leaf(tensor(&[0.5, -2.0], &[2]));
    let y = x.cast(DType::F32).unwrap().square().unwrap().cast(DType::F64).unwrap();
    let slope = y.sum_all().unwrap().gradient(&[&x]).unwrap().remove(0);
    let bend = slope.square().unwrap().sum_all().unwrap().backward().unwrap().of(&x).unwrap();
    assert_eq!(values(&bend), [8.0 * 0.5, 8.0 * -2.0]);
}

/// Right to first order, wrong to second: a rule that takes what it kept for a constant.
#[test]
fn the_check_finds_a_rule_that_forgets_where_its_tensors_come_from() {
    let cube = |forgets: bool| {
        move |v: &[Var]| {
            let kept = v[0].value().clone();
            let y = (v[0].detach().square()? * v[0].detach())?.into_value();
            Var::record_higher("cube", y, [&v[0]], move |dy, at| {
                let x = if forgets { Var::constant(kept.clone()) } else { at.input(0, &kept) };
                Ok([Some((dy * (3.0 * x.square()?)?)?)])
            })
        }
    };
    let x = [numbers(&[3], 1.0, 0)];
    second_grad_check(cube(false), &x, GradCheck::default()).unwrap();
    grad_check(cube(true), &x, GradCheck::default()).unwrap();
    let error = second_grad_check(cube(true), &x, GradCheck::default()).unwrap_err().to_string();
    assert!(error.contains("input 0"), "{error}");
    // And one whose gradient is wrong by a factor where it meets the cotangent.
    let scaled = |v: &[Var]| {
        Var::record_higher("scaled", ops::scale(v[0].detach(), 2.0)?.into_value(), [&v[0]], |dy, _| {
            let wrong = Var::record_higher("half", ops::scale(dy.detach(), 2.0)?.into_value(), [dy], |g, _| {
                Ok([Some(g.clone())])
            });
            Ok([Some(wrong?)])
        })
    };
    let error = second_grad_check(scaled, &x, GradCheck::default()).unwrap_err().to_string();
    assert!(error.contains("input 1"), "{error}");
}

/// A vector times a matrix of derivatives, the other way about: the gradient is linear in the cotangent, and a variable
/// cotangent has a gradient of its own.
#[test]
fn a_variable_cotangent_gives_forward_derivatives() {
    let tape = Tape::new();
    let x = tape.leaf(tensor(&[0.5, 1.0, -2.0], &[3]));
    let y = (x.square().unwrap() * x.sin().unwrap()).unwrap();
    let dy = tape.leaf(tensor(&[0.0; 3], &[3]));
    let gradient = y.gradient_with(&dy, &[&x]).unwrap().remove(0).unwrap();
    let direction = tensor(&[1.0, 3.0, -1.0], &[3]);
    let options = Backward { cotangent: Some(direction), ..Default::default() };
    let forward = gradient.backward_with(options).unwrap().of(&dy).unwrap();
    let slope = |x: f64| 2.0 * x * x.sin() + x * x * x.cos();
    close(&values(&forward), &[slope(0.5), 3.0 * slope(1.0), -slope(-2.0)], 1e-14);
}

#[test]
fn a_checkpointed_block_has_the_plain_ones_gradients_of_gradients() {
    let inputs = [numbers(&[3, 4], 1.0, 0), numbers(&[2, 4], 0.7, 3)];
    let block = |v: &[Var]| ops::linear(v[0].silu()?, &v[1], None)?.tanh();
    let run = |checkpointed: bool| {
        let tape = Tape::new();
        let [x, w] = [0, 1].map(|i| tape.leaf(inputs[i].clone()));
        // The weight that the block is given depends on its input.
        let shifted = (&w + x.mean_all().unwrap()).unwrap();
        let y = if checkpointed { checkpoint(&[&x, &shifted], block) } else { block(&[x.clone(), shifted.clone()]) };
        let gradients = y.unwrap().square().unwrap().sum_all().unwrap().gradient(&[&x, &w]).unwrap();
        let norm = gradients.iter().map(|g| g.square().unwrap().sum_all().unwrap()).reduce(|a, b| (a + b).unwrap());
        let mut further = norm.unwrap().backward().unwrap();
        [&x, &w].map(|of| values(&further.of(of).unwrap()))
    };
    for (got, expected) in run(true).iter().zip(run(false)) {
        close(got, &expected, 1e-13);
    }
}

#[test]
fn what_cannot_be_differentiated_again_says_so() {
    let x = Tape::new().leaf(tensor(&[1.0, 2.0], &[2]));
    let first_only = Var::record("frobnicate", x.value().clone(), [&x], |dy, _| Ok([Some(dy.clone())])).unwrap();
    let y = first_only.sum_all().unwrap();
    let error = y.gradient(&[&x]).unwrap_err();
    assert!(matches!(error, Error::NoHigherGradient { op: "frobnicate" }), "{error}");
    assert!(error.to_string().contains("record_higher"), "{error}");
    assert!(y.backward().is_ok(), "nothing was freed, and gradients of first order are there");

    let error = y.gradient(&[&x]).unwrap_err().to_string();
    assert!(error.contains("freed"), "{error}");
    let error = x.square().unwrap().gradient(&[&x]).unwrap_err().to_string();
    assert!(error.contains("scalar"), "{error}");
    let unrelated = Tape::new().leaf(tensor(&[1.0], &[1]));
    assert!(x.sum_all().unwrap().gradient(&[&unrelated]).is_err());
    assert!(x.sum_all().unwrap().gradient(&[&x.detach()]).is_err());
    assert!(x.sum_all().unwrap().detach().gradient(&[&x]).is_err());
    let error = x.sum_all().unwrap().gradient(&[&x.square().unwrap()]).unwrap_err().to_string();
    assert!(error.contains("no part"), "{error}");
}

#[test]
fn an_ordinary_pass_records_nothing_and_gradients_record_themselves() {
    let tape = Tape::new();
    let x = tape.leaf(tensor(&[1.0, 2.0], &[2]));
    let y = x.sin().unwrap().square().unwrap().sum_all().unwrap();
    let recorded = tape.len();
    y.backward_with(Backward { retain: true, ..Default::default() }).unwrap();
    assert_eq!(tape.len(), recorded);
    let slope = y.gradient(&[&x]).unwrap().remove(0);
    assert!(tape.len() > recorded && slope.requires_grad());
    // That of a linear function is a constant.
    let slope = x.sum_all().unwrap().gradient(&[&x]).unwrap().remove(0);
    assert!(!slope.requires_grad());
}

/// Rules keep tensors; a variable among them would keep the tape for ever.
#[test]
fn a_tape_with_gradients_on_it_is_freed() {
    let watched = Arc::new(());
    let weak: Weak<()> = Arc::downgrade(&watched);
    {
        let tape = Tape::new();
        let x = tape.leaf(tensor(&[1.0, 2.0], &[2]));
        let x2 = x.softplus().unwrap().softmax().unwrap();
        let held = watched;
        let y = Var::record_higher("watched", x2.value().clone(), [&x2], move |dy, _| {
            let _ = &held;
            Ok([Some(dy.clone())])
        });
        let y = y.unwrap().square().unwrap().sum_all().unwrap();
        let slope = y.gradient(&[&x]).unwrap().remove(0);
        assert_eq!(slope.shape()[..], [2]);
    }
    assert!(weak.upgrade().is_none(), "the tape still holds its rules");
}

/// Of an affine critic everything is known: the gradient is its weight.
#[test]
fn penalties_of_an_affine_critic_are_known() {
    let tape = Tape::new();
    let w = tape.leaf(tensor(&[3.0, -4.0], &[1, 2]));
    let x = tape.leaf(numbers(&[5, 2], 1.0, 0));
    let critic = |x: &Var| ops::linear(x, &w, None);
    let loss = penalty::r1(&x, 10.0, critic).unwrap();
    close(&values(loss.value()), &[5.0 * 25.0], 1e-14);
    close(&values(&loss.backward().unwrap().of(&w).unwrap()), &[30.0, -40.0], 1e-14);
    let loss = penalty::gradient_penalty(&x, 2.0, 1.0, critic).unwrap();
    close(&values(loss.value()), &[2.0 * 16.0], 1e-14);
    // 2 lambda (|w| - 1) w / |w|
    close(&values(&loss.backward().unwrap().of(&w).unwrap()), &[16.0 * 0.6, 16.0 * -0.8], 1e-14);

    // A critic that is zero everywhere has a norm without a derivative.
    let zero = tape.leaf(tensor(&[0.0, 0.0], &[1, 2]));
    let loss = penalty::gradient_penalty(&x, 2.0, 1.0, |x| ops::linear(x, &zero, None)).unwrap();
    close(&values(loss.value()), &[2.0], 1e-14);
    assert_eq!(values(&loss.backward().unwrap().of(&zero).unwrap()), [0.0, 0.0]);
}

#[test]
fn penalties_refuse_what_has_no_gradient() {
    let tape = Tape::new();
    let w = tape.leaf(tensor(&[3.0, -4.0], &[1, 2]));
    let error = penalty::r1(&numbers(&[5, 2], 1.0, 0).into(), 1.0, |x| ops::linear(x, &w, None)).unwrap_err();
    assert!(error.to_string().contains("Context::leaf"), "{error}");
    let x = tape.leaf(numbers(&[5, 2], 1.0, 0));
    let error = penalty::r1(&x, 1.0, |x| ops::square(x)).unwrap_err().to_string();
    assert!(error.contains("[b, 1]"), "{error}");
    assert!(penalty::r1(&x, 1.0, |x| x.sum(&[1])?.slice(0, 0..3)).is_err(), "fewer results than points");
    let [a, b] = [3, 2].map(|n| numbers(&[n, 2], 1.0, 0));
    assert!(penalty::mixed(&a, &b, &tensor(&[0.5; 3], &[3])).is_err());
    assert!(penalty::mixed(&a, &a, &tensor(&[0.5; 2], &[2])).is_err());
}

#[test]
fn mixtures_belong_to_samples() {
    let (real, fake) = (tensor(&[1.0; 8], &[4, 2]), tensor(&[0.0; 8], &[4, 2]));
    let draws = Draws::new(RandomKey::new(5, Purpose::Custom));
    let all = values(&penalty::mixed_at_random(&real, &fake, &draws).unwrap());
    assert!(all.iter().all(|mix| (0.0..=1.0).contains(mix)) && all[0] == all[1] && all[0] != all[2]);
    let part = |x: &Tensor| x.narrow(1, 1).unwrap();
    let draws = Draws::from_sample(draws.key, 1);
    assert_eq!(values(&penalty::mixed_at_random(&part(&real), &part(&fake), &draws).unwrap()), all[2..4]);
}

/// The same penalty and gradients in f32 on the emulator as in f64 on the CPU.
#[test]
fn a_convolutional_penalty_is_the_same_on_every_device() {
    let penalty_on = |device: &Device, dtype: DType| -> Vec<Vec<f64>> {
        let tape = Tape::new();
        let leaf = |shape: &[usize], size: f64, from: usize| {
            let x = ops::cast(numbers(shape, size, from), dtype).unwrap().into_value();
            tape.leaf(x.to_device(device).unwrap())
        };
        let weights = [leaf(&[4, 3, 3, 2], 0.5, 3), leaf(&[3, 3, 3, 4], 0.4, 2), leaf(&[1, 12], 0.6, 5)];
        let x = leaf(&[2, 4, 4, 2], 1.0, 0);
        let critic = |x: &Var| {
            let h = ops::conv2d(x, &weights[0], None, 1, 1)?.silu()?;
            let h = ops::conv2d(&h, &weights[1], None, 2, 1)?.tanh()?;
            ops::linear(h.reshape([2, 12])?, &weights[2], None)
        };
        let loss = penalty::gradient_penalty(&x, 10.0, 1.0, critic).unwrap();
        let mut gradients = loss.backward().unwrap();
        let mut all = vec![values(loss.value())];
        all.extend(weights.iter().map(|w| values(&gradients.of(w).unwrap())));
        all
    };
    let precise = penalty_on(&Device::Cpu, DType::F64);
    let mut devices = vec![Device::Cpu];
    #[cfg(feature = "emulator")]
    devices.push(Device::emulator().unwrap());
    if let Some(device) = hardware::cuda() {
        devices.push(device);
    }
    for device in devices {
        for (got, expected) in penalty_on(&device, DType::F32).iter().zip(&precise) {
            let scale = expected.iter().fold(0f64, |max, x| max.max(x.abs()));
            let off = got.iter().zip(expected).fold(0f64, |max, (a, b)| max.max((a - b).abs()));
            assert!(off <= 2e-5 * scale, "on {device}: off by {off:e} of {scale:e}");
        }
    }
}

mod hardware;

/// A leaf beside a context's parameters is differentiated by, and what that gives reaches the parameters.
#[test]
fn a_context_takes_leaves() {
    let mut layout = Layout::new();
    let line = Linear::new(&mut layout.scope("line"), 2, 1, 1.0);
    let weights = Weights::init(&layout.into(), 7, &Device::Cpu).unwrap();
    let x = Tensor::from_slice(&[1f32, 2., 3., 4.], [2, 2], &Device::Cpu).unwrap();
    let cx = Context::differentiable(&weights, &Tape::new());
    let loss = penalty::r1(&cx.leaf(&x).unwrap(), 2.0, |x| line.forward(&cx, x)).unwrap();
    let flat = values(&cx.flat_gradient(&mut loss.backward().unwrap()).unwrap());
    let expected: Vec<f64> = values(weights.flat()).iter().take(2).map(|w| 2.0 * w).collect();
    close(&flat[..2], &expected, 1e-6);
    assert!(Context::inference(&weights).leaf(&x).is_err());
}
