//! What a settings file is made of. The name, the type, the default, the range and the meaning of a key are written
//! once, where its section is declared ([`settings!`](crate::settings!)), and so are the words that a key may hold
//! ([`choice!`](crate::choice!)); the file that a run writes, what `--print-config` and `--help` say, what `--set`
//! takes and what errors name follow from it.

mod document;
mod key;
mod overlay;
mod range;

pub use key::{About, Choice, Key, Setting};
pub use range::{Above, AboveUpTo, Allowed, AtLeast, MAX_SEED, OrInfinite, OrZero};

pub(crate) use document::{table_of, written};
pub(crate) use overlay::{flat, laid_over, parsed};

use crate::error::{Error, Result};

/// The keys of a section. Made by [`settings!`](crate::settings!).
pub trait Section {
    /// What the section is about.
    const MEANING: &'static str;
    /// Its keys, in the order of the file.
    const KEYS: &'static [Key];

    /// Errors with the first key whose value is out of its range, as one of the section called `name`.
    fn in_range(&self, name: &str) -> Result<()>;
}

/// The sections of a settings file. Made by [`sections!`](crate::sections!).
pub trait Sections {
    /// The sections, in the order of the file.
    const ABOUT: &'static [About];

    /// Errors with the first key whose value is out of its range.
    fn in_range(&self) -> Result<()>;
}

/// Errors unless `value` is allowed, naming what is.
pub fn within<T: std::fmt::Debug>(section: &str, key: &str, value: &T, range: &impl Allowed<T>) -> Result<()> {
    match range.allows(value) {
        true => Ok(()),
        false => Err(Error::Config(format!("{section}.{key} = {value:?}, expected {}", range.says()))),
    }
}

/// Declares a section: a structure whose fields are the keys, each with its meaning (the doc comment), type, default
/// and, where it has one, the range that its values must lie in.
#[macro_export]
macro_rules! settings {
    (
        $(#[doc = $meaning:literal])+
        pub struct $Section:ident {
            $($(#[doc = $about:literal])+ $key:ident: $ty:ty = $default:expr $(, in $range:expr)?;)+
        }
    ) => {
        $(#[doc = $meaning])+
        #[derive(Debug, Clone, PartialEq, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $Section {
            $($(#[doc = $about])+ pub $key: $ty,)+
        }

        impl Default for $Section {
            fn default() -> Self {
                $Section { $($key: $default),+ }
            }
        }

        impl $crate::settings::Section for $Section {
            const MEANING: &'static str = concat!($($meaning),+);
            const KEYS: &'static [$crate::settings::Key] = &[$($crate::settings::Key {
                name: stringify!($key),
                meaning: concat!($($about),+),
                choices: <$ty as $crate::settings::Setting>::CHOICES,
                range: {
                    const RANGES: &[fn() -> String] = &[$(|| $crate::settings::Allowed::<$ty>::says(&$range),)?];
                    RANGES.first().copied()
                },
            }),+];

            #[allow(unused_variables)] // no key of this section has a range
            fn in_range(&self, name: &str) -> $crate::Result<()> {
                $($($crate::settings::within(name, stringify!($key), &self.$key, &$range)?;)?)+
                Ok(())
            }
        }
    };
}

/// Declares the sections of a settings file: a structure whose fields are sections, each called as in the file.
#[macro_export]
macro_rules! sections {
    ($(#[$meta:meta])* pub struct $Sections:ident { $($(#[$about:meta])+ $section:ident: $ty:ty,)+ }) => {
        #[derive(Debug, Clone, PartialEq, ::serde::Serialize, ::serde::Deserialize)]
        $(#[$meta])*
        pub struct $Sections {
            $($(#[$about])+ pub $section: $ty,)+
        }

        impl $crate::settings::Sections for $Sections {
            const ABOUT: &'static [$crate::settings::About] = &[$($crate::settings::About {
                section: stringify!($section),
                meaning: <$ty as $crate::settings::Section>::MEANING,
                keys: <$ty as $crate::settings::Section>::KEYS,
            }),+];

            fn in_range(&self) -> $crate::Result<()> {
                $($crate::settings::Section::in_range(&self.$section, stringify!($section))?;)+
                Ok(())
            }
        }
    };
}

/// Declares the words that a key may hold: an enumeration whose variants have a name in the file and a meaning, of
/// which the file shows the first sentence. The first variant is the default.
#[macro_export]
macro_rules! choice {
    (
        $(#[$meta:meta])*
        pub enum $Choice:ident {
            $($(#[doc = $about:literal])+ $Variant:ident = $name:literal,)+
        }
    ) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $(#[$meta])*
        pub enum $Choice {
            $($(#[doc = $about])+ $Variant,)+
        }

        impl $Choice {
            /// The name in a settings file.
            pub fn name(self) -> &'static str {
                match self {
                    $($Choice::$Variant => $name,)+
                }
            }
        }

        impl Default for $Choice {
            fn default() -> Self {
                [$($Choice::$Variant),+][0]
            }
        }

        impl $crate::settings::Setting for $Choice {
            const CHOICES: &'static [$crate::settings::Choice] =
                &[$($crate::settings::Choice { name: $name, meaning: concat!($($about),+) }),+];
        }

        impl ::std::fmt::Display for $Choice {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl ::std::str::FromStr for $Choice {
            type Err = $crate::Error;

            fn from_str(name: &str) -> $crate::Result<Self> {
                let there = <$Choice as $crate::settings::Setting>::CHOICES;
                $crate::settings::Choice::known(name, there).map_err($crate::Error::Config)?;
                let all = [$($Choice::$Variant),+];
                Ok(all.into_iter().find(|choice| choice.name() == name).unwrap_or_default())
            }
        }

        impl ::serde::Serialize for $Choice {
            fn serialize<S: ::serde::Serializer>(&self, to: S) -> ::std::result::Result<S::Ok, S::Error> {
                to.serialize_str(self.name())
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $Choice {
            fn deserialize<D: ::serde::Deserializer<'de>>(from: D) -> ::std::result::Result<Self, D::Error> {
                <::std::string::String as ::serde::Deserialize>::deserialize(from)?
                    .parse()
                    .map_err(::serde::de::Error::custom)
            }
        }
    };
}

/// What `--help` says of a flag that sets `key` of a section: its meaning, without the full stop.
pub fn help<S: Section>(key: &str) -> String {
    let comment = S::KEYS.iter().find(|known| known.name == key).map(Key::comment).unwrap_or_default();
    comment.trim_end_matches('.').to_string()
}
