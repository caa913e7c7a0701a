//! Sound inputs of each reader, small, and inputs that once were trouble: what mutations start from.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};

use image::{DynamicImage, GrayImage, ImageFormat, Luma, RgbImage, RgbaImage};
use veridical::data::Images;
use veridical::data::npy::{Array, Values};
use veridical::diffusion::{Model, ModelConfig};
use veridical::evaluate::{ClassifierTraining, ImageClassifier};
use veridical::nn::MlpConfig;
use veridical::train::RunConfig;
use veridical::{Device, Shape, tensor};

/// What stands for the weights of a checkpoint: no model, but with the checksum that the state names.
pub const WEIGHTS: &[u8] = b"weights";

const SONG: &str = r#"{"precond":"vp","model_type":"SongUNet","img_resolution":8,"img_channels":1,"label_dim":10,
    "augment_dim":9,"model_channels":16,"channel_mult":[1,2],"num_blocks":1,"attn_resolutions":[4],"dropout":0.1,
    "resample_filter":[1,3,3,1],"encoder_type":"residual","embedding_type":"fourier","use_fp16":false}"#;
const DHARIWAL: &str = r#"{"precond":"iddpm","model_type":"DhariwalUNet","img_resolution":8,"img_channels":3,
    "model_channels":32,"num_blocks":1}"#;
const TABLES: [&str; 3] = [
    "% dense\n@relation 'x: -C 1'\n@attribute l {0,1}\n@ATTRIBUTE 'a \\'b\\'' numeric\n@attribute c {x, \"y z\",w}\n\
     @attribute d real\n@attribute m {0,1}\n@data\n1,2.5,x,1e30,0\n0,?,'y z',-3,1 % one\n\n1 4 w 0.1 1\n",
    "@relation s\r\n@attribute a {0,1}\r\n@attribute b numeric\r\n@attribute m {0,1}\r\n@data\r\n{0 1,2 1}\r\n{}\r\n{1 ?}\r\n",
    "@relation e\n@attribute \"\\u00e9\\t\" integer\n@attribute m numeric\n@data\n3,1\n4,0\n5,1.0",
];
const LABEL_LISTS: [&str; 3] = [
    "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<labels xmlns=\"http://mulan.sourceforge.net/labels\">\n<label name=\"b\"></label>\n\
     <label name=\"c\"/>\n</labels>",
    "<labels><label name='b'><label name='c'/></label></labels>",
    "<!DOCTYPE labels [<!ENTITY x 'b'>]><labels><!-- <label/> --><label name='&x;&#98;&lt;'/><![CDATA[]]></labels>",
];
const LOG: &str = r#"{"step":1,"loss":0.5}
{"step":2,"loss":null,"seen":18446744073709551615}
{"step":3}
{"st"#;
const SCHEDULES: [&str; 5] =
    ["0.5", "100:power=1.5,offset=2", "1000:ratio=0.5", "1,0.5,0.25", "adaptive:target=0.1,max=1e4"];

/// The inputs of the target called `name`.
pub fn of(name: &str) -> Vec<Vec<u8>> {
    let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    match name {
        "npy" | "features" => arrays(),
        "npz" => vec![
            archive(&[("images.npy", &arrays()[0]), ("labels.npy", &arrays()[2])]),
            archive(&[("x.npy", &arrays()[1])]),
            archive(&[]),
        ],
        "npz_images" => {
            let (images, labels) = (arrays()[0].clone(), arrays()[2].clone());
            let at = (images.len() * 255).div_ceil(images.len() + labels.len()) as u8;
            vec![[&[at], &images[..], &labels[..]].concat()]
        }
        "idx" | "idx_gzip" => vec![
            [&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4][..], &[9; 24]].concat(),
            [&[0, 0, 8, 1, 0, 0, 0, 2][..], &[1, 0]].concat(),
            gzip(&[&[0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 8][..], &[9; 64]].concat()),
        ],
        "cifar" => vec![[&[3][..], &[77; 3072]].concat(), [&[2, 30][..], &[1; 3072]].concat()],
        "class_names" => texts(&[
            "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n",
            "\u{1b}[2Jairplane\r\n\r\nb\u{202e}ird\u{0}",
        ]),
        "picture" => drawings(),
        "dataset_json" => texts(&[
            r#"{"labels": [["00000/img00000000.png", 6], ["00000/img00000001.png", 9]]}"#,
            r#"{"labels": null}"#,
            r#"{"labels": [["00000/img00000000.png", -1], ["../a.png", 1e99], [[], []], ["00000/img00000000.png"]]}"#,
        ]),
        "arff" | "arff_gzip" => texts(&TABLES),
        "label_list" => texts(&LABEL_LISTS),
        "text" => vec!["naïve — ".repeat(20).into_bytes(), b"to be or not to be, that is the question. ".repeat(3)],
        "tensors" => vec![tensors(&BTreeMap::new())],
        "model" => vec![saved(|path| model().save(path))],
        "architecture" => {
            let mlp = model().config().to_json().expect("an architecture");
            texts(&[mlp.as_str(), SONG, DHARIWAL])
        }
        "classifier" => vec![saved(|path| classifier().save(path))],
        "checkpoint" => vec![state().into_bytes()],
        "snapshot" => vec![[&b"000000001000-0.050.safetensors\n"[..], &saved(|path| model().save(path))].concat()],
        "log" => texts(&[LOG]),
        "config" => {
            let config = RunConfig::build(Some("digits"), None, &[]).expect("a preset");
            let whole = config.document().expect("its document");
            texts(&[whole.as_str(), "[data]\npath = \"digits\"\n[train]\nbatch = 8\n"])
        }
        "settings" => texts(&[
            "train.batch=64\noptimizer.lr=1e-3\ndata.path=\"digits\"\nmodel.channel_mult=[1,2]\naverage.power=[0.1]",
            "sfbd.rounds=2\nnoisy.sigma=0.59\ntrain.compute=bf16\nloss.kind=vp\naugment.p=0.12",
        ]),
        "seeds" => texts(&["0-15", "1,5,9-12, 7", "4294967295", "4294967290-4294967295,0-99999"]),
        "schedule" => texts(&SCHEDULES),
        "solver" => solvers(),
        other => panic!("{other} has no inputs"),
    }
}

fn arrays() -> Vec<Vec<u8>> {
    let bytes = |shape: &[usize], values| Array { shape: shape.to_vec(), values }.to_bytes().expect("an array");
    vec![
        bytes(&[2, 3, 4], Values::U8((0..24).collect())),
        bytes(&[3, 2], Values::F32(vec![0.5, -1.0, f32::MIN_POSITIVE, 1e30, 3.0, 0.0])),
        bytes(&[2], Values::I64(vec![0, 1])),
        bytes(&[], Values::F64(vec![1e300])),
        // Version 2 of the format, columns first, big-endian.
        {
            let header = "{'descr': '>f2', 'fortran_order': True, 'shape': (2, 2), }\n";
            let mut bytes = b"\x93NUMPY\x02\x00".to_vec();
            bytes.extend((header.len() as u32).to_le_bytes());
            bytes.extend(header.bytes());
            bytes.extend([0x3c, 0, 0x40, 0, 0xbc, 0, 0x7c, 0]);
            bytes
        },
    ]
}

/// A `.npz`: an archive whose checksums are right, whatever its members are.
pub fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).expect("a member");
        archive.write_all(bytes).expect("its bytes");
    }
    archive.finish().expect("an archive").into_inner()
}

/// The bytes packed.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).expect("packed");
    packed.finish().expect("packed")
}

/// Two pictures of one size.
pub fn pictures() -> [Vec<u8>; 2] {
    [10, 200].map(|grey| encoded(GrayImage::from_pixel(4, 4, Luma([grey])).into(), ImageFormat::Png))
}

fn encoded(picture: DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).expect("a picture");
    bytes.into_inner()
}

fn drawings() -> Vec<Vec<u8>> {
    let colour = RgbImage::from_fn(17, 9, |x, y| image::Rgb([x as u8 * 15, y as u8 * 28, 99]));
    let clear = RgbaImage::from_fn(5, 5, |x, y| image::Rgba([x as u8, y as u8, 0, 128]));
    let deep = image::ImageBuffer::from_fn(4, 3, |x, y| Luma([(x * 9000 + y) as u16]));
    vec![
        encoded(colour.clone().into(), ImageFormat::Png),
        encoded(clear.into(), ImageFormat::Png),
        encoded(DynamicImage::ImageLuma16(deep), ImageFormat::Png),
        encoded(colour.into(), ImageFormat::Jpeg),
        encoded(GrayImage::from_fn(16, 16, |x, y| Luma([(x * y) as u8])).into(), ImageFormat::Jpeg),
    ]
}

fn saved(save: impl FnOnce(&std::path::Path) -> veridical::Result<()>) -> Vec<u8> {
    let place = tempfile::tempdir().expect("a folder");
    let path = place.path().join("saved.safetensors");
    save(&path).expect("saved");
    std::fs::read(path).expect("read")
}

fn tensors(metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let shape = |dims: &[usize]| Shape::from(dims);
    let all =
        [("a", shape(&[2, 2]), vec![1.0, 2.0, 3.0, 4.0]), ("b", shape(&[]), vec![0.5]), ("c", shape(&[0, 3]), vec![])];
    saved(|path| tensor::file::write(path, all, metadata))
}

fn model() -> Model {
    let network = MlpConfig { hidden: 4, layers: 1, noise_channels: 4, ..MlpConfig::new(2) };
    Model::new(&ModelConfig::edm(network, 0.5), 1, &Device::Cpu).expect("a model")
}

fn classifier() -> ImageClassifier {
    let images = Images::from_bytes((0..128).collect(), vec![0, 1], [8, 8, 1], 2).expect("two images");
    let training = ClassifierTraining { channels: vec![2], epochs: 1, batch: 2, ..ClassifierTraining::default() };
    ImageClassifier::train(&images, &training, &Device::Cpu).expect("a classifier")
}

fn state() -> String {
    let mut crc = flate2::Crc::new();
    crc.update(WEIGHTS);
    format!(
        r#"{{"format": 1, "version": "0.1.0", "step": 1, "seen": 64, "config": "[train]\nbatch = 64\n",
            "data": "digits", "files": {{"model.safetensors": {{"bytes": {}, "crc32": {}}}}}}}"#,
        WEIGHTS.len(),
        crc.sum()
    )
}

fn solvers() -> Vec<Vec<u8>> {
    let all = veridical::diffusion::solvers::NAMES.iter();
    all.map(|name| {
        let numbers = [1.0, 1.0, 2.0, 0.5, 1.0, 0.16, 1.0, 0.01, 0.01, 0.002, 80.0, 7.0f64];
        [name.as_bytes(), b"\n", &numbers.map(f64::to_le_bytes).concat()].concat()
    })
    .collect()
}
