//! Intel's matrix extensions (AMX): eight tile registers of 16 rows of 64 bytes, and an instruction that multiplies
//! tiles of bf16.
//!
//! All instructions of it that the crate has are the `asm!` of this file, for Rust's intrinsics are not stable.
//! Between [`configure`] and [`release`] a thread's tiles have one shape, 16 rows of 64 bytes each, and hold nothing
//! from one call to the next: no other function of the crate names a tile, the compiler never does of its own accord,
//! and the system saves them where it takes the processor away or delivers a signal.
//!
//! Where the CPU lacks them, tests do without it: [`model`] performs the instructions in software.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use std::sync::OnceLock;

#[cfg(all(test, target_os = "linux"))]
pub(in crate::backend::cpu) mod model;

/// Rows of a tile.
pub(super) const ROWS: usize = 16;
/// Numbers of four bytes, f32 or pairs of bf16, of a row.
pub(super) const LANES: usize = 16;
/// Bytes of a row.
const ROW: usize = 4 * LANES;
/// Bytes of two tiles: what a step of a block takes of either factor.
pub(super) const BYTES: usize = 2 * ROWS * ROW;
/// Products that the instruction for bf16 adds up in one go, tile by tile: two for each pair.
const PRODUCTS: usize = ROWS * LANES * 2 * LANES;

/// Why the instructions cannot be used, if they cannot: the CPU may lack them, and the system has to be asked, which is
/// done once for the process. Threads that start later are allowed them too.
pub(super) fn lack() -> Option<&'static str> {
    static LACK: OnceLock<Option<&'static str>> = OnceLock::new();
    *LACK.get_or_init(|| {
        if !cpu_has_tiles() {
            Some("this CPU has no amx")
        } else if !system_saves_tiles() {
            Some("the system does not save the registers of amx")
        } else if !request() {
            Some(
                "the system does not grant amx: Linux does from 5.16 on, unless a container forbids it, or a thread's \
                 stack for signals has no room for 8 KB more",
            )
        } else if !multiplies_by_the_book() {
            Some("the tiles of this CPU give other sums than the manual says")
        } else {
            None
        }
    })
}

/// Leaf 7 of CPUID: tiles, and products of bf16.
#[allow(unused_unsafe)] // `__cpuid` was unsafe in the oldest compiler that the crate is for
fn cpu_has_tiles() -> bool {
    const BF16: u32 = 1 << 22;
    const TILE: u32 = 1 << 24;
    // SAFETY: every x86-64 CPU has the instruction, and leaf 0 says which others there are.
    let edx = unsafe { if __cpuid(0).eax < 7 { 0 } else { __cpuid_count(7, 0).edx } };
    edx & (BF16 | TILE) == BF16 | TILE
}

/// The bits of XCR0 for the tiles' shapes and for what they hold.
#[allow(unused_unsafe)] // as above
fn system_saves_tiles() -> bool {
    const OSXSAVE: u32 = 1 << 27;
    const TILES: u64 = 0b11 << 17;
    // SAFETY: as above; `xgetbv` is there where the bit of leaf 1 is set.
    unsafe { __cpuid(1).ecx & OSXSAVE != 0 && xcr0() & TILES == TILES }
}

/// # Safety
/// The system must have turned `xgetbv` on.
#[target_feature(enable = "xsave")]
unsafe fn xcr0() -> u64 {
    // SAFETY: the caller's.
    unsafe { _xgetbv(0) }
}

/// Asks for the tiles' 8 KB of every thread's state. Linux refuses them without, and refuses the request where a thread
/// has set up a stack for signals that would not hold them.
#[cfg(target_os = "linux")]
fn request() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_ulong = 18;
    // SAFETY: takes two numbers, and touches no memory of the program.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

/// Nobody has tried it on another system.
#[cfg(not(target_os = "linux"))]
fn request() -> bool {
    false
}

/// Whether a product of whole numbers, no two rows or columns of which are alike, is what it should be: of the CPUs
/// with tiles the crate's authors have had one kind.
fn multiplies_by_the_book() -> bool {
    let number = |i: usize, from: usize| ((i * 7 + i / from) % 13) as f32 - 6.0;
    let (left, right) = (|r: usize, k: usize| number(r * 32 + k, 32), |k: usize, c: usize| number(k * 32 + c, 29));
    let pair = |low: f32, high: f32| f32::from_bits(low.to_bits() >> 16 | high.to_bits() & 0xffff_0000);
    let mut left_pairs = [0f32; 2 * ROWS * LANES];
    let mut right_pairs = [0f32; 2 * LANES * ROWS];
    for (i, (left_pair, right_pair)) in left_pairs.iter_mut().zip(&mut right_pairs).enumerate() {
        let (row, k) = (i / LANES, 2 * (i % LANES));
        *left_pair = pair(left(row, k), left(row, k + 1));
        let (k, column) = (2 * (i / (2 * LANES)), i % (2 * LANES));
        *right_pair = pair(right(k, column), right(k + 1, column));
    }
    let mut sums = [f32::NAN; 4 * ROWS * LANES];
    let block = Block {
        left: left_pairs.as_ptr(),
        right: right_pairs.as_ptr(),
        steps: &[Step { left: 0, right: 0 }],
        to: sums.as_mut_ptr(),
        to_stride: 2 * ROW,
    };
    // SAFETY: the CPU has the instructions, and the system has granted them; 32 rows of a tile's length, 16 steps of 32
    // columns and 32 rows of as many sums are there.
    unsafe {
        configure();
        two_by_two(&block);
        release();
    }
    let expected = |r: usize, c: usize| (0..32).map(|k| left(r, k) * right(k, c)).sum::<f32>();
    sums.iter().enumerate().all(|(i, &sum)| sum == expected(i / 32, i % 32))
}

/// What `ldtilecfg` reads.
#[repr(C, align(64))]
struct Shapes([u8; 64]);

/// Palette 1, all eight tiles of 16 rows of 64 bytes.
static SHAPES: Shapes = {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    let mut tile = 0;
    while tile < 8 {
        bytes[16 + 2 * tile] = ROW as u8;
        bytes[48 + tile] = ROWS as u8;
        tile += 1;
    }
    Shapes(bytes)
};

/// Gives this thread's tiles their shape, and zeros them.
///
/// # Safety
/// [`lack`] has found nothing.
pub(super) unsafe fn configure() {
    // SAFETY: the CPU has the instruction, as the caller says, and the shapes are 64 bytes.
    unsafe {
        asm!(
            "ldtilecfg [{shapes}]",
            shapes = in(reg) &raw const SHAPES,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack, preserves_flags, readonly),
        );
    }
}

/// Empties this thread's tiles, so that nobody has 8 KB to save for it until they are [configured](configure) again.
///
/// # Safety
/// As for [`configure`].
pub(super) unsafe fn release() {
    // SAFETY: the CPU has the instruction, as the caller says.
    unsafe {
        asm!(
            "tilerelease",
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack, preserves_flags, nomem),
        );
    }
}

/// A product of packed factors: 16 or 32 rows by 16 or 32 columns, which is one tile or two each way.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    /// What the steps' places are counted from.
    pub left: *const f32,
    pub right: *const f32,
    /// The depth, 16 pairs at a time.
    pub steps: &'a [Step],
    /// The sums: rows of f32, `to_stride` bytes apart.
    pub to: *mut f32,
    pub to_stride: usize,
}

/// Where the tiles of 16 pairs of the depth are, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Step {
    /// 32 rows of 16 pairs of bf16, with nothing between them.
    pub left: usize,
    /// 16 times 32 pairs of bf16, one for each column, with nothing between them.
    pub right: usize,
}

/// Functions that compute a [`Block`]. Sums are tiles 0 to 3, the left factor is 4 and 5, the right one 6 and 7: with
/// all of them, a step loads four tiles for four products.
macro_rules! blocks {
    ($(#[$text:meta] $name:ident:
        $($zero:literal)*, $($step:literal)*, $($first_rows:literal)*, $($last_rows:literal)*;)*) => {$(
        #[$text]
        ///
        /// # Safety
        /// [`lack`] has found nothing and this thread's tiles are [configured](configure); the pointers of `b` point
        /// to as many rows, columns and steps as it says and the function takes, which nobody else writes to.
        pub(super) unsafe fn $name(b: &Block) {
            // SAFETY: the CPU has the instructions and the memory is there, as the caller says. No tile is named
            // outside of this block before it is configured again, zeroed or loaded.
            unsafe {
                asm!(
                    $($zero,)*
                    "test {steps}, {steps}",
                    "jz 3f",
                    "2:",
                    "mov {left_at}, [{step}]",
                    "mov {right_at}, [{step} + 8]",
                    "add {left_at}, {left}",
                    "add {right_at}, {right}",
                    $($step,)*
                    "add {step}, 16",
                    "dec {steps}",
                    "jnz 2b",
                    "3:",
                    $($first_rows,)*
                    "mov {left}, {to_stride}",
                    "shl {left}, 4",
                    "add {to}, {left}",
                    $($last_rows,)*
                    left = inout(reg) b.left => _,
                    left_at = out(reg) _,
                    left_stride = in(reg) ROW,
                    right = in(reg) b.right,
                    right_at = out(reg) _,
                    right_stride = in(reg) 2 * ROW,
                    step = inout(reg) b.steps.as_ptr() => _,
                    steps = inout(reg) b.steps.len() => _,
                    to = inout(reg) b.to => _,
                    to_stride = in(reg) b.to_stride,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    )*};
}

blocks! {
    /// A block of 32 rows and 32 columns.
    two_by_two:
        "tilezero tmm0" "tilezero tmm1" "tilezero tmm2" "tilezero tmm3",
        "tileloadd tmm4, [{left_at} + {left_stride}*1]"
        "tileloadd tmm6, [{right_at} + {right_stride}*1]"
        "tdpbf16ps tmm0, tmm4, tmm6"
        "tileloadd tmm7, [{right_at} + {right_stride}*1 + 64]"
        "tdpbf16ps tmm1, tmm4, tmm7"
        "tileloadd tmm5, [{left_at} + {left_stride}*1 + 1024]"
        "tdpbf16ps tmm2, tmm5, tmm6"
        "tdpbf16ps tmm3, tmm5, tmm7",
        "tilestored [{to} + {to_stride}*1], tmm0" "tilestored [{to} + {to_stride}*1 + 64], tmm1",
        "tilestored [{to} + {to_stride}*1], tmm2" "tilestored [{to} + {to_stride}*1 + 64], tmm3";
    /// A block of 16 rows and 32 columns.
    one_by_two:
        "tilezero tmm0" "tilezero tmm1",
        "tileloadd tmm4, [{left_at} + {left_stride}*1]"
        "tileloadd tmm6, [{right_at} + {right_stride}*1]"
        "tdpbf16ps tmm0, tmm4, tmm6"
        "tileloadd tmm7, [{right_at} + {right_stride}*1 + 64]"
        "tdpbf16ps tmm1, tmm4, tmm7",
        "tilestored [{to} + {to_stride}*1], tmm0" "tilestored [{to} + {to_stride}*1 + 64], tmm1",;
    /// A block of 32 rows and 16 columns.
    two_by_one:
        "tilezero tmm0" "tilezero tmm2",
        "tileloadd tmm4, [{left_at} + {left_stride}*1]"
        "tileloadd tmm6, [{right_at} + {right_stride}*1]"
        "tdpbf16ps tmm0, tmm4, tmm6"
        "tileloadd tmm5, [{left_at} + {left_stride}*1 + 1024]"
        "tdpbf16ps tmm2, tmm5, tmm6",
        "tilestored [{to} + {to_stride}*1], tmm0",
        "tilestored [{to} + {to_stride}*1], tmm2";
    /// A block of 16 rows and 16 columns.
    one_by_one:
        "tilezero tmm0",
        "tileloadd tmm4, [{left_at} + {left_stride}*1]"
        "tileloadd tmm6, [{right_at} + {right_stride}*1]"
        "tdpbf16ps tmm0, tmm4, tmm6",
        "tilestored [{to} + {to_stride}*1], tmm0",;
}

/// Products between tiles that touch no memory, `4 * steps` of them; returns the multiply-adds of one step, and the sum
/// of what came out: 32 for each number of a tile and each product.
///
/// # Safety
/// [`lack`] has found nothing.
pub(super) unsafe fn multiply_tiles(steps: usize) -> (usize, f32) {
    let ones = [0x3f80u16; 2 * LANES];
    let mut sums = [[0f32; ROWS * LANES]; 4];
    // SAFETY: the CPU has the instructions, as the caller says. Rows that are no bytes apart are the 64 of `ones` each
    // time; each tile that is stored has 1024 bytes.
    unsafe {
        configure();
        asm!(
            "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
            "tileloadd tmm4, [{ones} + {apart}*1]", "tileloadd tmm5, [{ones} + {apart}*1]",
            "tileloadd tmm6, [{ones} + {apart}*1]", "tileloadd tmm7, [{ones} + {apart}*1]",
            "test {steps}, {steps}",
            "jz 3f",
            "2:",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "dec {steps}",
            "jnz 2b",
            "3:",
            "mov {apart:e}, 64",
            "tilestored [{sums} + {apart}*1], tmm0", "tilestored [{sums} + {apart}*1 + 1024], tmm1",
            "tilestored [{sums} + {apart}*1 + 2048], tmm2", "tilestored [{sums} + {apart}*1 + 3072], tmm3",
            ones = in(reg) ones.as_ptr(),
            sums = in(reg) sums.as_mut_ptr(),
            apart = inout(reg) 0usize => _,
            steps = inout(reg) steps => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
        release();
    }
    (4 * PRODUCTS, sums.iter().flatten().sum())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// By the CPU's tiles, or by the model's where it has none.
    #[test]
    fn a_product_of_whole_numbers_is_by_the_book() {
        if lack().is_none() || model::stands_in() {
            assert!(multiplies_by_the_book());
        }
    }
}
