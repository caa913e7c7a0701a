//! A program while it is made: names become numbers, and instructions are added one by one.

use std::collections::HashMap;

use super::lanes::{Bits, Pure, lanes};
use super::module::Function;
use super::program::{DYNAMIC_ALIGN, Instruction, Op, Place, Slot, Space, Special};
use super::text::Operand;

/// What a kernel's text means, as far as it has been read.
pub(super) struct Draft<'a> {
    pub(super) function: &'a Function,
    /// Where arrays in global memory are.
    arrays: &'a HashMap<String, u64>,
    names: HashMap<String, Slot>,
    numbers: HashMap<u64, Slot>,
    /// The carry, if an instruction has it.
    pub(super) carry: Option<Slot>,
    /// Registers in all.
    pub(super) slots: Slot,
    pub(super) constants: Vec<(Slot, u64)>,
    pub(super) specials: Vec<(Slot, Special)>,
    pub(super) code: Vec<Instruction>,
    /// The guard of the statement that is read.
    pub(super) guard: Option<(Slot, bool)>,
    /// Its number.
    pub(super) statement: u32,
}

impl<'a> Draft<'a> {
    pub(super) fn new(function: &'a Function, arrays: &'a HashMap<String, u64>) -> Self {
        Draft {
            function,
            arrays,
            names: HashMap::new(),
            numbers: HashMap::new(),
            carry: None,
            slots: 0,
            constants: Vec::new(),
            specials: Vec::new(),
            code: Vec::new(),
            guard: None,
            statement: 0,
        }
    }

    pub(super) fn emit(&mut self, op: Op) {
        self.code.push(Instruction { guard: self.guard, op, statement: self.statement });
    }

    /// A register that the text does not name.
    pub(super) fn fresh(&mut self) -> Slot {
        self.slots += 1;
        self.slots - 1
    }

    /// The register that is to hold the carry of a sum with `.cc`.
    pub(super) fn make_carry(&mut self) -> Slot {
        let slot = self.carry.unwrap_or_else(|| self.fresh());
        self.carry = Some(slot);
        slot
    }

    /// A register that holds a number.
    pub(super) fn number(&mut self, bits: u64) -> Slot {
        if let Some(&slot) = self.numbers.get(&bits) {
            return slot;
        }
        let slot = self.fresh();
        self.numbers.insert(bits, slot);
        self.constants.push((slot, bits));
        slot
    }

    /// The register that the text calls so, which it must have declared.
    pub(super) fn register(&mut self, name: &str) -> Result<Slot, String> {
        if let Some(&slot) = self.names.get(name) {
            return Ok(slot);
        }
        let family = name.trim_end_matches(|c: char| c.is_ascii_digit());
        if !self.function.registers.iter().any(|declared| declared == name || declared == family) {
            return Err(format!("`{name}` is not declared"));
        }
        let slot = self.fresh();
        self.names.insert(name.into(), slot);
        Ok(slot)
    }

    /// The register that an operand is read from.
    pub(super) fn read(&mut self, operand: &Operand) -> Result<Slot, String> {
        match operand {
            Operand::Number(bits) => Ok(self.number(*bits)),
            Operand::Not(name) => {
                let (from, to) = (self.register(name)?, self.fresh());
                self.emit(Op::Pure { f: lanes!(|a: bool| !a), to, from: [from; 4] });
                Ok(to)
            }
            Operand::Name(name) => match (self.symbol(name), special(name)) {
                (Some((_, at)), _) => Ok(self.number(at)),
                (None, Some(which)) => {
                    if let Some(&slot) = self.names.get(name) {
                        return Ok(slot);
                    }
                    let slot = self.fresh();
                    self.names.insert(name.clone(), slot);
                    self.specials.push((slot, which));
                    Ok(slot)
                }
                (None, None) => self.register(name),
            },
            other => Err(format!("{other:?} where a register or a number should stand")),
        }
    }

    pub(super) fn read_all(&mut self, operands: &[Operand]) -> Result<Vec<Slot>, String> {
        operands.iter().map(|operand| self.read(operand)).collect()
    }

    /// The register that an operand is written to; `_` is one that nobody reads.
    pub(super) fn write(&mut self, operand: &Operand) -> Result<Slot, String> {
        match operand {
            Operand::Name(name) if name == "_" => Ok(self.fresh()),
            Operand::Name(name) => self.register(name),
            other => Err(format!("{other:?} where a register should stand")),
        }
    }

    pub(super) fn write_all(&mut self, operands: &[Operand]) -> Result<Vec<Slot>, String> {
        operands.iter().map(|operand| self.write(operand)).collect()
    }

    /// `to = f(from)`.
    pub(super) fn apply(&mut self, f: Pure, to: Slot, from: &[Operand]) -> Result<(), String> {
        let wanted = match f {
            Pure::One(_) => 1,
            Pure::Two(_) => 2,
            Pure::Three(_) => 3,
            Pure::Four(_) => 4,
        };
        if from.len() != wanted {
            return Err(format!("{} operands where {wanted} should stand", from.len()));
        }
        let mut slots = [0; 4];
        for (slot, operand) in slots.iter_mut().zip(from) {
            *slot = self.read(operand)?;
        }
        self.emit(Op::Pure { f, to, from: slots });
        Ok(())
    }

    /// The statement that a label stands before.
    pub(super) fn label(&self, name: &str) -> Result<usize, String> {
        self.function.labels.get(name).copied().ok_or_else(|| format!("there is no label {name}"))
    }

    /// Where the array or parameter of this name is.
    fn symbol(&self, name: &str) -> Option<(Space, u64)> {
        let function = self.function;
        if function.dynamic.iter().any(|dynamic| dynamic == name) {
            return Some((Space::Shared, function.shared.size.next_multiple_of(DYNAMIC_ALIGN)));
        }
        let rooms = [
            (Space::Param, &function.params.places),
            (Space::Shared, &function.shared.places),
            (Space::Local, &function.local.places),
            (Space::Global, self.arrays),
        ];
        rooms.into_iter().find_map(|(space, places)| Some((space, *places.get(name)?)))
    }

    /// `[base+offset]` in a space.
    pub(super) fn place(&mut self, space: Space, operand: &Operand) -> Result<Place, String> {
        let Operand::Address(base, offset) = operand else { return Err(format!("{operand:?} is no address")) };
        let mut window = 0;
        if let Operand::Name(name) = base.as_ref()
            && let Some((found, _)) = self.symbol(name)
        {
            match space {
                Space::Generic => window = found.window(),
                _ if space == found => {}
                _ => return Err(format!("`{name}` is not in this memory")),
            }
        }
        Ok(Place { space, base: self.read(base)?, offset: offset + window as i64 })
    }
}

/// A special register. Launches are along x, but kernels may ask for the other indices of the grid.
fn special(name: &str) -> Option<Special> {
    let (name, axis) = match name.rsplit_once('.') {
        Some((name, axis)) => (name, ["x", "y", "z"].iter().position(|&a| a == axis)?),
        None => (name, 0),
    };
    match name {
        "%tid" => Some(Special::Thread(axis)),
        "%ntid" => Some(Special::Threads(axis)),
        "%ctaid" => Some(Special::Block(axis)),
        "%nctaid" => Some(Special::Blocks(axis)),
        "%laneid" => Some(Special::Lane),
        "%cluster_ctarank" => Some(Special::Rank),
        "%cluster_nctarank" => Some(Special::Ranks),
        _ => None,
    }
}
