//! Tests the scripts and their callers on a real server, where each test has names of its own.

mod announcing;
mod reading;
mod setting_aside;
mod settings;
mod sweeping;

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Value};
use squidmesh_core::command::Route;
use squidmesh_core::definition::Priority;
use squidmesh_core::dispatch::IntentKey;
use squidmesh_core::testing::sample;
use uuid::Uuid;

use crate::announce::{Announced, Announcement, StreamWriter};
use crate::connection::Connection;
use crate::entry::{Content, Entry};
use crate::keys::{GROUP, Keys, Stream};
use crate::reader::Reader;
use crate::server::Server;
use crate::sweep_triggers::SweepTriggers;
use crate::used::UsedStreams;

/// The variable with the address of the test server.
const SERVER: &str = "SQUIDMESH_TEST_REDIS";
const SECONDS: Duration = Duration::from_secs(5);

fn server() -> String {
    std::env::var(SERVER)
        .unwrap_or_else(|_| panic!("{SERVER} is not set: run `cargo xtask test`, which starts a Redis for the tests"))
}

/// A deployment without data in Redis.
struct Deployment {
    connection: Arc<Connection>,
    keys: Keys,
    writer: StreamWriter,
    triggers: Arc<SweepTriggers>,
}

impl Deployment {
    fn new() -> Self {
        let triggers = Arc::new(SweepTriggers::default());
        let connection = Arc::new(Connection::new(Server::at(&server()).unwrap(), SECONDS, triggers.clone()));
        let keys = Keys::new(&Uuid::new_v4().simple().to_string()).unwrap();
        Deployment { writer: StreamWriter::new(connection.clone(), keys.clone()), connection, keys, triggers }
    }

    fn reader(&self, routes: &[Route]) -> Reader {
        let waiting = Connection::new(Server::at(&server()).unwrap(), SECONDS, self.triggers.clone());
        let own = routes.iter().map(|route| self.stream(route)).collect();
        let used = Arc::new(UsedStreams::new(self.connection.clone(), &self.keys, own));
        Reader::new(
            routes.to_vec(),
            &self.keys,
            waiting,
            self.connection.clone(),
            self.triggers.clone(),
            used,
            SECONDS * 2,
        )
    }

    async fn announce(&self, announcements: &[Announcement]) -> Announced {
        self.writer.announce(announcements).await.unwrap()
    }

    async fn send(&self, words: &[&str]) -> Value {
        let (name, arguments) = words.split_first().unwrap();
        let mut command: Cmd = redis::cmd(name);
        self.connection.send(command.arg(arguments)).await.unwrap()
    }

    fn stream(&self, route: &Route) -> Stream {
        self.keys.stream(route)
    }

    /// Returns the number of entries of a stream, how many of them are pending, and the number of jobs in the
    /// index.
    async fn counts(&self, route: &Route) -> [i64; 3] {
        let stream = self.stream(route);
        let length = self.send(&["XLEN", &stream.name]).await;
        let pending = match self.send(&["XPENDING", &stream.name, GROUP]).await {
            Value::Array(parts) => parts.into_iter().next().unwrap(),
            _ => Value::Int(0),
        };
        let announced = self.send(&["HLEN", &stream.index()]).await;
        [length, pending, announced].map(|count| match count {
            Value::Int(count) => count,
            other => panic!("{other:?}"),
        })
    }
}

fn route(priority: Priority) -> Route {
    route_of("default", priority)
}

fn route_of(queue: &str, priority: Priority) -> Route {
    Route::new(sample::queue(queue), priority, *sample::definition().fingerprint())
}

fn job(run: u64, route: &Route) -> Announcement {
    Announcement { key: IntentKey::step(sample::run_id(run), sample::step_name("first")), route: route.clone() }
}

/// Returns the runs of entries, in order.
fn runs(entries: &[Entry]) -> Vec<u64> {
    let run = |entry: &Entry| match entry.content() {
        Content::Intent(key) => (0..10_000).find(|number| sample::run_id(*number) == key.run_id).unwrap(),
        other => panic!("{other:?}"),
    };
    entries.iter().map(run).collect()
}

async fn settle(reader: &Reader, entries: &[Entry]) {
    let job = |entry: &Entry| match entry.content() {
        Content::Intent(key) => key.to_string(),
        _ => String::new(),
    };
    let settled: Vec<(&Entry, String)> = entries.iter().map(|entry| (entry, job(entry))).collect();
    reader.settler.settle(&settled).await.unwrap();
}
