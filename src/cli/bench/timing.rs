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

/// How long samples must be at least.
pub fn least_sample(device: &Device) -> Duration {
    // A GPU is waited for once a sample, so samples must be long against that.
    Duration::from_millis(if matches!(device, Device::Cpu) { 2 } else { 10 })
}

/// Seconds of one call of the work, over samples.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    pub median: f64,
    pub least: f64,
    pub most: f64,
    pub samples: usize,
}

impl Timing {
    /// The figures of at least one sample.
    fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let count = samples.len();
        Timing { median: samples[count / 2], least: samples[0], most: samples[count - 1], samples: count }
    }
}

/// Seconds of one call of `work`. Errors where it does.
pub fn time(work: &mut Work, device: &Device, effort: Effort) -> Result<Timing> {
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
        return Ok(Timing::of(vec![cold]));
    }
    // In the first calls, the system still fills memory with zeros.
    let second = timed(1)?;
    if started.elapsed() > effort.limit {
        return Ok(Timing::of(vec![second]));
    }
    let warm = timed(1)?;
    let calls = (effort.sample.as_secs_f64() / warm.max(1e-9)).clamp(1.0, 10_000.0) as usize;
    let mut samples = Vec::with_capacity(effort.samples);
    while samples.is_empty() || (samples.len() < effort.samples && started.elapsed() < effort.limit) {
        samples.push(timed(calls)?);
    }
    Ok(Timing::of(samples))
}
