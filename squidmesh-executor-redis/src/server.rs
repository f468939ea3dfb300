//! The server: an address, the sentinels of a master, or a cluster. Never shows its credentials.

use std::fmt;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::TcpKeepalive;
use redis::{AsyncConnectionConfig, Client, Cmd, IntoConnectionInfo, Pipeline, RedisFuture, RedisResult, Value};

use crate::RedisExecutorError;

/// How long connecting may take.
const CONNECTING: Duration = Duration::from_secs(3);
/// How long connecting may take if several nodes or sentinels may have to be asked.
#[cfg(any(feature = "sentinel", feature = "cluster"))]
const ASKING_AROUND: Duration = Duration::from_secs(9);
/// The idle time after which a connection is probed, and the interval between probes.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Enables TCP keepalive, so that the system detects dead connections as well.
fn tcp() -> TcpSettings {
    let probes = TcpKeepalive::new().with_time(KEEP_ALIVE);
    #[cfg(any(target_os = "linux", target_os = "macos", target_os = "windows"))]
    let probes = probes.with_interval(KEEP_ALIVE);
    TcpSettings::default().set_keepalive(probes).set_nodelay(true)
}

/// The source of connections.
#[derive(Clone)]
pub(crate) enum Server {
    /// One server.
    Alone(Box<Client>),
    /// The master of this name, as known to its sentinels.
    #[cfg(feature = "sentinel")]
    Sentinel(std::sync::Arc<tokio::sync::Mutex<redis::sentinel::SentinelClient>>),
    /// The node of a cluster that has the slot.
    #[cfg(feature = "cluster")]
    Cluster(Box<redis::cluster::ClusterClient>),
}

impl Server {
    /// Parses an address. Does not connect.
    pub(crate) fn at(address: &str) -> Result<Self, RedisExecutorError> {
        let settings = address.into_connection_info().map_err(|error| invalid(&error))?.set_tcp_settings(tcp());
        Client::open(settings).map(|client| Server::Alone(Box::new(client))).map_err(|error| invalid(&error))
    }

    /// Parses the addresses of sentinels and of the master, whose host and port are ignored. Does not connect.
    #[cfg(feature = "sentinel")]
    pub(crate) fn of_sentinels(sentinels: &[&str], master: &str, address: &str) -> Result<Self, RedisExecutorError> {
        use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};

        let settings = address.into_connection_info().map_err(|error| invalid(&error))?;
        let node = SentinelNodeConnectionInfo::default().set_redis_connection_info(settings.redis_settings().clone());
        let node = node.set_tcp_settings(tcp());
        let node = match settings.addr() {
            redis::ConnectionAddr::TcpTls { .. } => node.set_tls_mode(redis::TlsMode::Secure),
            _ => node,
        };
        let client = SentinelClient::build(sentinels.to_vec(), master, Some(node), SentinelServerType::Master);
        let client = client.map_err(|error| invalid(&error))?;
        Ok(Server::Sentinel(std::sync::Arc::new(tokio::sync::Mutex::new(client))))
    }

    /// Parses the addresses of some nodes of a cluster. Does not connect.
    #[cfg(feature = "cluster")]
    pub(crate) fn of_cluster(nodes: &[&str]) -> Result<Self, RedisExecutorError> {
        let client = redis::cluster::ClusterClientBuilder::new(nodes.to_vec()).tcp_settings(tcp()).build();
        client.map(|client| Server::Cluster(Box::new(client))).map_err(|error| invalid(&error))
    }

    /// Returns how long connecting may take, including all look-ups.
    pub(crate) fn connect_timeout(&self) -> Duration {
        match self {
            Server::Alone(_) => CONNECTING,
            #[cfg(feature = "sentinel")]
            Server::Sentinel(_) => ASKING_AROUND,
            #[cfg(feature = "cluster")]
            Server::Cluster(_) => ASKING_AROUND,
        }
    }

    /// Connects, with a time limit for each answer.
    pub(crate) async fn connect(&self, answer: Duration) -> RedisResult<RawConnection> {
        let settings =
            || AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECTING)).set_response_timeout(Some(answer));
        #[cfg(feature = "tls")]
        provide_cryptography();
        match self {
            Server::Alone(client) => {
                client.get_multiplexed_async_connection_with_config(&settings()).await.map(RawConnection::Node)
            }
            #[cfg(feature = "sentinel")]
            Server::Sentinel(client) => {
                let mut client = client.lock().await;
                client.get_async_connection_with_config(&settings()).await.map(RawConnection::Node)
            }
            #[cfg(feature = "cluster")]
            Server::Cluster(client) => {
                let settings = redis::cluster::ClusterConfig::new()
                    .set_connection_timeout(CONNECTING)
                    .set_response_timeout(answer);
                client.get_async_connection_with_config(settings).await.map(RawConnection::Cluster)
            }
        }
    }
}

/// Installs a TLS cryptography provider if the process has not chosen one.
#[cfg(feature = "tls")]
fn provide_cryptography() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // If another thread was faster, there is one already.
        drop(rustls::crypto::ring::default_provider().install_default());
    }
}

/// Shows only the kind of server: addresses contain passwords.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Server::Alone(_) => "one server",
            #[cfg(feature = "sentinel")]
            Server::Sentinel(_) => "a master and its sentinels",
            #[cfg(feature = "cluster")]
            Server::Cluster(_) => "a cluster",
        })
    }
}

/// A connection, shared by its clones.
#[derive(Clone)]
pub(crate) enum RawConnection {
    Node(MultiplexedConnection),
    #[cfg(feature = "cluster")]
    Cluster(redis::cluster_async::ClusterConnection),
}

impl RawConnection {
    /// Returns whether it is a connection to one server, which has an id for it.
    pub(crate) fn has_id(&self) -> bool {
        matches!(self, RawConnection::Node(_))
    }
}

impl ConnectionLike for RawConnection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            RawConnection::Node(connection) => connection.req_packed_command(command),
            #[cfg(feature = "cluster")]
            RawConnection::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            RawConnection::Node(connection) => connection.req_packed_commands(pipeline, offset, count),
            #[cfg(feature = "cluster")]
            RawConnection::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            RawConnection::Node(connection) => connection.get_db(),
            #[cfg(feature = "cluster")]
            RawConnection::Cluster(connection) => connection.get_db(),
        }
    }
}

/// The client's messages never quote the address; its categories name the invalid part.
fn invalid(error: &redis::RedisError) -> RedisExecutorError {
    RedisExecutorError::InvalidAddress { reason: error.category().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_used_is_refused_without_being_shown() {
        for address in ["", "secret", "http://u:secret@h", "redis://u:secret@h:port", "redis://u:secret@h/secret"] {
            let error = Server::at(address).unwrap_err();
            assert!(matches!(error, RedisExecutorError::InvalidAddress { .. }));
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        }
    }

    #[cfg(feature = "tls")]
    #[tokio::test]
    async fn a_host_that_has_chosen_no_cryptography_can_use_tls() {
        // No server speaks TLS there, but the client tries it: a missing provider would fail earlier.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("rediss://{}", listener.local_addr().unwrap());
        let server = Server::at(&address).unwrap();
        let (refused, greeting) = tokio::join!(server.connect(Duration::from_secs(1)), async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut first = [0];
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut first).await.unwrap();
            first
        });
        assert!(refused.is_err());
        assert_eq!(greeting, [22], "a TLS handshake");
    }

    #[test]
    fn a_server_does_not_show_its_password() {
        let server = Server::at("redis://user:secret@localhost:6379/1").unwrap();
        assert!(!format!("{server:?}").contains("secret"));
    }
}
