//! How much shared memory a block may have, and when a kernel must ask for it.

/// The most that a block can have on every GPU from sm_80 on (sm_86 and sm_89 have the least), static and dynamic
/// together.
pub(crate) const MOST: usize = 99 << 10;

/// The most that a block can have on a GPU of compute capability 9.0.
#[allow(dead_code)] // as below
pub(crate) const MOST_HOPPER: usize = 227 << 10;

/// That on a device that runs the kernels for Hopper, or does not.
#[allow(dead_code)] // as below
pub(crate) fn most(hopper: bool) -> usize {
    if hopper { MOST_HOPPER } else { MOST }
}

/// What a block has without asking, static and dynamic together.
#[allow(dead_code)] // as below
const UNASKED: u32 = 48 << 10;

/// The dynamic shared memory that launches of one function may have.
#[allow(dead_code)] // without CUDA nobody asks
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    dynamic: u32,
}

#[allow(dead_code)] // as above
impl Allowance {
    /// That of a function which has asked for nothing and declares arrays of `static_bytes`.
    pub(crate) fn unasked(static_bytes: u32) -> Self {
        Allowance { dynamic: UNASKED.saturating_sub(static_bytes) }
    }

    /// Whether a launch with `dynamic` bytes must ask first.
    pub(crate) fn must_ask(&self, dynamic: u32) -> bool {
        dynamic > self.dynamic
    }

    /// Notes that the function has asked for `dynamic` bytes.
    pub(crate) fn granted(&mut self, dynamic: u32) {
        self.dynamic = dynamic;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn static_arrays_count_against_what_needs_no_asking() {
        let mut plain = Allowance::unasked(0);
        assert!(!plain.must_ask(49_152) && plain.must_ask(49_153));
        plain.granted(60_000);
        assert!(!plain.must_ask(60_000) && plain.must_ask(60_001));
        // group_norm_fwd: 2 arrays of 1024 floats beside a tile of 32 x 32 pixels of 12 channels.
        let group_norm = Allowance::unasked(8192);
        assert!(!group_norm.must_ask(40_960) && group_norm.must_ask(40_961) && group_norm.must_ask(49_152));
        assert!(Allowance::unasked(50_000).must_ask(1));
    }
}
