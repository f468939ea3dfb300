//! The names of everything in Redis.
//!
//! All begin with the prefix as hash tag, so that a cluster keeps them in one slot, and go on with the version of the wire format:
//! processes of different formats use different streams, and each finds in the store what the other's hold.

use std::fmt;
use std::sync::Arc;

use squidmesh_core::{DeliveryPayload, Priority, Route};

use crate::RedisExecutorError;

/// The version of what is in the streams and beside them: a change of either is a new version of the payloads. It stands behind the
/// prefix in every version, so that a process can send on what it has no words for.
const FORMAT: u64 = DeliveryPayload::VERSION;
/// The longest prefix, in bytes.
const LONGEST: usize = 64;

/// The group that all workers of a deployment are in.
pub(crate) const GROUP: &str = "workers";

/// Makes the names.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// With the version.
    prefix: Arc<str>,
    /// Without it.
    tag: Arc<str>,
}

/// The stream of a route, and the index beside it of what is announced there.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Stream {
    pub(crate) name: Arc<str>,
}

impl Keys {
    pub(crate) fn new(prefix: &str) -> Result<Self, RedisExecutorError> {
        let strange = |c: char| c == '{' || c == '}' || c.is_whitespace() || c.is_control();
        if prefix.is_empty() || prefix.len() > LONGEST || prefix.contains(strange) {
            return Err(RedisExecutorError::InvalidPrefix { prefix: prefix.chars().take(LONGEST).collect() });
        }
        let tag = format!("{{{prefix}}}");
        Ok(Keys { prefix: format!("{tag}:{FORMAT}").into(), tag: tag.into() })
    }

    pub(crate) fn stream(&self, route: &Route) -> Stream {
        let class = match route.priority {
            Priority::High => "high",
            Priority::Normal => "normal",
            Priority::Low => "low",
        };
        Stream { name: format!("{}:queue:{}:{class}:{}", self.prefix, route.queue, route.fingerprint).into() }
    }

    /// A stream by its name, if it can be one of these.
    pub(crate) fn stream_named(&self, name: &str) -> Option<Stream> {
        let ours = name.strip_prefix(&*self.prefix).is_some_and(|rest| rest.starts_with(":queue:"));
        ours.then(|| Stream { name: name.into() })
    }

    /// The stream of the same route in which processes of another version of the format look for their entries.
    pub(crate) fn of_version(&self, stream: &Stream, version: u64) -> String {
        let route = stream.name.strip_prefix(&*self.prefix).unwrap_or_default();
        format!("{}:{version}{route}", self.tag)
    }

    /// What could not be read.
    pub(crate) fn dead_letters(&self) -> String {
        format!("{}:dead", self.prefix)
    }

    /// Says that somebody has just looked through the store for work of these routes.
    pub(crate) fn hint(&self, what: &str, routes: u64) -> String {
        format!("{}:{what}:{routes:016x}", self.prefix)
    }
}

impl Stream {
    /// The index: the id of the entry by which each job is announced.
    pub(crate) fn index(&self) -> String {
        format!("{}:announced", self.name)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squidmesh_core::{QueueName, testing::sample};

    #[test]
    fn a_stream_is_named_by_queue_class_and_version_under_the_hash_tag() {
        let keys = Keys::new("shop").unwrap();
        let fingerprint = *sample::definition().fingerprint();
        let stream = keys.stream(&Route::new(QueueName::default(), Priority::High, fingerprint));
        assert_eq!(&*stream.name, format!("{{shop}}:1:queue:default:high:{fingerprint}"));
        assert_eq!(keys.stream_named(&stream.name), Some(stream));
        assert_eq!(keys.stream_named("{shop}:1:dead"), None);
        let newer = keys.of_version(&keys.stream(&Route::new(QueueName::default(), Priority::Low, fingerprint)), 7);
        assert_eq!(newer, format!("{{shop}}:7:queue:default:low:{fingerprint}"));
    }

    #[test]
    fn a_prefix_must_fit_into_a_hash_tag() {
        for prefix in ["", "a}b", "{a", "a b", "a\n", &"x".repeat(65)] {
            assert!(matches!(Keys::new(prefix), Err(RedisExecutorError::InvalidPrefix { .. })), "{prefix:?}");
        }
    }
}
