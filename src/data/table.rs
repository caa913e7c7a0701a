//! Tables: text files of rows with a number in each column, `.csv` or `.tsv`.

use std::collections::BTreeMap;
use std::path::Path;

use super::npy::{Array, Kind, Type, Values};
use super::{DataSet, ReadOptions, arrays, columns, source};
use crate::escape::escaped;
use crate::figures::counted;
use crate::{Error, Result};

/// Columns of these names hold classes, where nothing else says which does.
const CLASS: [&str; 4] = ["class", "label", "labels", "target"];
/// Classes of a column of words at most.
const MAX_WORDS: usize = 1000;

/// Reads a table: a point a row, a dimension a column, without the column of classes if there is one. The first row is
/// a header if it has anything but numbers; its names are kept, and the columns put into the order of those that they
/// [belong beside](ReadOptions::like_columns).
///
/// Errors on other names than those, and with line and column on rows of another length, on what is no number and on
/// numbers that are not finite.
pub(super) fn open(path: &Path, name: &str, options: &ReadOptions) -> Result<DataSet> {
    let bytes = source::all(path, &mut source::open(path)?, source::MAX_BYTES)?;
    let named = |what: String| Error::format(path, what);
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    if std::str::from_utf8(bytes).is_err() {
        return Err(named("no UTF-8 text; save the table as UTF-8".into()));
    }
    // Whatever separates columns does so in the first row, outside of quotes; a comma may be one of numbers elsewhere.
    let mut quoted = false;
    let line = bytes.split(|&b| b == b'\n').next().unwrap_or_default();
    let outside: Vec<u8> = line
        .iter()
        .copied()
        .filter(|&b| {
            quoted ^= b == b'"';
            !quoted
        })
        .collect();
    let delimiter = [b'\t', b';'].into_iter().find(|byte| outside.contains(byte)).unwrap_or(b',');
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter).has_headers(false).trim(csv::Trim::All).from_reader(bytes);
    let mut rows = reader.records().enumerate().map(|(row, record)| {
        let ragged = |e: csv::Error| match e.kind() {
            csv::ErrorKind::UnequalLengths { expected_len, len, pos } => {
                let line = pos.as_ref().map_or(row as u64 + 1, csv::Position::line);
                let columns = counted(*len as usize, "column", "columns");
                named(format!("line {line} has {columns}, the first has {expected_len}"))
            }
            _ => named(e.to_string()),
        };
        record.map_err(ragged)
    });
    let Some(head) = rows.next().transpose()? else { return Err(named("no rows".into())) };
    let second = rows.next().transpose()?;
    let is_header = is_header(&head, second.as_ref());
    let header: Option<Vec<String>> = is_header.then(|| head.iter().map(String::from).collect());
    let class = class_column(header.as_deref(), head.len(), options).map_err(named)?;
    let dims = head.len() - usize::from(class.is_some());
    let own: Vec<String> =
        header.iter().flatten().enumerate().filter(|(i, _)| class != Some(*i)).map(|(_, name)| name.clone()).collect();
    let order = columns::order(&own, &options.like_columns).map_err(named)?;
    let column = |i: usize| match &header {
        Some(names) => format!("{} ({})", i + 1, escaped(&names[i])),
        None => (i + 1).to_string(),
    };
    let (mut values, mut words) = (Vec::new(), Vec::new());
    for record in (!is_header).then_some(Ok(head)).into_iter().chain(second.map(Ok)).chain(rows) {
        let record = record?;
        let line = record.position().map_or(1, csv::Position::line);
        for (i, field) in record.iter().enumerate() {
            if class == Some(i) {
                if field.is_empty() {
                    let what = format!("line {line}, column {}: nothing, where a class is expected", column(i));
                    return Err(named(what));
                }
                words.push(field.to_string());
                continue;
            }
            let number = field.parse::<f64>().ok().filter(|x| x.is_finite());
            values.push(number.ok_or_else(|| {
                let shown = if field.is_empty() { "nothing".into() } else { escaped(field).to_string() };
                let advice = match delimiter == b';' && field.replace(',', ".").parse::<f64>().is_ok() {
                    true => "write numbers with a point".into(),
                    false => advice(field, header.as_ref().map(|names| &*names[i]), options),
                };
                named(format!("line {line}, column {}: {shown}, where a number is expected; {advice}", column(i)))
            })?);
        }
    }
    // A column that is only called so is one of numbers if it has fractions.
    let fractions = words.iter().any(|word| word.parse::<f64>().is_ok_and(|x| x.fract() != 0.0));
    if let (None, true, Some(i)) = (&options.class_column, fractions, class) {
        let mut set = open(path, name, &ReadOptions { class_column: Some("none".into()), ..options.clone() })?;
        set.reading.converted.push(format!("column {} has fractions, so it is no class but one of numbers", column(i)));
        return Ok(set);
    }
    if values.is_empty() || dims == 0 {
        return Err(named("no numbers: a table has a row for each sample and a column for each dimension".into()));
    }
    let suspicious = suspicious(header.as_deref(), class, &values, dims);
    let values = match &order {
        None => values,
        Some(order) => values.chunks_exact(dims).flat_map(|row| order.iter().map(|&i| row[i])).collect(),
    };
    let array = Array { shape: vec![values.len() / dims, dims], values: Values::F64(values) };
    let labels = class.map(|_| classes(&words)).transpose().map_err(named)?;
    let form = format!("table{}", if is_header { " with a header" } else { "" });
    let said = class.map(|i| format!("column {} is the class", column(i)));
    let names: Vec<String> =
        (0..dims + usize::from(class.is_some())).filter(|i| class != Some(*i)).map(column).collect();
    let ordered = |names: &[String]| match &order {
        None => names.to_vec(),
        Some(order) => order.iter().map(|&i| names[i].clone()).collect(),
    };
    let options = &ReadOptions { columns: ordered(&names), ..options.clone() };
    let numbers = Type { kind: Kind::Float, width: 8 };
    let mut set = arrays::table(name, (array, numbers), labels, (form, said), options).map_err(named)?;
    set.train = set.train.with_columns(&ordered(&own))?;
    if order.is_some() {
        let (from, to) = (columns::listed(&own), columns::listed(set.train.columns()));
        set.reading.converted.push(format!("columns {from} put into the order {to} of those that they belong to"));
    }
    set.reading.columns.clone_from(&options.columns);
    set.reading.warnings.extend(suspicious);
    Ok(set)
}

/// What to do about a field, of a column with this name, that is no number.
fn advice(field: &str, name: Option<&str>, options: &ReadOptions) -> String {
    // What tables say where nothing is known, and numbers that are not finite.
    let gap = ["", "na", "n/a", "null", "none", "-", "?"].contains(&&*field.to_lowercase());
    if gap || field.parse::<f64>().is_ok() {
        return "fill it in, or take the row or the column out".into();
    }
    let asked = options.class_column.as_deref().filter(|asked| !asked.is_empty());
    match (asked, name) {
        (None, _) => "take the column away, or name it by --class-column if it is the class".into(),
        (Some(asked), Some(name)) if CLASS.contains(&&*name.to_lowercase()) => {
            let (asked, name) = (escaped(asked), escaped(name));
            format!(
                "with --class-column {asked} the column {name} counts as numbers: take it away, or leave --class-column \
                 out, which makes it the class"
            )
        }
        (Some(asked), _) => {
            let asked = escaped(asked);
            format!("with --class-column {asked} this column counts as numbers: take it away, or name it instead")
        }
    }
}

/// Whether the first row names the columns: all of it is words, or some of it where the second row has numbers.
fn is_header(first: &csv::StringRecord, second: Option<&csv::StringRecord>) -> bool {
    let is_word = |field: &str| !field.is_empty() && field.parse::<f64>().is_err();
    let all = first.iter().all(|field| field.is_empty() || is_word(field));
    let beside = |second: &csv::StringRecord| {
        first.iter().zip(second.iter()).any(|(a, b)| is_word(a) && b.parse::<f64>().is_ok())
    };
    all && first.iter().any(is_word) || second.is_some_and(beside)
}

/// Words on rows and columns that seem to be something else than numbers of samples: what tables are written with by
/// those who do not ask for it.
fn suspicious(header: Option<&[String]>, class: Option<usize>, values: &[f64], dims: usize) -> Vec<String> {
    // From 0 or 1 on, in steps of 1.
    let counts = |step: usize, end: usize| {
        let all = values[..end].iter().step_by(step);
        [0.0, 1.0].contains(&values[0]) && all.enumerate().all(|(i, x)| *x == values[0] + i as f64)
    };
    let rows = values.len() / dims;
    let mut said = Vec::new();
    let first = usize::from(class == Some(0));
    let unnamed = header.is_none_or(|names| ["", "index", "id"].contains(&&*names[first].to_lowercase()));
    if dims > 1 && rows > 2 && unnamed && counts(dims, values.len()) {
        said.push(
            "the first column of numbers counts the rows, and is learned like any other: take it away if it only numbers them"
                .into(),
        );
    }
    if header.is_none() && dims > 2 && counts(1, dims) {
        said.push("the first row counts the columns, and is taken as a sample: take it away if it is a header".into());
    }
    if let Some(twice) = header
        .and_then(|names| names.iter().enumerate().find(|(i, name)| !name.is_empty() && names[..*i].contains(name)))
    {
        said.push(format!("two columns are called {}", escaped(twice.1)));
    }
    said
}

/// Which column holds the class: the one that is asked for, by name or counted from 1, or one with such a name.
fn class_column(header: Option<&[String]>, columns: usize, options: &ReadOptions) -> Result<Option<usize>, String> {
    let Some(asked) = &options.class_column else {
        // What is a number of those that this one belongs beside is one here, too.
        let is_class = |name: &String| CLASS.contains(&&*name.to_lowercase()) && !options.like_columns.contains(name);
        let named = |names: &[String]| names.iter().position(is_class);
        return Ok(header.and_then(named));
    };
    if asked.is_empty() || asked == "none" {
        return Ok(None);
    }
    let of_that_name = header.map_or(0, |names| names.iter().filter(|name| *name == asked).count());
    if of_that_name > 1 {
        return Err(format!("{of_that_name} columns are called {}: say which by its number, from 1", escaped(asked)));
    }
    let by_name = header.and_then(|names| names.iter().position(|name| name == asked));
    let by_number = || asked.parse::<usize>().ok().filter(|i| (1..=columns).contains(i)).map(|i| i - 1);
    match by_name.or_else(by_number) {
        Some(i) => Ok(Some(i)),
        None => {
            let known = header.map_or(format!("{columns} columns without names"), |names| {
                format!(
                    "the columns {}",
                    names.iter().map(|name| escaped(name).to_string()).collect::<Vec<_>>().join(", ")
                )
            });
            Err(format!("no column {}: there are {known}", escaped(asked)))
        }
    }
}

/// The classes of words, in the order of whole numbers or of the alphabet, and their names.
fn classes(words: &[String]) -> Result<(Vec<u32>, Vec<String>), String> {
    let numbers: Option<Vec<i64>> = words.iter().map(|word| word.parse().ok()).collect();
    let mut known: Vec<(Option<i64>, &String)> =
        words.iter().enumerate().map(|(i, word)| (numbers.as_ref().map(|numbers| numbers[i]), word)).collect();
    known.sort();
    known.dedup();
    if known.len() > MAX_WORDS {
        return Err(format!("the column of classes has {} of them; a class has more than one sample", known.len()));
    }
    let order: BTreeMap<&String, u32> = known.iter().enumerate().map(|(i, (_, word))| (*word, i as u32)).collect();
    Ok((words.iter().map(|word| order[word]).collect(), known.into_iter().map(|(_, word)| word.clone()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::open_with;

    fn read(text: &str, options: &ReadOptions) -> Result<DataSet> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, text).unwrap();
        open_with(&path, options)
    }

    #[test]
    fn what_seems_no_sample_or_no_class_is_said() {
        let plain = ReadOptions::default();
        let said = |text: &str| read(text, &plain).unwrap().account();
        let indexed = said(",a,b\n0,3,0.5\n1,-1,1.5\n2,0.25,2\n");
        assert!(indexed.contains("the first column of numbers counts the rows"), "{indexed}");
        let unnamed = said("0,1,2\n5,3,0.5\n6,-1,1.5\n2,0.25,2\n");
        assert!(unnamed.contains("the first row counts the columns"), "{unnamed}");
        let twice = said("a,b,a\n5,3,0.5\n6,-1,1.5\n");
        assert!(twice.contains("two columns are called a"), "{twice}");
        let fractions = said("a,b,target\n5,3,0.5\n6,-1,1.5\n");
        assert!(fractions.contains("column 3 (target) has fractions, so it is no class"), "{fractions}");
        let sound = said("a,b,class\n0,3,x\n1,-1,y\n2,-1,y\n");
        assert!(!sound.contains("counts") && !sound.contains("called"), "{sound}");
        let by_name = ReadOptions { class_column: Some("a".into()), ..plain.clone() };
        let error = read("a,b,a\n5,3,0.5\n6,-1,1.5\n", &by_name).unwrap_err().to_string();
        assert!(error.contains("2 columns are called a: say which by its number"), "{error}");
    }

    #[test]
    fn rows_are_points_and_one_column_may_be_the_class() {
        let plain = ReadOptions::default();
        let set = read("a,b,class\n1,0.5,cat\n-1,1.5,dog\n0.25,2,cat\n", &plain).unwrap();
        assert_eq!((set.train.size(), set.train.labels(), set.train.classes()), ([1, 1, 2], &[0, 1, 0][..], 2));
        assert_eq!(
            (&set.train.pixels().unwrap()[..], &set.class_names[..]),
            (&[1.0, 0.5, -1.0, 1.5, 0.25, 2.0][..], &["cat", "dog"].map(String::from)[..])
        );
        let account = set.account();
        assert!(
            account.contains("table with a header") && account.contains("column 3 (class) is the class"),
            "{account}"
        );
        // Without a header, with other separators, spaces and a class by its number.
        let options = ReadOptions { class_column: Some("1".into()), ..ReadOptions::default() };
        let set = read("10; 1.0; 0.5\r\n9; -1.0;1.5\r\n", &options).unwrap();
        assert_eq!((set.train.labels(), &set.class_names[..]), (&[1, 0][..], &["9", "10"].map(String::from)[..]));
        assert_eq!(read("1\t2\n-1\t0\n", &plain).unwrap().train.size(), [1, 1, 2]);
        let options = ReadOptions { class_column: Some("3".into()), ..ReadOptions::default() };
        let set = read("1,2,cat\n0,-1,dog\n-1,0,cat\n", &options).unwrap();
        assert_eq!((set.train.len(), set.train.labels()), (3, &[0, 1, 0][..]));
        let set = read("\u{feff}\"a;x\",target\n1,0.5\n-1,1.5\n", &plain).unwrap();
        assert_eq!((set.train.size(), set.train.classes()), ([1, 1, 2], 1));
        // Columns of very different scales are standardised each by itself.
        let set = read("x,y\n1000,0.001\n3000,0.003\n", &plain).unwrap();
        let user = set.train.units().all_to_user(&set.train.pixels().unwrap(), 2);
        for (got, expected) in user.iter().zip([1000f32, 0.001, 3000.0, 0.003]) {
            assert!((got / expected - 1.0).abs() < 1e-6, "{got} for {expected}");
        }
        assert!(
            (set.train.pixels().unwrap()[0] + 0.5).abs() < 1e-6 && set.account().contains("each channel standardised")
        );
    }

    #[test]
    fn what_is_no_number_is_named_by_line_and_column() {
        let error = |text: &str| read(text, &ReadOptions::default()).unwrap_err().to_string();
        assert!(error("a,b\n1,2\n3\n").contains("line 3 has 1 column, the first has 2"));
        assert!(error("a,b\n1,2\n3,x\n").contains("line 3, column 2 (b): x, where a number"));
        assert!(error("1,2\n3,\n").contains("line 2, column 2: nothing"));
        assert!(error("1,2\n3,nan\n").contains("line 2, column 2: nan"));
        let gap = "fill it in, or take the row or the column out";
        for missing in ["", "nan", "NaN", "NA", "inf"] {
            let error = error(&format!("a,b\n1,2\n3,{missing}\n"));
            assert!(error.contains("line 3, column 2 (b)") && error.contains(gap), "{error}");
        }
        let by_age = ReadOptions { class_column: Some("age".into()), ..ReadOptions::default() };
        let words = read("age,mass,class\n1,2,a\n2,5,b\n", &by_age).unwrap_err().to_string();
        assert!(words.contains("with --class-column age the column class counts as numbers"), "{words}");
        assert!(error("1,5;2,5\n0,5;1,5\n").contains("write numbers with a point"));
        assert!(error("m,class\n1,a\n2,\n").contains("line 3, column 2 (class): nothing, where a class"));
        assert!(error("class,a,b\nx,1000,7\ny,2000,7\n").contains("all numbers of the column 3 (b) are 7"));
        assert!(error("a,b\n").contains("no numbers"));
        assert!(error("").contains("an empty file"));
        assert!(error("\n").contains("no rows"));
        let options = ReadOptions { class_column: Some("c".into()), ..ReadOptions::default() };
        assert!(
            read("a,b\n1,2\n", &options).unwrap_err().to_string().contains("no column c: there are the columns a, b")
        );
    }
}
