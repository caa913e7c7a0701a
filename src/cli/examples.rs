//! What a person types: lines that `veridical help COMMAND` ends with.

/// Commands, and lines of each.
pub const EXAMPLES: [(&str, &[&str]); 21] = [
    ("demo", &["veridical demo", "veridical demo --steps 300 --seed 1 --out runs/short"]),
    (
        "train",
        &[
            "veridical train --data photos --size 64 --out runs/photos",
            "veridical train --data table.csv --class-column species --images 500000 --batch 256 --lr 0.001",
            "veridical train --resume --out runs/photos --minutes 60",
            "veridical train --data digits --tensorboard --out runs/digits",
            "veridical train --preset cifar10-ddpmpp --data cifar-10-batches-bin --device cuda",
        ],
    ),
    (
        "sfbd",
        &[
            "veridical sfbd --data clean --noisy noisy --sigma auto --out runs/sfbd",
            "veridical sfbd --data digits --sigma 0.59 --clean-share 0.04 --online",
        ],
    ),
    ("ambient", &["veridical ambient --data clean --noisy noisy --sigma 0.2 --out runs/ambient"]),
    ("csc", &["veridical csc --model runs/photos --data photos --set csc.steps=6 --out runs/coarse"]),
    (
        "kdgan",
        &[
            "veridical kdgan --data photos --labelled 100 --out runs/kdgan",
            "veridical kdgan --data tags.arff --preset table --method distn",
        ],
    ),
    ("triple-gan", &["veridical triple-gan --data photos --labelled 100 --out runs/triple-gan"]),
    ("ema", &["veridical ema --run runs/photos --std 0.05,0.1 --output averaged.safetensors"]),
    (
        "bench",
        &[
            "veridical bench --op matmul --dtype f32 --quick",
            "veridical bench --network cifar10-ddpmpp --batch 8 --task sample",
            "veridical bench --network cifar10-ddpmpp --batch 512 --dtype bf16 --model h200",
        ],
    ),
    (
        "denoise",
        &[
            "veridical denoise --model runs/sfbd --data noisy --sigma 0.2 --output denoised",
            "veridical denoise --model runs/sfbd --data noisy.tif --sigma auto --draws 16 --output draws.npz",
        ],
    ),
    ("noise", &["veridical noise --data noisy.tif --json noise.json"]),
    (
        "evaluate",
        &[
            "veridical evaluate --real photos --generated samples.npz --floor",
            "veridical evaluate --real digits --generated samples.npz --features judge.safetensors",
        ],
    ),
    ("classifier", &["veridical classifier --data photos --size 64 --output judge.safetensors"]),
    ("collapse", &["veridical collapse --family gaussian --samples 100 --fresh 0.1 --out runs/collapse"]),
    ("info", &["veridical info runs/photos", "veridical info averaged.safetensors --json"]),
    (
        "sample",
        &[
            "veridical sample --model runs/photos --seeds 0-15 --png samples.png",
            "veridical sample --model runs/photos --class cat --guidance 2 --solver ddim --output cats.npz",
        ],
    ),
    ("likelihood", &["veridical likelihood --model runs/photos --data photos --first 100 --json bits.json"]),
    ("serve", &["veridical serve runs", "veridical serve runs/photos --port 8080"]),
    ("doctor", &["veridical doctor", "veridical doctor --json doctor.json"]),
    ("completions", &["veridical completions bash"]),
    ("man", &["veridical man man1"]),
];

/// The last lines of a command's help.
pub fn shown(lines: &[&str]) -> String {
    format!("Examples:\n  {}", lines.join("\n  "))
}
