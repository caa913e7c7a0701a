//! The kernels' parameter structs: reads them in the C++ sources, where alone they are written, and writes them again
//! for Rust, and as tables of fields for the emulator, which compares the two at each launch.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use crate::scan::{Source, code, is_identifier};

/// What a field may be: its name in C++ and in Rust, its size and its alignment.
const TYPES: [(&str, &str, usize, usize); 9] = [
    ("buffer", "Ptr", 8, 8),
    ("uint64_t", "u64", 8, 8),
    ("int64_t", "i64", 8, 8),
    ("double", "f64", 8, 8),
    ("uint32_t", "u32", 4, 4),
    ("int32_t", "i32", 4, 4),
    ("float", "f32", 4, 4),
    // kernels/device/divisor.cuh and src/backend/divisor.rs
    ("Divisor", "Divisor", 8, 4),
    // kernels/device/tensor_map.cuh and src/backend/tensor_map.rs
    ("TensorMap", "TensorMap", 128, 64),
];

/// Words of Rust's that C++ would take as the name of a field.
const RUST_WORDS: &str = "abstract as async await become box crate dyn fn final gen impl in let loop macro match mod move mut \
    override priv pub ref self super trait type unsized unsafe use where yield";

/// The struct that kernels of one file are given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Struct {
    pub name: String,
    /// The `.cu` file.
    pub file: PathBuf,
    fields: Vec<Field>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    name: String,
    rust: &'static str,
    /// Elements of an array.
    count: Option<usize>,
    size: usize,
    align: usize,
    line: usize,
}

/// The structs that the kernels of a file name, which it defines itself.
pub fn of(source: &Source) -> Result<Vec<Struct>, String> {
    let code = code(&source.text);
    let path = source.path.display();
    let mut structs: Vec<Struct> = Vec::new();
    for kernel in &source.kernels {
        let name = &kernel.params;
        if structs.iter().any(|known| known.name == *name) {
            continue;
        }
        let Some((at, body)) = body(&code, name) else {
            let missing = format!("kernel {} is given {name}, but there is no `struct {name} {{ ... }};`", kernel.name);
            return Err(format!("{path}: {missing} here; a parameter struct stands in the file of its kernels"));
        };
        let (first, last) = (line(&code, at), line(&code, at + body.len()));
        // `code` has dropped them, and each compiler would follow them its own way.
        let mut lines = source.text.lines().zip(1..).skip(first - 1).take(last + 1 - first);
        if let Some((_, line)) = lines.find(|(text, _)| text.trim_start().starts_with('#')) {
            return Err(format!("{path}:{line}: {name}: a parameter struct holds no preprocessor lines"));
        }
        let fields = fields(body, first);
        let fields = fields.and_then(|fields| padding(&fields).map_or(Ok(fields), Err));
        let fields = fields.map_err(|(line, what)| format!("{path}:{line}: {name}: {what}"))?;
        structs.push(Struct { name: name.clone(), file: source.path.clone(), fields });
    }
    Ok(structs)
}

/// As [`of`], of all files, which may not share a name.
pub fn all(sources: &[Source]) -> Result<Vec<Struct>, String> {
    let mut found: BTreeMap<String, Struct> = BTreeMap::new();
    for source in sources {
        for params in of(source)? {
            if let Some(other) = found.get(&params.name) {
                let (name, a, b) = (&params.name, other.file.display(), params.file.display());
                return Err(format!("struct {name} is defined in {a} and in {b}: the two need two names"));
            }
            found.insert(params.name.clone(), params);
        }
    }
    Ok(found.into_values().collect())
}

/// The structs for Rust.
pub fn rust(structs: &[Struct]) -> String {
    let mut text = String::new();
    for Struct { name, file, fields } in structs {
        let file = file.display().to_string().replace('\\', "/");
        let _ = writeln!(text, "crate::params! {{\n    /// What kernels of `{file}` are given.");
        let _ = writeln!(text, "    pub(crate) struct {name} {{");
        for Field { name, rust, count, .. } in fields {
            let _ = match count {
                Some(count) => writeln!(text, "        {name}: [{rust}; {count}],"),
                None => writeln!(text, "        {name}: {rust},"),
            };
        }
        text.push_str("    }\n}\n");
    }
    text
}

impl Struct {
    /// The function that kernels compiled for the host give their struct's fields by; `KERNEL` declares it.
    #[cfg_attr(not(feature = "emulator"), allow(dead_code))]
    pub fn layout(&self) -> String {
        let Struct { name, fields, .. } = self;
        let mut text = format!("static ::veridical::host::Layout {name}_layout() {{\n");
        text.push_str("    static const ::veridical::host::Field fields[] = {\n");
        for Field { name: field, .. } in fields {
            let _ = writeln!(text, "        {{\"{field}\", offsetof({name}, {field}), sizeof({name}::{field})}},");
        }
        let _ = writeln!(text, "    }};\n    return {{\"{name}\", fields, {}, sizeof({name})}};\n}}", fields.len());
        text
    }
}

/// What stands between the braces of `struct name { ... }`, and where.
fn body<'a>(code: &'a str, name: &str) -> Option<(usize, &'a str)> {
    code.match_indices("struct").find_map(|(at, word)| {
        let whole = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let rest = code[at + word.len()..].strip_prefix(char::is_whitespace)?;
        let rest = rest.trim_start().strip_prefix(name)?.trim_start().strip_prefix('{')?;
        whole.then(|| (code.len() - rest.len(), rest.split('}').next().unwrap_or_default()))
    })
}

fn line(code: &str, at: usize) -> usize {
    1 + code[..at].matches('\n').count()
}

/// A problem, and the line where it is.
type Problem = (usize, String);

/// The declarations of a body that begins on line `first`.
fn fields(body: &str, first: usize) -> Result<Vec<Field>, Problem> {
    let mut fields: Vec<Field> = Vec::new();
    let mut at = 0;
    for declaration in body.split_inclusive(';') {
        let start = at + declaration.len() - declaration.trim_start().len();
        at += declaration.len();
        let declaration = declaration.trim();
        if declaration.is_empty() {
            continue;
        }
        let line = first + line(body, start) - 1;
        let declared = declaration.strip_suffix(';').and_then(declared).ok_or_else(|| {
            let types = TYPES.map(|(cpp, ..)| cpp).join(", ");
            let shown = declaration.split_whitespace().collect::<Vec<_>>().join(" ");
            let what = format!("a parameter struct may hold {types}, and arrays of them as in `uint64_t extents[5];`");
            (line, format!("`{shown}`: {what}"))
        })?;
        for (name, count, (_, rust, size, align)) in declared {
            if RUST_WORDS.split_whitespace().any(|word| word == name) {
                return Err((
                    line,
                    format!("`{name}` is a word of Rust's, which makes this struct its own too: give it another name"),
                ));
            }
            let size = size * count.unwrap_or(1);
            fields.push(Field { name: name.into(), rust, count, size, align, line });
        }
    }
    if fields.is_empty() {
        return Err((first, "a parameter struct has at least one field".into()));
    }
    Ok(fields)
}

type Type = (&'static str, &'static str, usize, usize);

/// The names and array lengths of `type name, array[length]`, if it is one that can be read.
fn declared(declaration: &str) -> Option<Vec<(&str, Option<usize>, Type)>> {
    let (word, declarators) = declaration.split_once(char::is_whitespace)?;
    let of = TYPES.into_iter().find(|(cpp, ..)| *cpp == word)?;
    declarators.split(',').map(|text| declarator(text).map(|(name, count)| (name, count, of))).collect()
}

fn declarator(text: &str) -> Option<(&str, Option<usize>)> {
    let (name, count) = match text.split_once('[') {
        None => (text.trim(), None),
        Some((name, rest)) => {
            // A leading zero means octal in C++ alone.
            let digits = rest.trim_end().strip_suffix(']')?.trim();
            (name.trim(), Some(digits.parse().ok().filter(|_| !digits.starts_with('0'))?))
        }
    };
    is_identifier(name).then_some((name, count))
}

/// Bytes that neither language names: whoever compares or copies a struct would meet what happens to stand there.
fn padding(fields: &[Field]) -> Option<Problem> {
    let mut names = (1..).map(|i| if i == 1 { "unused".to_string() } else { format!("unused{i}") });
    let unused = names.find(|name| fields.iter().all(|field| field.name != *name))?;
    let mut at = 0;
    for field in fields {
        if at % field.align != 0 {
            let (bytes, filler) = filler(at, field.align, &unused);
            let what = format!("padding of {bytes} bytes before `{}`: put `{filler}` there", field.name);
            return Some((field.line, what + ", or the fields of most bytes first"));
        }
        at += field.size;
    }
    let align = fields.iter().map(|field| field.align).max()?;
    let last = fields.last()?.line;
    let (bytes, filler) = filler(at, align, &unused);
    (at % align != 0).then(|| (last, format!("padding of {bytes} bytes at the end: put `{filler}` there")))
}

/// How many bytes are missing at `at`, and what fills them.
fn filler(at: usize, align: usize, name: &str) -> (usize, String) {
    let bytes = at.next_multiple_of(align) - at;
    match bytes / 4 {
        1 => (bytes, format!("uint32_t {name};")),
        count => (bytes, format!("uint32_t {name}[{count}];")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        let kernels = crate::scan::declared(text).unwrap();
        Source { path: path.into(), stem: "a".into(), text: text.into(), kernels }
    }

    /// The struct of one kernel, whose fields begin on line 3.
    fn of_fields(fields: &str) -> Result<Struct, String> {
        let text = format!("// a kernel\nstruct P {{\n{fields}\n}};\nKERNEL(a, P) {{}}\n");
        of(&source("kernels/a.cu", &text)).map(|structs| structs[0].clone())
    }

    #[test]
    fn both_languages_get_every_field_of_every_type() {
        let params = of_fields(
            "    buffer x,y;  // two /* in one line\n    uint64_t n /* of\n all */;\n    int64_t at;double rate;\n\
                 uint64_t\n extents [ 5 ] , n2[3];\n\
                 Divisor width, heights[2]; float taps[32]; uint32_t wide; int32_t shift;",
        );
        let params = params.unwrap();
        let rust = "crate::params! {\n    /// What kernels of `kernels/a.cu` are given.\n    pub(crate) struct P {\n        \
            x: Ptr,\n        y: Ptr,\n        n: u64,\n        at: i64,\n        rate: f64,\n        extents: [u64; 5],\n        \
            n2: [u64; 3],\n        width: Divisor,\n        heights: [Divisor; 2],\n        taps: [f32; 32],\n        \
            wide: u32,\n        shift: i32,\n    }\n}\n";
        assert_eq!(super::rust(std::slice::from_ref(&params)), rust);
        let layout = params.layout();
        assert!(layout.starts_with("static ::veridical::host::Layout P_layout() {"), "{layout}");
        assert!(layout.contains("{\"n2\", offsetof(P, n2), sizeof(P::n2)},"), "{layout}");
        assert!(layout.contains("return {\"P\", fields, 12, sizeof(P)};"), "{layout}");
    }

    #[test]
    fn what_no_struct_may_hold_is_named_with_its_line() {
        for (fields, line, shown) in [
            ("buffer x;\nbool causal;", 4, "`bool causal;`"),
            ("/* one\ntwo */ buffer x; size_t\n  n;", 4, "`size_t n;`"),
            ("float* x;", 3, "`float* x;`"),
            ("uint64_t *x;", 3, "`uint64_t *x;`"),
            ("unsigned int n;", 3, "`unsigned int n;`"),
            ("const float x;", 3, "`const float x;`"),
            ("\n\nfloat x = 1.0f;", 5, "`float x = 1.0f;`"),
            ("uint32_t bits : 3;", 3, "`uint32_t bits : 3;`"),
            ("uint64_t extents[AXES];", 3, "`uint64_t extents[AXES];`"),
            ("uint64_t extents[010];", 3, "`uint64_t extents[010];`"),
            ("uint64_t extents[0];", 3, "`uint64_t extents[0];`"),
            ("float rotation[3][3];", 3, "`float rotation[3][3];`"),
            (
                "buffer x;\nDEVICE float f() const { return 1.0f; }\nbuffer y;",
                4,
                "`DEVICE float f() const { return 1.0f;`",
            ),
            ("uint64_t n", 3, "`uint64_t n`"),
        ] {
            let error = of_fields(fields).unwrap_err();
            assert!(
                error.starts_with(&format!("kernels/a.cu:{line}: P: {shown}: a parameter struct may hold buffer, ")),
                "{error}"
            );
        }
        let error = of_fields("\nuint64_t loop;").unwrap_err();
        assert!(error.starts_with("kernels/a.cu:4: P: `loop` is a word of Rust's"), "{error}");
        let error = of_fields("buffer x;\n  #ifdef VERIDICAL_HOST\nbuffer y;\n#endif").unwrap_err();
        assert_eq!(error, "kernels/a.cu:4: P: a parameter struct holds no preprocessor lines");
        assert!(of_fields("  \n").unwrap_err().contains("P: a parameter struct has at least one field"));
    }

    #[test]
    fn padding_is_refused_with_the_field_to_put_there() {
        for (fields, line, place, field) in [
            ("buffer x;\nuint32_t wide;\nuint64_t n;", 5, "before `n`", "uint32_t unused;"),
            ("buffer x;\nuint32_t wide;", 4, "at the end", "uint32_t unused;"),
            ("uint32_t wide, unused, n;\ndouble rate;", 4, "before `rate`", "uint32_t unused2;"),
            ("buffer x; float taps[3];", 3, "at the end", "uint32_t unused;"),
        ] {
            let error = of_fields(fields).unwrap_err();
            let expected = format!("kernels/a.cu:{line}: P: padding of 4 bytes {place}: put `{field}` there");
            assert!(error.starts_with(&expected), "{error}");
        }
        for (fields, place, field) in [
            ("buffer x; TensorMap a;", "padding of 56 bytes before `a`", "uint32_t unused[14];"),
            ("TensorMap a, b; buffer x; uint32_t m, n, k;", "padding of 44 bytes at the end", "uint32_t unused[11];"),
        ] {
            let error = of_fields(fields).unwrap_err();
            assert!(error.starts_with(&format!("kernels/a.cu:3: P: {place}: put `{field}` there")), "{error}");
        }
        for fields in
            ["uint32_t a, b, c;", "buffer x; float a, b;", "Divisor d; buffer x;", "float a; Divisor d; float b;"]
        {
            of_fields(fields).unwrap();
        }
    }

    #[test]
    fn a_struct_stands_once_and_beside_its_kernels() {
        let error = of(&source("a.cu", "struct PQ { buffer x; }; KERNEL(k, P) {}")).unwrap_err();
        assert!(error.starts_with("a.cu: kernel k is given P, but there is no `struct P { ... };` here"), "{error}");
        assert!(of(&source("a.cu", "// struct P { buffer x; };\nKERNEL(k, P) {}")).is_err());

        let one = |path, struct_name, kernel| {
            source(path, &format!("struct {struct_name} {{ buffer x; }};\nKERNEL({kernel}, {struct_name}) {{}}"))
        };
        let error = all(&[one("a.cu", "P", "a"), one("b.cu", "P", "b")]).unwrap_err();
        assert_eq!(error, "struct P is defined in a.cu and in b.cu: the two need two names");
        let text = "struct P { buffer x; }; struct Unread { bool b; }; struct Q { buffer y; };\n\
            KERNEL_BOUNDS(a, Q, 256) {} FAMILY(b, P, F) KERNEL(c, Q) {}";
        let found = all(&[source("a.cu", text), one("b.cu", "R", "b")]).unwrap();
        assert_eq!(found.iter().map(|params| params.name.as_str()).collect::<Vec<_>>(), ["P", "Q", "R"]);
    }
}
