//! A number of a detector as settings say it.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::settings::Setting;

/// A number that is given, or estimated from the data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Known {
    /// It is estimated.
    Auto,
    /// It is this.
    Number(f64),
}

impl Known {
    /// The number, if it is given.
    pub fn number(self) -> Option<f64> {
        match self {
            Known::Auto => None,
            Known::Number(number) => Some(number),
        }
    }
}

impl Setting for Known {}

impl FromStr for Known {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("auto", _) => Ok(Known::Auto),
            (_, Ok(number)) => Ok(Known::Number(number)),
            _ => Err("expected a number or auto".into()),
        }
    }
}

impl Display for Known {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Known::Auto => write!(f, "auto"),
            Known::Number(number) => write!(f, "{number}"),
        }
    }
}

impl Serialize for Known {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Known::Auto => serializer.serialize_str("auto"),
            Known::Number(number) => serializer.serialize_f64(*number),
        }
    }
}

impl<'de> Deserialize<'de> for Known {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Known;

            fn expecting(&self, f: &mut Formatter) -> fmt::Result {
                write!(f, "a number or \"auto\"")
            }

            fn visit_f64<E>(self, number: f64) -> Result<Known, E> {
                Ok(Known::Number(number))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Known, E> {
                Ok(Known::Number(number as f64))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Known, E> {
                Ok(Known::Number(number as f64))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Known, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Number).map_err(D::Error::custom)
    }
}
