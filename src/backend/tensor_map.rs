//! Tensor maps: what the copy engine of a Hopper GPU is told of a tensor in global memory, so that one instruction
//! copies a box of it to shared memory (kernels/device/tensor_map.cuh).
//!
//! On a GPU the driver makes them, in a form of its own. The emulator and the interpreter of PTX get the plain form
//! that is written and read here.

use super::arguments::Ptr;

/// Axes at most.
pub const AXES: usize = 5;

/// A tensor of bf16, and the size of the boxes that are copied of it. Axes are counted from the one whose elements
/// stand side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boxes {
    /// Where the tensor begins: a multiple of 16.
    pub address: Ptr,
    /// Elements along each axis.
    pub extents: Vec<u64>,
    /// Bytes from one element to the next along each axis but the first: multiples of 16.
    pub strides: Vec<u64>,
    /// Elements of a box along each axis, 256 at most; what of a box lies outside of the tensor is zeros.
    pub size: Vec<u32>,
    /// Whether the eight units of 16 bytes in each line of 128 bytes change places by the line's number, as wgmma wants
    /// it: the box's lines have 64 elements then.
    pub swizzled: bool,
}

impl Boxes {
    /// Errors, in words, beyond what the copy engine can do.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Boxes { address, extents, strides, size, swizzled } = self;
        let axes = extents.len();
        if !(1..=AXES).contains(&axes) || size.len() != axes || strides.len() + 1 != axes {
            return Err(format!("a tensor map of {axes} axes, {} strides and {} sizes", strides.len(), size.len()));
        }
        if !address.number().is_multiple_of(16) || address.number() == 0 {
            return Err(format!("a tensor map's address is a multiple of 16, and {:#x} is none", address.number()));
        }
        if let Some(stride) = strides.iter().find(|&&stride| stride % 16 != 0 || stride == 0 || stride >= 1 << 40) {
            return Err(format!("a tensor map's strides are multiples of 16 below 2^40, and {stride} is none"));
        }
        if let Some(extent) = extents.iter().find(|&&extent| extent == 0 || extent > 1 << 32) {
            return Err(format!("a tensor map's extents are 1 to 2^32, and not {extent}"));
        }
        if let Some(size) = size.iter().find(|&&size| size == 0 || size > 256) {
            return Err(format!("a box has 1 to 256 elements along an axis, and not {size}"));
        }
        let line = size[0] * 2;
        if line % 16 != 0 {
            return Err(format!("a box's lines are multiples of 16 bytes, and {line} is none"));
        }
        if *swizzled && line != 128 {
            return Err(format!("a swizzled box has lines of 128 bytes, and not {line}"));
        }
        Ok(())
    }
}

/// A tensor map as it stands in a parameter struct (C++ `TensorMap`): of the driver's making, or of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub struct TensorMap {
    words: [u64; 16],
}

impl TensorMap {
    /// Of words that the driver has written.
    #[allow(dead_code)] // without the feature `cuda` no driver writes any
    pub(crate) fn of_words(words: [u64; 16]) -> Self {
        TensorMap { words }
    }
}

/// The first word of a map of ours, but for the axes.
#[allow(dead_code)] // as the rest, used by what runs kernels on the CPU
const MARK: u64 = 0x7665_7269_6d61_7000;

/// A tensor map of ours, read again.
#[allow(dead_code)] // as above
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plain {
    pub(crate) address: u64,
    pub(crate) axes: usize,
    /// 1 beyond the last axis.
    pub(crate) extents: [u64; AXES],
    /// Of all axes, in bytes.
    pub(crate) strides: [u64; AXES],
    /// 1 beyond the last axis.
    pub(crate) size: [u32; AXES],
    pub(crate) swizzled: bool,
}

#[allow(dead_code)] // as above
impl Plain {
    /// The map of `boxes`, which have been checked.
    pub(crate) fn map(boxes: &Boxes) -> TensorMap {
        let mut words = [0; 16];
        words[0] = MARK | boxes.extents.len() as u64 | if boxes.swizzled { 0x80 } else { 0 };
        words[1] = boxes.address.number();
        words[2..].iter_mut().zip(&boxes.extents).for_each(|(word, extent)| *word = *extent);
        words[7..].iter_mut().zip(&boxes.strides).for_each(|(word, stride)| *word = *stride);
        for (i, size) in boxes.size.iter().enumerate() {
            words[11 + i / 2] |= u64::from(*size) << (32 * (i % 2));
        }
        TensorMap { words }
    }

    /// What 128 bytes say. Errors if they are no tensor map.
    pub(crate) fn read(bytes: &[u8]) -> Result<Plain, String> {
        let mut words = [0u64; 16];
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
        }
        let axes = (words[0] & 0x7f) as usize;
        if bytes.len() != 128 || words[0] & !0xff != MARK || !(1..=AXES).contains(&axes) {
            return Err("there is no tensor map".into());
        }
        let mut plain = Plain {
            address: words[1],
            axes,
            extents: [1; AXES],
            strides: [2; AXES],
            size: [1; AXES],
            swizzled: words[0] & 0x80 != 0,
        };
        for i in 0..axes {
            plain.extents[i] = words[2 + i];
            plain.size[i] = (words[11 + i / 2] >> (32 * (i % 2))) as u32;
        }
        plain.strides[1..axes].copy_from_slice(&words[7..6 + axes]);
        Ok(plain)
    }

    /// Bytes of one box, whether or not they lie within the tensor.
    pub(crate) fn box_bytes(&self) -> usize {
        self.size.iter().map(|&size| size as usize).product::<usize>() * 2
    }

    /// Bytes from the tensor's first to its last.
    pub(crate) fn span(&self) -> u64 {
        2 + self.extents.iter().zip(&self.strides).map(|(extent, stride)| (extent - 1) * stride).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxes() -> Boxes {
        Boxes {
            address: Ptr::NULL.byte_add(0x1000),
            extents: vec![64, 8, 8, 3],
            strides: vec![128, 1024, 8192],
            size: vec![64, 8, 8, 2],
            swizzled: true,
        }
    }

    #[test]
    fn a_map_of_ours_is_read_as_it_was_written() {
        boxes().check().unwrap();
        let plain = Plain::read(bytemuck::bytes_of(&Plain::map(&boxes()))).unwrap();
        let expected = Plain {
            address: 0x1000,
            axes: 4,
            extents: [64, 8, 8, 3, 1],
            strides: [2, 128, 1024, 8192, 2],
            size: [64, 8, 8, 2, 1],
            swizzled: true,
        };
        assert_eq!(plain, expected);
        assert_eq!((plain.box_bytes(), plain.span()), (16384, 3 * 8192));
        assert!(Plain::read(&[0; 128]).is_err() && Plain::read(&[1; 64]).is_err());
    }

    #[test]
    fn what_the_copy_engine_cannot_do_is_refused() {
        let refused = |change: fn(&mut Boxes), part: &str| {
            let mut boxes = boxes();
            change(&mut boxes);
            let why = boxes.check().unwrap_err();
            assert!(why.contains(part), "{why}");
        };
        refused(|b| b.address = b.address.byte_add(8), "address is a multiple of 16");
        refused(|b| b.strides[1] = 1032, "strides are multiples of 16");
        refused(|b| b.size[2] = 257, "1 to 256 elements");
        refused(|b| b.size[0] = 128, "lines of 128 bytes, and not 256");
        refused(|b| b.size[0] = 4, "multiples of 16 bytes, and 8 is none");
        refused(|b| b.extents[0] = 0, "extents are 1 to 2^32");
        refused(|b| b.extents.push(1), "5 axes, 3 strides and 4 sizes");
    }
}
