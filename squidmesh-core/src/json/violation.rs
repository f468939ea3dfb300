//! Why a value cannot be stored.
//!
//! Names the rule and the path, never a value: these texts end up in logs.

/// A violation of the rule that makes JSON mean the same in every database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonViolation {
    /// The compact JSON is larger than the limit.
    #[error(
        "the JSON is larger than the limit of {max_bytes} bytes: store large data elsewhere and pass a reference to it"
    )]
    TooLarge {
        /// The limit, in bytes.
        max_bytes: usize,
    },
    /// Lists and objects are nested more deeply than the limit.
    #[error("the JSON is nested more deeply than {max_depth} levels")]
    TooDeep {
        /// The limit, in levels.
        max_depth: usize,
    },
    /// A string or a key contains NUL, which not every database can store.
    #[error("a string or key at {path} contains a NUL character, which databases cannot hold: remove it")]
    Nul {
        /// The path, such as `order.items[2]`.
        path: String,
    },
    /// A number is infinite or not a number.
    #[error("a number at {path} is infinite or not a number (NaN), which JSON cannot hold: use null or a string")]
    NotFinite {
        /// The path, such as `order.items[2]`.
        path: String,
    },
    /// An integer does not fit into 64 bits.
    #[error("an integer at {path} does not fit into 64 bits, which JSON readers rely on: use a string")]
    IntegerTooLarge {
        /// The path, such as `order.items[2]`.
        path: String,
    },
    /// A map has keys that are not strings.
    #[error(
        "a map at {path} has keys that are not strings, which JSON cannot hold: make them strings or use a list of pairs"
    )]
    KeyNotText {
        /// The path, such as `order.items[2]`.
        path: String,
    },
    /// An object has a duplicate key.
    #[error("an object at {path} has a key twice: databases disagree about which one counts")]
    DuplicateKey {
        /// The path, such as `order.items[2]`.
        path: String,
    },
    /// A key begins with the prefix by which `serde_json` marks numbers and raw texts.
    #[error("a key at {path} begins with $serde_json::private::, which readers of JSON reserve: rename it")]
    ReservedKey {
        /// The path, such as `order.items[2]`.
        path: String,
    },
    /// The text is not JSON.
    #[error("not JSON: syntax error at line {line}, column {column}")]
    Malformed {
        /// The line, starting at 1.
        line: usize,
        /// The column, starting at 1.
        column: usize,
    },
    /// A type refuses to be serialised.
    #[error("a value at {path} refused to be serialised by its own `Serialize`")]
    Refused {
        /// The path, such as `order.items[2]`.
        path: String,
    },
}
