//! A proxy to a server on which connections fall silent: no connection is closed or refused, and no byte comes
//! through.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use squidmesh_tests::RedisAddress;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// The number of a connection whose bytes are lost.
const LOST: u64 = u64::MAX;

/// The proxy. Connections with the present number come through, all others are silent for ever.
pub(crate) struct Road {
    port: u16,
    present: Arc<AtomicU64>,
    /// The number that new connections are given.
    next: Arc<AtomicU64>,
}

impl Road {
    pub(crate) async fn to(server: RedisAddress) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let road = Road {
            port: listener.local_addr().unwrap().port(),
            present: Arc::new(AtomicU64::new(1)),
            next: Arc::new(AtomicU64::new(1)),
        };
        let (present, next) = (road.present.clone(), road.next.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = next.load(Ordering::SeqCst);
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).await.unwrap();
                let ((from, to), (back, forth)) = (client.into_split(), server.into_split());
                tokio::spawn(carry(from, forth, number, present.clone()));
                tokio::spawn(carry(back, to, number, present.clone()));
            }
        });
        road
    }

    pub(crate) fn address(&self) -> RedisAddress {
        RedisAddress::new(self.port)
    }

    /// Silences all connections, and those that are made from now on.
    pub(crate) fn close(&self) {
        self.next.store(LOST, Ordering::SeqCst);
        self.present.fetch_add(1, Ordering::SeqCst);
    }

    /// Lets new connections come through again. Silent connections stay silent.
    pub(crate) fn open(&self) {
        self.next.store(self.present.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, number: u64, present: Arc<AtomicU64>) {
    let mut buffer = vec![0; 64 * 1_024];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        let silent = number != present.load(Ordering::SeqCst);
        if silent && read == 0 {
            // The other side does not learn of the end either.
            return std::future::pending().await;
        }
        if !silent && (read == 0 || to.write_all(&buffer[..read]).await.is_err()) {
            return;
        }
    }
}
