//! A proxy to a server on which connections can become silent: they stay open, and nothing that is sent on them
//! arrives.

#![allow(dead_code, reason = "each test binary uses some of it")]

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// A proxy to a server.
pub(crate) struct Network {
    port: u16,
    silences: Arc<AtomicU64>,
    trap: Arc<Mutex<Option<Trap>>>,
    statements: Arc<Mutex<Vec<String>>>,
}

/// A request at which the open connections become silent.
#[derive(Clone, Copy)]
struct Trap {
    request: &'static [u8],
    arrives: bool,
}

impl Network {
    /// Starts a proxy to the server of a URL.
    pub(crate) async fn to(url: &str) -> Self {
        let (host, port) = address(url);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let network = Network {
            port: listener.local_addr().unwrap().port(),
            silences: Arc::default(),
            trap: Arc::default(),
            statements: Arc::default(),
        };
        let (silences, trap) = (Arc::clone(&network.silences), Arc::clone(&network.trap));
        let statements = Arc::clone(&network.statements);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect((host.as_str(), port)).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(carry(
                    from_client,
                    to_server,
                    Arc::clone(&silences),
                    Arc::clone(&trap),
                    Arc::clone(&statements),
                ));
                tokio::spawn(carry(from_server, to_client, Arc::clone(&silences), Arc::default(), Arc::default()));
            }
        });
        network
    }

    /// Returns the URL that leads through the proxy.
    pub(crate) fn url(&self, url: &str) -> String {
        let (host, port) = address(url);
        url.replacen(&format!("{host}:{port}"), &format!("127.0.0.1:{}", self.port), 1)
    }

    /// Returns the beginnings of the statements that clients have executed on Postgres, or their names.
    pub(crate) fn statements(&self) -> Vec<String> {
        self.statements.lock().unwrap().clone()
    }

    /// Drops everything that is sent on the open connections from now on.
    pub(crate) fn fall_silent(&self) {
        self.silences.fetch_add(1, Ordering::SeqCst);
    }

    /// Falls silent when a client next sends these bytes, which still arrive at the server or do not.
    pub(crate) fn fall_silent_at(&self, request: &'static [u8], arrives: bool) {
        *self.trap.lock().unwrap() = Some(Trap { request, arrives });
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    silences: Arc<AtomicU64>,
    trap: Arc<Mutex<Option<Trap>>>,
    statements: Arc<Mutex<Vec<String>>>,
) {
    let born = silences.load(Ordering::SeqCst);
    let mut bytes = vec![0; 65_536];
    loop {
        let count = from.read(&mut bytes).await.unwrap_or(0);
        if silences.load(Ordering::SeqCst) != born {
            // Neither side learns that the other has gone.
            std::future::pending::<()>().await;
        }
        // `Query` and `Bind`: a client sends a request when the last one was answered, so each begins a packet.
        if matches!(bytes.first(), Some(b'Q' | b'B')) && count > 0 {
            let text = bytes.get(5..count.min(100)).unwrap_or_default();
            statements.lock().unwrap().push(String::from_utf8_lossy(text).into_owned());
        }
        let sprung = sprung(&mut trap.lock().unwrap(), bytes.get(..count).unwrap_or_default());
        if let Some(trap) = sprung {
            // Before the request is passed on, so that its answer is not.
            silences.fetch_add(1, Ordering::SeqCst);
            if !trap.arrives {
                std::future::pending::<()>().await;
            }
        }
        if count == 0 || to.write_all(bytes.get(..count).unwrap_or_default()).await.is_err() {
            return;
        }
    }
}

/// Takes the trap if the request is in these bytes.
fn sprung(trap: &mut Option<Trap>, bytes: &[u8]) -> Option<Trap> {
    let request = trap.as_ref()?.request;
    if bytes.windows(request.len()).any(|window| window == request) { trap.take() } else { None }
}

fn address(url: &str) -> (String, u16) {
    let rest = url.split_once("://").unwrap().1;
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = host.split(['/', '?']).next().unwrap();
    let (host, port) = host.split_once(':').unwrap();
    (host.to_owned(), port.parse().unwrap())
}
