//! The names of a table's columns beside those that they belong to.

use crate::escape::escaped;

/// Where in a table that has the columns `own` each of `wanted` is; `None` where they are in that order already, or
/// where nobody said one of the two.
///
/// Errors, in words that name both, on other names, and on another order where two have the same name.
pub fn order(own: &[String], wanted: &[String]) -> Result<Option<Vec<usize>>, String> {
    if own.is_empty() || wanted.is_empty() || own == wanted {
        return Ok(None);
    }
    let beside = format!(
        "the columns are {}, those that they belong to (the model's, or the other data's) {}",
        listed(own),
        listed(wanted)
    );
    let without = |names: &[String], others: &[String]| -> Vec<String> {
        names.iter().filter(|name| !others.contains(name)).cloned().collect()
    };
    let (strange, missing) = (without(own, wanted), without(wanted, own));
    if !strange.is_empty() || !missing.is_empty() {
        let clause = |names: &[String], what: &str| match names.is_empty() {
            true => None,
            false => Some(format!("{what} {}", listed(names))),
        };
        let found = [clause(&missing, "missing:"), clause(&strange, "not known there:")];
        return Err(format!(
            "{beside} ({}); give the same columns under the same names, and no others",
            found.into_iter().flatten().collect::<Vec<_>>().join("; ")
        ));
    }
    let once = |names: &[String]| names.iter().enumerate().all(|(i, name)| !names[..i].contains(name));
    if own.len() != wanted.len() || !once(wanted) {
        return Err(format!("{beside}: with two columns of one name it cannot be told which is which; rename one"));
    }
    Ok(Some(wanted.iter().filter_map(|name| own.iter().position(|own| own == name)).collect()))
}

/// Names, for messages.
pub fn listed(names: &[String]) -> String {
    const MOST: usize = 20;
    let shown: Vec<String> = names.iter().take(MOST).map(|name| escaped(name).to_string()).collect();
    format!("{}{}", shown.join(", "), if names.len() > MOST { ", …" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_their_names_or_named() {
        let names = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        let found = |own: &str, wanted: &str| order(&names(own), &names(wanted));
        assert_eq!(found("a b c", "a b c"), Ok(None));
        assert_eq!(order(&[], &names("a b")), Ok(None));
        assert_eq!(order(&names("a b"), &[]), Ok(None));
        assert_eq!(found("c a b", "a b c"), Ok(Some(vec![1, 2, 0])));
        let error = found("a b d", "a b c").unwrap_err();
        assert!(
            error.contains("are a, b, d,") && error.contains("a, b, c (missing: c; not known there: d)"),
            "{error}"
        );
        assert!(found("a b c", "a b").unwrap_err().contains("(not known there: c)"));
        assert!(found("a b a", "a a b").unwrap_err().contains("cannot be told which is which"));
        assert!(found("a b b", "a b").unwrap_err().contains("cannot be told which is which"));
    }
}
