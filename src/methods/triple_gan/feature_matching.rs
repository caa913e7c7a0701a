//! The baseline of Salimans et al. 2016 (*Improved Techniques for Training GANs*, arXiv 1606.03498): a classifier with
//! one class more for what is made, and a generator that matches its mean features.

use std::ops::Range;

use super::game::{CLASSIFIER, GENERATOR, TripleGan, missing};
use super::pairs::{LABELLED, MADE, log_sum, logits, make, wanted_classes};
use super::players::Players;
use crate::autograd::Var;
use crate::error::Result;
use crate::ops;
use crate::tensor::DType;
use crate::train::Tick;

impl TripleGan<'_> {
    /// The classifier of Salimans et al. 2016: of k classes and one more with logit 0, of what is made.
    pub(super) fn tell_made(&mut self) -> Result<Tick> {
        let Players { generator, classifier, .. } = &mut self.players;
        let Some(generator) = generator else { return Err(missing("generator")) };
        let (step, k) = (classifier.trainer.steps(), self.inputs.classes());
        let (x, y) = self.inputs.labelled(CLASSIFIER, step)?;
        let unlabelled = self.inputs.unlabelled(CLASSIFIER, step)?;
        let count = self.inputs.generated();
        let batch = x.shape()[0] + unlabelled.shape()[0];
        let gradient = classifier.trainer.gradient(batch, |cx| {
            let address = cx.address()?;
            let wanted = wanted_classes(count, k, address, generator)?;
            let made = make(generator, &generator.opponent(address), &wanted, k)?.detach();
            let supervised = ops::cross_entropy(&logits(classifier, &cx.beside(LABELLED)?, &x)?, &y)?;
            let real = log_sum(&logits(classifier, cx, &unlabelled)?)?;
            let fake = log_sum(&logits(classifier, &cx.beside(MADE)?, made.value())?)?;
            // -log of Z / (Z + 1) on real images, of 1 / (Z + 1) on what is made; Z the sum of exponentials.
            let told = ((-real)?.softplus()?.mean_all()? + fake.softplus()?.mean_all()?)?;
            supervised + ops::scale(told, 0.5)?
        })?;
        let tick = classifier.trainer.apply(gradient)?;
        self.last.classifier = Some(tick.loss);
        Ok(tick)
    }

    pub(super) fn match_features(&mut self) -> Result<Tick> {
        let Players { generator, classifier, .. } = &mut self.players;
        let Some(generator) = generator else { return Err(missing("generator")) };
        let (step, k) = (generator.trainer.steps(), self.inputs.classes());
        let unlabelled = self.inputs.unlabelled(GENERATOR, step)?;
        let count = self.inputs.generated();
        let gradient = generator.trainer.gradient(count, |cx| {
            let address = cx.address()?;
            let wanted = wanted_classes(count, k, address, generator)?;
            let made = make(generator, cx, &wanted, k)?;
            let watching = classifier.opponent(address);
            // In one pass: normalised each by its own statistics, the two would have equal means whatever they are.
            let (real, rows) = (Var::from(&unlabelled), unlabelled.shape()[0]);
            let both = classifier.network.features(&watching, &ops::concat(&[&real, &made], 0)?)?;
            let both = ops::cast(both, DType::F32)?;
            let mean = |range: Range<usize>| both.slice(0, range)?.mean(&[0]);
            (mean(0..rows)?.detach() - mean(rows..rows + count)?)?.square()?.mean_all()
        })?;
        let tick = generator.trainer.apply(gradient)?;
        self.last.generator = Some(tick.loss);
        Ok(tick)
    }
}
