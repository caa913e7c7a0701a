//! The augmentation pipe against values from the public one, in f64 and f32, and what our own draws make of it.

mod locate;

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use veridical::diffusion::AugmentPipe;
use veridical::diffusion::augment::{Choices, Matrix, Planes, Transform};

/// The whole file where the reference values are at hand, else the part of it that is in the repository.
fn fixture() -> Vec<u8> {
    let [all, part] = [locate::fixtures(), locate::golden()].map(|folder| folder.join("augment.safetensors"));
    let path = if all.is_file() { all } else { part };
    println!("reading {}", path.display());
    std::fs::read(path).unwrap()
}

struct Case<'a> {
    name: String,
    pipe: AugmentPipe,
    shape: [usize; 4],
    tensors: &'a SafeTensors<'a>,
}

impl Case<'_> {
    fn get(&self, name: &str) -> Option<Vec<f64>> {
        let view = self.tensors.tensor(&format!("{}.{name}", self.name)).ok()?;
        let data = view.data();
        Some(match view.dtype() {
            Dtype::F64 => data.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
            Dtype::F32 => data.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b).into()).collect(),
            Dtype::I64 => data.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b) as f64).collect(),
            Dtype::I32 => data.as_chunks().0.iter().map(|&b| i32::from_le_bytes(b).into()).collect(),
            other => panic!("{name}: {other:?}"),
        })
    }

    fn choices(&self, i: usize) -> Choices {
        let at = |name: &str, i: usize| self.get(&format!("draw.{name}")).map_or(0.0, |values| values[i]);
        Choices {
            xflip: (at("xflip.bit", i) == 1.0, at("xflip.u", i)),
            yflip: (at("yflip.bit", i) == 1.0, at("yflip.u", i)),
            scale: (at("scale.z", i), at("scale.u", i)),
            rotate: (at("rotate_frac.u", i), at("rotate_frac.angle", i)),
            aniso: (at("aniso.z", i), at("aniso.u", i)),
            aniso_frame: (at("aniso.rotate_u", i), at("aniso.angle", i)),
            translate: ([at("translate_frac.z", i), at("translate_frac.z", 8 + i)], at("translate_frac.u", i)),
        }
    }
}

fn cases(check: impl Fn(&Case)) {
    let bytes = fixture();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let cases: Value = serde_json::from_str(&header.metadata().as_ref().unwrap()["cases"]).unwrap();
    let cases = cases.as_object().unwrap();
    assert!(cases.len() >= 4);
    for (name, params) in cases {
        let number = |key: &str| params[key].as_f64().unwrap_or(0.0);
        let pipe = AugmentPipe {
            p: number("p"),
            xflip: number("xflip"),
            yflip: number("yflip"),
            scale: number("scale"),
            rotate_frac: number("rotate_frac"),
            aniso: number("aniso"),
            translate_frac: number("translate_frac"),
        };
        let shape: Vec<usize> =
            params["shape"].as_array().unwrap().iter().map(|e| e.as_u64().unwrap() as usize).collect();
        check(&Case { name: name.clone(), pipe, shape: shape.try_into().unwrap(), tensors: &tensors });
    }
}

#[test]
fn maps_and_labels_follow_from_the_draws() {
    cases(|case| {
        let [n, _, height, width] = case.shape;
        let (labels, flips) = (case.get("labels").unwrap(), case.get("flip").unwrap());
        let maps = case.get("G_inv").unwrap_or_else(|| identities(n));
        assert_eq!(case.pipe.labels() * n, labels.len(), "{}", case.name);
        for i in 0..n {
            let transform = case.pipe.transform(&case.choices(i), width, height);
            for (got, expected) in transform.inverse.0.iter().flatten().zip(&maps[9 * i..]) {
                assert!((got - expected).abs() < 1e-12, "{} {i}: {got} {expected}", case.name);
            }
            for (got, expected) in transform.labels.iter().zip(&labels[i * case.pipe.labels()..]) {
                assert!((got - expected).abs() < 1e-6, "{} {i}: label {got} {expected}", case.name);
            }
            assert_eq!([transform.xflip, transform.yflip], [flips[2 * i] == 1.0, flips[2 * i + 1] == 1.0]);
        }
    });
}

/// Where there are flips alone the file has no maps.
fn identities(n: usize) -> Vec<f64> {
    Matrix::IDENTITY.0.concat().repeat(n)
}

/// NCHW to NHWC.
fn nhwc(values: &[f64], [c, h, w]: [usize; 3]) -> Vec<f64> {
    (0..h * w).flat_map(|p| (0..c).map(move |c| values[c * h * w + p])).collect()
}

#[test]
fn images_follow_from_the_maps() {
    cases(|case| {
        let [n, c, h, w] = case.shape;
        let values = c * h * w;
        let (input, flips) = (case.get("in").unwrap(), case.get("flip").unwrap());
        for (suffix, out, allowed) in [("", "out64", 1e-9), ("_f32", "out", 2e-5)] {
            let maps = case.get(&format!("G_inv{suffix}")).unwrap_or_else(|| identities(n));
            let margins = case.get(&format!("margins{suffix}")).unwrap_or(vec![0.0; 4]);
            let margins: [usize; 4] = std::array::from_fn(|i| margins[i] as usize);
            let expected = case.get(out).unwrap();
            let mut worst = 0f64;
            for i in 0..n {
                let g = &maps[9 * i..9 * i + 9];
                let transform = Transform {
                    xflip: flips[2 * i] == 1.0,
                    yflip: flips[2 * i + 1] == 1.0,
                    inverse: Matrix(std::array::from_fn(|r| std::array::from_fn(|k| g[3 * r + k]))),
                    labels: vec![],
                };
                let image = nhwc(&input[i * values..(i + 1) * values], [c, h, w]);
                let expected = nhwc(&expected[i * values..(i + 1) * values], [c, h, w]);
                // Where nothing but flips is done the filters are left out: a rounding of the filter's 24 bits.
                let allowed = if transform.inverse == Matrix::IDENTITY { 2e-5 } else { allowed };
                let run = |margins| -> Vec<f64> {
                    if suffix.is_empty() {
                        let mut out = vec![0f64; values];
                        Planes::of_nhwc(&image, [h, w, c]).transformed(&transform, margins).write_nhwc(&mut out);
                        out
                    } else {
                        let image: Vec<f32> = image.iter().map(|&x| x as f32).collect();
                        let mut out = vec![0f32; values];
                        Planes::of_nhwc(&image, [h, w, c]).transformed(&transform, margins).write_nhwc(&mut out);
                        out.into_iter().map(f64::from).collect()
                    }
                };
                let off = |got: Vec<f64>| got.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                let this = off(run(margins));
                assert!(this < allowed, "{} {out} {i}: off by {this:e}", case.name);
                worst = worst.max(this);
                // An image's own margins give the same image as those of its batch.
                let own = off(run(transform.margins(w, h)));
                assert!(own < 1e-4, "{} {out} {i}: off by {own:e} with margins of its own", case.name);
            }
            println!("{} {out}: off by at most {worst:.1e}", case.name);
        }
    });
}

#[test]
fn a_sample_is_augmented_alike_alone_and_among_others() {
    let (size, values) = ([6, 8, 3], 144);
    let images: Vec<f32> = (0..5 * values).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
    let pipe = AugmentPipe::edm(0.5);
    let mut all = images.clone();
    let labels = pipe.apply(&mut all, size, (3, 9), 0).unwrap();
    assert_eq!((labels.len(), pipe.labels()), (45, 9));
    let mut two = images[2 * values..4 * values].to_vec();
    assert_eq!(pipe.apply(&mut two, size, (3, 9), 2).unwrap(), labels[18..36]);
    assert_eq!(two, all[2 * values..4 * values]);
    let mut later = images.clone();
    assert_ne!(pipe.apply(&mut later, size, (3, 10), 0).unwrap(), labels);
    assert!(all.iter().all(|x| x.is_finite()) && all != images);

    // Nothing but flips: every image is itself or its mirror.
    let flips =
        AugmentPipe { p: 1.0, xflip: 1.0, yflip: 0.0, scale: 0.0, rotate_frac: 0.0, aniso: 0.0, translate_frac: 0.0 };
    let many: Vec<f32> = (0..1000).flat_map(|_| [-1.0, 0.0, 0.5, 1.0]).collect();
    let mut flipped = many.clone();
    let labels = flips.apply(&mut flipped, [1, 4, 1], (0, 0), 0).unwrap();
    let count = labels.iter().filter(|l| **l == 1.0).count();
    assert!((420..580).contains(&count), "{count} of 1000 flipped");
    for (label, row) in labels.iter().zip(flipped.chunks(4)) {
        assert_eq!(row, if *label == 1.0 { [1.0, 0.5, 0.0, -1.0] } else { [-1.0, 0.0, 0.5, 1.0] });
    }
    assert!(flips.apply(&mut [0.0; 5], [1, 4, 1], (0, 0), 0).is_err());
    assert!(AugmentPipe { p: 1.5, ..flips }.apply(&mut [0.0; 4], [1, 4, 1], (0, 0), 0).is_err());
    assert!(AugmentPipe { scale: -1.0, ..flips }.apply(&mut [0.0; 4], [1, 4, 1], (0, 0), 0).is_err());
}
