//! The order in which a program's instructions stand: what lanes that part do on their way comes before what they do
//! together again.
//!
//! Of the lanes of a warp those run that are furthest behind ([`warp`](super::warp)), which brings them together where
//! each place stands behind all that lead to it, but for the way back to the beginning of a loop, and a whole loop
//! before what follows it. That is how nvcc writes, other compilers move blocks away. So blocks are put into a weak
//! topological order here: the components in which each block can be reached from each other one are loops, they stand
//! in topological order, and within each of them, behind its first block, so do those of the rest (Bourdoncle,
//! "Efficient chaotic iteration strategies with widenings", FMPA 1993, section 4). Where that leaves a choice, the
//! text's order stays.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::program::{Instruction, Op};

/// A run of instructions of which each leads to the next.
struct Block {
    begin: usize,
    end: usize,
    /// The blocks that may follow, the one that stands behind it first.
    next: Vec<usize>,
    /// Whether it goes on to the block that stands behind it.
    falls: bool,
}

/// The same program in order, without what cannot be reached.
pub(super) fn laid_out(code: Vec<Instruction>) -> Vec<Instruction> {
    let blocks = blocks(&code);
    if blocks.is_empty() {
        return code;
    }
    let mut order = Vec::new();
    let all: Vec<bool> = vec![true; blocks.len()];
    put_in_order(&blocks, &[0], all, &mut order);

    let mut laid: Vec<Instruction> = Vec::with_capacity(code.len());
    let mut begins = vec![usize::MAX; blocks.len()];
    let block_at = |at: usize| blocks.partition_point(|block| block.begin < at);
    for (i, &number) in order.iter().enumerate() {
        let block = &blocks[number];
        begins[number] = laid.len();
        laid.extend_from_slice(&code[block.begin..block.end]);
        if block.falls && order.get(i + 1) != Some(&(number + 1)) {
            let statement = code[block.end - 1].statement;
            laid.push(Instruction { guard: None, op: Op::Branch(block.end), statement });
        }
    }
    for instruction in &mut laid {
        match &mut instruction.op {
            Op::Branch(target) => *target = begins[block_at(*target)],
            Op::BranchTable { targets, .. } => {
                targets.iter_mut().for_each(|target| *target = begins[block_at(*target)])
            }
            _ => {}
        }
    }
    laid
}

/// Whether nothing that stands behind the instruction follows it.
fn ends(instruction: &Instruction) -> bool {
    instruction.guard.is_none()
        && matches!(instruction.op, Op::Branch(_) | Op::BranchTable { .. } | Op::Exit | Op::Trap)
}

fn blocks(code: &[Instruction]) -> Vec<Block> {
    let targets = |instruction: &Instruction| match &instruction.op {
        Op::Branch(target) => vec![*target],
        Op::BranchTable { targets, .. } => targets.clone(),
        _ => Vec::new(),
    };
    let mut begins: Vec<usize> = code.iter().flat_map(targets).collect();
    let parts = |instruction: &Instruction| ends(instruction) || !targets(instruction).is_empty();
    begins.extend((1..code.len()).filter(|&at| parts(&code[at - 1])));
    begins.push(0);
    begins.sort_unstable();
    begins.dedup();
    begins.retain(|&at| at < code.len());
    let number = |at: usize| begins.partition_point(|&begin| begin < at);
    let block = |(i, &begin): (usize, &usize)| {
        let end = begins.get(i + 1).copied().unwrap_or(code.len());
        let last = &code[end - 1];
        let falls = !ends(last) && end < code.len();
        let mut next: Vec<usize> = if falls { vec![i + 1] } else { Vec::new() };
        next.extend(targets(last).into_iter().map(number));
        Block { begin, end, next, falls }
    };
    begins.iter().enumerate().map(block).collect()
}

/// Adds to `order` what can be reached from `entries` among the blocks that are `within`.
fn put_in_order(blocks: &[Block], entries: &[usize], within: Vec<bool>, order: &mut Vec<usize>) {
    let components = components(blocks, entries, &within);
    let mut of = vec![usize::MAX; blocks.len()];
    for (number, component) in components.iter().enumerate() {
        component.iter().for_each(|&block| of[block] = number);
    }
    // From a component to another, as often as blocks lead there.
    let leads = |number: usize| {
        let next = components[number].iter().flat_map(|&block| &blocks[block].next);
        next.map(|&block| of[block]).filter(|&to| to != usize::MAX && to != number).collect::<Vec<_>>()
    };
    let mut before = vec![0; components.len()];
    (0..components.len()).flat_map(leads).for_each(|to| before[to] += 1);
    // Those of which all that lead there are placed; the next one is what stands first in the text.
    let place = |number: usize| Reverse((components[number].iter().min().copied(), number));
    let mut ready: BinaryHeap<_> = (0..components.len()).filter(|&number| before[number] == 0).map(place).collect();
    while let Some(Reverse((_, number))) = ready.pop() {
        for to in leads(number) {
            before[to] -= 1;
            ready.extend((before[to] == 0).then(|| place(to)));
        }
        // The one that was come to first.
        let component = &components[number];
        let first = component[0];
        order.push(first);
        if component.len() > 1 {
            let mut rest = vec![false; blocks.len()];
            component[1..].iter().for_each(|&block| rest[block] = true);
            put_in_order(blocks, &blocks[first].next, rest, order);
        }
    }
}

/// The strongly connected components (Tarjan 1972). Walks without recursion, for kernels have thousands of blocks.
fn components(blocks: &[Block], entries: &[usize], within: &[bool]) -> Vec<Vec<usize>> {
    const NEW: usize = usize::MAX;
    let (mut met, mut low) = (vec![NEW; blocks.len()], vec![NEW; blocks.len()]);
    let mut open = vec![false; blocks.len()];
    let (mut count, mut stack, mut found) = (0, Vec::new(), Vec::new());
    for &entry in entries.iter().filter(|&&entry| within[entry]) {
        if met[entry] != NEW {
            continue;
        }
        // Blocks on the way here, and how many of those that follow each have been looked at.
        let mut way = vec![(entry, 0)];
        while let Some((block, looked)) = way.last_mut() {
            let block = *block;
            if *looked == 0 {
                (met[block], low[block], open[block]) = (count, count, true);
                count += 1;
                stack.push(block);
            }
            if let Some(&next) = blocks[block].next.get(*looked) {
                *looked += 1;
                if within[next] && met[next] == NEW {
                    way.push((next, 0));
                } else if within[next] && open[next] {
                    low[block] = low[block].min(met[next]);
                }
                continue;
            }
            way.pop();
            if let Some(&(before, _)) = way.last() {
                low[before] = low[before].min(low[block]);
            }
            if low[block] == met[block] {
                let from = stack.iter().rposition(|&other| other == block).unwrap_or(0);
                let component = stack.split_off(from);
                component.iter().for_each(|&block| open[block] = false);
                found.push(component);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program of one letter for each instruction, which is its statement, and where it may branch to.
    fn program(text: &[(char, Option<usize>, bool)]) -> Vec<Instruction> {
        let instruction = |&(letter, target, always): &(char, Option<usize>, bool)| Instruction {
            guard: (!always).then_some((0, false)),
            op: target.map_or(if letter == '.' { Op::Exit } else { Op::Commit }, Op::Branch),
            statement: letter as u32,
        };
        text.iter().map(instruction).collect()
    }

    fn letters(code: &[Instruction]) -> String {
        code.iter().filter_map(|instruction| char::from_u32(instruction.statement)).collect()
    }

    #[test]
    fn what_stands_apart_comes_before_where_lanes_meet() {
        // a branches to far (d), which goes back to b.
        let code = program(&[
            ('a', Some(3), false),
            ('b', None, true),
            ('.', None, true),
            ('d', None, true),
            ('D', Some(1), true),
        ]);
        let laid = laid_out(code);
        // a goes on to b by a branch of its own.
        assert_eq!(letters(&laid), "aadDb.");
        assert!(matches!((&laid[0].op, &laid[1].op, &laid[3].op), (Op::Branch(2), Op::Branch(4), Op::Branch(4))));
        assert!(laid[0].guard.is_some() && laid[1].guard.is_none());
    }

    #[test]
    fn a_loop_stands_whole_before_what_follows_it() {
        // The header a leaves to b, which stands before the body c with an inner loop on itself.
        let code = program(&[
            ('a', Some(3), false),
            ('b', None, true),
            ('.', None, true),
            ('c', Some(3), false),
            ('C', Some(0), true),
        ]);
        assert_eq!(letters(&laid_out(code)), "aacCb.");
        // An inner loop back to the same header: what follows it waits for it, as in the text.
        let text = [('h', Some(2), false), ('a', Some(0), true), ('S', Some(0), false), ('.', None, true)];
        assert_eq!(letters(&laid_out(program(&text))), "haS.");
        // Two ways that meet again stay as they stand.
        let text =
            [('a', Some(3), false), ('b', None, true), ('B', Some(4), true), ('c', None, true), ('.', None, true)];
        assert_eq!(letters(&laid_out(program(&text))), "abBc.");
        // In order already: nothing changes, and what cannot be reached is left out.
        let code = program(&[
            ('a', Some(3), false),
            ('b', Some(0), true),
            ('x', None, true),
            ('c', None, true),
            ('.', None, true),
        ]);
        let laid = laid_out(code);
        assert_eq!(letters(&laid), "abc.");
        assert!(matches!((&laid[0].op, &laid[1].op), (Op::Branch(2), Op::Branch(0))));
    }
}
