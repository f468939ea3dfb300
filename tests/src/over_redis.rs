//! Work that is delivered over Redis, and what Redis holds meanwhile.
//!
//! What Redis holds is read from the keys themselves, by their types, and not through the executor under test.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{RedisResult, Value as Answer, cmd};
use serde_json::{Value, json};
use squidmesh_core::dispatch::{DeliveryMessage, IntentKey};
use squidmesh_core::{COMPLETE, Config, Retry, Squidmesh, Step, StepContext, StepResult, Trigger, Workflow, ms};

use crate::RedisAddress;

/// A workflow of five steps, one after the other.
pub const CHAIN: &str = "chain";
/// A workflow of five steps: three wait for the first, and the last waits for those three.
pub const FAN: &str = "fan";
/// Their steps.
pub const STEPS: [&str; 5] = ["one", "two", "three", "four", "five"];

/// Called as each step begins.
pub type Begun = Arc<dyn Fn(&StepContext) + Send + Sync>;

/// Returns the two workflows. Each step takes `time`, and survives any number of dead workers.
pub fn workflows(time: Duration, begun: &Begun) -> [Workflow; 2] {
    let step = |name: &str| {
        let begun = begun.clone();
        let handler = move |_: Value, context: StepContext| {
            begun(&context);
            async move {
                tokio::time::sleep(time).await;
                StepResult::Ok(json!({}))
            }
        };
        Step::new(name, handler).retry(Retry::fixed(1_000, ms(1)))
    };
    let chain = STEPS
        .iter()
        .fold(Workflow::builder(CHAIN).trigger(Trigger::manual("manual")), |builder, name| builder.step(step(name)));
    let chain = STEPS.windows(2).fold(chain, |builder, pair| builder.then(pair[0], pair[1]));
    let fan = Workflow::builder(FAN).trigger(Trigger::manual("manual")).step(step("one"));
    let fan = ["two", "three", "four"].iter().fold(fan, |builder, name| builder.step(step(name).after(["one"])));
    let fan = fan.step(step("five").after(["two", "three", "four"]));
    [chain.then(STEPS[4], COMPLETE).build().expect("a chain"), fan.build().expect("a fan")]
}

/// Sets short leases for tests in which processes die often; no step is blamed for their deaths.
pub fn short_leases(config: &mut Config, lease: Duration) {
    (config.lease, config.heartbeat, config.crash_limit) = (lease, lease / 4, 1_000);
}

/// The number of things that Redis holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Announcements, over all streams but that of the dead letters.
    pub entries: usize,
    /// Announcements that a reader took and did not acknowledge.
    pub pending: usize,
    /// Fields of hashes: the intents recorded as announced.
    pub known: usize,
    /// Dead letters.
    pub dead: usize,
}

impl Held {
    /// Returns whether nothing is left to deliver.
    pub fn is_at_rest(&self) -> bool {
        (self.entries, self.pending, self.known) == (0, 0, 0)
    }
}

/// Reads what a server holds under a prefix. Keeps working when the server is restarted.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    server: RedisAddress,
    prefix: &'static str,
}

impl Look {
    /// Creates a look at what an executor with this prefix keeps there.
    pub fn at(server: RedisAddress, prefix: &'static str) -> Self {
        Look { server, prefix }
    }

    /// Returns the keys of a type, in order.
    pub async fn keys(&self, kind: &str) -> RedisResult<Vec<String>> {
        let pattern = format!("*{}*", self.prefix);
        let mut connection = self.server.connect().await?;
        let (mut cursor, mut found) = (0_u64, Vec::new());
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(1_000).arg("TYPE").arg(kind);
            let (next, keys): (u64, Vec<String>) = scan.query_async(&mut connection).await?;
            found.extend(keys);
            cursor = next;
            if cursor == 0 {
                found.sort();
                found.dedup();
                return Ok(found);
            }
        }
    }

    /// Returns the streams of announcements.
    pub async fn streams(&self) -> RedisResult<Vec<String>> {
        Ok(self.keys("stream").await?.into_iter().filter(|key| !is_of_the_dead(key)).collect())
    }

    /// Returns the stream of dead letters, if there is one.
    pub async fn dead(&self) -> RedisResult<Option<String>> {
        Ok(self.keys("stream").await?.into_iter().find(|key| is_of_the_dead(key)))
    }

    pub async fn held(&self) -> RedisResult<Held> {
        let mut connection = self.server.connect().await?;
        let mut held = Held::default();
        for stream in self.keys("stream").await? {
            let length: usize = cmd("XLEN").arg(&stream).query_async(&mut connection).await?;
            if is_of_the_dead(&stream) {
                held.dead += length;
                continue;
            }
            held.entries += length;
            for group in self.groups(&stream).await? {
                let (pending, _, _, _): (usize, Answer, Answer, Answer) =
                    cmd("XPENDING").arg(&stream).arg(&group).query_async(&mut connection).await?;
                held.pending += pending;
            }
        }
        for hash in self.keys("hash").await? {
            held.known += cmd("HLEN").arg(&hash).query_async::<usize>(&mut connection).await?;
        }
        Ok(held)
    }

    /// Returns the consumer groups of a stream.
    pub async fn groups(&self, stream: &str) -> RedisResult<Vec<String>> {
        let groups: Vec<BTreeMap<String, Answer>> =
            self.server.ask(cmd("XINFO").arg("GROUPS").arg(stream)).await.or_else(nothing_there)?;
        groups.iter().map(|group| Ok(redis::from_redis_value_ref(&group["name"])?)).collect()
    }

    /// Returns the announced intents.
    pub async fn announced(&self) -> RedisResult<HashSet<IntentKey>> {
        let mut connection = self.server.connect().await?;
        let mut found = HashSet::new();
        for stream in self.streams().await? {
            let range: Vec<(String, Vec<Vec<u8>>)> =
                cmd("XRANGE").arg(&stream).arg("-").arg("+").query_async(&mut connection).await?;
            let parts = range.into_iter().flat_map(|(_, parts)| parts);
            found.extend(parts.filter_map(|part| DeliveryMessage::parse(&part).ok()?.intent()));
        }
        Ok(found)
    }

    /// Waits until nothing is left to deliver.
    pub async fn until_at_rest(&self, within: Duration) -> Held {
        let begun = Instant::now();
        loop {
            let held = self.held().await.expect("Redis answers");
            if held.is_at_rest() {
                return held;
            }
            assert!(begun.elapsed() < within, "after {:?} there is still {held:?}", begun.elapsed());
            tokio::time::sleep(ms(50)).await;
        }
    }

    /// Waits until everything that is due now is either announced or held by a worker. Returns the number of due
    /// intents and the time it took.
    pub async fn until_all_is_announced(&self, mesh: &Squidmesh, within: Duration) -> (usize, Duration) {
        let begun = Instant::now();
        let mut missing = due(mesh).await;
        let all = missing.len();
        for round in 1_u32.. {
            let announced = self.announced().await.unwrap_or_default();
            missing.retain(|key| !announced.contains(key));
            // Listing all due work is expensive, so it is done in every fifth round; an intent that a worker has
            // taken since is not missing.
            if !missing.is_empty() && round.is_multiple_of(5) {
                let due_now = due(mesh).await;
                missing.retain(|key| due_now.contains(key));
            }
            if missing.is_empty() {
                break;
            }
            assert!(begun.elapsed() < within, "{} of {all} are not announced within {within:?}", missing.len());
            tokio::time::sleep(ms(50)).await;
        }
        (all, begun.elapsed())
    }
}

/// Returns the due intents in the store that no worker holds.
pub async fn due(mesh: &Squidmesh) -> HashSet<IntentKey> {
    let runner = mesh.runner();
    let (mut found, mut last) = (HashSet::new(), None);
    loop {
        let page = runner.list_due(None, last, 1_000).await.expect("the store answers");
        last = page.intents.last().cloned();
        found.extend(page.intents.into_iter().map(|intent| intent.key));
        if !page.more {
            return found;
        }
    }
}

/// Compares the end of the name: identities and fingerprints within it are hexadecimal, and may contain the word.
fn is_of_the_dead(key: &str) -> bool {
    key.ends_with(":dead")
}

/// A stream that does not exist has no groups.
fn nothing_there<T: Default>(error: redis::RedisError) -> RedisResult<T> {
    if error.code() == Some("ERR") { Ok(T::default()) } else { Err(error) }
}
