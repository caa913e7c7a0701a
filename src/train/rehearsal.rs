//! A run in small, before its first step: what only the first picture, or the last measurement, would find impossible
//! is found now.

#[cfg(feature = "report")]
use super::drawn;
use super::measure;
use super::prepared::Prepared;
use crate::autograd::Tape;
use crate::data::Shuffle;
use crate::error::{Error, Result};
use crate::memory;
use crate::nn::Context;
use crate::ops::random::Address;
use crate::optim::Optimizer;
use crate::tensor::{DType, Device, Tensor};

/// Steps are a word of every random number's address.
const MOST_STEPS: u64 = 1 << 32;

impl Prepared<'_> {
    /// Does once, at the smallest size, what the run is going to do, and throws it away: loss and gradient of one or
    /// two samples, the solver over its whole grid, the network at that grid's ends, the metrics, the measures of
    /// pictures.
    ///
    /// The run's random numbers are functions of where they are used, so nothing that follows changes by a bit; no file
    /// is written. Errors with the settings that make something impossible. [`run`](Self::run) does the same unless it
    /// was done before.
    pub fn rehearse(&mut self) -> Result<()> {
        if self.rehearsed {
            return Ok(());
        }
        self.rehearse_a_step()?;
        let sampling = &self.config.sampling;
        sampling.sampler().rehearse(&self.model, None).map_err(|e| {
            let (steps, low, high, rho) = (sampling.steps, sampling.sigma_min, sampling.sigma_max, sampling.rho);
            let settings = format!("steps = {steps}, sigma_min = {low:?}, sigma_max = {high:?}, rho = {rho:?}");
            at_fault(&format!("no samples can be drawn with [sampling] {settings}"), e)
        })?;
        #[cfg(feature = "report")]
        drawn::check(&self.config, self.data, &self.model).map_err(|e| {
            let (columns, rows) = (sampling.columns, sampling.rows);
            at_fault(&format!("no picture of sampling.columns = {columns} and rows = {rows} can be drawn"), e)
        })?;
        let left_out = measure::check(&self.config, self.data).map_err(|e| {
            at_fault(&format!("no distances of sampling.measured = {} samples can be measured", sampling.measured), e)
        })?;
        self.left_out.extend(left_out);
        self.rehearsed = true;
        Ok(())
    }

    fn rehearse_a_step(&self) -> Result<()> {
        let train = &self.config.train;
        let steps = train.steps();
        if steps > MOST_STEPS {
            return Err(Error::Config(format!(
                "train.images = {} in batches of {} are {steps} steps, and at most 2^32 can be told apart; lower train.images or raise train.batch",
                train.images, train.batch
            )));
        }
        // Weights, their gradient, two moments, the averages, and the copies of which a checkpoint is made.
        let copies = 7 + self.config.average.power.len() as u128;
        let numbers = self.model.weights.layout().flat_len() as u128;
        // The weights rounded, where that is what is computed in.
        let rounded = if self.options.compute == DType::BF16 { 2 * numbers } else { 0 };
        memory::check(
            4 * copies * numbers + rounded,
            &format!("training {numbers} parameters"),
            "make the network smaller ([model]) or keep fewer averages (average.power)",
        )?;
        let values = self.data.train.values() as u128;
        // Gathered, as a tensor, and its noise.
        let bytes = 3 * 4 * values * train.part() as u128;
        memory::check(
            bytes,
            &format!("a step of {} images", train.part()),
            "lower train.batch, or train.micro_batch for less at once",
        )?;
        let set = |e| at_fault("the order of the images (train.images, train.batch, data.shuffle)", e);
        let mut batches = self.config.batches(self.data.train.len()).map_err(set)?;
        if self.config.data.shuffle == Shuffle::Epochs {
            batches.at(steps - 1).map_err(set)?;
        }
        let optimizer =
            Tensor::zeros([1], DType::F32, &Device::Cpu).and_then(|flat| Optimizer::new(self.options.optimizer, &flat));
        optimizer.map_err(|e| at_fault("[optimizer]", e))?;

        let mut indices = batches.at(0).map_err(set)?;
        // Two where no part of a batch is smaller: a loss may compare samples.
        indices.truncate(train.smallest_part().min(2));
        let tape = Tape::new();
        let cx = Context::training(&self.model.weights, &tape, Address::new(self.options.seed, 0))
            .compute_in(self.options.compute)
            .recompute_blocks(self.options.recompute);
        let step = |e| at_fault("no training step can be made", e);
        let samples = self.samples(0, 0, &indices).map_err(step)?;
        let loss = self.loss(&cx, &samples, &indices).map_err(step)?;
        let value = loss.value().item().map_err(step)?;
        self.check_used(&cx)?;
        loss.backward().map_err(step)?;
        match value.is_finite() {
            true => Ok(()),
            false => Err(Error::Config(format!(
                "the loss of the first samples is {value} with {} before any step was made; look at [loss], at [model] (sigma_data), and at the \
                 weights that the run starts from",
                self.model.denoiser().model_type()
            ))),
        }
    }
}

impl Prepared<'_> {
    /// Errors with the parameters that the forward pass has not asked for: a mistake in the network, which would be
    /// trained and stored in vain.
    fn check_used(&self, cx: &Context) -> Result<()> {
        let denoiser = self.model.denoiser();
        let unused = cx.unused();
        // A network that can be told of augmentation is told nothing where there is none.
        if unused.is_empty() || denoiser.may_leave_out() || (denoiser.augment_dim() > 0 && self.pipe.is_none()) {
            return Ok(());
        }
        let (kind, names) = (denoiser.model_type(), unused.iter().take(5).copied().collect::<Vec<_>>().join(", "));
        let more = if unused.len() > 5 { format!(" and {} more", unused.len() - 5) } else { String::new() };
        Err(Error::Config(format!(
            "{kind} registers parameters that its forward pass never uses: {names}{more}; use them, or do not register them"
        )))
    }
}

/// An error of the settings that `what` names, unless it speaks for itself: of a file, of memory, of a setting, or a
/// stop.
pub(crate) fn at_fault(what: &str, error: Error) -> Error {
    match error {
        Error::Io { .. } | Error::Format { .. } | Error::OutOfMemory { .. } | Error::Unavailable { .. } => error,
        Error::Driver { .. } | Error::Config(_) | Error::Stopped => error,
        other => Error::Config(format!("{what}: {other}")),
    }
}
