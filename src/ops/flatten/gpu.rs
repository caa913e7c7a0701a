use super::OP;
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::backend::params::FlattenParams;
use crate::error::Result;
use crate::ops::{kernel, start};
use crate::tensor::{DType, Tensor};

/// Parts that one launch handles.
const PARTS: usize = 32;

pub fn write(gpu: &Gpu, flat: &mut Tensor, parts: &[(usize, &Tensor)], add: bool) -> Result<()> {
    let flat = flat.ptr_mut(gpu)?;
    for dtype in [DType::F32, DType::BF16] {
        let alike: Vec<_> = parts.iter().filter(|(_, part)| part.dtype() == dtype).collect();
        for group in alike.chunks(PARTS) {
            let mut params = FlattenParams {
                flat,
                part: [Ptr::NULL; PARTS],
                offset: [0; PARTS],
                count: [0; PARTS],
                add: add.into(),
                wide: 0,
            };
            for (i, (offset, part)) in group.iter().enumerate() {
                let at = part.ptr(gpu)?;
                let wide = Ptr::all_wide(&[at, flat.byte_add(4 * offset)]);
                params.wide |= u32::from(wide) << i;
                params.part[i] = at;
                params.offset[i] = *offset as u64;
                params.count[i] = part.len() as u64;
            }
            let most = group.iter().map(|(_, part)| part.len()).max().unwrap_or(0);
            let blocks = most.div_ceil(4 * Launch::THREADS as usize).clamp(1, 1024) as u32;
            let launch =
                Launch::blocks(kernel!(OP, dtype, "flatten_fwd")?, [blocks, group.len() as u32, 1], Launch::THREADS);
            start(gpu, &launch, &params)?;
        }
    }
    Ok(())
}
