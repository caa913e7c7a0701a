//! The nodes of a CUDA graph, each of which is one command with its parameters.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr;

use cudarc::driver::{CudaStream, DriverError, sys};

use crate::backend::arguments::Aligned;
use crate::backend::gpu::Command;

/// A node, and the parameters that it was made with.
pub(super) struct Node {
    node: sys::CUgraphNode,
    work: Work,
}

enum Work {
    Launch(sys::CUDA_KERNEL_NODE_PARAMS),
    Copy(sys::CUDA_MEMCPY3D),
    Zero(sys::CUDA_MEMSET_NODE_PARAMS),
    Other,
}

impl Node {
    /// What was captured last on a stream that captures.
    pub fn last_of(stream: &CudaStream) -> Result<Node, DriverError> {
        let (mut status, mut count) = (MaybeUninit::uninit(), 0);
        let mut last = ptr::null();
        // SAFETY: the stream is open, and everything that is written to is alive; the array belongs to the capture and
        // is read before the next call.
        let node = unsafe {
            sys::cuStreamGetCaptureInfo_v2(
                stream.cu_stream(),
                status.as_mut_ptr(),
                ptr::null_mut(),
                ptr::null_mut(),
                &mut last,
                &mut count,
            )
            .result()?;
            // On one stream what comes next depends on what came last, and on nothing else.
            match count {
                1 => *last,
                _ => return Err(DriverError(sys::CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED)),
            }
        };
        Ok(Node { node, work: Work::of(node)? })
    }

    /// Puts `command` in the place of what the node does in `graph`, from its next launch on, and says whether it
    /// could.
    ///
    /// # Safety
    /// `graph` was made of the graph that the node belongs to; both are alive, and `context` is the one that they are
    /// for. What the command addresses is there whenever the graph is launched.
    pub unsafe fn change(
        &self,
        graph: sys::CUgraphExec,
        command: &Command,
        context: sys::CUcontext,
    ) -> Result<bool, DriverError> {
        match (&self.work, command) {
            (Work::Launch(made), Command::Launch { params, .. }) => {
                let mut aligned = Aligned::of(params.len());
                let room = aligned.bytes(params.len());
                room.copy_from_slice(params);
                let mut arguments = [room.as_mut_ptr().cast::<c_void>()];
                let params = sys::CUDA_KERNEL_NODE_PARAMS {
                    kernelParams: arguments.as_mut_ptr(),
                    extra: ptr::null_mut(),
                    ..*made
                };
                // SAFETY: the caller's; the driver copies the parameters before it returns.
                unsafe { sys::cuGraphExecKernelNodeSetParams_v2(graph, self.node, &params) }.result()?;
            }
            (Work::Copy(made), &Command::Copy { to, from, .. }) => {
                let params = sys::CUDA_MEMCPY3D { srcDevice: from, dstDevice: to, ..*made };
                // SAFETY: the caller's.
                unsafe { sys::cuGraphExecMemcpyNodeSetParams(graph, self.node, &params, context) }.result()?;
            }
            (Work::Zero(made), &Command::Zero { to, .. }) => {
                let params = sys::CUDA_MEMSET_NODE_PARAMS { dst: to, ..*made };
                // SAFETY: the caller's.
                unsafe { sys::cuGraphExecMemsetNodeSetParams(graph, self.node, &params, context) }.result()?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Work {
    fn of(node: sys::CUgraphNode) -> Result<Work, DriverError> {
        use sys::CUgraphNodeType::*;
        let mut kind = MaybeUninit::uninit();
        // SAFETY: the node is alive, and each call writes the parameters of its kind.
        unsafe {
            sys::cuGraphNodeGetType(node, kind.as_mut_ptr()).result()?;
            Ok(match kind.assume_init() {
                CU_GRAPH_NODE_TYPE_KERNEL => {
                    let mut params = MaybeUninit::uninit();
                    sys::cuGraphKernelNodeGetParams_v2(node, params.as_mut_ptr()).result()?;
                    Work::Launch(params.assume_init())
                }
                CU_GRAPH_NODE_TYPE_MEMCPY => {
                    let mut params = MaybeUninit::uninit();
                    sys::cuGraphMemcpyNodeGetParams(node, params.as_mut_ptr()).result()?;
                    Work::Copy(params.assume_init())
                }
                CU_GRAPH_NODE_TYPE_MEMSET => {
                    let mut params = MaybeUninit::uninit();
                    sys::cuGraphMemsetNodeGetParams(node, params.as_mut_ptr()).result()?;
                    Work::Zero(params.assume_init())
                }
                _ => Work::Other,
            })
        }
    }
}
