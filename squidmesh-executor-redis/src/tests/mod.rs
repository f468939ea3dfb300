//! The scripts and their callers against a real server, on which each test has names of its own.

mod announcing;
mod reading;
mod setting_aside;
mod sweeping;

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Value};
use squidmesh_core::testing::sample;
use squidmesh_core::{IntentKey, Priority, Route};
use uuid::Uuid;

use crate::announce::{Announced, Announcement, Board};
use crate::entry::{Content, Entry};
use crate::keys::{GROUP, Keys, Stream};
use crate::link::Link;
use crate::reader::Reader;
use crate::server::Server;
use crate::signals::Signals;

/// Where the server of the tests is.
const SERVER: &str = "SQUIDMESH_TEST_REDIS";
const SECONDS: Duration = Duration::from_secs(5);

fn server() -> String {
    std::env::var(SERVER)
        .unwrap_or_else(|_| panic!("{SERVER} is not set: run `cargo xtask test`, which starts a Redis for the tests"))
}

/// A deployment with nothing in Redis.
struct Deployment {
    link: Arc<Link>,
    keys: Keys,
    board: Board,
    signals: Arc<Signals>,
}

impl Deployment {
    fn new() -> Self {
        let signals = Arc::new(Signals::default());
        let link = Arc::new(Link::new(Server::at(&server()).unwrap(), SECONDS, signals.clone()));
        let keys = Keys::new(&Uuid::new_v4().simple().to_string()).unwrap();
        Deployment { board: Board::new(link.clone(), keys.clone()), link, keys, signals }
    }

    fn reader(&self, routes: &[Route]) -> Reader {
        let waiting = Link::new(Server::at(&server()).unwrap(), SECONDS, self.signals.clone());
        Reader::new(routes.to_vec(), &self.keys, waiting, self.link.clone(), self.signals.clone(), SECONDS * 2)
    }

    async fn announce(&self, announcements: &[Announcement]) -> Announced {
        self.board.announce(announcements).await.unwrap()
    }

    async fn send(&self, words: &[&str]) -> Value {
        let (name, arguments) = words.split_first().unwrap();
        let mut command: Cmd = redis::cmd(name);
        self.link.send(command.arg(arguments)).await.unwrap()
    }

    fn stream(&self, route: &Route) -> Stream {
        self.keys.stream(route)
    }

    /// How many entries a stream has, how many of them are in somebody's hands, and how many jobs the index has.
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

/// The runs that entries are about, in their order.
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
    reader.settle(&settled).await.unwrap();
}
