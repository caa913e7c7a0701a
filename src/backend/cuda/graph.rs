//! CUDA graphs: launches that the GPU starts by itself, one after the other.

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaStream, DriverError, result, sys};

use super::errors::failed;
use super::node::Node;
use crate::backend::gpu::{Command, Replay};
use crate::error::{Error, Result};

/// Work as a graph that is ready to be launched.
pub(super) struct Executable {
    graph: sys::CUgraphExec,
    /// What it was made of, whose nodes are what it is changed by.
    _of: Source,
    commands: usize,
    /// One for each command, where they may be changed.
    nodes: Vec<Node>,
    stream: Arc<CudaStream>,
    /// What it copies from.
    _constants: Constants,
}

// SAFETY: graphs and their nodes are not bound to a thread, and this is the only owner of these.
unsafe impl Send for Executable {}
// SAFETY: nothing can be done with a shared reference to it.
unsafe impl Sync for Executable {}

impl Executable {
    /// `commands`, each of which `start` starts on the stream that it is given, to be launched on `stream`, and perhaps
    /// to be changed. They read `constants` among other things, and do not run until then. The context of `stream` must
    /// be the calling thread's.
    pub fn of(
        stream: &Arc<CudaStream>,
        commands: &[Command],
        constants: Constants,
        to_be_changed: bool,
        mut start: impl FnMut(&Command, &CudaStream) -> Result<()>,
    ) -> Result<Self> {
        let what = || format!("making a graph of {} launches", commands.len());
        // A stream of its own, so that what other threads start meanwhile is not captured.
        let side = stream.context().new_stream().map_err(failed(what))?;
        // Relaxed, as nothing that a capture forbids is done: memory is there, and kernels are loaded.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: the stream is open.
        unsafe { result::stream::begin_capture(side.cu_stream(), mode) }.map_err(failed(what))?;
        let mut nodes = Vec::new();
        let started = commands.iter().try_for_each(|command| {
            start(command, &side)?;
            if to_be_changed {
                nodes.push(Node::last_of(&side).map_err(failed(what))?);
            }
            Ok(())
        });
        // SAFETY: the stream is capturing, and whatever happened must be ended.
        let of = unsafe { result::stream::end_capture(side.cu_stream()) }.map(Source);
        started?;
        let of = of.map_err(failed(what))?;
        // SAFETY: the graph was just made, and is not destroyed before what is made of it.
        let graph = unsafe { result::graph::instantiate(of.0, sys::CUgraphInstantiate_flags(0)) };
        let graph = graph.map_err(failed(what))?;
        Ok(Executable {
            graph,
            _of: of,
            commands: commands.len(),
            nodes,
            stream: stream.clone(),
            _constants: constants,
        })
    }
}

impl Replay for Executable {
    fn run(&mut self) -> Result<()> {
        let what = || format!("starting a graph of {} launches", self.commands);
        self.stream.context().bind_to_thread().map_err(failed(what))?;
        // SAFETY: graph and stream are alive; that what it addresses is, too, is the promise of whoever prepared it.
        unsafe { result::graph::launch(self.graph, self.stream.cu_stream()) }.map_err(failed(what))
    }

    fn change(&mut self, at: usize, command: &Command) -> Result<bool> {
        let context = self.stream.context();
        let Some(node) = self.nodes.get(at) else { return Ok(false) };
        let what = || format!("changing a graph of {} launches", self.commands);
        context.bind_to_thread().map_err(failed(what))?;
        // SAFETY: the node is one of the graph's source, which is alive; that what the command addresses is there when
        // it runs is the promise of whoever runs it.
        let changed = unsafe { node.change(self.graph, command, context.cu_ctx()) }.map_err(failed(what));
        Ok(changed.unwrap_or_else(|error| {
            eprintln!("veridical: {error}; it is made anew");
            false
        }))
    }
}

/// A graph that was captured, destroyed on drop.
struct Source(sys::CUgraph);

impl Drop for Source {
    fn drop(&mut self) {
        // SAFETY: nobody else has it. A destructor cannot fail, and nothing is lost but memory.
        let _ = unsafe { result::graph::destroy(self.0) };
    }
}

impl Drop for Executable {
    fn drop(&mut self) {
        let context = self.stream.context();
        // Not by `CudaStream::synchronize`, which gives up where an earlier error is waiting to be reported. SAFETY:
        // the context is open; the graph is destroyed, and what it reads freed, once nothing of it runs any more.
        let destroyed = unsafe {
            let waited = result::ctx::set_current(context.cu_ctx())
                .and_then(|()| result::stream::synchronize(self.stream.cu_stream()));
            result::graph::exec_destroy(self.graph).and(waited)
        };
        // A destructor cannot fail; the next call on the context reports it.
        context.record_err(destroyed);
    }
}

/// Bytes that were uploaded in what became a graph: it copies them from here, each time.
pub(super) struct Constants {
    address: u64,
    context: Arc<CudaContext>,
}

impl Constants {
    /// `parts` one after the other, for graphs that are launched on `stream`. Its context must be the calling thread's.
    pub fn of<'a>(parts: impl Iterator<Item = &'a [u8]>, stream: &CudaStream) -> Result<Self> {
        let bytes: Vec<u8> = parts.flatten().copied().collect();
        let what = || format!("keeping {} bytes for a graph", bytes.len());
        let mut constants = Constants { address: 0, context: stream.context().clone() };
        if bytes.is_empty() {
            return Ok(constants);
        }
        let out_of_memory = |error: DriverError| match error.0 {
            sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => Error::OutOfMemory {
                device: "the GPU".into(),
                bytes: bytes.len(),
                why: "for what a graph uploads".into(),
            },
            _ => failed(what)(error),
        };
        // SAFETY: memory that nobody else knows; the copy is waited for before `bytes` goes, and on the stream that the
        // graph is launched on.
        unsafe {
            constants.address = result::malloc_sync(bytes.len()).map_err(out_of_memory)?;
            result::memcpy_htod_async(constants.address, &bytes, stream.cu_stream())
                .and_then(|()| result::stream::synchronize(stream.cu_stream()))
                .map_err(failed(what))?;
        }
        Ok(constants)
    }

    /// Where the first of them is.
    pub fn address(&self) -> u64 {
        self.address
    }
}

impl Drop for Constants {
    fn drop(&mut self) {
        if self.address != 0 {
            // SAFETY: it came from `malloc_sync`, and the graph that reads it was destroyed before.
            let freed = unsafe {
                result::ctx::set_current(self.context.cu_ctx()).and_then(|()| result::free_sync(self.address))
            };
            self.context.record_err(freed);
        }
    }
}
