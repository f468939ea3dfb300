//! The limits on the size and depth of a value.
//!
//! Knows the limits and their defaults; `check` applies them.

/// The limits on everything that is stored as JSON: payloads, outputs, error details, manual metadata.
///
/// ```
/// use serde_json::json;
/// use squidmesh_core::definition::JsonLimits;
///
/// let limits = JsonLimits { max_bytes: 10, ..JsonLimits::default() };
/// assert!(limits.check(&json!({"a": 1})).is_ok());
/// assert!(limits.check(&json!({"a": "much longer"})).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonLimits {
    /// The maximum size, in bytes of compact JSON. 1 MiB by default.
    pub max_bytes: usize,
    /// The maximum nesting of lists and objects: 0 allows plain values only, 1 a flat object. 64 by default, and
    /// never more than [`JsonLimits::DEPTH_CEILING`].
    pub max_depth: usize,
}

impl JsonLimits {
    /// The highest depth that any limit can allow: readers of JSON stop at 128 levels, and a stored value is
    /// wrapped in a few levels of our own.
    pub const DEPTH_CEILING: usize = 100;

    /// Returns the depth that is enforced.
    pub(crate) fn depth(&self) -> usize {
        self.max_depth.min(Self::DEPTH_CEILING)
    }
}

impl Default for JsonLimits {
    fn default() -> Self {
        Self { max_bytes: 1 << 20, max_depth: 64 }
    }
}
