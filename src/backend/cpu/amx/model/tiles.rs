//! What the instructions do to a thread's tiles.

/// Rows of a tile at most, and bytes of a row, in palette 1.
const ROWS: usize = 16;
const ROW: usize = 64;

/// The rows that a tile has, and the bytes of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Shape {
    rows: usize,
    bytes: usize,
}

/// Tiles of one thread.
pub(super) struct Tiles {
    configured: bool,
    start_row: usize,
    /// One that is not in use has no rows.
    shapes: [Shape; 8],
    data: [[[u8; ROW]; ROWS]; 8],
}

impl Tiles {
    /// As the processor has them before anything is done.
    pub const fn new() -> Self {
        let data = [[[0; ROW]; ROWS]; 8];
        Tiles { configured: false, start_row: 0, shapes: [Shape { rows: 0, bytes: 0 }; 8], data }
    }

    pub fn are_configured(&self) -> bool {
        self.configured
    }

    /// `ldtilecfg`
    pub fn configure(&mut self, memory: &[u8; 64]) -> Result<(), &'static str> {
        match memory[0] {
            0 => {
                self.release();
                return Ok(());
            }
            1 => {}
            _ => return Err("#GP: a palette that there is not"),
        }
        if memory[2..16].iter().chain(&memory[32..48]).chain(&memory[56..]).any(|&byte| byte != 0) {
            return Err("#GP: reserved bytes of the shapes are not 0");
        }
        let mut shapes = [Shape::default(); 8];
        for (tile, shape) in shapes.iter_mut().enumerate() {
            let bytes = u16::from_le_bytes([memory[16 + 2 * tile], memory[17 + 2 * tile]]);
            *shape = Shape { rows: memory[48 + tile].into(), bytes: bytes.into() };
            if shape.rows > ROWS || shape.bytes > ROW {
                return Err("#GP: a tile of more than 16 rows or of more than 64 bytes a row");
            }
            if (shape.rows == 0) != (shape.bytes == 0) {
                return Err("#GP: a tile with rows of no bytes, or with bytes of no rows");
            }
        }
        *self = Tiles { configured: true, start_row: memory[1].into(), shapes, ..Tiles::new() };
        Ok(())
    }

    /// `tilerelease`
    pub fn release(&mut self) {
        *self = Tiles::new();
    }

    /// `tilezero`
    pub fn zero(&mut self, tile: usize) -> Result<(), &'static str> {
        self.shape(tile)?;
        self.data[tile] = [[0; ROW]; ROWS];
        self.start_row = 0;
        Ok(())
    }

    /// `tileloadd`: rows from `start` on, `stride` bytes apart.
    ///
    /// # Safety
    /// There are bytes to read in all rows that the tile has.
    pub unsafe fn load(&mut self, tile: usize, start: *const u8, stride: isize) -> Result<(), &'static str> {
        let Shape { rows, bytes } = self.shape_in_memory(tile)?;
        self.data[tile][self.start_row..].fill([0; ROW]);
        for (r, row) in self.data[tile].iter_mut().enumerate().take(rows).skip(self.start_row) {
            let from = start.wrapping_offset(stride.wrapping_mul(r as isize));
            // SAFETY: the caller's.
            unsafe { from.copy_to_nonoverlapping(row.as_mut_ptr(), bytes) };
        }
        self.start_row = 0;
        Ok(())
    }

    /// `tilestored`: as [`load`](Self::load).
    ///
    /// # Safety
    /// There are bytes that may be written in all rows that the tile has.
    pub unsafe fn store(&mut self, tile: usize, start: *mut u8, stride: isize) -> Result<(), &'static str> {
        let Shape { rows, bytes } = self.shape_in_memory(tile)?;
        for (r, row) in self.data[tile].iter().enumerate().take(rows).skip(self.start_row) {
            let to = start.wrapping_offset(stride.wrapping_mul(r as isize));
            // SAFETY: the caller's.
            unsafe { row.as_ptr().copy_to_nonoverlapping(to, bytes) };
        }
        self.start_row = 0;
        Ok(())
    }

    /// `tdpbf16ps`: the even and the odd products of a row and a column are summed apart, added to each other, then to
    /// what the tile holds. Numbers below 2^-126 are 0 before and after each step.
    pub fn multiply_bf16(&mut self, sums: usize, left: usize, right: usize) -> Result<(), &'static str> {
        if sums == left || left == right || sums == right {
            return Err("#UD: one tile twice");
        }
        let [of_sums, of_left, of_right] = [self.shape(sums)?, self.shape(left)?, self.shape(right)?];
        if [of_sums, of_left, of_right].iter().any(|shape| shape.bytes % 4 != 0) {
            return Err("#UD: rows that are not whole numbers of four bytes");
        }
        let outer = of_sums.rows == of_left.rows && of_sums.bytes == of_right.bytes;
        if !outer || of_left.bytes / 4 != of_right.rows {
            return Err("#UD: tiles whose shapes do not fit each other");
        }
        let half = |row: &[u8; ROW], i: usize| f32_of([0, 0, row[2 * i], row[2 * i + 1]]);
        for m in 0..of_sums.rows {
            let mut apart = [0f32; ROW / 2];
            let row = &self.data[left][m];
            for (k, steps) in self.data[right].iter().enumerate().take(of_right.rows) {
                for (i, sum) in apart.iter_mut().enumerate().take(of_sums.bytes / 2) {
                    *sum = flushed(half(row, 2 * k + i % 2).mul_add(half(steps, i), *sum));
                }
            }
            let mut result = [0; ROW];
            for n in 0..of_sums.bytes / 4 {
                let place = 4 * n..4 * n + 4;
                let old = &self.data[sums][m][place.clone()];
                let both = flushed(apart[2 * n] + apart[2 * n + 1]);
                let new = flushed(f32_of([old[0], old[1], old[2], old[3]]) + both);
                result[place].copy_from_slice(&new.to_le_bytes());
            }
            self.data[sums][m] = result;
        }
        self.data[sums][of_sums.rows..].fill([0; ROW]);
        self.start_row = 0;
        Ok(())
    }

    fn shape(&self, tile: usize) -> Result<Shape, &'static str> {
        match self.shapes[tile] {
            _ if !self.configured => Err("#UD: no tiles are configured on this thread"),
            Shape { rows: 0, .. } => Err("#UD: a tile without a shape"),
            shape => Ok(shape),
        }
    }

    /// The shape of a tile that is loaded or stored.
    fn shape_in_memory(&self, tile: usize) -> Result<Shape, &'static str> {
        match self.shape(tile)? {
            shape if shape.bytes % 4 != 0 => Err("#UD: rows that are not whole numbers of four bytes"),
            shape if self.start_row >= shape.rows => Err("#UD: a start behind the last row"),
            shape => Ok(shape),
        }
    }
}

/// The number, with one below 2^-126 taken for 0 of the same sign.
fn f32_of(bytes: [u8; 4]) -> f32 {
    flushed(f32::from_le_bytes(bytes))
}

fn flushed(x: f32) -> f32 {
    if x.is_subnormal() { 0f32.copysign(x) } else { x }
}
