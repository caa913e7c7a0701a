//! Functions of tensors that a GPU computes again without being told each part of it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::storage::Storage;
use super::{DType, Device, Shape, Tensor};
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
/// The result is the same, bit for bit. What is captured are launches with their parameters: numbers that the host
/// works out from the arguments or draws would be those of the second call for ever, and so would be the way that it
/// takes. A function that asks something else of the device in its second call than in the first is therefore called
/// as it is, and so is one that reads numbers back; but one that changes its mind later is not noticed. Memory that it
/// uses besides its arguments may change; where it is freed the function is captured anew.
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
///     let y = doubled.call(&[&x], &mut |x| Ok(ops::add(&x[0], &x[0])?.into_value()))?;
///     assert_eq!(y.item()?, 2.0 * x.item()?);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct Replayed {
    state: State,
    /// Captures that did not lead to a graph.
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
    /// Cannot be a graph.
    Never,
}

/// Where a graph's arguments are, and its memory.
struct Prepared {
    gpu: Gpu,
    arguments: Vec<Tensor>,
    pool: Arc<Pool>,
}

/// A tensor within a pool's memory.
#[derive(PartialEq)]
struct Place {
    address: u64,
    shape: Shape,
    dtype: DType,
}

impl Replayed {
    /// `f(arguments)`. Errors with `f`.
    ///
    /// Arguments of other shapes, dtypes or devices than before begin anew.
    pub fn call(&mut self, arguments: &[&Tensor], f: &mut dyn FnMut(&[Tensor]) -> Result<Tensor>) -> Result<Tensor> {
        let plainly = |f: &mut dyn FnMut(&[Tensor]) -> Result<Tensor>| {
            f(&arguments.iter().map(|&tensor| tensor.clone()).collect::<Vec<_>>())
        };
        // What is part of a larger capture belongs to it.
        let Some(gpu) = common_gpu(arguments).filter(|_| is_allowed() && !capture::is_on()) else { return plainly(f) };
        if self.prepared().is_some_and(|prepared| !prepared.fits(&gpu, arguments)) {
            *self = Replayed::default();
        }
        match std::mem::take(&mut self.state) {
            State::Never => {
                self.state = State::Never;
                plainly(f)
            }
            State::Graph(mut prepared, graph, place) => {
                if prepared.take(arguments)? && graph.run()? {
                    let result = place.copy(&graph, &gpu);
                    self.state = State::Graph(prepared, graph, place);
                    return result;
                }
                // What it addressed is freed, and there again elsewhere.
                drop((prepared, graph));
                self.capture(Prepared::new(&gpu, arguments)?, None, f)
            }
            State::New => match Prepared::new(&gpu, arguments) {
                Ok(prepared) => self.capture(prepared, None, f),
                Err(error) if is_out_of_memory(&error) => plainly(f),
                Err(error) => Err(error),
            },
            State::Once(mut prepared, before) => match prepared.take(arguments)? {
                true => self.capture(prepared, Some(before), f),
                false => plainly(f),
            },
        }
    }

    /// Whether calls are replayed.
    pub fn is_graph(&self) -> bool {
        matches!(self.state, State::Graph(..))
    }

    fn prepared(&self) -> Option<&Prepared> {
        match &self.state {
            State::Once(prepared, _) | State::Graph(prepared, ..) => Some(prepared),
            State::New | State::Never => None,
        }
    }

    /// Calls the function and captures what it does; makes a graph of it if that is what it did `before`.
    fn capture(
        &mut self,
        prepared: Prepared,
        before: Option<Commands>,
        f: &mut dyn FnMut(&[Tensor]) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let Prepared { gpu, arguments, pool } = &prepared;
        let (result, captured) = gpu.capture(pool, || f(arguments));
        let captured_result = match result {
            Ok(result) => result,
            // The pool keeps memory of every size apart, and may want more than there is.
            Err(error) if is_out_of_memory(&error) => {
                self.state = State::Never;
                let arguments = arguments.clone();
                drop((before, captured, prepared));
                return f(&arguments);
            }
            Err(error) => return Err(error),
        };
        self.tries += 1;
        self.state = State::Never;
        // A result elsewhere than in the pool is an argument, or somebody's memory.
        let Some(place) = Place::of(&captured_result, gpu, pool) else { return Ok(captured_result) };
        let result = captured_result.in_own_memory()?;
        drop(captured_result);
        // What is kept from one call to the next would be overwritten.
        if captured.refused.is_some() || !pool.start_over() {
            return Ok(result);
        }
        match before {
            Some(before) if before == captured.commands => {
                let graph = gpu.graph(captured, pool.clone())?;
                self.state = State::Graph(prepared, graph, place);
                self.tries = 0;
            }
            _ if self.tries < TRIES => self.state = State::Once(prepared, captured.commands),
            _ => {}
        }
        Ok(result)
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
            State::New => "not captured yet",
            State::Once(..) => "captured once",
            State::Graph(..) => "a graph",
            State::Never => "called as it is",
        })
    }
}

impl Prepared {
    /// With copies of the arguments, which keep their place.
    fn new(gpu: &Gpu, arguments: &[&Tensor]) -> Result<Self> {
        let arguments = arguments.iter().map(|tensor| tensor.in_own_memory()).collect::<Result<_>>()?;
        Ok(Prepared { gpu: gpu.clone(), arguments, pool: gpu.pool() })
    }

    fn fits(&self, gpu: &Gpu, arguments: &[&Tensor]) -> bool {
        let same = |(own, given): (&Tensor, &&Tensor)| own.shape == given.shape && own.dtype == given.dtype;
        self.gpu.same(gpu) && self.arguments.len() == arguments.len() && self.arguments.iter().zip(arguments).all(same)
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

fn is_out_of_memory(error: &Error) -> bool {
    matches!(error, Error::OutOfMemory { .. })
}

/// The GPU that all of these are on.
fn common_gpu(tensors: &[&Tensor]) -> Option<Gpu> {
    let Device::Gpu(gpu) = tensors.first()?.device() else { return None };
    let on_it = |tensor: &&Tensor| matches!(tensor.device(), Device::Gpu(other) if other.same(&gpu));
    tensors.iter().all(on_it).then_some(gpu)
}

/// Whether `VERIDICAL_GRAPHS` allows graphs: it does unless it is `off`.
fn is_allowed() -> bool {
    static ALLOWED: OnceLock<bool> = OnceLock::new();
    *ALLOWED.get_or_init(|| {
        let word = std::env::var("VERIDICAL_GRAPHS").unwrap_or_default();
        if !["", "on", "off"].contains(&word.trim()) {
            eprintln!("veridical: VERIDICAL_GRAPHS={word}: expected on or off; using on");
        }
        word.trim() != "off"
    })
}
