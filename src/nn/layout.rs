//! Which parameters a network has: names, shapes, how they start, and how files store them.

use std::ops::Range;

use super::form::FileForm;
use crate::error::{Error, Result};
use crate::tensor::Shape;

/// A parameter or buffer of a [`Layout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamId(pub(super) usize);

/// How a parameter starts.
#[derive(Debug, Clone, PartialEq)]
pub enum Init {
    /// All the same.
    Constant(f32),
    /// Uniform between plus and minus `gain * sqrt(6 / (fan_in + fan_out))` (Glorot & Bengio 2010).
    Xavier {
        /// Inputs of one output element.
        fan_in: usize,
        /// Outputs that one input element has a part in.
        fan_out: usize,
        /// Factor on the result.
        gain: f32,
    },
    /// Uniform between plus and minus this.
    Uniform(f32),
    /// Normal with this standard deviation.
    Normal(f32),
    /// These values, which a model file must agree with: filters that belong to the architecture.
    Fixed(Vec<f32>),
    /// A random direction: normal numbers over their Euclidean norm.
    Direction,
    /// The Euclidean norm of each row of a parameter that was registered before: of its first value, over all but the
    /// first axis.
    RowNorms(ParamId),
}

/// One tensor of a network.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Name in model files, such as `model.enc.8x8_block0.conv0.weight`.
    pub name: String,
    /// Shape in memory.
    pub shape: Shape,
    /// Form in model files, where it is not that of memory.
    pub(super) form: FileForm,
    /// First value.
    pub init: Init,
    /// Whether the optimiser changes it; buffers are filters and frequencies, which stay, and statistics.
    pub trainable: bool,
    /// First element within the flat buffer of its kind.
    pub offset: usize,
}

/// Every parameter and buffer of a network, and where each stands in two flat tensors: one that the optimiser works
/// on in a single pass, and one of buffers.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    entries: Vec<Entry>,
    trainable: usize,
    buffers: usize,
    /// Sites of layers without parameters.
    sites: u32,
}

/// Parameters start on multiples of this, so that kernels can read them 16 bytes at a time.
const ALIGN: usize = 16;

impl Layout {
    /// No parameters yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A place to register parameters, whose names start with `prefix.` (or just with what the layers add if it is
    /// empty).
    pub fn scope(&mut self, prefix: &str) -> Scope<'_> {
        Scope { layout: self, prefix: prefix.to_string() }
    }

    /// Every entry, in the order of registration.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of a parameter. Errors if the id is another layout's.
    pub fn entry(&self, id: ParamId) -> Result<&Entry> {
        self.entries
            .get(id.0)
            .ok_or_else(|| Error::argument("parameter", format!("number {} of {}", id.0, self.entries.len())))
    }

    /// Errors with the first name that two entries have: a file could not tell them apart.
    pub fn check(&self) -> Result<()> {
        for (i, Entry { name, shape, init, .. }) in self.entries.iter().enumerate() {
            let elements = shape.checked_elements("parameter")?;
            if let Init::RowNorms(of) = init
                && self.entries[..i].get(of.0).is_none_or(|of| of.shape.first() != Some(&elements))
            {
                let what = format!("{name} is {shape}: it can only start as the norms of an earlier parameter's rows");
                return Err(Error::Config(what));
            }
            if let Init::Fixed(values) = init
                && values.len() != elements
            {
                let what = format!("{name} is {shape}, but {} values are given for it", values.len());
                return Err(Error::Config(what));
            }
        }
        let mut names = std::collections::HashSet::new();
        match self.entries.iter().find(|entry| !names.insert(entry.name.as_str())) {
            None => Ok(()),
            Some(twice) => Err(Error::Config(format!(
                "the network registers two parameters called {}: give each layer a scope of its own (Scope::at)",
                twice.name
            ))),
        }
    }

    /// Number of trainable numbers: the usual parameter count.
    pub fn parameter_count(&self) -> usize {
        self.entries.iter().filter(|entry| entry.trainable).map(|entry| entry.shape.elements()).sum()
    }

    /// Elements of the flat tensor of trainable parameters, padding included.
    pub fn flat_len(&self) -> usize {
        self.trainable
    }

    /// Elements of the flat tensor of buffers, padding included.
    pub fn buffer_len(&self) -> usize {
        self.buffers
    }

    /// Where the next parameter will be registered; two of these enclose a block's parameters.
    pub(super) fn position(&self) -> usize {
        self.entries.len()
    }
}

/// A named part of a layout that is being built.
pub struct Scope<'a> {
    layout: &'a mut Layout,
    prefix: String,
}

impl Scope<'_> {
    /// The part called `name` within this one.
    pub fn at(&mut self, name: &str) -> Scope<'_> {
        Scope { prefix: self.named(name), layout: self.layout }
    }

    fn named(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) }
    }

    /// Registers a parameter that the optimiser changes.
    pub fn parameter(&mut self, name: &str, shape: impl Into<Shape>, init: Init) -> ParamId {
        self.register(name, shape.into(), init, true)
    }

    /// Registers a tensor that the optimiser leaves alone but that belongs to the model file: a filter of the
    /// architecture, or statistics that a forward pass [updates](super::Context::update).
    pub fn buffer(&mut self, name: &str, shape: impl Into<Shape>, init: Init) -> ParamId {
        self.register(name, shape.into(), init, false)
    }

    /// Says that files store a parameter in another form than that of its [rank](FileForm::of).
    pub(super) fn stored_as(&mut self, id: ParamId, form: FileForm) {
        if let Some(entry) = self.layout.entries.get_mut(id.0) {
            entry.form = form;
        }
    }

    fn register(&mut self, name: &str, shape: Shape, init: Init, trainable: bool) -> ParamId {
        let name = self.named(name);
        let form = if trainable { FileForm::of(&shape) } else { FileForm::Plain };
        let id = ParamId(self.layout.entries.len());
        let len = if trainable { &mut self.layout.trainable } else { &mut self.layout.buffers };
        let offset = *len;
        let elements = shape.iter().fold(1usize, |product, &extent| product.saturating_mul(extent));
        *len = len.saturating_add(elements.checked_next_multiple_of(ALIGN).unwrap_or(usize::MAX));
        self.layout.entries.push(Entry { name, shape, form, init, trainable, offset });
        id
    }

    /// Runs `build` and returns what it made, with the parameters it registered.
    pub fn enclose<T>(&mut self, build: impl FnOnce(&mut Self) -> T) -> (T, Range<usize>) {
        let first = self.layout.position();
        let built = build(self);
        (built, first..self.layout.position())
    }

    /// The site of random numbers of a layer without parameters: no other layer gets it.
    pub fn own_site(&mut self) -> u32 {
        // Above those that are counted in parameters, of which there are fewer.
        const FIRST: u32 = 1 << 23;
        self.layout.sites += 1;
        FIRST + self.layout.sites - 1
    }

    /// The site of a layer's random numbers: no other layer gets it that registers a parameter before it asks.
    pub fn site(&self) -> u32 {
        self.layout.position() as u32
    }
}
