//! Functions of tensors that a GPU computes again without being told each part of it.

use std::fmt;
use std::sync::Arc;

use super::storage::Storage;
use super::{DType, Device, Shape, Tensor};
use crate::backend::gpu::deferred::graphs_are_allowed;
use crate::backend::gpu::graph::{Commands, Graph};
use crate::backend::gpu::pool::Pool;
use crate::backend::gpu::{Gpu, capture};
use crate::error::{Error, Result};

/// How often a function is captured in the hope that it does the same twice.
const TRIES: usize = 3;

/// A function of tensors that is called over and over with the same shapes and, on a GPU, becomes a graph: its launches
/// are captured in the first two calls, and if both asked the same of the device, they are replayed from the third on,
/// all at once. At small sizes a network's call is bound by the host, which starts hundreds of kernels; a graph is
/// started once.
///
/// The result is the same as that of a plain call with arguments in memory of their own, bit for bit. What is captured
/// are launches with their parameters, so the function must be one:
///
/// * Its numbers and the way that it takes depend on nothing but the values of its arguments, and on those only on the
///   device. A function that asks something else of the device in its second call than in the first is called as it is,
///   and so is one that reads numbers back; but one that changes its mind later is not noticed.
/// * Other tensors that it reads, such as weights, are the same ones at every call: where one is given up its memory
///   goes, and the function is captured anew, but while a copy is kept elsewhere the graph goes on reading that.
/// * It writes to no tensor in place, and all that it asks of the device it asks on the calling thread.
///
/// `VERIDICAL_GRAPHS=off` calls every function as it is.
///
/// ```
/// use veridical::tensor::Replayed;
/// use veridical::{Device, Tensor, ops};
/// # fn main() -> veridical::Result<()> {
/// let mut doubled = Replayed::default();
/// for x in [1.0f32, 2.0, 3.0] {
///     let x = Tensor::from_slice(&[x], [1], &Device::Cpu)?;
///     let y = doubled.call(&[&x], |x| Ok(ops::add(&x[0], &x[0])?.into_value()))?;
///     assert_eq!(y.item()?, 2.0 * x.item()?);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct Replayed {
    state: State,
    /// What the state is of.
    of: Option<Arguments>,
    /// Captures since there was a graph.
    tries: usize,
}

#[derive(Default)]
enum State {
    #[default]
    New,
    /// Captured once.
    Once(Prepared, Commands),
    /// A graph with what it reads, and where its result is.
    Graph(Prepared, Graph, Place),
    /// Not for these arguments.
    Never,
}

/// Shapes and dtypes of arguments, and the GPU that they are on.
struct Arguments {
    gpu: Gpu,
    forms: Vec<(Shape, DType)>,
}

/// Where a graph's arguments are, and its memory.
struct Prepared {
    arguments: Vec<Tensor>,
    pool: Arc<Pool>,
}

/// A tensor within a pool's memory.
struct Place {
    address: u64,
    shape: Shape,
    dtype: DType,
}

impl Replayed {
    /// `f(arguments)`. Errors with `f`.
    ///
    /// Arguments of other shapes, dtypes or devices than before begin anew. Where memory is too short for a capture,
    /// `f` is called as it is, perhaps after a call that failed.
    pub fn call(&mut self, arguments: &[&Tensor], f: impl FnMut(&[Tensor]) -> Result<Tensor>) -> Result<Tensor> {
        let mut f = f;
        let plainly = |f: &mut dyn FnMut(&[Tensor]) -> Result<Tensor>| {
            f(&arguments.iter().map(|&tensor| tensor.clone()).collect::<Vec<_>>())
        };
        // What is part of a larger capture belongs to it.
        let Some(gpu) = common_gpu(arguments).filter(|_| graphs_are_allowed() && !capture::is_on()) else {
            return plainly(&mut f);
        };
        if !self.of.as_ref().is_some_and(|of| of.fit(&gpu, arguments)) {
            if matches!(self.state, State::Graph(..)) {
                self.tries = 0;
            }
            self.state = State::New;
            self.of = Some(Arguments::of(gpu.clone(), arguments));
        }
        match self.captured_or_replayed(&gpu, arguments, &mut f) {
            Ok(Some(result)) => Ok(result),
            Ok(None) => plainly(&mut f),
            // The pool keeps memory of every size apart, and may want more than there is. It is given back by now.
            Err(Error::OutOfMemory { .. }) => {
                self.state = State::Never;
                plainly(&mut f)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether calls are replayed.
    pub fn is_graph(&self) -> bool {
        matches!(self.state, State::Graph(..))
    }

    /// The result, or `None` where the function is to be called as it is.
    fn captured_or_replayed(
        &mut self,
        gpu: &Gpu,
        arguments: &[&Tensor],
        f: &mut dyn FnMut(&[Tensor]) -> Result<Tensor>,
    ) -> Result<Option<Tensor>> {
        match std::mem::take(&mut self.state) {
            State::Never => {
                self.state = State::Never;
                Ok(None)
            }
            State::Graph(mut prepared, mut graph, place) => {
                if prepared.take(arguments)? && graph.run()? {
                    let result = place.copy(&graph, gpu)?;
                    self.state = State::Graph(prepared, graph, place);
                    return Ok(Some(result));
                }
                // What it addressed is freed, and there again elsewhere.
                drop((graph, prepared));
                self.tries = 0;
                self.capture(gpu, Prepared::new(gpu, arguments)?, None, f)
            }
            State::New if self.tries < TRIES => self.capture(gpu, Prepared::new(gpu, arguments)?, None, f),
            State::New => Ok(None),
            State::Once(mut prepared, before) => match prepared.take(arguments)? {
                true => self.capture(gpu, prepared, Some(before), f),
                false => Ok(None),
            },
        }
    }

    /// Calls the function and captures what it does; makes a graph of it if that is what it did `before`.
    fn capture(
        &mut self,
        gpu: &Gpu,
        prepared: Prepared,
        before: Option<Commands>,
        f: &mut dyn FnMut(&[Tensor]) -> Result<Tensor>,
    ) -> Result<Option<Tensor>> {
        self.tries += 1;
        let Prepared { arguments, pool } = &prepared;
        let (captured_result, captured) = gpu.capture(pool, || f(arguments));
        let captured_result = captured_result?;
        let Some(place) = Place::of(&captured_result, gpu, pool) else {
            // An argument, or somebody's memory.
            self.state = State::Never;
            return captured_result.in_own_memory().map(Some);
        };
        let result = captured_result.in_own_memory()?;
        drop(captured_result);
        if captured.refused.is_some() {
            self.state = State::Never;
        } else if !pool.is_idle() {
            // Something is kept from this call to the next, where it would be overwritten. Perhaps it is there now.
            self.state = State::New;
        } else if before.is_some_and(|before| before == captured.commands) {
            let graph = gpu.graph(captured, pool.clone())?;
            self.state = State::Graph(prepared, graph, place);
            self.tries = 0;
        } else if self.tries < TRIES {
            self.state = State::Once(prepared, captured.commands);
        } else {
            self.state = State::Never;
        }
        Ok(Some(result))
    }
}

impl Clone for Replayed {
    /// A copy has captured nothing yet.
    fn clone(&self) -> Self {
        Replayed::default()
    }
}

impl fmt::Debug for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.state {
            State::New => "not captured",
            State::Once(..) => "captured once",
            State::Graph(..) => "a graph",
            State::Never => "called as it is",
        })
    }
}

impl Arguments {
    fn of(gpu: Gpu, arguments: &[&Tensor]) -> Self {
        Arguments { gpu, forms: arguments.iter().map(|tensor| (tensor.shape.clone(), tensor.dtype)).collect() }
    }

    fn fit(&self, gpu: &Gpu, arguments: &[&Tensor]) -> bool {
        let forms = arguments.iter().map(|tensor| (&tensor.shape, tensor.dtype));
        self.gpu.same(gpu) && self.forms.iter().map(|(shape, dtype)| (shape, *dtype)).eq(forms)
    }
}

impl Prepared {
    /// With copies of the arguments, which keep their place.
    fn new(gpu: &Gpu, arguments: &[&Tensor]) -> Result<Self> {
        let arguments = arguments.iter().map(|tensor| tensor.in_own_memory()).collect::<Result<_>>()?;
        Ok(Prepared { arguments, pool: gpu.pool() })
    }

    /// Copies arguments to where the last ones were, if nobody kept those.
    fn take(&mut self, arguments: &[&Tensor]) -> Result<bool> {
        for (own, given) in self.arguments.iter_mut().zip(arguments) {
            let (to, range) = (own.bytes().start, given.bytes());
            let (Some(Storage::Gpu(own)), Storage::Gpu(given)) = (Arc::get_mut(&mut own.storage), &*given.storage)
            else {
                return Ok(false);
            };
            own.copy_from(to, given, range.start, range.len())?;
        }
        Ok(true)
    }
}

impl Place {
    /// Of a tensor whose memory is the pool's.
    fn of(tensor: &Tensor, gpu: &Gpu, pool: &Pool) -> Option<Place> {
        let address = tensor.ptr(gpu).ok()?.number();
        let Tensor { shape, dtype, .. } = tensor;
        pool.holds(address, tensor.bytes().len()).then(|| Place { address, shape: shape.clone(), dtype: *dtype })
    }

    fn copy(&self, graph: &Graph, gpu: &Gpu) -> Result<Tensor> {
        let Place { address, shape, dtype } = self;
        let buffer = graph.copy_out(gpu, *address, shape.elements() * dtype.size())?;
        Ok(Tensor { storage: Arc::new(Storage::Gpu(buffer)), offset: 0, shape: shape.clone(), dtype: *dtype })
    }
}

impl Tensor {
    /// The same elements in memory of their own.
    fn in_own_memory(&self) -> Result<Tensor> {
        let Tensor { shape, dtype, .. } = self;
        let storage = Arc::new(self.storage.copy(self.bytes())?);
        Ok(Tensor { storage, offset: 0, shape: shape.clone(), dtype: *dtype })
    }
}

/// The GPU that all of these are on.
fn common_gpu(tensors: &[&Tensor]) -> Option<Gpu> {
    let Device::Gpu(gpu) = tensors.first()?.device() else { return None };
    let on_it = |tensor: &&Tensor| matches!(tensor.device(), Device::Gpu(other) if other.same(&gpu));
    tensors.iter().all(on_it).then_some(gpu)
}
