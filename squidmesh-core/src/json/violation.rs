//! Why a value cannot be kept.
//!
//! Names the rule and the place, never a value: these texts end up in logs.

/// A value breaks the rule that makes it mean the same in every database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonViolation {
    /// It is larger, written compactly, than the limit.
    #[error(
        "the JSON is larger than the limit of {max_bytes} bytes: store large data elsewhere and pass a reference to it"
    )]
    TooLarge {
        /// The limit, in bytes.
        max_bytes: usize,
    },
    /// Its lists and objects are nested more deeply than the limit.
    #[error("the JSON is nested more deeply than {max_depth} levels")]
    TooDeep {
        /// The limit, in levels.
        max_depth: usize,
    },
    /// A text or a key contains NUL, which not every database can hold.
    #[error("a text or key at {path} contains a NUL character, which databases cannot hold: remove it")]
    Nul {
        /// Where, such as `order.items[2]`.
        path: String,
    },
    /// A number is infinite or not a number.
    #[error("a number at {path} is infinite or not a number (NaN), which JSON cannot hold: use null or a text for it")]
    NotFinite {
        /// Where, such as `order.items[2]`.
        path: String,
    },
    /// An integer does not fit into 64 bits.
    #[error("an integer at {path} does not fit into 64 bits, which JSON readers rely on: use a text for it")]
    IntegerTooLarge {
        /// Where, such as `order.items[2]`.
        path: String,
    },
    /// A map has keys that are not texts.
    #[error(
        "a map at {path} has keys that are not texts, which JSON cannot hold: make the keys texts or use a list of pairs"
    )]
    KeyNotText {
        /// Where, such as `order.items[2]`.
        path: String,
    },
    /// An object has one key twice.
    #[error("an object at {path} has a key twice: databases disagree about which one counts")]
    DuplicateKey {
        /// Where, such as `order.items[2]`.
        path: String,
    },
    /// The text is not JSON.
    #[error("not JSON: the text goes wrong at line {line}, column {column}")]
    Malformed {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// A type refused to be serialised.
    #[error("a value at {path} refused to be serialised by its own `Serialize`")]
    Refused {
        /// Where, such as `order.items[2]`.
        path: String,
    },
}
