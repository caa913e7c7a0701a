//! How many instructions the kernels' inner loops have, as `scripts/kernel_budgets.txt` holds them to.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Counted from the compiled kernels, with some room for other choices of the compiler.
const BUDGETS: &str = include_str!("../../../scripts/kernel_budgets.txt");

/// By kernel: how many of the counted instruction, and how many instructions in all.
static LOOPS: LazyLock<HashMap<&'static str, (f64, f64)>> = LazyLock::new(|| {
    let read = |line: &'static str| {
        let words: Vec<&str> = line.split('#').next()?.split_whitespace().collect();
        match words[..] {
            [kernel, _, counted, all] => Some((kernel, (counted.parse().ok()?, all.parse().ok()?))),
            _ => None,
        }
    };
    // Of a kernel with two loops the first, which multiplies.
    BUDGETS.lines().rev().filter_map(read).collect()
});

/// Instructions in all for each one that multiplies, by the first of these kernels that was counted; as many where none
/// was.
pub(super) fn per_multiplication(kernels: &[String]) -> f64 {
    let found = kernels.iter().find_map(|kernel| LOOPS.get(kernel.as_str()));
    found.map_or(1.0, |(counted, all)| all / counted)
}

/// Loops of kernels that go over elements: what a launch does, the kernel that was counted, elements of its loop, and
/// how often it goes over them all.
const OVER_ELEMENTS: [(&str, &str, f64, f64); 7] = [
    ("group_norm_fwd", "group_norm_fwd_bf16", 32.0, 1.0),
    // Mean and deviation: sums, as those of columns are.
    ("group_norm_fwd", "sum_columns_fwd_bf16", 32.0, 2.0),
    ("group_norm_bwd", "group_norm_bwd_bf16", 16.0, 2.0),
    ("sum_columns_fwd", "sum_columns_fwd_bf16", 32.0, 1.0),
    ("adam_fwd", "adam_fwd_f32", 4.0, 1.0),
    ("solver_update_fwd", "solver_update_fwd_f32", 4.0, 1.0),
    ("gumbel_softmax_fwd", "gumbel_softmax_fwd_bf16", 8.0, 1.0),
];

/// Instructions of a lane for each element that a launch of this kind goes over; 0 where nobody counted.
pub(super) fn per_element(kernel: &str) -> f64 {
    let name = kernel.trim_end_matches("_f32").trim_end_matches("_bf16").trim_end_matches("_partial");
    let of = |&(_, counted, elements, passes): &(_, &str, f64, f64)| {
        LOOPS.get(counted).map_or(0.0, |(_, all)| all / elements * passes)
    };
    OVER_ELEMENTS.iter().filter(|(kind, ..)| *kind == name).map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budgets_are_read() {
        assert_eq!(LOOPS["conv2d_fwd_large_bf16"], (64.0, 240.0));
        assert_eq!(per_multiplication(&["nowhere".into(), "conv2d_fwd_small_bf16".into()]), 142.0 / 16.0);
        assert!(!LOOPS.contains_key("local"));
    }

    #[test]
    fn every_loop_over_elements_was_counted() {
        for (kind, counted, ..) in OVER_ELEMENTS {
            assert!(LOOPS.contains_key(counted), "{counted}");
            assert!(per_element(&format!("{kind}_bf16")) > 1.0, "{kind}");
        }
        assert_eq!(per_element("group_norm_bwd_f32"), 2.0 * 365.0 / 16.0);
        assert_eq!(per_element("sum_columns_fwd_partial_bf16"), 116.0 / 32.0);
        assert_eq!(per_element("concat_fwd_f32"), 0.0);
    }
}
