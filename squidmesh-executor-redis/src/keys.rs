//! The names of all keys in Redis.
//!
//! All begin with the prefix as hash tag, so that a cluster keeps them in one slot, followed by the version of the
//! wire format: processes of different formats use different streams, and each finds in the store the work that
//! the streams of the other hold. The identity of the database follows, so that two databases with one prefix do
//! not mix.

use std::fmt;
use std::sync::Arc;

use squidmesh_core::command::Route;
use squidmesh_core::definition::Priority;
use squidmesh_core::dispatch::DeliveryMessage;

use crate::RedisExecutorError;

/// The version of the contents of the streams and the keys beside them: a change of either requires a new version
/// of the payloads. It follows the prefix in every version, so that a process can forward entries that it cannot
/// decode.
const FORMAT: u64 = DeliveryMessage::VERSION;
/// The longest prefix, in bytes.
const MAX_PREFIX: usize = 64;

/// The consumer group of all workers of a deployment.
pub(crate) const GROUP: &str = "workers";

/// Creates the names.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// The prefix with the version.
    prefix: Arc<str>,
    /// The prefix with the version and the database.
    base: Arc<str>,
    /// The prefix without the version.
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
        if prefix.is_empty() || prefix.len() > MAX_PREFIX || prefix.contains(strange) {
            return Err(RedisExecutorError::InvalidPrefix { prefix: prefix.chars().take(MAX_PREFIX).collect() });
        }
        let tag = format!("{{{prefix}}}");
        let prefix: Arc<str> = format!("{tag}:{FORMAT}").into();
        Ok(Keys { base: prefix.clone(), prefix, tag: tag.into() })
    }

    /// Returns the names for the work of one database, by its identity. Without one, they are those of the prefix
    /// alone.
    pub(crate) fn of_database(&self, identity: Option<&str>) -> Self {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        let base = match identity {
            Some(identity) => {
                let identity: String = identity.chars().take(MAX_PREFIX).map(plain).collect();
                format!("{}:{identity}", self.prefix).into()
            }
            None => self.prefix.clone(),
        };
        Keys { base, ..self.clone() }
    }

    pub(crate) fn stream(&self, route: &Route) -> Stream {
        let class = match route.priority {
            Priority::High => "high",
            Priority::Normal => "normal",
            Priority::Low => "low",
        };
        Stream { name: format!("{}:queue:{}:{class}:{}", self.base, route.queue, route.fingerprint).into() }
    }

    /// Returns a stream by its name, if it can be one of these.
    pub(crate) fn stream_named(&self, name: &str) -> Option<Stream> {
        let ours =
            name.strip_prefix(&*self.prefix).is_some_and(|rest| rest.starts_with(':') && rest.contains(":queue:"));
        ours.then(|| Stream { name: name.into() })
    }

    /// Returns the stream of the same route for processes of another version of the format.
    pub(crate) fn of_version(&self, stream: &Stream, version: u64) -> String {
        let route = stream.name.strip_prefix(&*self.prefix).unwrap_or_default();
        format!("{}:{version}{route}", self.tag)
    }

    /// Returns the name of the stream of dead letters.
    pub(crate) fn dead_letters(&self) -> String {
        format!("{}:dead", self.prefix)
    }

    /// Returns the key that shows that a process has just searched the store for work of these routes.
    pub(crate) fn hint(&self, what: &str, routes: u64) -> String {
        format!("{}:{what}:{routes:016x}", self.base)
    }

    /// Returns the key of the streams that have entries: a hint, which announcers restore.
    pub(crate) fn used(&self) -> String {
        format!("{}:used", self.base)
    }

    /// Returns the key of the streams in use that covers a stream.
    pub(crate) fn used_beside(&self, stream: &Stream) -> String {
        let base = stream.name.split(":queue:").next().unwrap_or(&self.base);
        format!("{base}:used")
    }

    /// Returns a name that no other process uses.
    pub(crate) fn probe(&self, what: &str, id: impl fmt::Display) -> String {
        format!("{}:probe:{id}:{what}", self.base)
    }
}

impl Stream {
    /// Returns the name of the index: the id of the entry that announces each job.
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
    use squidmesh_core::definition::QueueName;
    use squidmesh_core::testing::sample;

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
    fn two_databases_behind_one_prefix_share_no_name_but_that_of_the_dead_letters() {
        let keys = Keys::new("shop").unwrap();
        let route = Route::new(QueueName::default(), Priority::High, *sample::definition().fingerprint());
        let [one, other] = ["one", "t{w}o"].map(|identity| keys.of_database(Some(identity)));
        let stream = other.stream(&route);
        assert!(stream.name.starts_with("{shop}:1:t_w_o:queue:default:high:"), "{stream:?}");
        assert_ne!(one.stream(&route), stream);
        assert_ne!((one.hint("look", 1), one.used()), (other.hint("look", 1), other.used()));
        assert_eq!(one.dead_letters(), other.dead_letters());
        assert_eq!(keys.stream_named(&stream.name), Some(stream.clone()));
        assert_eq!(keys.used_beside(&stream), other.used());
        assert!(one.of_version(&one.stream(&route), 7).starts_with("{shop}:7:one:queue:default:high:"));
    }

    #[test]
    fn a_prefix_must_fit_into_a_hash_tag() {
        for prefix in ["", "a}b", "{a", "a b", "a\n", &"x".repeat(65)] {
            assert!(matches!(Keys::new(prefix), Err(RedisExecutorError::InvalidPrefix { .. })), "{prefix:?}");
        }
    }
}
