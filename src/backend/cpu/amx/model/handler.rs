//! What stands in for the instructions: the handler of the signal for those that the CPU does not have.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::sync::OnceLock;

use libc::{c_int, c_void, siginfo_t, ucontext_t};

use super::decode::{Address, Instruction, decode};
use super::tiles::Tiles;

thread_local! {
    // Made without running anything and never dropped: the handler may be the first to use them.
    static TILES: RefCell<Tiles> = const { RefCell::new(Tiles::new()) };
    static PRODUCTS: Cell<usize> = const { Cell::new(0) };
}

/// Products of tiles that the model has done on the calling thread.
pub(in crate::backend::cpu) fn products_on_this_thread() -> usize {
    PRODUCTS.get()
}

/// Whether the calling thread's tiles have shapes.
pub(in crate::backend::cpu) fn tiles_are_configured_on_this_thread() -> bool {
    TILES.with_borrow(Tiles::are_configured)
}

/// What was done with the signal before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// Lets the model stand in for the CPU, if that has no tiles that can be used; says whether it does.
pub(in crate::backend::cpu) fn stands_in() -> bool {
    static DONE: OnceLock<bool> = OnceLock::new();
    *DONE.get_or_init(|| {
        // Where there are tiles that are not granted, some instructions would be the CPU's and some the model's.
        if super::super::lack().is_none() || super::super::cpu_has_tiles() && super::super::system_saves_tiles() {
            return false;
        }
        let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = handle;
        // SAFETY: zeros are an action; the calls are given two that live, and the handler is one for `SA_SIGINFO`.
        let installed = unsafe {
            let mut before: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(libc::SIGILL, std::ptr::null(), &mut before) != 0 {
                return false;
            }
            BEFORE.get_or_init(|| before);
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(libc::SIGILL, &action, std::ptr::null_mut())
        };
        installed == 0
    })
}

/// Performs the instruction at which the thread was stopped, and lets it go on behind that. Ends the process where the
/// CPU would refuse it.
///
/// The signal comes from the instruction itself, so what it interrupts is one of the crate's own `asm!` and no
/// function of the system: printing and the thread's own variables are as safe as they are there.
extern "C" fn handle(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the third argument of such a handler is the state of the stopped thread, which the handler may change.
    let registers = unsafe { &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs };
    let at = registers[libc::REG_RIP as usize] as usize as *const [u8; 10];
    // SAFETY: the thread was about to run what stands there, and every function with a tile instruction goes on for
    // more than five bytes behind it.
    let code = unsafe { at.read() };
    // SAFETY: as the CPU does, this trusts the program with its addresses.
    match decode(&code).and_then(|found| found.map(|it| unsafe { perform(it, registers) }).transpose()) {
        Ok(Some(length)) => registers[libc::REG_RIP as usize] += length as i64,
        Ok(None) => {
            // Not an instruction on tiles: it is tried again as if there were no model.
            if let Some(before) = BEFORE.get() {
                // SAFETY: an action that the system gave.
                unsafe { libc::sigaction(libc::SIGILL, before, std::ptr::null_mut()) };
            }
        }
        Err(why) => {
            // Past the test harness, which keeps what a test prints until it has ended.
            let _ = writeln!(std::io::stderr(), "the CPU would refuse the instruction {code:02x?}: {why}");
            std::process::abort();
        }
    }
}

/// Performs an instruction; returns its length.
///
/// # Safety
/// The memory that it names is there, and the thread's to use.
unsafe fn perform((instruction, length): (Instruction, usize), registers: &[i64; 23]) -> Result<usize, &'static str> {
    TILES.with_borrow_mut(|tiles| {
        match instruction {
            Instruction::Configure(address) => {
                let (start, apart) = place(address, registers);
                let memory = (start as *const u8).wrapping_offset(apart).cast::<[u8; 64]>();
                // SAFETY: the caller's.
                tiles.configure(&unsafe { memory.read_unaligned() })
            }
            Instruction::Release => {
                tiles.release();
                Ok(())
            }
            Instruction::Zero(tile) => tiles.zero(tile),
            Instruction::Load(tile, address) => {
                let (start, stride) = place(address, registers);
                // SAFETY: the caller's.
                unsafe { tiles.load(tile, start as *const u8, stride) }
            }
            Instruction::Store(address, tile) => {
                let (start, stride) = place(address, registers);
                // SAFETY: the caller's.
                unsafe { tiles.store(tile, start as *mut u8, stride) }
            }
            Instruction::MultiplyBf16 { sums, left, right } => {
                PRODUCTS.set(PRODUCTS.get() + 1);
                tiles.multiply_bf16(sums, left, right)
            }
        }
    })?;
    Ok(length)
}

/// Where base and displacement point to, and the scaled index.
fn place(address: Address, registers: &[i64; 23]) -> (usize, isize) {
    /// General registers in the order of their encodings.
    const ORDER: [c_int; 16] = [
        libc::REG_RAX,
        libc::REG_RCX,
        libc::REG_RDX,
        libc::REG_RBX,
        libc::REG_RSP,
        libc::REG_RBP,
        libc::REG_RSI,
        libc::REG_RDI,
        libc::REG_R8,
        libc::REG_R9,
        libc::REG_R10,
        libc::REG_R11,
        libc::REG_R12,
        libc::REG_R13,
        libc::REG_R14,
        libc::REG_R15,
    ];
    let value = |register: usize| registers[ORDER[register] as usize];
    let start = address.base.map_or(0, value).wrapping_add(address.displacement.into());
    (start as usize, address.index.map_or(0, |(register, scale)| value(register) << scale) as isize)
}
