//! What the samples of a data set are, by their extents.

/// What a sample is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `[height, width, channels]`.
    Pictures,
    /// `[1, length, channels]`.
    Signals,
    /// `[1, 1, dims]`: points, rows of tables.
    Points,
}

impl Kind {
    /// Of samples of `[height, width, channels]`.
    pub fn of([height, width, _]: [usize; 3]) -> Self {
        match [height, width] {
            [1, 1] => Kind::Points,
            [1, _] => Kind::Signals,
            _ => Kind::Pictures,
        }
    }

    /// What people call several of them.
    pub fn noun(self) -> &'static str {
        match self {
            Kind::Pictures => "images",
            Kind::Signals => "signals",
            Kind::Points => "points",
        }
    }

    /// What people call the numbers of one.
    pub fn numbers(self) -> &'static str {
        match self {
            Kind::Pictures => "pixels",
            Kind::Signals => "values",
            Kind::Points => "coordinates",
        }
    }
}
