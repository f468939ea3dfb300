//! An address that leads to one of several servers, and to another after a switch: what a manual failover, a virtual
//! address or a service name does for clients.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Forwards connections. Open connections are cut when the switch is thrown.
#[derive(Debug)]
pub struct Crossing {
    address: SocketAddr,
    target: watch::Sender<u16>,
    serving: JoinHandle<()>,
}

impl Crossing {
    /// Creates a crossing that leads to a port of the loopback interface.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let target = watch::Sender::new(port);
        let serving = tokio::spawn(serve(listener, target.clone()));
        Crossing { address, target, serving }
    }

    /// Returns the port that clients use.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Cuts the open connections, and leads to another port from now on.
    pub fn switch_to(&self, port: u16) {
        self.target.send_replace(port);
    }
}

impl Drop for Crossing {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, target: watch::Sender<u16>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let mut target = target.subscribe();
        tokio::spawn(async move {
            let port = *target.borrow_and_update();
            let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => {}
                _ = target.changed() => {}
            }
        });
    }
}
