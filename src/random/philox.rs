//! Philox4x32-10: a keyed bijection on 128-bit counters whose outputs pass every known statistical test.
//!
//! Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".

/// The multipliers of a round, for counter words 0 and 2.
pub const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
/// What is added to the key between rounds: the golden ratio and sqrt(3) - 1, as 32-bit fractions.
pub const KEY_STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
/// Rounds of the cipher.
pub const ROUNDS: usize = 10;

/// The four output words of a counter under a key.
#[inline(always)]
pub fn philox4x32_10(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter.map(u64::from);
    let [mut k0, mut k1] = key;
    // The words live in the low halves of 64-bit lanes, the high halves hold rubbish: that is the form in which vector
    // units multiply 32 by 32 bits, and the loops in `fill` that inline this then need no shuffles between rounds.
    for _ in 0..ROUNDS {
        let p0 = (c0 & 0xffff_ffff) * u64::from(MULTIPLIERS[0]);
        let p1 = (c2 & 0xffff_ffff) * u64::from(MULTIPLIERS[1]);
        (c0, c1, c2, c3) = ((p1 >> 32) ^ c1 ^ u64::from(k0), p1, (p0 >> 32) ^ c3 ^ u64::from(k1), p0);
        k0 = k0.wrapping_add(KEY_STEPS[0]);
        k1 = k1.wrapping_add(KEY_STEPS[1]);
    }
    [c0 as u32, c1 as u32, c2 as u32, c3 as u32]
}

#[cfg(test)]
mod tests {
    use super::philox4x32_10;

    /// Random123 1.14, tests/kat_vectors.
    #[test]
    fn known_answers() {
        let pi = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344];
        for (counter, key, words) in [
            ([0; 4], [0; 2], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]),
            (pi, [0xa4093822, 0x299f31d0], [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]),
        ] {
            assert_eq!(philox4x32_10(counter, key), words, "counter {counter:08x?}");
        }
    }
}
