//! The kinds of score networks that files and settings can name.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::{LazyLock, PoisonError, RwLock};

use serde_json::{Map, Value};

use super::dhariwal::DhariwalConfig;
use super::mlp::MlpConfig;
use super::score::{Architecture, DataShape, NetworkConfig};
use super::song::SongConfig;
use crate::error::{Error, Result};

impl NetworkConfig {
    /// The options of the kind called `model_type`. Errors on a kind that nobody [registered](register), naming the
    /// known ones, and with the option that is missing, unknown or of another type.
    pub fn from_fields(model_type: &str, fields: Map<String, Value>) -> Result<Self> {
        let parse = kind(model_type)?.parse;
        parse(Value::Object(fields)).map_err(|error| Error::Config(error.to_string()))
    }

    /// The options that follow from the data, for the kind called `model_type`; see [`Architecture::of_data`]. Errors
    /// as [`from_fields`](Self::from_fields) does on unknown kinds.
    pub fn of_data(model_type: &str, data: &DataShape) -> Result<Vec<(&'static str, usize)>> {
        (kind(model_type)?.of_data)(data)
    }
}

/// What a `model_type` stands for.
#[derive(Clone, Copy)]
struct Kind {
    of: TypeId,
    parse: fn(Value) -> serde_json::Result<NetworkConfig>,
    of_data: fn(&DataShape) -> Result<Vec<(&'static str, usize)>>,
}

impl Kind {
    fn new<A: Architecture>() -> Self {
        Kind {
            of: TypeId::of::<A>(),
            parse: |options| serde_json::from_value::<A>(options).map(NetworkConfig::from),
            of_data: A::of_data,
        }
    }
}

static KINDS: LazyLock<RwLock<BTreeMap<&'static str, Kind>>> = LazyLock::new(|| {
    RwLock::new(BTreeMap::from([
        (SongConfig::MODEL_TYPE, Kind::new::<SongConfig>()),
        (DhariwalConfig::MODEL_TYPE, Kind::new::<DhariwalConfig>()),
        (MlpConfig::MODEL_TYPE, Kind::new::<MlpConfig>()),
    ]))
});

/// Makes a kind of network known to whatever reads model files, checkpoints and settings in this process. To be called
/// once at the start; calling it again does nothing. Errors if another type has the name.
pub fn register<A: Architecture>() -> Result<()> {
    let mut kinds = KINDS.write().unwrap_or_else(PoisonError::into_inner);
    match kinds.get(A::MODEL_TYPE) {
        Some(known) if known.of != TypeId::of::<A>() => Err(Error::Config(format!(
            "model_type {:?} stands for another network already: give {} a name of its own",
            A::MODEL_TYPE,
            std::any::type_name::<A>()
        ))),
        _ => {
            kinds.insert(A::MODEL_TYPE, Kind::new::<A>());
            Ok(())
        }
    }
}

/// The known kinds, by name.
pub fn registered() -> Vec<&'static str> {
    KINDS.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
}

/// The kind of a name. Errors with the known ones.
fn kind(model_type: &str) -> Result<Kind> {
    let kinds = KINDS.read().unwrap_or_else(PoisonError::into_inner);
    kinds.get(model_type).copied().ok_or_else(|| {
        let known: Vec<String> = kinds.keys().map(|name| format!("{name:?}")).collect();
        Error::Config(format!(
            "model_type must be one of {}, got {model_type:?}; a network of your own is made known by veridical::nn::register",
            known.join(", ")
        ))
    })
}
