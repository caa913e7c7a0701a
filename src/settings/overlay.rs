//! A settings file and single settings, laid over what is there.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{About, Choice};
use crate::error::{Error, Result};

/// Lays a settings file and single settings on `table`, in this order.
pub(crate) fn laid_over(mut table: Table, file: Option<&str>, settings: &[String]) -> Result<Table> {
    if let Some(text) = file {
        let overlay: Table =
            text.parse().map_err(|e: toml::de::Error| Error::Config(e.to_string().trim_end().into()))?;
        merge(&mut table, overlay)?;
    }
    for setting in settings {
        merge(&mut table, one_setting(setting)?)?;
    }
    Ok(table)
}

/// The settings of a table. Errors on values of another type, and on words that a key does not know.
pub(crate) fn parsed<T: serde::de::DeserializeOwned>(table: Table, sections: &[About]) -> Result<T> {
    for (about, values) in sections.iter().filter_map(|about| Some((about, table.get(about.section)?))) {
        for key in about.keys.iter().filter(|key| !key.choices.is_empty()) {
            if let Some(word) = values.get(key.name).and_then(Value::as_str) {
                let named = |e| Error::Config(format!("{}.{} = {e}", about.section, key.name));
                Choice::known(word, key.choices).map_err(named)?;
            }
        }
    }
    table.try_into().map_err(|e| Error::Config(e.to_string().trim_end().into()))
}

/// `section.key` to value.
pub(crate) fn flat(table: &Table) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for (section, keys) in table {
        for (key, value) in keys.as_table().into_iter().flatten() {
            all.insert(format!("{section}.{key}"), value.clone());
        }
    }
    all
}

/// `section.key=value`, where the value is TOML, or else a text.
fn one_setting(setting: &str) -> Result<Table> {
    let bad = || Error::Config(format!("`{setting}` is no setting; write section.key=value, such as train.batch=32"));
    let (key, value) = setting.split_once('=').ok_or_else(bad)?;
    let (section, key) = key.trim().split_once('.').ok_or_else(bad)?;
    let parsed = format!("value = {value}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    let value = parsed.unwrap_or_else(|| Value::String(value.trim().into()));
    let mut keys = Table::new();
    keys.insert(key.into(), value);
    let mut table = Table::new();
    table.insert(section.into(), Value::Table(keys));
    Ok(table)
}

/// Lays `over` on `base`. Errors on a section or a key that `base` does not have; those of `[model]` are the network's
/// affair.
fn merge(base: &mut Table, over: Table) -> Result<()> {
    let sections = base.keys().cloned().collect::<Vec<_>>().join(", ");
    for (section, keys) in over {
        let Some(Value::Table(known)) = base.get_mut(&section) else {
            return Err(Error::Config(format!("unknown section [{section}]; there are {sections}")));
        };
        let Value::Table(keys) = keys else {
            return Err(Error::Config(format!("{section} is a section: write [{section}] and its keys below")));
        };
        if section == "model"
            && let Some(kind) = keys.get("model_type")
            && known.get("model_type").is_some_and(|old| old != kind)
        {
            known.clear(); // another network: the preset's options mean nothing to it
        }
        if section == "model"
            && let Some(precond) = keys.get("precond")
            && known.get("precond").is_some_and(|old| old != precond)
        {
            for of_edm in ["sigma_data", "sigma_min", "sigma_max"] {
                known.remove(of_edm);
            }
        }
        for (key, value) in keys {
            if section != "model" && !known.contains_key(&key) {
                let there = known.keys().cloned().collect::<Vec<_>>().join(", ");
                return Err(Error::Config(format!("unknown key {section}.{key}; [{section}] has {there}")));
            }
            // A whole number where a fraction is meant.
            let value = match (known.get(&key), value) {
                (Some(Value::Float(_)), Value::Integer(whole)) => Value::Float(whole as f64),
                (_, value) => value,
            };
            known.insert(key, value);
        }
    }
    Ok(())
}
