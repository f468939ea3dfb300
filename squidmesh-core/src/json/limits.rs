//! How large and how deep a value may be.
//!
//! Knows the limits and their defaults; the walk that applies them is in `check`.

use serde_json::{Map, Value};

use super::check;
use super::violation::JsonViolation;

/// The limits on everything that is stored as JSON: payloads, outputs, error details, manual metadata.
///
/// ```
/// use serde_json::json;
/// use squidmesh_core::JsonLimits;
///
/// let limits = JsonLimits { max_bytes: 10, ..JsonLimits::default() };
/// assert!(limits.check(&json!({"a": 1})).is_ok());
/// assert!(limits.check(&json!({"a": "much longer"})).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonLimits {
    /// The greatest size, in bytes of compact JSON. 1 MiB by default.
    pub max_bytes: usize,
    /// The greatest nesting of lists and objects: 0 allows plain values only, 1 a flat object. 64 by default, and never more
    /// than [`JsonLimits::DEPTH_CEILING`], whatever is set.
    pub max_depth: usize,
}

impl JsonLimits {
    /// The deepest nesting that any limit can allow: readers of JSON give up at 128 levels, and a stored value is wrapped in
    /// a few of our own.
    pub const DEPTH_CEILING: usize = 100;

    /// Checks size, depth and texts of a value, in one walk that neither recurses nor copies.
    ///
    /// # Errors
    /// [`JsonViolation`], naming the rule and the place.
    pub fn check(&self, value: &Value) -> Result<(), JsonViolation> {
        check::check(self, value)
    }

    /// Checks an object, as [`check`](Self::check) does.
    pub(crate) fn check_object(&self, members: &Map<String, Value>) -> Result<(), JsonViolation> {
        check::check_object(self, members)
    }

    /// The depth that is enforced.
    pub(super) fn depth(&self) -> usize {
        self.max_depth.min(Self::DEPTH_CEILING)
    }
}

impl Default for JsonLimits {
    fn default() -> Self {
        Self { max_bytes: 1 << 20, max_depth: 64 }
    }
}
