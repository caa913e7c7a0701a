//! The benchmark rows of the op table on the CPU, under criterion: `cargo bench --bench ops -- matmul`.
//!
//! Few samples, for a quick look at a change; `veridical bench` adds rates and ceilings, and other devices.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use veridical::{DType, Device, op_table};

#[path = "../src/cli/bench/case.rs"]
mod case;

use case::Direction;

fn ops(criterion: &mut Criterion) {
    for row in op_table::rows().into_iter().filter(|row| row.bench) {
        for direction in Direction::BOTH {
            let mut group = criterion.benchmark_group(format!("{} {}", row.op, direction.name()));
            let mut work = None;
            group.bench_function(row.case.as_str(), |bencher| {
                // Made only if criterion's filter lets the case through.
                let work = work.get_or_insert_with(|| {
                    case::prepare(&row, DType::F32, &Device::Cpu, direction).expect("the row runs")
                });
                let Some(work) = work else { return bencher.iter(|| ()) };
                bencher.iter(|| work().expect("the row runs"));
            });
        }
    }
}

fn quick() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500))
}

criterion_group! { name = benches; config = quick(); targets = ops }
criterion_main!(benches);
