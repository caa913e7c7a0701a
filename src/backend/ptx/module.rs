//! A file of PTX: which kernels it has, what arrays lie in memory beside them, and the statements of one kernel.

use std::collections::{BTreeMap, HashMap};

use super::text::{Operand, Reader, Statement, Token};

/// What nvcc made of one `.cu` file. Kernels are read when they are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Module {
    text: String,
    /// Where the text of each kernel stands, from its name on.
    kernels: BTreeMap<String, usize>,
    /// Arrays in global and constant memory, and what they hold at first.
    pub(super) arrays: BTreeMap<String, Vec<u8>>,
    /// Arrays in shared memory that several kernels have, each for itself.
    shared: Vec<Array>,
    /// The names of the shared memory whose size the launch gives.
    dynamic: Vec<String>,
}

/// An array that every block, or every thread, has for itself: where it begins in that memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Room {
    pub(super) places: HashMap<String, u64>,
    /// Bytes in all.
    pub(super) size: u64,
}

impl Room {
    fn add(&mut self, array: &Array) {
        self.size = self.size.next_multiple_of(array.align);
        self.places.insert(array.name.clone(), self.size);
        self.size += array.size;
    }
}

/// One kernel, as it stands in the text.
#[derive(Debug, Clone, Default)]
pub(super) struct Function {
    /// The parameters, one after the other.
    pub(super) params: Room,
    /// Static arrays in shared memory.
    pub(super) shared: Room,
    /// Where the launch's own shared memory begins: its names.
    pub(super) dynamic: Vec<String>,
    /// What every thread has in local memory.
    pub(super) local: Room,
    /// Threads of a block at most, as `.maxntid` or `.reqntid` say.
    pub(super) max_threads: Option<u32>,
    /// Blocks of a cluster, as `.reqnctapercluster` says.
    pub(super) cluster: Option<u32>,
    /// Registers: `%r` for all of `%r<12>`, single ones by their own name.
    pub(super) registers: Vec<String>,
    pub(super) statements: Vec<Statement>,
    /// Which statement a label stands before.
    pub(super) labels: HashMap<String, usize>,
    /// The labels of a `.branchtargets`, by its own label.
    pub(super) tables: HashMap<String, Vec<String>>,
}

/// `.align 16 .b8 name[1024]`
#[derive(Debug, Clone, PartialEq, Eq)]
struct Array {
    name: String,
    align: u64,
    size: u64,
}

impl Module {
    /// Finds the kernels and the arrays. Errors if the text is none that nvcc writes for a GPU.
    pub(super) fn read(text: &str) -> Result<Module, String> {
        let mut module = Module { text: text.into(), ..Module::default() };
        let mut reader = Reader::new(text);
        while let Some(token) = reader.next() {
            match token {
                Token::Word(".entry") => {
                    let begin = reader.position();
                    let name = reader.word("a kernel's name")?;
                    module.kernels.insert(name.into(), begin);
                    skip_body(&mut reader)?;
                }
                Token::Word(".func") => return Err("a function that is no kernel, which is not known here".into()),
                Token::Word(".version" | ".target" | ".address_size" | ".file") => reader.skip_line(),
                Token::Word(".section") => skip_body(&mut reader)?,
                Token::Word(".global" | ".const") => {
                    let (array, bytes) = initialised(&mut reader)?;
                    module.arrays.insert(array.name, bytes);
                }
                Token::Word(".shared") => {
                    let array = array(&mut reader)?;
                    reader.sign(';')?;
                    match array.size {
                        0 => module.dynamic.push(array.name),
                        _ => module.shared.push(array),
                    }
                }
                Token::Word(".visible" | ".weak" | ".extern") => {}
                other => return Err(format!("{other:?} between kernels")),
            }
        }
        Ok(module)
    }

    /// The names of all kernels.
    pub(super) fn kernels(&self) -> impl Iterator<Item = &str> {
        self.kernels.keys().map(String::as_str)
    }

    /// The kernel called `name`, if it is here. Errors if its text cannot be read.
    pub(super) fn kernel(&self, name: &str) -> Option<Result<Function, String>> {
        let mut reader = Reader::new(&self.text[*self.kernels.get(name)?..]);
        let mut function = Function { dynamic: self.dynamic.clone(), ..Function::default() };
        Some(function.read(&mut reader).map(|()| {
            let uses = |array: &&Array| function.statements.iter().any(|s| s.text.contains(&array.name));
            let used: Vec<&Array> = self.shared.iter().filter(uses).collect();
            used.into_iter().for_each(|array| function.shared.add(array));
            function
        }))
    }
}

/// Goes on behind the closing brace of what comes next.
fn skip_body(reader: &mut Reader) -> Result<(), String> {
    let mut depth = 0;
    loop {
        match reader.expect("`}`")? {
            Token::Word(".loc" | ".file") => reader.skip_line(),
            Token::Sign('{') => depth += 1,
            Token::Sign('}') if depth <= 1 => return Ok(()),
            Token::Sign('}') => depth -= 1,
            _ => {}
        }
    }
}

/// Bytes of one element of a type such as `.b32`.
fn bytes(ty: &str) -> Result<u64, String> {
    let bits: Result<u64, _> = ty.trim_start_matches(|c: char| !c.is_ascii_digit()).parse();
    bits.map(|bits| bits / 8).map_err(|_| format!("`{ty}` is no type of an array"))
}

fn whole(reader: &mut Reader, what: &str) -> Result<u64, String> {
    match reader.operand()? {
        Operand::Number(n) => Ok(n),
        other => Err(format!("{other:?} where {what} should stand")),
    }
}

/// A declaration without what the array holds.
fn array(reader: &mut Reader) -> Result<Array, String> {
    let (mut align, mut size) = (None, 1);
    let name = loop {
        match reader.word("a declaration")? {
            ".align" => align = Some(whole(reader, "an alignment")?),
            ".ptr" | ".global" => {}
            ty if ty.starts_with('.') => size = bytes(ty)?,
            name => break name.to_string(),
        }
    };
    let align = align.unwrap_or(size).max(1);
    while reader.takes('[') {
        // One without a size is what the launch gives.
        size *= if reader.peek() == Some(Token::Sign(']')) { 0 } else { whole(reader, "a size")? };
        reader.sign(']')?;
    }
    Ok(Array { name, align, size })
}

/// An array and what it holds: numbers, or zeros where none are given.
fn initialised(reader: &mut Reader) -> Result<(Array, Vec<u8>), String> {
    let mut ahead = reader.clone();
    let mut element = 1;
    while let Some(Token::Word(word)) = ahead.next() {
        match word {
            ".align" => drop(ahead.next()),
            ty if ty.starts_with('.') => element = bytes(ty)?,
            _ => break,
        }
    }
    let array = array(reader)?;
    let mut data = Vec::new();
    if reader.takes('=') {
        let Operand::Vector(values) = reader.operand()? else { return Err(format!("{} holds no list", array.name)) };
        for value in values {
            let Operand::Number(bits) = value else { return Err(format!("{} holds {value:?}", array.name)) };
            data.extend(&bits.to_le_bytes()[..element as usize]);
        }
    }
    reader.sign(';')?;
    data.resize(array.size as usize, 0);
    Ok((array, data))
}

impl Function {
    fn read(&mut self, reader: &mut Reader) -> Result<(), String> {
        reader.word("a kernel's name")?;
        reader.sign('(')?;
        while !reader.takes(')') {
            match reader.peek() {
                Some(Token::Sign(',')) => drop(reader.next()),
                _ if reader.word("`.param`")? == ".param" => self.params.add(&array(reader)?),
                _ => return Err("a parameter that is none".into()),
            }
        }
        loop {
            match reader.expect("`{`")? {
                Token::Sign('{') => break,
                Token::Word(word @ (".maxntid" | ".reqntid" | ".reqnctapercluster")) => {
                    let along_x = whole(reader, "a number of threads or blocks")?;
                    let mut all = along_x;
                    while reader.takes(',') {
                        all *= whole(reader, "a number of threads or blocks")?;
                    }
                    match word {
                        ".reqnctapercluster" if all != along_x => {
                            return Err("clusters that are not along x, which are not known here".into());
                        }
                        ".reqnctapercluster" => self.cluster = Some(all as u32),
                        _ => self.max_threads = Some(all as u32),
                    }
                }
                _ => {} // how many blocks fit a multiprocessor, and the like
            }
        }
        self.body(reader)
    }

    fn body(&mut self, reader: &mut Reader) -> Result<(), String> {
        let mut depth = 1;
        while depth > 0 {
            match reader.peek() {
                Some(Token::Sign('{')) => {
                    depth += 1;
                    reader.next();
                }
                Some(Token::Sign('}')) => {
                    depth -= 1;
                    reader.next();
                }
                Some(Token::Word(".loc" | ".file")) => reader.skip_line(),
                Some(Token::Word(".shared")) => {
                    reader.next();
                    self.shared.add(&array(reader)?);
                    reader.sign(';')?;
                }
                Some(Token::Word(".local")) => {
                    reader.next();
                    self.local.add(&array(reader)?);
                    reader.sign(';')?;
                }
                Some(Token::Word(".reg")) => {
                    reader.next();
                    self.declare(reader)?;
                }
                Some(Token::Word(".pragma")) => while reader.expect("`;`")? != Token::Sign(';') {},
                Some(Token::Word(_) | Token::Sign('@')) => self.labelled(reader)?,
                other => return Err(format!("{other:?} in a kernel")),
            }
        }
        Ok(())
    }

    /// `.reg .b32 %r<12>, %single;`
    fn declare(&mut self, reader: &mut Reader) -> Result<(), String> {
        reader.word("a type")?;
        while !reader.takes(';') {
            self.registers.push(reader.word("a register")?.into());
            if reader.takes('<') {
                whole(reader, "a number of registers")?;
                reader.sign('>')?;
            }
            reader.takes(',');
        }
        Ok(())
    }

    /// A label, the table of a branch behind one, or an instruction.
    fn labelled(&mut self, reader: &mut Reader) -> Result<(), String> {
        let mut ahead = reader.clone();
        if let (Some(Token::Word(label)), true) = (ahead.next(), ahead.takes(':')) {
            *reader = ahead;
            if let Some(Token::Word(".branchtargets")) = reader.peek() {
                let names = reader.statement()?.operands.into_iter();
                let names = names.filter_map(|o| if let Operand::Name(name) = o { Some(name) } else { None });
                self.tables.insert(label.into(), names.collect());
            } else {
                self.labels.insert(label.into(), self.statements.len());
            }
            return Ok(());
        }
        self.statements.push(reader.statement()?);
        Ok(())
    }
}
