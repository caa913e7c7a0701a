//! Which kernel to start, on how many threads, and what it is given.

use std::fmt;

/// Name, byte offset and size of one field of a kernel's parameter struct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The field's name, as in the C++ struct.
    pub name: &'static str,
    /// Byte offset within the struct.
    pub offset: usize,
    /// Size in bytes.
    pub size: usize,
}

/// The parameter struct of a kernel: plain bytes with the layout of the C++ struct of the same name. Those of the
/// crate's kernels are made of the C++ structs when it is built; [`params!`](crate::params) makes others.
pub trait KernelParams: bytemuck::Pod {
    /// The C++ struct's name.
    const NAME: &'static str;
    /// Its fields, in order.
    const FIELDS: &'static [Field];
}

/// Declares the parameter struct of a kernel that is not one of the crate's own: `#[repr(C)]`, no implicit padding,
/// with a table of its fields that the emulator compares with the C++ side at every launch.
#[macro_export]
macro_rules! params {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($field:ident: $ty:ty),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, ::bytemuck::Pod, ::bytemuck::Zeroable)]
        #[repr(C)]
        $vis struct $name { $(pub $field: $ty),* }

        impl $crate::backend::gpu::KernelParams for $name {
            const NAME: &'static str = stringify!($name);
            const FIELDS: &'static [$crate::backend::gpu::Field] = &[$($crate::backend::gpu::Field {
                name: stringify!($field),
                offset: ::std::mem::offset_of!($name, $field),
                size: ::std::mem::size_of::<$ty>(),
            }),*];
        }
    };
}

/// Which kernel to start, and how many threads of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launch {
    /// The kernel's symbol, such as `silu_fwd_f32`.
    pub kernel: &'static str,
    /// Blocks in x, y, z.
    pub grid: [u32; 3],
    /// Threads per block, all along x: that spares every kernel two more indices.
    pub threads: u32,
    /// Dynamic shared memory in bytes.
    pub shared: u32,
}

impl Launch {
    /// Threads per block of [`Launch::over`].
    pub const THREADS: u32 = 256;

    /// A one-dimensional launch for grid-stride loops over `items` work items; the grid is capped at a size that fills
    /// any GPU.
    pub fn over(kernel: &'static str, items: usize) -> Self {
        let blocks = items.div_ceil(Self::THREADS as usize).clamp(1, 8192) as u32;
        Launch { kernel, grid: [blocks, 1, 1], threads: Self::THREADS, shared: 0 }
    }

    /// A launch for kernels in which a warp shares a row of `columns` elements, or a whole block does
    /// ([`block_per_row`](Self::block_per_row)); they stride over the rows by the number of such teams.
    pub fn over_rows(kernel: &'static str, rows: usize, columns: usize) -> Self {
        let rows_per_block = if Self::block_per_row(columns) { 1 } else { Self::THREADS as usize / 32 };
        let blocks = rows.div_ceil(rows_per_block).clamp(1, 1 << 20) as u32;
        Launch { kernel, grid: [blocks, 1, 1], threads: Self::THREADS, shared: 0 }
    }

    /// Whether a row is long enough to keep a block busy.
    pub fn block_per_row(columns: usize) -> bool {
        columns > 1024
    }

    /// A launch of `grid` blocks of `threads` threads.
    pub fn blocks(kernel: &'static str, grid: [u32; 3], threads: u32) -> Self {
        Launch { kernel, grid, threads, shared: 0 }
    }

    /// The same launch with `bytes` of dynamic shared memory.
    pub fn shared(self, bytes: usize) -> Self {
        Launch { shared: bytes as u32, ..self }
    }

    /// Errors beyond the limits that every GPU has, and `most` bytes of shared memory, for a kernel declared for blocks
    /// of at most `max_threads`, and for clusters of `cluster` blocks.
    #[allow(dead_code)] // a GPU has them itself
    pub(crate) fn check(&self, max_threads: u32, cluster: u32, most: usize) -> std::result::Result<(), String> {
        let &Launch { grid, threads, shared, .. } = self;
        if grid.contains(&0) || threads == 0 {
            return Err("no dimension of the grid may be zero, nor may a block have no threads".into());
        }
        if grid[0] > i32::MAX as u32 || grid[1] > 65535 || grid[2] > 65535 {
            return Err("a grid has at most 2147483647 x 65535 x 65535 blocks".into());
        }
        if threads > 1024 {
            return Err(format!("a block has at most 1024 threads; this one has {threads}"));
        }
        if threads > max_threads {
            return Err(format!("the kernel is declared for blocks of at most {max_threads} threads"));
        }
        if !grid[0].is_multiple_of(cluster) {
            return Err(format!(
                "the kernel is for clusters of {cluster} blocks along x, of which a grid has whole ones"
            ));
        }
        if shared as usize > most {
            return Err(format!("a block has at most {most} bytes of shared memory"));
        }
        Ok(())
    }
}

impl fmt::Display for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Launch { kernel, grid, threads, shared } = self;
        write!(f, "{kernel} <<<{grid:?}, {threads}, {shared} B>>>")
    }
}
