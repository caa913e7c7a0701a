//! What kernels are given: addresses, and room for the structs that they stand in.

/// A device address as it stands in a parameter struct (C++ `buffer`). Zero means absent.
///
/// It is a number that does not keep its buffer alive. To have one is safe;
/// [`Gpu::launch`](super::gpu::Gpu::launch), which lets a kernel follow it, is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct Ptr(pub(super) u64);

impl Ptr {
    /// The absent buffer; the kernel sees a null pointer.
    pub const NULL: Ptr = Ptr(0);

    /// Whether it is the absent buffer's.
    pub fn is_null(self) -> bool {
        self == Self::NULL
    }

    /// The address `bytes` further on, which need not be within the same buffer.
    pub fn byte_add(self, bytes: usize) -> Ptr {
        Ptr(self.0.wrapping_add(bytes as u64))
    }

    /// The address as a number.
    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// Whether all addresses admit 16-byte loads (absent buffers count as such).
    pub fn all_wide(addresses: &[Ptr]) -> bool {
        Self::all_multiples(addresses, 16)
    }

    /// Whether all addresses are multiples of `bytes`.
    pub fn all_multiples(addresses: &[Ptr], bytes: usize) -> bool {
        addresses.iter().all(|address| address.0.is_multiple_of(bytes as u64))
    }
}

/// Room for a parameter struct, aligned as the widest of its fields, a tensor map, asks for.
#[allow(dead_code)] // a build for the CPU alone has no kernels
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// As above.
#[allow(dead_code)] // as above
pub(crate) struct Aligned(Vec<Line>);

#[allow(dead_code)] // as above
impl Aligned {
    pub(crate) fn of(bytes: usize) -> Self {
        Aligned(vec![Line([0; 64]); bytes.div_ceil(64)])
    }

    /// The first `bytes` of them.
    pub(crate) fn bytes(&mut self, bytes: usize) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut::<Line, u8>(&mut self.0)[..bytes]
    }
}
