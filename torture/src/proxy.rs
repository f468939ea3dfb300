//! The way to a server, on which everything can happen: connections that are cut at the worst moment, that fall silent without
//! being closed, and that take their time.
//!
//! An answer is cut exactly when the server has committed a change and says so: it is read here and never handed on.

use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::wire::{Answers, Change, Requests};

/// What is to happen on the way, and what has happened.
#[derive(Debug)]
pub(crate) struct Weather {
    /// How long everything takes longer, in milliseconds.
    pub(crate) latency: AtomicU64,
    /// How long a silent connection is silent before it is closed, in milliseconds.
    pub(crate) silence: AtomicU64,
    wanted: Mutex<Vec<Wanted>>,
    partition: watch::Sender<u64>,
    pub(crate) cut: Cut,
}

/// What is wanted of the next connection that gives the occasion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// To be cut when such a change is committed and before the client knows.
    Answer(Change),
    /// To be cut before a change arrives.
    Request,
    /// To fall silent with a change under way.
    Silence,
}

/// How many connections were cut.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    pub(crate) waves: AtomicU32,
    pub(crate) commits: AtomicU32,
    pub(crate) others: AtomicU32,
    pub(crate) requests: AtomicU32,
    pub(crate) silent: AtomicU32,
}

impl Weather {
    fn calm() -> Self {
        Weather {
            latency: AtomicU64::new(0),
            silence: AtomicU64::new(0),
            wanted: Mutex::default(),
            partition: watch::Sender::new(0),
            cut: Cut::default(),
        }
    }

    /// Asks for something at the next occasion.
    pub(crate) fn want(&self, wanted: Wanted) {
        let mut list = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        // What finds no occasion is not piled up.
        if list.len() < 8 {
            list.push(wanted);
        }
    }

    /// Nothing happens any more.
    pub(crate) fn clear_up(&self) {
        self.latency.store(0, Ordering::SeqCst);
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Cuts every connection that is open.
    pub(crate) fn cut_all(&self) {
        self.partition.send_modify(|count| *count += 1);
    }

    fn takes(&self, which: Wanted) -> bool {
        let mut list = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let place = list.iter().position(|wanted| *wanted == which);
        place.map(|place| list.remove(place)).is_some()
    }

    async fn delay(&self) {
        let latency = self.latency.load(Ordering::Relaxed);
        if latency > 0 {
            tokio::time::sleep(Duration::from_millis(latency)).await;
        }
    }
}

/// A port that leads to a server.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    pub(crate) weather: Arc<Weather>,
    target: u16,
    serving: JoinHandle<()>,
}

impl Proxy {
    /// The port of the server itself.
    pub(crate) fn target(&self) -> u16 {
        self.target
    }

    /// Leads to a Postgres, whose protocol is followed.
    pub(crate) async fn to_postgres(port: u16) -> io::Result<Self> {
        Proxy::to(port, true).await
    }

    /// Leads to any server.
    pub(crate) async fn to_anything(port: u16) -> io::Result<Self> {
        Proxy::to(port, false).await
    }

    async fn to(target: u16, followed: bool) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let weather = Arc::new(Weather::calm());
        let serving = tokio::spawn(serve(listener, target, followed, weather.clone()));
        Ok(Proxy { port, weather, target, serving })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
        self.weather.cut_all();
    }
}

async fn serve(listener: TcpListener, target: u16, followed: bool, weather: Arc<Weather>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let weather = weather.clone();
        tokio::spawn(async move {
            let mut partition = weather.partition.subscribe();
            let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else { return };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            let open = Mutex::default();
            let connection = Connection { followed, weather: &weather, open: &open };
            let silent = tokio::select! {
                end = connection.up(from_client, to_server) => end.unwrap_or_default(),
                _ = connection.down(from_server, to_client) => None,
                _ = partition.changed() => None,
            };
            if let Some((reader, writer)) = silent {
                // Nobody is told that nothing will come any more.
                let silence = Duration::from_millis(weather.silence.load(Ordering::Relaxed));
                let _ = tokio::time::timeout(silence, partition.changed()).await;
                drop((reader, writer));
            }
        });
    }
}

/// One connection. `open` are its requests that are not answered.
struct Connection<'a> {
    followed: bool,
    weather: &'a Weather,
    open: &'a Mutex<VecDeque<Option<Change>>>,
}

type Ends = Option<(OwnedReadHalf, OwnedWriteHalf)>;

impl Connection<'_> {
    /// Carries the client's requests. What is returned is to be kept open in silence.
    async fn up(&self, mut client: OwnedReadHalf, mut server: OwnedWriteHalf) -> io::Result<Ends> {
        let mut requests = Requests::default();
        let mut buffer = vec![0; 16 * 1_024];
        loop {
            let count = client.read(&mut buffer).await?;
            if count == 0 {
                return Ok(None);
            }
            self.weather.delay().await;
            let ended = if self.followed { requests.feed(&buffer[..count]) } else { Vec::new() };
            let changes = ended.iter().any(Option::is_some);
            self.open.lock().unwrap_or_else(PoisonError::into_inner).extend(ended);
            if changes && self.weather.takes(Wanted::Request) {
                self.weather.cut.requests.fetch_add(1, Ordering::Relaxed);
                return Ok(None);
            }
            let silent = changes && self.weather.takes(Wanted::Silence);
            // Every other one arrives, and its answer does not.
            if !silent || self.weather.cut.silent.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
                server.write_all(&buffer[..count]).await?;
            }
            if silent {
                return Ok(Some((client, server)));
            }
        }
    }

    /// Carries the server's answers.
    async fn down(&self, mut server: OwnedReadHalf, mut client: OwnedWriteHalf) -> io::Result<()> {
        let mut answers = Answers::default();
        let mut buffer = vec![0; 16 * 1_024];
        let mut held = Vec::new();
        loop {
            let count = server.read(&mut buffer).await?;
            if count == 0 {
                return client.write_all(&held).await;
            }
            self.weather.delay().await;
            held.extend_from_slice(&buffer[..count]);
            if self.followed {
                for answered in answers.feed(&buffer[..count]) {
                    let change = self.open.lock().unwrap_or_else(PoisonError::into_inner).pop_front().flatten();
                    if let Some(change) = change.filter(|_| answered.committed)
                        && self.weather.takes(Wanted::Answer(change))
                    {
                        let counter = match change {
                            Change::Wave => &self.weather.cut.waves,
                            Change::Commit => &self.weather.cut.commits,
                            Change::Other => &self.weather.cut.others,
                        };
                        counter.fetch_add(1, Ordering::Relaxed);
                        return Ok(());
                    }
                }
                // Of the answer to a change nothing is told before all of it is there.
                let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
                if open.front().is_some_and(Option::is_some) {
                    continue;
                }
            }
            client.write_all(&held).await?;
            held.clear();
        }
    }
}
