//! The one rule for JSON: what every database can hold and give back unchanged, checked before anything is stored.
//!
//! Knows values, their limits and their text; must never know what a value means.

mod canonical;
mod check;
mod decode;
mod given;
mod limits;
mod parse;
mod serialize;
mod text;
mod violation;

pub use self::limits::JsonLimits;
pub use self::parse::parse;
pub use self::serialize::to_value;
pub use self::text::truncate_text;
pub use self::violation::JsonViolation;

pub(crate) use self::canonical::canonical;
pub(crate) use self::decode::decode;
pub(crate) use self::given::given;
pub(crate) use self::text::{Segment, path};
