//! A noise level as settings say it.

use std::convert::Infallible;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::settings::Setting;

/// The level of noise: a number, `auto`, or a file of one for each image.
#[derive(Debug, Clone, PartialEq)]
pub enum Sigma {
    /// One standard deviation for all.
    Number(f64),
    /// It is estimated.
    Auto,
    /// A file: `.npy` with a number for each image or a map of each pixel's, or a text with a number in each line.
    File(String),
}

impl Setting for Sigma {}

impl FromStr for Sigma {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match (text, text.parse::<f64>()) {
            ("auto", _) => Sigma::Auto,
            (_, Ok(number)) => Sigma::Number(number),
            _ => Sigma::File(text.into()),
        })
    }
}

impl Display for Sigma {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Sigma::Number(number) => write!(f, "{number}"),
            Sigma::Auto => write!(f, "auto"),
            Sigma::File(path) => write!(f, "{path}"),
        }
    }
}

impl Serialize for Sigma {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Sigma::Number(number) => serializer.serialize_f64(*number),
            word => serializer.collect_str(word),
        }
    }
}

impl<'de> Deserialize<'de> for Sigma {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Level;
        impl Visitor<'_> for Level {
            type Value = Sigma;

            fn expecting(&self, f: &mut Formatter) -> fmt::Result {
                write!(f, "a number, \"auto\", or the path of a file of levels")
            }

            fn visit_f64<E>(self, number: f64) -> Result<Sigma, E> {
                Ok(Sigma::Number(number))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Sigma, E> {
                Ok(Sigma::Number(number as f64))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Sigma, E> {
                Ok(Sigma::Number(number as f64))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Sigma, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Level).map_err(D::Error::custom)
    }
}
