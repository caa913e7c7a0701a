//! A kernel ready to run: instructions whose registers are numbers.

use super::lanes::Pure;

/// The number of a register. Numbers in the text, and special registers, have some too.
pub(super) type Slot = u32;

/// Where an address points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    Global,
    Shared,
    Local,
    Param,
    /// Any of them: [`WINDOW`] says which.
    Generic,
}

/// Generic addresses of shared, local and parameter memory begin at 1, 2 and 3 times this; those of global memory are
/// below.
pub(super) const WINDOW: u64 = 1 << 56;

impl Space {
    /// What is added to an address in this space to make it a generic one.
    pub(super) fn window(self) -> u64 {
        match self {
            Space::Global | Space::Generic => 0,
            Space::Shared => WINDOW,
            Space::Local => 2 * WINDOW,
            Space::Param => 3 * WINDOW,
        }
    }
}

/// What all blocks of a launch know of themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Special {
    Thread(usize),
    Threads(usize),
    Block(usize),
    Blocks(usize),
    Lane,
    /// The number of a block in its cluster.
    Rank,
    /// How many blocks that has.
    Ranks,
}

/// Which lane another is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shuffle {
    Index,
    Up,
    Down,
    Butterfly,
}

/// What a warp decides together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vote {
    Any,
    All,
    Ballot,
}

/// An address: a register, and bytes further on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) space: Space,
    pub(super) base: Slot,
    pub(super) offset: i64,
}

#[derive(Debug, Clone)]
pub(super) enum Op {
    Pure {
        f: Pure,
        to: Slot,
        from: [Slot; 4],
    },
    /// `to[i]` are the i-th `bits` of `from`.
    Unpack {
        to: Vec<Slot>,
        from: Slot,
        bits: u32,
    },
    Pack {
        to: Slot,
        from: Vec<Slot>,
        bits: u32,
    },
    Load {
        to: Vec<Slot>,
        place: Place,
        bytes: usize,
        signed: bool,
    },
    Store {
        from: Vec<Slot>,
        place: Place,
        bytes: usize,
    },
    /// What stands at the place goes to `to`, and what `f` makes of it and `with` stands there then.
    Atomic {
        f: Pure,
        to: Slot,
        place: Place,
        with: Slot,
        bytes: usize,
    },
    /// `bytes` bytes, of which `read` come from global memory and the others are zeros.
    Copy {
        to: Place,
        from: Place,
        bytes: usize,
        read: Option<Slot>,
    },
    Commit,
    /// Until at most so many groups are under way.
    Wait(usize),
    WaitAll,
    Branch(usize),
    BranchTable {
        which: Slot,
        targets: Vec<usize>,
    },
    /// The whole block, or so many threads of it; those who only `arrive` do not wait.
    Barrier {
        id: Slot,
        threads: Option<Slot>,
        arrive: bool,
    },
    WarpBarrier {
        mask: Slot,
    },
    Shuffle {
        how: Shuffle,
        to: Slot,
        found: Option<Slot>,
        from: Slot,
        lane: Slot,
        clamp: Slot,
        mask: Slot,
    },
    Vote {
        how: Vote,
        to: Slot,
        from: Slot,
        mask: Slot,
    },
    LoadMatrix {
        to: Vec<Slot>,
        place: Place,
        transposed: bool,
    },
    /// d = a b + c, m16n8k16 in bf16, sums in f32.
    Multiply {
        d: [Slot; 4],
        a: [Slot; 4],
        b: [Slot; 2],
        c: [Slot; 4],
    },
    /// An mbarrier for so many arrivals.
    MakeMbarrier {
        place: Place,
        count: Slot,
    },
    /// An arrival, which announces bytes first.
    ArriveMbarrier {
        place: Place,
        bytes: Option<Slot>,
    },
    /// An arrival at an mbarrier of any block of the cluster.
    ArriveRemotely {
        place: Place,
    },
    /// The barrier of the cluster: arriving there, and waiting for all others.
    ArriveAtCluster,
    WaitForCluster,
    /// Whether the phase of this parity is completed.
    TestMbarrier {
        to: Slot,
        place: Place,
        parity: Slot,
    },
    LoadBox {
        to: Place,
        map: Slot,
        at: Vec<Slot>,
        mbarrier: Place,
        /// Which blocks of the cluster it comes to, bit by bit.
        blocks: Option<Slot>,
    },
    /// Orders registers before products of a warpgroup.
    WarpgroupFence,
    /// sums = a b, or sums += a b: m64nNk16 in bf16, N twice the number of sums; each factor K-major or, transposed,
    /// M- or N-major.
    WarpgroupMultiply {
        sums: Vec<Slot>,
        a: Slot,
        b: Slot,
        add: Slot,
        transposed: [bool; 2],
    },
    WarpgroupCommit,
    WarpgroupWait(usize),
    /// How many registers the warpgroup has from here on: a matter of ptxas.
    Registers(u64),
    Exit,
    Trap,
    /// Orders memory, which here is ordered anyway.
    Fence,
}

#[derive(Debug, Clone)]
pub(super) struct Instruction {
    /// The predicate that says which lanes it is for, and whether it is negated.
    pub(super) guard: Option<(Slot, bool)>,
    pub(super) op: Op,
    /// Which statement of the text it was made of.
    pub(super) statement: u32,
}

#[derive(Debug)]
pub(super) struct Program {
    pub(super) code: Vec<Instruction>,
    /// Registers in all.
    pub(super) slots: usize,
    /// Numbers and addresses in the text.
    pub(super) constants: Vec<(Slot, u64)>,
    pub(super) specials: Vec<(Slot, Special)>,
    pub(super) param_bytes: u64,
    /// Static shared memory.
    pub(super) shared_bytes: u64,
    pub(super) local_bytes: u64,
    pub(super) max_threads: u32,
    /// Blocks that run together.
    pub(super) cluster: u32,
    /// The registers that products of warpgroups have their sums in.
    pub(super) sums: Vec<Vec<Slot>>,
    /// The statements as they stand in the text, for errors.
    pub(super) texts: Vec<String>,
}

/// Addresses of shared memory in the window of a cluster: those below are the own block's, and block r's begin at r + 1
/// times this.
pub(super) const PEER: u64 = 1 << 24;

/// The launch's own shared memory begins at a multiple of this behind the static arrays.
pub(super) const DYNAMIC_ALIGN: u64 = 1024;

impl Program {
    /// Where the launch's own shared memory begins.
    pub(super) fn dynamic_begin(&self) -> u64 {
        self.shared_bytes.next_multiple_of(DYNAMIC_ALIGN)
    }
}
