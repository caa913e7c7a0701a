//! The order in which the gradients of slots are added: a binary tree over them, the same on any number of ranks.

use std::ops::Range;

use crate::error::Result;

/// The slots of a rank: as many as those of any other, up to one.
pub fn share(slots: usize, rank: usize, ranks: usize) -> Range<usize> {
    slots * rank / ranks..slots * (rank + 1) / ranks
}

/// Where a node of the tree is cut in two.
fn middle(node: &Range<usize>) -> usize {
    node.start + node.len().div_ceil(2)
}

/// The nodes of the tree over `slots` that lie within `own`, each as large as can be, in order: what a rank can add by
/// itself.
pub fn nodes(slots: usize, own: &Range<usize>) -> Vec<Range<usize>> {
    fn within(node: Range<usize>, own: &Range<usize>, found: &mut Vec<Range<usize>>) {
        if node.end <= own.start || own.end <= node.start {
            return;
        }
        if own.start <= node.start && node.end <= own.end {
            found.push(node);
            return;
        }
        let middle = middle(&node);
        within(node.start..middle, own, found);
        within(middle..node.end, own, found);
    }
    let mut found = Vec::new();
    within(0..slots, own, &mut found);
    found
}

/// The sum over a node, in the tree's order. `known` gives nodes whose sums there are already, which a node of one slot
/// must be; `add` adds two sums, the first of which stands first in the order. Errors where these do.
pub fn sum<T>(
    node: Range<usize>,
    known: &mut dyn FnMut(&Range<usize>) -> Result<Option<T>>,
    add: &mut dyn FnMut(T, T) -> Result<T>,
) -> Result<T> {
    if let Some(sum) = known(&node)? {
        return Ok(sum);
    }
    if node.len() < 2 {
        return Err(crate::Error::argument("tree::sum", format!("nothing is known of the slots {node:?}")));
    }
    let middle = middle(&node);
    let first = self::sum(node.start..middle, known, add)?;
    let second = self::sum(middle..node.end, known, add)?;
    add(first, second)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum of a node as a text with brackets, from nodes of which the text is known.
    fn written(node: Range<usize>, known: &[(Range<usize>, String)]) -> String {
        sum(
            node,
            &mut |node| Ok(known.iter().find(|(other, _)| other == node).map(|(_, text)| text.clone())),
            &mut |first, second| Ok(format!("({first}+{second})")),
        )
        .unwrap()
    }

    #[test]
    fn the_order_is_that_of_one_rank_on_any_number() {
        for slots in 1..=17 {
            let leaves: Vec<_> = (0..slots).map(|slot| (slot..slot + 1, slot.to_string())).collect();
            let alone = written(0..slots, &leaves);
            for ranks in 1..=slots {
                let mut known = Vec::new();
                let mut next = 0;
                for rank in 0..ranks {
                    let own = share(slots, rank, ranks);
                    assert_eq!(own.start, next, "shares follow each other");
                    assert!(!own.is_empty());
                    next = own.end;
                    for node in nodes(slots, &own) {
                        known.push((node.clone(), written(node, &leaves)));
                    }
                }
                assert_eq!(next, slots);
                assert_eq!(written(0..slots, &known), alone, "{slots} slots on {ranks} ranks");
            }
        }
        assert_eq!(written(0..4, &(0..4).map(|i| (i..i + 1, i.to_string())).collect::<Vec<_>>()), "((0+1)+(2+3))");
    }

    #[test]
    fn a_share_that_fits_the_tree_is_one_node() {
        for (slots, own) in [(8, 4..8), (8, 2..4), (6, 0..3)] {
            let found = nodes(slots, &own);
            assert!(found.len() == 1 && found[0] == own, "{found:?}");
        }
        assert_eq!(nodes(8, &(3..6)), [3..4, 4..6]);
        assert_eq!(nodes(3, &(0..0)), []);
    }

    #[test]
    fn what_is_missing_is_an_error() {
        let error = sum(0..2, &mut |_| Ok(None::<u8>), &mut |first, _| Ok(first)).unwrap_err().to_string();
        assert!(error.contains("0..1"), "{error}");
    }
}
