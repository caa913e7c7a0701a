//! Score networks: what a denoiser is made of, and how a file names one.
//!
//! A network of one's own is two types: its options, an [`Architecture`], and what they build, a [`ScoreNetwork`]. With
//! these it is preconditioned, trained, sampled, measured, saved and resumed as the built-in ones are, which come by
//! the same way. [`register`](super::register) makes files of it readable. `examples/own_network.rs` is one from
//! beginning to end.

use std::any::Any;
use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::context::Context;
use super::layout::{Layout, Scope};
use crate::autograd::Var;
use crate::error::{Error, Result};

/// What a score network is told besides the image.
#[derive(Debug, Clone, Copy, Default)]
pub struct Conditions<'a> {
    /// `[n, label_dim]`, one-hot or all zeros for no class. Left out: no class.
    pub class_labels: Option<&'a Var>,
    /// `[n, augment_dim]`. Left out: no augmentation.
    pub augment_labels: Option<&'a Var>,
}

/// A raw network F, without what preconditioning puts around it.
pub trait ScoreNetwork: Debug + Send + Sync {
    /// F of samples `x` `[n, ...]` (images NHWC), already scaled, and noise labels `noise` `[n]` in
    /// f32.
    ///
    /// The result has the shape of `x` but for its last axis, which has the `outputs` that [`Architecture::build`] was
    /// asked for; it is in the context's [compute dtype](Context::compute) or in f32.
    fn forward(&self, cx: &Context, x: &Var, noise: &Var, conditions: Conditions) -> Result<Var>;

    /// Whether a forward pass may leave out parameters: experts, or layers that are dropped. A run refuses a network
    /// whose first pass does so otherwise.
    fn may_leave_out(&self) -> bool {
        false
    }

    /// Multiply-adds of one call for one sample; see
    /// [`Denoiser::multiply_adds`](crate::diffusion::Denoiser::multiply_adds). `None` where nobody counted them.
    fn multiply_adds(&self, layout: &Layout) -> Result<Option<u64>> {
        let _ = layout;
        Ok(None)
    }
}

/// The options of a kind of score network, as they stand in model files and settings.
pub trait Architecture: Debug + Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What names the kind in files, such as `SongUNet`.
    const MODEL_TYPE: &'static str;
    /// The network itself.
    type Network: ScoreNetwork + 'static;

    /// Registers the parameters in `scope` and makes a network whose result has `outputs` channels in its last axis.
    /// Errors on options that make no network.
    fn build(&self, scope: &mut Scope, outputs: usize) -> Result<Self::Network>;

    /// The extents of one sample: `[h, w, channels]` or `[dims]`.
    fn sample_shape(&self) -> Vec<usize>;

    /// Number of classes that the network takes; 0 if it is unconditional.
    fn label_dim(&self) -> usize {
        0
    }

    /// Size of the augmentation label that the network takes; 0 if it takes none.
    fn augment_dim(&self) -> usize {
        0
    }

    /// The options that follow from the data, by their names in files; settings may leave these out, and must not
    /// contradict them. Errors on data that the network does not take.
    fn of_data(data: &DataShape) -> Result<Vec<(&'static str, usize)>> {
        let _ = data;
        Ok(Vec::new())
    }
}

/// What data say of the network that is to learn them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataShape {
    /// Height, width and channels; points are `[1, 1, dims]`.
    pub size: [usize; 3],
    /// Number of classes that the network is told; 0: none.
    pub classes: usize,
    /// Size of the augmentation label; 0: no augmentation.
    pub augment: usize,
}

/// Which network, with its options: any [`Architecture`].
#[derive(Clone)]
pub struct NetworkConfig(Arc<dyn Options>);

/// An [`Architecture`] whose type is forgotten.
trait Options: Send + Sync {
    fn model_type(&self) -> &'static str;
    fn fields(&self) -> Result<Map<String, Value>>;
    fn network(&self, scope: &mut Scope, outputs: usize) -> Result<Arc<dyn ScoreNetwork>>;
    fn shape(&self) -> Vec<usize>;
    fn labels(&self) -> [usize; 2];
    fn any(&self) -> &dyn Any;
    fn equals(&self, other: &dyn Any) -> bool;
    fn debug(&self) -> &dyn Debug;
}

impl<A: Architecture> Options for A {
    fn model_type(&self) -> &'static str {
        A::MODEL_TYPE
    }

    fn fields(&self) -> Result<Map<String, Value>> {
        match serde_json::to_value(self) {
            Ok(Value::Object(fields)) => {
                let back = serde_json::from_value::<A>(Value::Object(fields.clone()));
                match back.is_ok_and(|back| back == *self) {
                    true => Ok(fields),
                    false => Err(Error::Config(format!(
                        "the options of {} cannot be read back from what is written of them: {self:?}",
                        A::MODEL_TYPE
                    ))),
                }
            }
            Ok(other) => Err(Error::Config(format!("the options of {} must have names, got {other}", A::MODEL_TYPE))),
            Err(error) => Err(Error::Config(format!("the options of {} cannot be written: {error}", A::MODEL_TYPE))),
        }
    }

    fn network(&self, scope: &mut Scope, outputs: usize) -> Result<Arc<dyn ScoreNetwork>> {
        Ok(Arc::new(self.build(scope, outputs)?))
    }

    fn shape(&self) -> Vec<usize> {
        self.sample_shape()
    }

    fn labels(&self) -> [usize; 2] {
        [self.label_dim(), self.augment_dim()]
    }

    fn any(&self) -> &dyn Any {
        self
    }

    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<A>().is_some_and(|other| self == other)
    }

    fn debug(&self) -> &dyn Debug {
        self
    }
}

impl<A: Architecture> From<A> for NetworkConfig {
    fn from(options: A) -> Self {
        NetworkConfig(Arc::new(options))
    }
}

impl Debug for NetworkConfig {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        self.0.debug().fmt(f)
    }
}

impl PartialEq for NetworkConfig {
    fn eq(&self, other: &Self) -> bool {
        self.0.equals(other.0.any())
    }
}

impl NetworkConfig {
    /// The options, if they are of this kind.
    pub fn of<A: Architecture>(&self) -> Option<&A> {
        self.0.any().downcast_ref()
    }

    /// What names the kind in files.
    pub fn model_type(&self) -> &'static str {
        self.0.model_type()
    }

    /// The options by their names in files. Errors if they cannot be written as JSON with names.
    pub fn to_fields(&self) -> Result<Map<String, Value>> {
        self.0.fields()
    }

    /// Registers the parameters in `scope` and makes the network; see [`Architecture::build`].
    pub fn build(&self, scope: &mut Scope, outputs: usize) -> Result<Arc<dyn ScoreNetwork>> {
        self.0.network(scope, outputs)
    }

    /// The extents of one sample: `[h, w, channels]` or `[dims]`.
    pub fn sample_shape(&self) -> Vec<usize> {
        self.0.shape()
    }

    /// Number of classes that the network takes; 0 if it is unconditional.
    pub fn label_dim(&self) -> usize {
        self.0.labels()[0]
    }

    /// Size of the augmentation label that the network takes; 0 if it takes none.
    pub fn augment_dim(&self) -> usize {
        self.0.labels()[1]
    }
}
