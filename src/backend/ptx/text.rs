//! PTX as it is written: words and signs, and instructions and directives made of them.

/// What an instruction is applied to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    /// A register, a special register, a label, a parameter or an array, by its name.
    Name(String),
    /// A predicate, negated.
    Not(String),
    /// The bits of a number: those of an integer in 64 bits, of an f32 in the lower half.
    Number(u64),
    /// Memory at a register, an array, a parameter or a number, and so many bytes further on.
    Address(Box<Operand>, i64),
    /// Several registers that are loaded, stored, packed or multiplied together.
    Vector(Vec<Operand>),
    /// A box of a tensor: `[map, {x, y}]`.
    Box(Box<Operand>, Vec<Operand>),
    /// The two results of `a|b`.
    Pair(String, String),
}

/// One instruction, or a directive such as `.reg`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Statement {
    /// The predicate that says which lanes it is for, and whether it is negated.
    pub(super) guard: Option<(String, bool)>,
    /// `ld.global.v4.u32`, or `.reg`.
    pub(super) opcode: String,
    pub(super) operands: Vec<Operand>,
    /// As it stands in the text, on one line.
    pub(super) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Token<'a> {
    /// Letters, digits, `_ $ % .` and `::`.
    Word(&'a str),
    /// A string without its quotes.
    Quoted(&'a str),
    Sign(char),
}

/// Reads tokens one by one.
#[derive(Clone)]
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Reader { text, at: 0 }
    }

    /// How many bytes have been read.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Goes on behind the end of the line: `.loc` and `.file` end there.
    pub(super) fn skip_line(&mut self) {
        self.at += self.rest().find('\n').unwrap_or(self.rest().len());
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_blank(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if trimmed.starts_with("//") {
                self.skip_line();
            } else if trimmed.starts_with("/*") {
                self.at += trimmed.find("*/").map_or(trimmed.len(), |end| end + 2);
            } else {
                return;
            }
        }
    }

    pub(super) fn peek(&self) -> Option<Token<'a>> {
        self.clone().next()
    }

    /// The next word, sign or string; anything else is an error.
    pub(super) fn expect(&mut self, what: &str) -> Result<Token<'a>, String> {
        self.next().ok_or_else(|| format!("the text ends where {what} should stand"))
    }

    pub(super) fn word(&mut self, what: &str) -> Result<&'a str, String> {
        match self.expect(what)? {
            Token::Word(word) => Ok(word),
            other => Err(format!("{other:?} where {what} should stand")),
        }
    }

    pub(super) fn sign(&mut self, sign: char) -> Result<(), String> {
        match self.expect(&format!("`{sign}`"))? {
            Token::Sign(found) if found == sign => Ok(()),
            other => Err(format!("{other:?} where `{sign}` should stand")),
        }
    }

    /// Takes the sign if it comes next.
    pub(super) fn takes(&mut self, sign: char) -> bool {
        let there = self.peek() == Some(Token::Sign(sign));
        if there {
            self.next();
        }
        there
    }

    /// An instruction or directive up to its `;`, whose first word is next.
    pub(super) fn statement(&mut self) -> Result<Statement, String> {
        self.skip_blank();
        let begin = self.at;
        let mut guard = None;
        if self.takes('@') {
            let negated = self.takes('!');
            guard = Some((self.word("a predicate")?.to_string(), negated));
        }
        let opcode = self.word("an opcode")?.to_string();
        let mut operands = Vec::new();
        while !self.takes(';') {
            operands.push(self.operand()?);
            if self.peek() != Some(Token::Sign(';')) {
                self.sign(',')?;
            }
        }
        let text = self.text[begin..self.at].split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(Statement { guard, opcode, operands, text })
    }

    pub(super) fn operand(&mut self) -> Result<Operand, String> {
        match self.expect("an operand")? {
            Token::Sign('-') => match number(self.word("a number")?) {
                Some(bits) => Ok(Operand::Number(bits.wrapping_neg())),
                None => Err("a minus before something that is no whole number".into()),
            },
            Token::Sign('!') => Ok(Operand::Not(self.word("a predicate")?.to_string())),
            Token::Sign('{') => {
                let mut parts = Vec::new();
                while !self.takes('}') {
                    parts.push(self.operand()?);
                    self.takes(',');
                }
                Ok(Operand::Vector(parts))
            }
            Token::Sign('[') => {
                let base = self.operand()?;
                if self.takes(',') {
                    let Operand::Vector(at) = self.operand()? else { return Err("a box without coordinates".into()) };
                    self.sign(']')?;
                    return Ok(Operand::Box(Box::new(base), at));
                }
                let mut offset = 0;
                while !self.takes(']') {
                    self.takes('+');
                    match self.operand()? {
                        Operand::Number(bits) => offset += bits as i64,
                        other => return Err(format!("{other:?} in an address where a number should stand")),
                    }
                }
                Ok(Operand::Address(Box::new(base), offset))
            }
            Token::Word(word) => match number(word) {
                Some(bits) => Ok(Operand::Number(bits)),
                None if self.takes('|') => Ok(Operand::Pair(word.into(), self.word("a predicate")?.into())),
                None => Ok(Operand::Name(word.into())),
            },
            other => Err(format!("{other:?} where an operand should stand")),
        }
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_blank();
        let rest = self.rest();
        let first = rest.chars().next()?;
        if first == '"' {
            let end = rest[1..].find('"').map_or(rest.len(), |end| end + 1);
            self.at += (end + 1).min(rest.len());
            return Some(Token::Quoted(&rest[1..end]));
        }
        let mut end = 0;
        while let Some(c) = rest[end..].chars().next() {
            if c.is_ascii_alphanumeric() || "_$%.".contains(c) {
                end += 1;
            } else if end > 0 && rest[end..].starts_with("::") {
                end += 2;
            } else {
                break;
            }
        }
        if end == 0 {
            self.at += first.len_utf8();
            return Some(Token::Sign(first));
        }
        self.at += end;
        Some(Token::Word(&rest[..end]))
    }
}

/// The bits of a number: `12`, `0x1F`, `017`, `0b101`, `0f3F800000`, `0d3FF0000000000000`; a `U` may follow integers.
fn number(word: &str) -> Option<u64> {
    if !word.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if let Some(bits) = word.strip_prefix("0f").or_else(|| word.strip_prefix("0F")) {
        return u32::from_str_radix(bits, 16).ok().map(u64::from);
    }
    if let Some(bits) = word.strip_prefix("0d").or_else(|| word.strip_prefix("0D")) {
        return u64::from_str_radix(bits, 16).ok();
    }
    let word = word.strip_suffix('U').unwrap_or(word);
    let radix = |digits: &str, radix| u64::from_str_radix(digits, radix).ok();
    match word.as_bytes() {
        [b'0', b'x' | b'X', ..] => radix(&word[2..], 16),
        [b'0', b'b' | b'B', ..] => radix(&word[2..], 2),
        [b'0', _, ..] => radix(&word[1..], 8),
        _ => radix(word, 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Operand {
        Operand::Name(name.into())
    }

    #[test]
    fn instructions_are_read_with_all_that_they_may_hold() {
        let text = "// a comment\n@!%p1 ld.global.L2::128B.v2.b32 /* wide */ {%r1, %r2}, [%rd4+-8];";
        let statement = Reader::new(text).statement().unwrap();
        assert_eq!(statement.guard, Some(("%p1".into(), true)));
        assert_eq!(statement.opcode, "ld.global.L2::128B.v2.b32");
        let address = Operand::Address(Box::new(name("%rd4")), -8);
        assert_eq!(statement.operands, [Operand::Vector(vec![name("%r1"), name("%r2")]), address]);

        let statement = Reader::new("ld.x [%r1], [%rd2, {%r3, -1}], [%r4];").statement().unwrap();
        let at = vec![name("%r3"), Operand::Number(u64::MAX)];
        assert_eq!(statement.operands[1], Operand::Box(Box::new(name("%rd2")), at));

        let statement = Reader::new("shfl.sync.bfly.b32 %r1|%p2, %r3, -1, 0x1f, 0f3F800000;ret;").statement().unwrap();
        assert_eq!(statement.operands[0], Operand::Pair("%r1".into(), "%p2".into()));
        let numbers = [u64::MAX, 31, 0x3f80_0000].map(Operand::Number);
        assert_eq!(statement.operands[2..], numbers);
        assert!(statement.text.ends_with("0f3F800000;"));
    }

    #[test]
    fn what_is_cut_short_is_an_error() {
        for text in ["", "@", "add.s32 %r1, %r2", "ld.global.u32 %r1, [%rd1", "mov.b32 %r1, -%r2;", "add.s32 %r1 %r2;"]
        {
            assert!(Reader::new(text).statement().is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_are_read_in_every_base() {
        let cases = [
            ("12", 12),
            ("0x1F", 31),
            ("017", 15),
            ("0b101", 5),
            ("0", 0),
            ("7U", 7),
            ("0d3FF0000000000000", 0x3ff << 52),
        ];
        for (text, bits) in cases {
            assert_eq!(number(text), Some(bits), "{text}");
        }
        assert_eq!((number("%r1"), number("0xg"), number("9z")), (None, None, None));
    }
}
