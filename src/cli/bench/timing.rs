//! How long a case takes.

use std::time::{Duration, Instant};

use veridical::{Device, Result};

use super::case::Work;

/// How long to go on measuring.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Timed this often, and the median taken ...
    pub samples: usize,
    /// ... or until this much time has gone into the case.
    pub limit: Duration,
    /// A sample repeats the work until it takes about this long.
    pub sample: Duration,
}

/// Median seconds of one call of `work`, and the number of samples it is the median of.
pub fn time(work: &mut Work, device: &Device, effort: Effort) -> Result<(f64, usize)> {
    let started = Instant::now();
    let mut timed = |calls: usize| -> Result<f64> {
        let start = Instant::now();
        for _ in 0..calls {
            work()?;
        }
        device.synchronize()?;
        Ok(start.elapsed().as_secs_f64() / calls as f64)
    };
    let cold = timed(1)?;
    if started.elapsed() > effort.limit {
        return Ok((cold, 1));
    }
    let warm = timed(1)?;
    let calls = (effort.sample.as_secs_f64() / warm.max(1e-9)).clamp(1.0, 10_000.0) as usize;
    let mut samples = Vec::with_capacity(effort.samples);
    while samples.is_empty() || (samples.len() < effort.samples && started.elapsed() < effort.limit) {
        samples.push(timed(calls)?);
    }
    samples.sort_by(f64::total_cmp);
    Ok((samples[samples.len() / 2], samples.len()))
}
