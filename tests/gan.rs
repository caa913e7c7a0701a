//! Losses of adversarial networks where the fixtures end, and the augmentation of what a discriminator sees.

use veridical::autograd::{GradCheck, grad_check};
use veridical::ops::random::{Address, Draws};
use veridical::players::{DiffAugment, GanLoss, bce_with_logits};
use veridical::random::{Purpose, RandomKey};
use veridical::{DType, Device, Tape, Tensor, Var, ops};

fn images(shape: [usize; 4]) -> Tensor {
    let count = shape.iter().product::<usize>();
    let values: Vec<f64> = (0..count).map(|i| ((i * 29 + 7) % 97) as f64 / 48.0 - 1.0).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn values(x: &Var) -> Vec<f64> {
    x.value().to_f64().unwrap()
}

fn draws() -> Draws {
    Draws::new(RandomKey::new(11, Purpose::Augmentation))
}

const ALL: [GanLoss; 4] = [GanLoss::NonSaturating, GanLoss::Minimax, GanLoss::Hinge, GanLoss::Wasserstein];

#[test]
fn logits_are_columns_or_rows_and_nothing_else() {
    let column = Var::constant(images([3, 1, 1, 1]).reshape([3, 1]).unwrap());
    let row = column.reshape([3]).unwrap();
    for loss in ALL {
        assert_eq!(values(&loss.generator(&row).unwrap()), values(&loss.generator(&column).unwrap()));
        // Not an outer product of the two.
        assert_eq!(
            values(&loss.discriminator(&row, &column).unwrap()),
            values(&loss.discriminator(&column, &row).unwrap())
        );
        assert!(loss.generator(&row.reshape([1, 3]).unwrap()).is_err());
        let none = Var::constant(Tensor::zeros([0], DType::F32, &Device::Cpu).unwrap());
        assert!(loss.generator(&none).is_err(), "nothing to average");
        assert_eq!(loss.name().parse::<GanLoss>().unwrap(), loss);
    }
    assert!("wgan".parse::<GanLoss>().is_err());
}

#[test]
fn cross_entropies_of_certain_logits_keep_their_digits() {
    let logit = |x: f64| Var::constant(Tensor::from_vec(vec![x as f32], [1], &Device::Cpu).unwrap());
    let target = |t: f32| Tensor::from_vec(vec![t], [], &Device::Cpu).unwrap();
    let sure = values(&bce_with_logits(&logit(40.0), target(1.0)).unwrap())[0];
    assert!((sure / (-40f64).exp() - 1.0).abs() < 1e-5, "{sure}");
    let smoothed = values(&bce_with_logits(&logit(2.0), target(0.9)).unwrap())[0];
    let expected = 0.9 * (-2f64).exp().ln_1p() + 0.1 * 2f64.exp().ln_1p();
    assert!((smoothed - expected).abs() < 1e-6);
    assert!(bce_with_logits(&logit(0.0), Tensor::zeros([2], DType::F32, &Device::Cpu).unwrap()).is_err());
}

#[test]
fn gradients_pass_through_augmentations() {
    let x = images([2, 4, 5, 3]);
    let f = |v: &[Var]| DiffAugment::default().apply(&v[0], &draws());
    grad_check(f, &[x], GradCheck::default()).unwrap();
}

#[test]
fn a_sample_is_augmented_alike_in_any_batch() {
    let x = images([5, 8, 8, 3]);
    let augment = DiffAugment { translation: 0.3, ..DiffAugment::default() };
    let whole = values(&augment.apply(&(&x).into(), &draws()).unwrap());
    let size = 8 * 8 * 3;
    let part = x.narrow(2, 2).unwrap();
    let from = |samples: Draws| values(&augment.apply(&(&part).into(), &samples).unwrap());
    assert_eq!(from(Draws::from_sample(draws().key, 2)), whole[2 * size..4 * size]);
    let ids = Tensor::from_vec(vec![2u32, 3], [2], &Device::Cpu).unwrap();
    assert_eq!(from(Draws::of_samples(draws().key, ids)), whole[2 * size..4 * size]);
    assert_ne!(from(draws()), whole[2 * size..4 * size], "other samples, other numbers");
}

#[test]
fn real_and_made_images_get_numbers_of_their_own_from_one_law() {
    let x: Var = images([6, 8, 8, 1]).into();
    let augment = DiffAugment { colour: true, translation: 0.0, cutout: 0.0 };
    let [real, fake] = augment.both(&x, &x, &Address::new(3, 4)).unwrap();
    assert_ne!(values(&real), values(&fake));
    let [again, _] = augment.both(&x, &x, &Address::new(3, 4)).unwrap();
    assert_eq!(values(&real), values(&again));
    let [next, _] = augment.both(&x, &x, &Address::new(3, 5)).unwrap();
    assert_ne!(values(&real), values(&next));
}

#[test]
fn colours_keep_what_they_are_to_keep() {
    let colour = DiffAugment { colour: true, translation: 0.0, cutout: 0.0 };
    // A grey image has no saturation and no contrast: brightness alone is left, the same everywhere.
    let grey = Var::constant(Tensor::full(0.25, [64, 3, 3, 3], DType::F64, &Device::Cpu).unwrap());
    let y = values(&colour.apply(&grey, &draws()).unwrap());
    let shifts: Vec<f64> = y.chunks(27).map(|image| image[0] - 0.25).collect();
    for (image, shift) in y.chunks(27).zip(&shifts) {
        assert!(image.iter().all(|x| (x - 0.25 - shift).abs() < 1e-12) && shift.abs() <= 0.5);
    }
    let mean = shifts.iter().sum::<f64>() / 64.0;
    // The standard error of 64 uniforms on [-0.5, 0.5] is 0.036.
    assert!(mean.abs() < 0.15 && shifts.iter().any(|s| *s > 0.2) && shifts.iter().any(|s| *s < -0.2));
    // Saturation and contrast leave the image's mean where brightness has put it.
    let x = images([64, 3, 3, 3]);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / 27.0;
    let y = values(&colour.apply(&(&x).into(), &draws()).unwrap());
    for ((before, after), shift) in x.to_f64().unwrap().chunks(27).zip(y.chunks(27)).zip(&shifts) {
        assert!((mean(after) - mean(before) - shift).abs() < 1e-12);
    }
}

#[test]
fn translations_move_whole_images_over_zeros() {
    let (h, w) = (8, 16);
    let x: Vec<f64> = (0..200 * h * w).map(|i| 1.0 + (i % (h * w)) as f64).collect();
    let x = Tensor::from_vec(x, [200, h, w, 1], &Device::Cpu).unwrap();
    let augment = DiffAugment { colour: false, translation: 0.25, cutout: 0.0 };
    let y = values(&augment.apply(&x.into(), &draws()).unwrap());
    let mut seen = std::collections::BTreeSet::new();
    for image in y.chunks(h * w) {
        let (at, value) = image.iter().enumerate().find(|(_, x)| **x != 0.0).unwrap();
        let from = *value as usize - 1;
        let by = ((from / w) as isize - (at / w) as isize, (from % w) as isize - (at % w) as isize);
        seen.insert(by);
        for (at, value) in image.iter().enumerate() {
            let (row, column) = ((at / w) as isize + by.0, (at % w) as isize + by.1);
            let inside = (0..h as isize).contains(&row) && (0..w as isize).contains(&column);
            let expected = if inside { 1.0 + (row * w as isize + column) as f64 } else { 0.0 };
            assert_eq!(*value, expected);
        }
    }
    let reach = |of: fn(&(isize, isize)) -> isize| {
        let all = || seen.iter().map(of);
        (all().min().unwrap(), all().max().unwrap())
    };
    assert_eq!((reach(|by| by.0), reach(|by| by.1)), ((-2, 2), (-4, 4)));
}

#[test]
fn cutouts_are_rectangles_of_zeros_within_reach_of_every_pixel() {
    let (h, w) = (6, 8);
    let x = Var::constant(Tensor::full(1.0, [400, h, w, 1], DType::F32, &Device::Cpu).unwrap());
    let augment = DiffAugment { colour: false, translation: 0.0, cutout: 0.5 };
    let y = values(&augment.apply(&x, &draws()).unwrap());
    let mut hidden = vec![0; h * w];
    let mut largest = 0;
    for image in y.chunks(h * w) {
        let rows = (0..h).filter(|row| image[row * w..][..w].contains(&0.0)).count();
        let columns = (0..w).filter(|column| (0..h).any(|row| image[row * w + column] == 0.0)).count();
        let zeros = image.iter().filter(|x| **x == 0.0).count();
        assert!(zeros == rows * columns && rows <= 3 && columns <= 4 && zeros > 0);
        largest = largest.max(zeros);
        image.iter().zip(&mut hidden).for_each(|(x, count)| *count += usize::from(*x == 0.0));
    }
    assert!(largest == 12 && hidden.iter().all(|count| *count > 0));
}

#[test]
fn what_cannot_be_augmented_is_an_error() {
    let apply = |augment: DiffAugment, x: Tensor| augment.apply(&x.into(), &draws());
    assert!(apply(DiffAugment::default(), images([2, 4, 4, 1]).reshape([2, 16]).unwrap()).is_err());
    for part in [-0.1, 1.5, f64::NAN] {
        assert!(apply(DiffAugment { translation: part, ..DiffAugment::default() }, images([2, 4, 4, 1])).is_err());
        assert!(apply(DiffAugment { cutout: part, ..DiffAugment::default() }, images([2, 4, 4, 1])).is_err());
    }
    let labels = Tensor::zeros([2, 4, 4, 1], DType::U32, &Device::Cpu).unwrap();
    assert!(apply(DiffAugment::default(), labels).is_err());
    // Everything away, and nothing there.
    let all = DiffAugment { colour: false, translation: 1.0, cutout: 1.0 };
    assert!(apply(all, images([2, 1, 1, 1])).is_ok() && apply(all, images([0, 4, 4, 1])).is_ok());
    let nothing = DiffAugment { colour: false, translation: 0.0, cutout: 0.0 };
    let x = images([2, 4, 4, 1]);
    assert_eq!(values(&apply(nothing, x.clone()).unwrap()), x.to_f64().unwrap());
}

/// A discriminator's penalty at augmented points differentiates through the augmentation.
#[test]
fn augmentations_have_gradients_of_gradients() {
    let tape = Tape::new();
    let (x, w) = (tape.leaf(images([2, 4, 4, 3])), tape.leaf(images([1, 4, 4, 3]).reshape([1, 48]).unwrap()));
    let critic = |x: &Var| {
        let seen = DiffAugment::default().apply(x, &draws())?;
        ops::linear(seen.reshape([2, 48])?.tanh()?, &w, None)
    };
    let loss = veridical::players::penalty::r1(&x, 1.0, critic).unwrap();
    assert!(loss.backward().unwrap().of(&w).unwrap().to_f64().unwrap().iter().any(|g| *g != 0.0));
}
