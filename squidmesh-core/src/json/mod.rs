//! The rule for JSON: every database can store it and return it unchanged. It is checked before anything is stored.
//!
//! Knows values, their limits and their text; must never know what a value means.

mod canonical;
mod check;
mod decode;
mod given;
mod limits;
mod misfit;
mod number;
mod parse;
mod serialize;
mod text;
mod violation;

pub use self::limits::JsonLimits;
pub(crate) use self::parse::parse;
pub(crate) use self::serialize::to_value;
pub(crate) use self::text::truncate_text;
pub use self::violation::JsonViolation;

pub(crate) use self::canonical::canonical;
pub(crate) use self::check::{object_size, size};
pub(crate) use self::decode::decode;
pub(crate) use self::given::given;
pub(crate) use self::number::compare;
pub(crate) use self::text::{Segment, path};
