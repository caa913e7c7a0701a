//! Sets in ARFF with a list of labels: what is read, and what is said of everything else.

use std::path::Path;

use veridical::data::arff::{Form, Kind, Reader};
use veridical::data::{Labels, Missing, MultiLabel, MultiLabelOptions, MultiLabelSet};

use super::{Place, gz, says};

const XML: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<labels xmlns="http://mulan.sourceforge.net/labels">
<label name="happy"></label>
<label name="it's sad"><label name="calm"/></label>
</labels>"#;

/// All that the format has: comments, blank lines, keywords in any case, quotes, escapes, each type.
const TRAIN: &str = "% music\r\n@RELATION 'some music'\n\n@Attribute tempo numeric\n@attribute\t'the \\'mode\\'' {minor,\"ma jor\"}\n\
    @attribute key {c, d, e } % three\n@attribute grade {1,2,4}\n@attribute calm {0,1}\n@attribute 'it\\'s sad' {1,0}\n\
    @attribute happy INTEGER\n@data\n% rows\n1.5, minor, c, 2, 0, 0, 1\n-2e1,'ma jor',e,4,1,1,0 % end\n\n 0.25 \"ma jor\" d 1 0 1 1.0\n";
const TEST: &str = "@relation x\n@attribute tempo real\n@attribute 'the \\'mode\\'' {minor,'ma jor'}\n\
    @attribute key {c,d,e}\n@attribute grade {1,2,4}\n@attribute calm {0,1}\n@attribute \"it's sad\" {1,0}\n\
    @attribute happy numeric\n@data\n{0 3,1 'ma jor' , 6 1, 5 0}";

fn open(path: impl AsRef<Path>) -> veridical::Result<MultiLabelSet> {
    MultiLabelSet::open(path, &MultiLabelOptions::default())
}

fn last(path: impl AsRef<Path>, count: usize) -> veridical::Result<MultiLabelSet> {
    MultiLabelSet::open(path, &MultiLabelOptions { labels: Labels::Last(count), ..MultiLabelOptions::default() })
}

#[test]
fn rows_come_with_what_the_header_says() {
    let place = Place::new();
    let path = place.put("music.arff.gz", &gz(TRAIN.as_bytes()));
    let mut reader = Reader::open(path).unwrap();
    assert_eq!(reader.relation(), "some music");
    let names: Vec<&str> = reader.attributes().iter().map(|a| a.name.as_str()).collect();
    assert_eq!(names, ["tempo", "the 'mode'", "key", "grade", "calm", "it's sad", "happy"]);
    assert_eq!(reader.attributes()[1].kind, Kind::Nominal(vec!["minor".into(), "ma jor".into()]));
    assert_eq!((reader.column("key"), reader.column("Key")), (Some(2), None));
    let mut row = Vec::new();
    for (line, expected) in [
        (13, [1.5, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0]),
        (14, [-20.0, 1.0, 2.0, 2.0, 1.0, 0.0, 0.0]),
        (16, [0.25, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0]),
    ] {
        assert_eq!(reader.next(&mut row).unwrap(), Some(Form::Dense));
        assert_eq!((reader.line(), row.as_slice()), (line, &expected[..]));
    }
    assert_eq!(reader.next(&mut row).unwrap(), None);
}

#[test]
fn two_files_and_a_list_are_a_set() {
    let place = Place::new();
    place.put("music-train.arff", TRAIN.as_bytes());
    // As sparse rows the second label would be 1 where it is not named; here it is declared the other way round.
    let [train, test] =
        [TRAIN, TEST].map(|text| text.replace("sad' {1,0}", "sad' {0,1}").replace("sad\" {1,0}", "sad\" {0,1}"));
    place.put("music-train.arff", train.as_bytes());
    place.put("music-test.arff.gz", &gz(test.as_bytes()));
    place.put("music.xml", XML.as_bytes());
    place.put("mus.xml", b"<labels/>");
    place.put("old.arff", b"");
    let set = open(place.path()).unwrap();
    assert_eq!(set.train.feature_names(), ["tempo", "the 'mode'", "key=c", "key=d", "key=e", "grade"]);
    assert_eq!(set.train.label_names(), ["calm", "it's sad", "happy"]);
    assert_eq!(
        set.train.features(),
        [1.5, 0.0, 1.0, 0.0, 0.0, 2.0, -20.0, 1.0, 0.0, 0.0, 1.0, 4.0, 0.25, 1.0, 0.0, 1.0, 0.0, 1.0]
    );
    assert_eq!(set.train.targets(), [0, 0, 1, 1, 1, 0, 0, 1, 1]);
    // What a sparse row does not name has its first value: key c, grade 1.
    assert_eq!(set.test.features(), [3.0, 1.0, 1.0, 0.0, 0.0, 1.0]);
    assert_eq!(set.test.targets(), [0, 0, 1]);
    let account = set.account.join("\n");
    for said in [
        "3 + 1 rows of 6 features and 3 labels, 1.667 and 1.000 labels a row, from dense and sparse ARFF (music-train.arff, music-test.arff.gz)",
        "labels: 3 of music.xml; 1 of them lie in others there",
        "1 nominal columns taken as the numbers that their values are",
        "1 nominal columns of two values taken as 0 and 1",
        "1 nominal columns made a feature for each value",
        "2 nominal columns have their first value in sparse rows",
        "left out: old.arff",
    ] {
        assert!(account.contains(said), "{account}\ndoes not say {said}");
    }
    assert!(!account.contains("warning"));
    // By the file of one part, too; the other one is no set.
    let by_file = open(place.path().join("music-train.arff")).unwrap();
    assert_eq!((&by_file.train, &by_file.test), (&set.train, &set.test));
    says(open(place.path().join("music-test.arff.gz")).unwrap_err(), "music-train.arff or the folder");

    place.put("music-test.arff.gz", &gz(TEST.as_bytes()));
    says(open(place.path()).unwrap_err(), "column 5, `it's sad`, holds other values");
    place.put("music-train.arff", TRAIN.as_bytes());
    place.put("music-test.arff.gz", &gz(TEST.replace("{0 3", "{0 3} %").as_bytes()));
    says(open(place.path()).unwrap_err(), "line 10: column 5, `it's sad`, is a label whose first declared value is 1");
}

fn table(rows: usize) -> String {
    let mut text =
        "@relation 'x: -C 2'\n@attribute a numeric\n@attribute b numeric\n@attribute l {0,1}\n@data\n".to_string();
    (0..rows).for_each(|row| text += &format!("{row},{},{}\n", row * row, row % 2));
    text
}

#[test]
fn one_file_is_split_by_a_seed() {
    let place = Place::new();
    let path = place.put("own.arff", table(10).as_bytes());
    let with = |seed| {
        let options = MultiLabelOptions { labels: Labels::Last(1), seed, ..MultiLabelOptions::default() };
        MultiLabelSet::open(&path, &options).unwrap()
    };
    let set = with(1);
    assert_eq!((set.train.len(), set.test.len()), (7, 3));
    let firsts = |part: &MultiLabel| part.features().chunks(2).map(|row| row[0] as u32).collect::<Vec<_>>();
    let (train, test) = (firsts(&set.train), firsts(&set.test));
    assert!(train.is_sorted() && test.is_sorted());
    let mut all = [train, test].concat();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..10));
    for part in [&set.train, &set.test] {
        for (row, target) in part.features().chunks(2).zip(part.targets()) {
            assert_eq!((row[1], f32::from(*target)), (row[0] * row[0], row[0] % 2.0));
        }
    }
    assert!(set.account.iter().any(|line| line.contains("shuffled by seed 1: two thirds")), "{:?}", set.account);
    assert_eq!(set, with(1));
    assert!((2..6).any(|seed| with(seed).train != set.train));
    assert_ne!(set.train.fingerprint(), set.test.fingerprint());

    let chosen = set.train.select(&[3, 0]).unwrap();
    assert_eq!(chosen.gather(&[1]).unwrap(), set.train.gather(&[0]).unwrap());
    assert!(set.train.gather(&[7]).is_err() && set.train.select(&[]).is_err());
}

#[test]
fn missing_values_are_refused_or_accounted_for() {
    let place = Place::new();
    let text = table(4).replace("1,1,1", "?,1,1").replace("3,9,1", "3,?,1");
    place.put("x-train.arff", text.as_bytes());
    place.put("x-test.arff", table(1).replace("0,0,0", "?,5,1").as_bytes());
    says(last(place.path(), 1).unwrap_err(), "x-train.arff: line 7: column 0, `a`, is missing");
    let options = MultiLabelOptions { labels: Labels::Last(1), missing: Missing::Mean, seed: 0 };
    let set = MultiLabelSet::open(place.path(), &options).unwrap();
    let (a, b) = ((0.0 + 2.0 + 3.0) / 3.0, (0.0 + 1.0 + 4.0) / 3.0);
    assert_eq!(set.train.features(), [0.0, 0.0, a, 1.0, 2.0, 4.0, 3.0, b]);
    assert_eq!(set.test.features(), [a, 5.0]);
    let line = "missing: 3 values, in their place the mean over the training rows (2 features)";
    assert!(set.account.iter().any(|said| said == line), "{:?}", set.account);

    place.put("x-test.arff", table(1).replace("0,0,0", "1,5,?").as_bytes());
    says(
        MultiLabelSet::open(place.path(), &options).unwrap_err(),
        "x-test.arff: line 6: column 2, `l`, is a label and missing",
    );
    place.put("x-train.arff", table(2).replace("\n0,0", "\n?,0").replace("\n1,1", "\n?,1").as_bytes());
    place.put("x-test.arff", table(1).as_bytes());
    says(MultiLabelSet::open(place.path(), &options).unwrap_err(), "no training row has a value of `a`");
}

#[test]
fn features_are_standardised_by_the_training_rows() {
    let place = Place::new();
    let text = "@relation x\n@attribute a numeric\n@attribute same numeric\n@attribute l {0,1}\n@data\n";
    place.put("x-train.arff", format!("{text}1,7,0\n3,7,1\n5,7,1\n7,7,0\n").as_bytes());
    place.put("x-test.arff", format!("{text}9,8,0\n").as_bytes());
    let mut set = last(place.path(), 1).unwrap();
    let standardisation = set.standardise().unwrap();
    let deviation = 5f64.sqrt();
    assert_eq!((standardisation.mean.as_slice(), &standardisation.constant), (&[4.0, 0.0][..], &vec![1]));
    assert!((standardisation.deviation[0] - deviation).abs() < 1e-12);
    let expected = [-3.0, -1.0, 1.0, 3.0].map(|v| (v / deviation) as f32);
    let first = |part: &MultiLabel| part.features().iter().step_by(2).copied().collect::<Vec<f32>>();
    assert!(first(&set.train).iter().zip(expected).all(|(got, expected)| (got - expected).abs() < 1e-6));
    assert!((first(&set.test)[0] - (5.0 / deviation) as f32).abs() < 1e-6);
    assert_eq!((set.train.features()[1], set.test.features()[1]), (7.0, 8.0));
    let line = set.account.last().unwrap();
    assert!(line.contains("1 of 2 features") && line.contains("1 constant ones are left as they are (same)"), "{line}");
    let mut other = MultiLabel::new(vec![0.0], vec![1], vec!["a".into()], vec!["b".into()]).unwrap();
    assert!(standardisation.apply(&mut other).is_err());
}

#[test]
fn bad_files_are_errors_that_name_the_line() {
    let place = Place::new();
    let head = "@relation x\n@attribute a numeric\n@attribute b {x,y}\n@attribute l {0,1}\n@data\n";
    for (text, expected) in [
        ("", "ends before `@data`"),
        ("@relation x\n@attribute a numeric\n", "ends before `@data`"),
        ("hello,world\n", "line 1: `hello,world` where @relation"),
        ("@relation x\n@data\n1\n", "line 2: no @attribute"),
        ("@attribute a numeric\n@attribute a numeric\n", "line 2: a second attribute `a`"),
        ("@attribute a string\n", "line 1: attribute `a`: its type string is not read"),
        ("@attribute a date 'yyyy'\n", "its type date is not read"),
        ("@attribute a number\n", "`number` is no type"),
        ("@attribute a b numeric\n", "quote names with blanks"),
        ("@attribute a numeric 5\n", "more follows in column 21"),
        ("@attribute a\n", "its type is missing"),
        ("@attribute\n", "without a name"),
        ("@attribute a {x,y\n", "not closed"),
        ("@attribute a {x,,y}\n", "an empty value"),
        ("@attribute a {}\n", "an empty value"),
        ("@attribute a {x,x}\n", "`x` is declared twice"),
        ("@attribute 'a numeric\n", "column 12 is not closed"),
        (head, "no rows follow"),
        (&format!("{head}1,x\n"), "line 6: 2 values, expected 3"),
        (&format!("{head}1,x,0,1\n"), "line 6: 4 values, expected 3"),
        (&format!("{head}1,x,0\n1,,0\n"), "line 7: no value before column 4"),
        (&format!("{head}1,x,\n"), "line 6: no value after column 5"),
        (&format!("{head}one,x,0\n"), "line 6: `one` of column 0, `a`, is no number"),
        (&format!("{head}nan,x,0\n"), "`nan` of column 0, `a`, is not finite"),
        (&format!("{head}1e39,x,0\n"), "`1e39` of column 0, `a`, is not finite in f32"),
        (&format!("{head}-inf,x,0\n"), "is not finite"),
        (&format!("{head}1,z,0\n"), "`z` of column 1, `b`, is not among the declared values {x, y}"),
        (&format!("{head}1,x,2\n"), "`2` of column 2, `l`, is not among"),
        (&format!("{head}1,x,0,{{5}}\n"), "weights of rows are not read"),
        (&format!("{head}{{0 1}}, {{5}}\n"), "weights of rows are not read"),
        (&format!("{head}{{0 1,3 1}}\n"), "line 6: column 3, but there are 3"),
        (&format!("{head}{{-1 1}}\n"), "`-1` is no number of a column"),
        (&format!("{head}{{0 1,0 2}}\n"), "column 0 comes twice"),
        (&format!("{head}{{0 1,1 x"), "the brace is not closed"),
        (&format!("{head}{{0 1,1"), "the brace is not closed"),
        (&format!("{head}{{0,1 x}}\n"), "column 0 has no value"),
        (&format!("{head}{{0 1 1 x}}\n"), "INDEX VALUE"),
        (&format!("{head}1,'x,0\n"), "line 6: the ' in column 3 is not closed"),
    ] {
        says(last(place.put("x.arff", text.as_bytes()), 1).unwrap_err(), expected);
    }
    let latin = [head.as_bytes(), b"1,\xe9,0\n"].concat();
    says(last(place.put("x.arff", &latin), 1).unwrap_err(), "line 6: not UTF-8 from byte 3");
    let packed = gz(table(1000).as_bytes());
    says(last(place.put("x.arff.gz", &packed[..packed.len() - 20]), 1).unwrap_err(), "not sound gzip");
    let wide = format!("@attribute {} numeric\n", "a".repeat(20 << 20));
    says(last(place.put("x.arff", wide.as_bytes()), 1).unwrap_err(), "line 1 is longer");

    let numeric = "@attribute a numeric\n@attribute l numeric\n@data\n1,0.5\n";
    says(last(place.put("x.arff", numeric.as_bytes()), 1).unwrap_err(), "line 4: column 1, `l`, is a label and 0.5");
    let words = "@attribute a numeric\n@attribute l {no,yes}\n@data\n1,no\n";
    says(last(place.put("x.arff", words.as_bytes()), 1).unwrap_err(), "the label `l` declares {no, yes}");
    for count in [0, 3, usize::MAX] {
        says(last(place.put("x.arff", table(4).as_bytes()), count).unwrap_err(), "labels in 3 columns");
    }
    says(last(place.put("x.arff", table(1).as_bytes()), 1).unwrap_err(), "1 rows cannot be split");
}

#[test]
fn lists_of_labels_that_do_not_fit() {
    let place = Place::new();
    let path = place.put("x.arff", table(5).as_bytes());
    says(open(&path).unwrap_err(), "no XML file beside it");
    says(open(&path).unwrap_err(), "`Labels::First(2)`");
    let first = MultiLabelOptions { labels: Labels::First(2), ..MultiLabelOptions::default() };
    says(MultiLabelSet::open(&path, &first).unwrap_err(), "`a`, is a label and 2, not 0 or 1");
    place.put("other.xml", b"<labels><label name=\"l\"/></labels>");
    let set = open(&path).unwrap();
    assert!(set.account[1].contains("labels: 1 of other.xml, the only XML file"), "{:?}", set.account);
    let other = place.put("more.xml", b"<labels><label name=\"b\"/><label name=\"l\"/></labels>");
    says(open(&path).unwrap_err(), "none of the XML files beside it has its name (more.xml, other.xml)");
    let named = MultiLabelOptions { labels: Labels::Xml(other), ..MultiLabelOptions::default() };
    says(MultiLabelSet::open(&path, &named).unwrap_err(), "`b`, is a label and 4, not 0 or 1");
    for (xml, expected) in [
        ("", "no labels"),
        ("<labels></labels>", "no labels"),
        ("<html/>", "<html> where <labels>"),
        ("<labels>\n<label name='l'/>", "line 2: ends inside its elements"),
        ("<labels><label name='l'></labels>", "not XML"),
        ("<labels><label/></labels>", "without a name"),
        ("<labels>\n<label name='l'/><label name='l'/></labels>", "line 2: a second label `l`"),
        ("<labels><label name='&bomb;'/></labels>", "not XML"),
        ("<labels><label name='l'/><label name='L'/><label name='&lt;'/></labels>", "2 of the 3 labels of"),
        ("<labels><label name='a'/><label name='b'/><label name='l'/></labels>", "all columns are labels"),
    ] {
        place.put("x.xml", xml.as_bytes());
        says(open(&path).unwrap_err(), expected);
    }
    place.put("x.xml", b"\xff");
    says(open(&path).unwrap_err(), "not UTF-8");
    let folder = Place::new();
    says(open(folder.path()).unwrap_err(), "no .arff file");
    folder.put("a.arff", b"");
    folder.put("b.arff", b"");
    says(open(folder.path()).unwrap_err(), "more than one set in this folder");
}

/// Mulan's own files, where they lie beside the repository: counts and cardinalities as published with them.
#[test]
fn the_published_sets() {
    let folder = crate::locate::root().join("../shared/data/multilabel_mulan");
    if !folder.is_dir() {
        println!("{} is not there: nothing compared", folder.display());
        return;
    }
    for (name, train, test, dims, labels, cardinality) in [
        ("scene", 1211, 1196, 294, 6, 1.074),
        ("yeast", 1500, 917, 103, 14, 4.237),
        ("emotions", 391, 202, 72, 6, 1.869),
        ("corel5k", 4500, 500, 499, 374, 3.522),
        ("delicious", 12920, 3185, 500, 983, 19.02),
        ("bibtex", 4880, 2515, 1836, 159, 2.402),
    ] {
        let start = std::time::Instant::now();
        let mut set = open(folder.join(name)).unwrap();
        println!("{}\nread in {:?}", set.account.join("\n"), start.elapsed());
        assert_eq!((set.train.len(), set.test.len()), (train, test), "{name}");
        assert_eq!((set.train.dims(), set.train.labels()), (dims, labels), "{name}");
        let ones = |part: &MultiLabel| part.cardinality() * part.len() as f64;
        // As published, which is not always rounded to the nearest: 1,108 labels of 593 rows are 1.8685.
        let got = (ones(&set.train) + ones(&set.test)) / (train + test) as f64;
        assert!((got - cardinality).abs() < if name == "delicious" { 5e-3 } else { 1e-3 }, "{name}: {got}");
        println!("{}", set.standardise().unwrap());
    }
    let whole = open(folder.join("emotions/emotions.arff")).unwrap();
    assert_eq!((whole.train.len(), whole.test.len()), (396, 197));
}
