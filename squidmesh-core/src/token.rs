//! The tokens that prove ownership: of a claimed intent, and of a commit.
//!
//! Ownership is by token, never by time, host or process name.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! token {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Creates the token with this value.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                $name(uuid)
            }

            /// Returns its value.
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

token!(
    /// Proves ownership of a claim. Fresh for every claim: a write under an older token is rejected.
    LeaseToken
);
token!(
    /// Identifies one commit of one run, which distinguishes a commit whose answer was lost from one that was never
    /// applied.
    CommitToken
);
