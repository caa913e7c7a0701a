//! What only Hopper has, from the text to [`Op`]: mbarriers, boxes of tensors, products of warpgroups, clusters.

use super::draft::Draft;
use super::lanes::{Bits, Pure, lanes};
use super::program::{Op, PEER, Space};
use super::text::Operand;

/// Adds the instruction if it is one of these.
pub(super) fn decode(draft: &mut Draft, parts: &[&str], operands: &[Operand]) -> Result<bool, String> {
    match (parts, operands) {
        (["mbarrier", "init", "shared" | "shared::cta", "b64"], [place, count]) => {
            let (place, count) = (draft.place(Space::Shared, place)?, draft.read(count)?);
            draft.emit(Op::MakeMbarrier { place, count });
        }
        (["mbarrier", "arrive", "shared" | "shared::cta", "b64"], [Operand::Name(state), place]) if state == "_" => {
            let place = draft.place(Space::Shared, place)?;
            draft.emit(Op::ArriveMbarrier { place, bytes: None });
        }
        (
            ["mbarrier", "arrive", "expect_tx", "shared" | "shared::cta", "b64"],
            [Operand::Name(state), place, bytes],
        ) if state == "_" => {
            let (place, bytes) = (draft.place(Space::Shared, place)?, Some(draft.read(bytes)?));
            draft.emit(Op::ArriveMbarrier { place, bytes });
        }
        (["mbarrier", "arrive", "shared::cluster", "b64"], [Operand::Name(state), place]) if state == "_" => {
            let place = draft.place(Space::Shared, place)?;
            draft.emit(Op::ArriveRemotely { place });
        }
        // `mapa`: where a block of the cluster has what stands at an address here.
        (["mapa", "shared::cluster", "u32"], [to, from @ ..]) => {
            let to = draft.write(to)?;
            draft.apply(
                lanes!(|at: u32, rank: u32| (at % PEER as u32) | rank.wrapping_add(1).wrapping_mul(PEER as u32)),
                to,
                from,
            )?;
        }
        (["barrier", "cluster", "arrive", "release", "aligned"], []) => draft.emit(Op::ArriveAtCluster),
        (["barrier", "cluster", "wait", "acquire", "aligned"], []) => draft.emit(Op::WaitForCluster),
        (["mbarrier", "try_wait" | "test_wait", "parity", "shared" | "shared::cta", "b64"], [to, place, parity]) => {
            let (place, parity, to) = (draft.place(Space::Shared, place)?, draft.read(parity)?, draft.write(to)?);
            draft.emit(Op::TestMbarrier { to, place, parity });
        }
        (
            [
                "cp",
                "async",
                "bulk",
                "tensor",
                axes,
                "shared::cluster" | "shared::cta",
                "global",
                "tile",
                "mbarrier::complete_tx::bytes",
                multicast @ ..,
            ],
            [to, Operand::Box(map, at), mbarrier, mask @ ..],
        ) => {
            if axes.strip_suffix('d').and_then(|axes| axes.parse().ok()) != Some(at.len()) {
                return Err("a box with another number of coordinates than its opcode says".into());
            }
            let (to, mbarrier) = (draft.place(Space::Shared, to)?, draft.place(Space::Shared, mbarrier)?);
            let (map, at) = (draft.read(map)?, draft.read_all(at)?);
            let blocks = match (multicast, mask) {
                ([], []) => None,
                (["multicast::cluster"], [mask]) => Some(draft.read(mask)?),
                _ => return Err("a box with other operands than its opcode says".into()),
            };
            draft.emit(Op::LoadBox { to, map, at, mbarrier, blocks });
        }
        (["wgmma", "fence", "sync", "aligned"], []) => draft.emit(Op::WarpgroupFence),
        (["wgmma", "commit_group", "sync", "aligned"], []) => draft.emit(Op::WarpgroupCommit),
        (["wgmma", "wait_group", "sync", "aligned"], [Operand::Number(most)]) => {
            draft.emit(Op::WarpgroupWait(*most as usize));
        }
        (
            ["wgmma", "mma_async", "sync", "aligned", shape, "f32", "bf16", "bf16"],
            [Operand::Vector(sums), a, b, add, rest @ ..],
        ) => {
            let columns = shape.strip_prefix("m64n").and_then(|rest| rest.strip_suffix("k16")?.parse::<usize>().ok());
            let columns = columns.filter(|n| n % 8 == 0 && (8..=256).contains(n));
            if columns != Some(2 * sums.len()) {
                return Err(format!("a product of shape {shape} with {} sums", sums.len()));
            }
            // Neither factor negated; imm-trans-a and imm-trans-b are 0 or 1.
            let transposed = match rest {
                [Operand::Number(1), Operand::Number(1), Operand::Number(a @ 0..=1), Operand::Number(b @ 0..=1)] => {
                    [*a == 1, *b == 1]
                }
                _ => return Err("wgmma with factors that are negated is not known here".into()),
            };
            let (a, b, add) = (draft.read(a)?, draft.read(b)?, draft.read(add)?);
            let sums = draft.write_all(sums)?;
            draft.emit(Op::WarpgroupMultiply { sums, a, b, add, transposed });
        }
        (["setmaxnreg", "inc" | "dec", "sync", "aligned", "u32"], [Operand::Number(count)]) => {
            draft.emit(Op::Registers(*count));
        }
        _ => return Ok(false),
    }
    Ok(true)
}
