//! The messages in event files: as much of TensorFlow's `event.proto` and `summary.proto` as a run has to tell.

use prost::{Enumeration, Message};

/// One record of an event file.
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    pub wall_time: f64,
    #[prost(int64, tag = "2")]
    pub step: i64,
    #[prost(oneof = "what::What", tags = "3, 5, 7")]
    pub what: Option<what::What>,
}

pub mod what {
    use prost::Oneof;

    /// What an event tells.
    #[derive(Clone, PartialEq, Oneof)]
    pub enum What {
        /// In the first event of a file, and how such files are known.
        #[prost(string, tag = "3")]
        FileVersion(String),
        #[prost(message, tag = "5")]
        Summary(super::Summary),
        #[prost(message, tag = "7")]
        SessionLog(super::SessionLog),
    }
}

/// Figures and pictures of a step.
#[derive(Clone, PartialEq, Message)]
pub struct Summary {
    #[prost(message, repeated, tag = "1")]
    pub value: Vec<summary::Value>,
}

pub mod summary {
    use prost::{Message, Oneof};

    /// A figure or a picture, by its name.
    #[derive(Clone, PartialEq, Message)]
    pub struct Value {
        #[prost(string, tag = "1")]
        pub tag: String,
        #[prost(oneof = "Of", tags = "2, 4")]
        pub of: Option<Of>,
    }

    #[derive(Clone, PartialEq, Oneof)]
    pub enum Of {
        #[prost(float, tag = "2")]
        SimpleValue(f32),
        #[prost(message, tag = "4")]
        Image(super::Image),
    }

    impl Value {
        pub fn new(tag: String, of: Of) -> Self {
            Value { tag, of: Some(of) }
        }
    }
}

/// A picture as the bytes of its file.
#[derive(Clone, PartialEq, Message)]
pub struct Image {
    #[prost(int32, tag = "1")]
    pub height: i32,
    #[prost(int32, tag = "2")]
    pub width: i32,
    /// 1 for grey, 3 for colour, with alpha one more.
    #[prost(int32, tag = "3")]
    pub colorspace: i32,
    #[prost(bytes = "vec", tag = "4")]
    pub encoded_image_string: Vec<u8>,
}

/// A session of a run begins or ends.
#[derive(Clone, PartialEq, Message)]
pub struct SessionLog {
    #[prost(enumeration = "Status", tag = "1")]
    pub status: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub enum Status {
    Unspecified = 0,
    Start = 1,
}
