//! The border to the kernels as compiled for the host: what `kernels/host/runtime.h` declares, declared again.

use std::ffi::{CStr, c_char, c_void};
use std::sync::Once;

use super::block::Block;
use super::races::Use;

/// First and one past the last address that may be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Range {
    pub(super) begin: u64,
    pub(super) end: u64,
}

/// Where the running CUDA thread stands.
#[repr(C)]
pub(super) struct Context {
    pub(super) thread: [u32; 3],
    pub(super) block: [u32; 3],
    pub(super) block_dim: [u32; 3],
    pub(super) grid_dim: [u32; 3],
    pub(super) state: *mut c_void,
    pub(super) dynamic_shared: *mut u8,
    pub(super) dynamic_bytes: u64,
    pub(super) watched: u64,
    pub(super) cluster_rank: u64,
}

/// Computes a warp collective for all lanes, from their operands.
pub(super) type Compute = unsafe extern "C" fn(operands: *const *mut c_void, mask: u32);

/// A wrong access, as the check in `kernels/host/language.h` found it.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct Access {
    pub(super) address: u64,
    pub(super) bytes: u32,
    pub(super) align: u32,
    pub(super) range: Range,
    pub(super) shared: bool,
    pub(super) read: bool,
}

/// A box of a tensor on its way to shared memory.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct BoxLoad {
    pub(super) to: u64,
    pub(super) end: u64,
    pub(super) map: *const u8,
    pub(super) at: *const i32,
    pub(super) axes: u32,
    pub(super) barrier: u64,
    /// Bits of the cluster's blocks that it comes to; none: the own one.
    pub(super) blocks: u32,
}

/// One thread's part in a product of its warpgroup.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct Multiply {
    pub(super) sums: *mut f32,
    pub(super) count: u32,
    pub(super) add: u32,
    pub(super) a: u64,
    pub(super) b: u64,
    pub(super) transposed: [u32; 2],
}

#[repr(C)]
struct Runtime {
    locate: unsafe extern "C" fn(*mut Block, u64, u32) -> Range,
    bad_access: unsafe extern "C" fn(*mut Block, *const Access),
    static_shared: unsafe extern "C" fn(*mut Block, *const c_void, *const c_char, u64) -> *mut u8,
    barrier: unsafe extern "C" fn(*mut Block, u32, u32, bool),
    collective: unsafe extern "C" fn(*mut Block, *const c_char, u32, *mut c_void, Compute),
    async_copy: unsafe extern "C" fn(*mut Block, *mut u8, *const u8, u32),
    async_commit: unsafe extern "C" fn(*mut Block),
    async_wait: unsafe extern "C" fn(*mut Block, u32),
    shared_access: unsafe extern "C" fn(*mut Block, u64, u32, bool),
    mbarrier_init: unsafe extern "C" fn(*mut Block, u64, u32),
    mbarrier_init_fence: unsafe extern "C" fn(*mut Block),
    mbarrier_arrive: unsafe extern "C" fn(*mut Block, u64, u32),
    mbarrier_wait: unsafe extern "C" fn(*mut Block, u64, u32),
    proxy_fence: unsafe extern "C" fn(*mut Block),
    tensor_load: unsafe extern "C" fn(*mut Block, *const BoxLoad),
    shared_window: unsafe extern "C" fn(*mut Block, u64) -> u32,
    wgmma_fence: unsafe extern "C" fn(*mut Block, *mut f32, u32),
    wgmma: unsafe extern "C" fn(*mut Block, *const Multiply),
    wgmma_commit: unsafe extern "C" fn(*mut Block),
    wgmma_wait: unsafe extern "C" fn(*mut Block, u32),
    set_registers: unsafe extern "C" fn(*mut Block, u32, bool),
    cluster_barrier: unsafe extern "C" fn(*mut Block),
    mbarrier_arrive_at: unsafe extern "C" fn(*mut Block, u64, u32),
}

#[repr(C)]
struct HostField {
    name: *const c_char,
    offset: u64,
    size: u64,
}

#[repr(C)]
struct HostLayout {
    name: *const c_char,
    fields: *const HostField,
    count: u64,
    size: u64,
}

/// A kernel compiled for the host.
#[repr(C)]
pub(crate) struct HostKernel {
    pub(super) run: unsafe extern "C" fn(*const c_void),
    layout: unsafe extern "C" fn() -> HostLayout,
    pub(super) max_threads: u32,
    pub(super) cluster: u32,
}

/// A field of a parameter struct as C++ sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CppField {
    pub(super) name: &'static str,
    pub(super) offset: usize,
    pub(super) size: usize,
}

/// A parameter struct as C++ sees it.
#[derive(Debug, Clone)]
pub(super) struct CppLayout {
    pub(super) name: &'static str,
    pub(super) fields: Vec<CppField>,
    pub(super) size: usize,
}

impl HostKernel {
    /// The parameter struct that the kernel was compiled with.
    pub(super) fn layout(&self) -> CppLayout {
        // SAFETY: the functions and tables are constants made by KERNEL and build/params.rs; names are C string
        // literals.
        unsafe {
            let layout = (self.layout)();
            let fields = std::slice::from_raw_parts(layout.fields, layout.count as usize);
            let fields = fields.iter().map(|f| CppField {
                name: text(f.name),
                offset: f.offset as usize,
                size: f.size as usize,
            });
            CppLayout { name: text(layout.name), fields: fields.collect(), size: layout.size as usize }
        }
    }
}

/// # Safety
/// `pointer` is a C string literal.
pub(super) unsafe fn text(pointer: *const c_char) -> &'static str {
    unsafe { CStr::from_ptr(pointer) }.to_str().unwrap_or("?")
}

unsafe extern "C" {
    safe fn veridical_host_context() -> *mut Context;
    safe fn veridical_host_start(runtime: &'static Runtime);
}

/// This OS thread's context, which the kernels read.
pub(super) fn context() -> *mut Context {
    veridical_host_context()
}

/// Tells the kernels where the functions they call are.
pub(super) fn start() {
    static RUNTIME: Runtime = Runtime {
        locate,
        bad_access,
        static_shared,
        barrier,
        collective,
        async_copy,
        async_commit,
        async_wait,
        shared_access,
        mbarrier_init,
        mbarrier_init_fence,
        mbarrier_arrive,
        mbarrier_wait,
        proxy_fence,
        tensor_load,
        shared_window,
        wgmma_fence,
        wgmma,
        wgmma_commit,
        wgmma_wait,
        set_registers,
        cluster_barrier,
        mbarrier_arrive_at,
    };
    static STARTED: Once = Once::new();
    STARTED.call_once(|| veridical_host_start(&RUNTIME));
}

// SAFETY, for all of the following: a kernel calls them with its context's `state`, which the scheduler set to the
// block that is running, from a coroutine of this block. They may suspend and never come back, so they hold nothing
// that needs a drop.

unsafe extern "C" fn locate(block: *mut Block, address: u64, element: u32) -> Range {
    unsafe { Block::locate(block, address, element) }
}

unsafe extern "C" fn bad_access(block: *mut Block, access: *const Access) {
    unsafe { Block::bad_access(block, *access) }
}

unsafe extern "C" fn static_shared(block: *mut Block, site: *const c_void, name: *const c_char, bytes: u64) -> *mut u8 {
    unsafe { Block::static_shared(block, site as usize, name, bytes as usize) }
}

unsafe extern "C" fn barrier(block: *mut Block, id: u32, threads: u32, wait: bool) {
    unsafe { Block::barrier(block, id, threads, wait) }
}

unsafe extern "C" fn collective(
    block: *mut Block,
    what: *const c_char,
    mask: u32,
    operand: *mut c_void,
    compute: Compute,
) {
    unsafe { Block::collective(block, what, mask, operand, compute) }
}

unsafe extern "C" fn async_copy(block: *mut Block, to: *mut u8, from: *const u8, bytes: u32) {
    unsafe { Block::async_copy(block, to, from, bytes) }
}

unsafe extern "C" fn async_commit(block: *mut Block) {
    unsafe { Block::async_commit(block) }
}

unsafe extern "C" fn async_wait(block: *mut Block, pending: u32) {
    unsafe { Block::async_wait(block, pending) }
}

unsafe extern "C" fn shared_access(block: *mut Block, address: u64, bytes: u32, write: bool) {
    unsafe { Block::shared_access(block, address as usize, bytes as usize, if write { Use::Write } else { Use::Read }) }
}

unsafe extern "C" fn mbarrier_init(block: *mut Block, address: u64, count: u32) {
    unsafe { Block::mbarrier_init(block, address, count) }
}

unsafe extern "C" fn mbarrier_init_fence(block: *mut Block) {
    unsafe { Block::mbarrier_init_fence(block) }
}

unsafe extern "C" fn mbarrier_arrive(block: *mut Block, address: u64, bytes: u32) {
    unsafe { Block::mbarrier_arrive(block, address, bytes) }
}

unsafe extern "C" fn cluster_barrier(block: *mut Block) {
    unsafe { Block::cluster_barrier(block) }
}

unsafe extern "C" fn mbarrier_arrive_at(block: *mut Block, address: u64, rank: u32) {
    unsafe { Block::mbarrier_arrive_at(block, address, rank) }
}

unsafe extern "C" fn mbarrier_wait(block: *mut Block, address: u64, parity: u32) {
    unsafe { Block::mbarrier_wait(block, address, parity) }
}

unsafe extern "C" fn proxy_fence(block: *mut Block) {
    unsafe { Block::proxy_fence(block) }
}

unsafe extern "C" fn tensor_load(block: *mut Block, load: *const BoxLoad) {
    unsafe { Block::tensor_load(block, *load) }
}

unsafe extern "C" fn shared_window(block: *mut Block, address: u64) -> u32 {
    unsafe { Block::shared_window(block, address as usize) }
}

unsafe extern "C" fn wgmma_fence(block: *mut Block, sums: *mut f32, count: u32) {
    unsafe { Block::wgmma_fence(block, sums, count) }
}

unsafe extern "C" fn wgmma(block: *mut Block, multiply: *const Multiply) {
    unsafe { Block::wgmma(block, multiply) }
}

unsafe extern "C" fn wgmma_commit(block: *mut Block) {
    unsafe { Block::wgmma_commit(block) }
}

unsafe extern "C" fn wgmma_wait(block: *mut Block, pending: u32) {
    unsafe { Block::wgmma_wait(block, pending) }
}

unsafe extern "C" fn set_registers(block: *mut Block, count: u32, more: bool) {
    unsafe { Block::set_registers(block, count, more) }
}
