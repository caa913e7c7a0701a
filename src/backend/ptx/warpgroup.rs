//! wgmma, warp by warp, by the PTX ISA ("Asynchronous Warpgroup Level Matrix Multiply-Accumulate Operation").
//!
//! Products are computed when they are waited for; their sums are NaN until then. What was left in the sums is compared
//! with what is there at the next product, so that writes without a `wgmma.fence` are found. The four warps of a
//! warpgroup must issue the same products, one after the other.

use half::bf16;

use super::lanes::Lanes;
use super::machine::Machine;
use super::products::{Factor, Product, Sums};
use super::program::Slot;
use super::warp::Warp;

/// What sums hold while they are under way: a NaN that no computation makes.
const UNDER_WAY: u64 = 0xffff_fff3;

/// `wgmma.fence`: what stands in registers now is what products find. `all` are the sums of the program's products.
pub(super) fn fence(warp: &mut Warp, all: &[Vec<Slot>]) -> Result<(), String> {
    warp.products.fenced = true;
    for slots in all {
        let left: Vec<Lanes> = slots.iter().map(|&slot| *warp.register(slot)).collect();
        match warp.products.sums.iter_mut().find(|s| s.slots == *slots) {
            Some(sums) if sums.under_way > 0 && sums.left != left => {
                return Err("sums of products that are under way were written".into());
            }
            Some(sums) => sums.left = left,
            None => {
                warp.products.sums.push(Sums { slots: slots.clone(), values: left.clone(), left, under_way: 0 });
            }
        }
    }
    Ok(())
}

/// `wgmma.mma_async` of m64nNk16 in bf16 with sums in f32, both factors in shared memory.
pub(super) fn multiply(
    warp: &mut Warp,
    slots: &[Slot],
    [a, b, add]: [Slot; 3],
    [a_transposed, b_transposed]: [bool; 2],
    active: u32,
    machine: &mut Machine,
) -> Result<(), String> {
    machine.own().engines.check()?;
    warp.whole(active)?;
    let uniform = |slot: Slot| {
        let values = warp.register(slot);
        let same = values.iter().all(|value| *value == values[0]);
        same.then_some(values[0]).ok_or("a descriptor, or scale-d, that differs between lanes")
    };
    let (a, b, add) = ((uniform(a)?, a_transposed), (uniform(b)?, b_transposed), uniform(add)? & 1 == 1);
    // What the other warps of the warpgroup have issued in its place.
    let (group, number) = (warp.first as usize / 128, warp.products.issued);
    let groups = &mut machine.own().issued.groups;
    groups.resize_with(groups.len().max(group + 1), Vec::new);
    match groups[group].get(number) {
        Some(other) if *other != (a, b, slots.len(), add) => {
            return Err("another product than other warps of the warpgroup".into());
        }
        Some(_) => {}
        None => groups[group].push((a, b, slots.len(), add)),
    }
    warp.products.issued += 1;
    for (factor, lines) in [(a, 64), (b, 2 * slots.len())] {
        whole(factor, lines)?;
        place(factor, lines - 1, 15, machine)?;
    }
    let now: Vec<Lanes> = slots.iter().map(|&slot| *warp.register(slot)).collect();
    let fenced = warp.products.fenced;
    let sums = warp.products.sums.iter_mut().find(|s| s.slots == slots).filter(|s| fenced && s.left == now);
    let Some(sums) = sums else {
        return Err("sums that were written since the last wgmma.fence, or none at all".into());
    };
    if sums.under_way == 0 {
        sums.values = now;
    }
    sums.under_way += 1;
    sums.left.fill([UNDER_WAY; 32]);
    for &slot in slots {
        warp.registers[slot as usize] = [UNDER_WAY; 32];
    }
    warp.products.open.push(Product { sums: slots.to_vec(), a, b, add });
    Ok(())
}

/// `wgmma.commit_group`
pub(super) fn commit(warp: &mut Warp) {
    let group = std::mem::take(&mut warp.products.open);
    warp.products.groups.push_back(group);
}

/// `wgmma.wait_group`
pub(super) fn wait(warp: &mut Warp, most: usize, machine: &Machine) -> Result<(), String> {
    while warp.products.groups.len() > most {
        for product in warp.products.groups.pop_front().unwrap_or_default() {
            finish(warp, &product, machine)?;
        }
    }
    Ok(())
}

/// Computes this warp's 16 rows of a product.
fn finish(warp: &mut Warp, product: &Product, machine: &Machine) -> Result<(), String> {
    let columns = 2 * product.sums.len();
    let first = 16 * (warp.first as usize / 32 % 4);
    let left = factor(product.a, first..first + 16, machine)?;
    let right = factor(product.b, 0..columns, machine)?;
    let Some(sums) = warp.products.sums.iter_mut().find(|s| s.slots == product.sums) else {
        return Err("sums that no product has".into());
    };
    // "Matrix fragments for wgmma accumulator D": register i of a lane is row lane / 4 (and 8 more for every second
    // pair) and column 8 (i / 4) + 2 (lane mod 4) + i mod 2.
    for (i, values) in sums.values.iter_mut().enumerate() {
        for (lane, value) in values.iter_mut().enumerate() {
            let row = lane / 4 + if i % 4 >= 2 { 8 } else { 0 };
            let column = i / 4 * 8 + lane % 4 * 2 + (i & 1);
            let products: f64 = (0..16).map(|k| left[row][k] * right[column][k]).sum();
            let old = if product.add { f64::from(f32::from_bits(*value as u32)) } else { 0.0 };
            *value = u64::from(((old + products) as f32).to_bits());
        }
    }
    sums.under_way -= 1;
    let touched = sums.slots.iter().any(|&slot| warp.registers[slot as usize] != [UNDER_WAY; 32]);
    if touched {
        return Err("sums of products that are under way were written".into());
    }
    if sums.under_way == 0 {
        sums.left.clone_from(&sums.values);
        for (&slot, values) in sums.slots.iter().zip(&sums.values) {
            warp.registers[slot as usize] = *values;
        }
    }
    Ok(())
}

/// Lines of a factor, 16 steps of depth each.
fn factor(factor: Factor, lines: std::ops::Range<usize>, machine: &Machine) -> Result<Vec<[f64; 16]>, String> {
    lines
        .map(|line| {
            let mut steps = [0.0; 16];
            for (step, value) in steps.iter_mut().enumerate() {
                let at = place(factor, line, step, machine)?;
                let shared = &machine.blocks[machine.rank].shared;
                *value = bf16::from_le_bytes([shared[at], shared[at + 1]]).to_f64();
            }
            Ok(steps)
        })
        .collect()
}

/// What "Matrix Descriptor Format" has: start address, leading and stride dimension byte offset, matrix base offset,
/// swizzle mode.
fn fields(descriptor: u64) -> ([usize; 3], u64, u64) {
    let encoded = |shift: u32| (descriptor >> shift & 0x3fff) as usize * 16;
    ([encoded(0), encoded(16), encoded(32)], descriptor >> 49 & 7, descriptor >> 62)
}

/// Errors unless the descriptor is one for so many lines with 128-byte swizzle.
fn whole((descriptor, transposed): Factor, lines: usize) -> Result<(), String> {
    let ([start, leading, stride], base_offset, swizzle) = fields(descriptor);
    if swizzle != 1 || base_offset as usize != start / 128 % 8 {
        return Err(format!("a descriptor with swizzle mode {swizzle} and base offset {base_offset} at {start:#x}"));
    }
    // K-major: the leading offset is "not used, assumed to be 1". MN-major: whole patterns of 1024 bytes, two of which
    // cannot be in one place; CuTe has 0 where 64 lines are all.
    let good = match transposed {
        false => leading == 16,
        true => leading % 1024 == 0 && (lines == 64 || leading > 0 && leading != stride),
    };
    if !good || stride % 1024 != 0 || stride == 0 {
        let major = if transposed { "an MN-major" } else { "a K-major" };
        return Err(format!("{major} descriptor with a leading offset of {leading} and a stride of {stride} bytes"));
    }
    if transposed && !(start.is_multiple_of(128) && lines.is_multiple_of(64)) {
        return Err(format!("an MN-major factor of {lines} lines from {start:#x} on, which are no whole patterns"));
    }
    Ok(())
}

/// Where an element stands with 128-byte swizzle. K-major, by "Strides": core matrices of eight lines lie a stride
/// byte offset apart, each line 128 bytes from the last. MN-major, by CuTe's canonical form in units of 16 bytes,
/// `Swizzle<3,4,3> o ((8,n),(8,k)):((1,LBO),(8,SBO))`: of what has eight lines in a unit, the unit's number modulo 8
/// counts 1, divided by 8 LBO, the step modulo 8 counts 8, and divided by 8 SBO.
fn place((descriptor, transposed): Factor, line: usize, step: usize, machine: &Machine) -> Result<usize, String> {
    let ([start, leading, stride], ..) = fields(descriptor);
    let plain = if transposed {
        let (unit, within) = (line / 8, line % 8);
        let units = unit % 8 + unit / 8 * (leading / 16) + step % 8 * 8 + step / 8 * (stride / 16);
        start + 16 * units + 2 * within
    } else {
        start + line / 8 * stride + line % 8 * 128 + 2 * step
    };
    let at = plain ^ (plain >> 7 & 7) << 4;
    let size = machine.blocks[machine.rank].shared.len();
    match at + 2 <= size {
        true => Ok(at),
        false => Err(format!("a descriptor that leads to byte {at} of {size} of shared memory")),
    }
}
