//! Which server: an address, the sentinels of a master, or a cluster. Never shows its credentials.

use std::fmt;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, RedisFuture, RedisResult, Value};

use crate::RedisExecutorError;

/// How long a connection may take to be made.
const CONNECTING: Duration = Duration::from_secs(3);

/// Where connections come from.
#[derive(Clone)]
pub(crate) enum Server {
    /// One server.
    Alone(Box<Client>),
    /// The master of this name, as its sentinels know it.
    #[cfg(feature = "sentinel")]
    Sentinel(std::sync::Arc<tokio::sync::Mutex<redis::sentinel::SentinelClient>>),
    /// Whichever node of a cluster has the slot.
    #[cfg(feature = "cluster")]
    Cluster(Box<redis::cluster::ClusterClient>),
}

impl Server {
    /// Reads an address; connects to nothing.
    pub(crate) fn at(address: &str) -> Result<Self, RedisExecutorError> {
        Client::open(address).map(|client| Server::Alone(Box::new(client))).map_err(|error| invalid(&error))
    }

    /// Reads the addresses of sentinels and of the master, whose host and port do not matter; connects to nothing.
    #[cfg(feature = "sentinel")]
    pub(crate) fn of_sentinels(sentinels: &[&str], master: &str, address: &str) -> Result<Self, RedisExecutorError> {
        use redis::IntoConnectionInfo;
        use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};

        let settings = address.into_connection_info().map_err(|error| invalid(&error))?;
        let node = SentinelNodeConnectionInfo::default().set_redis_connection_info(settings.redis_settings().clone());
        let node = match settings.addr() {
            redis::ConnectionAddr::TcpTls { .. } => node.set_tls_mode(redis::TlsMode::Secure),
            _ => node,
        };
        let client = SentinelClient::build(sentinels.to_vec(), master, Some(node), SentinelServerType::Master);
        let client = client.map_err(|error| invalid(&error))?;
        Ok(Server::Sentinel(std::sync::Arc::new(tokio::sync::Mutex::new(client))))
    }

    /// Reads the addresses of some nodes of a cluster; connects to nothing.
    #[cfg(feature = "cluster")]
    pub(crate) fn of_cluster(nodes: &[&str]) -> Result<Self, RedisExecutorError> {
        let client = redis::cluster::ClusterClient::new(nodes.to_vec());
        client.map(|client| Server::Cluster(Box::new(client))).map_err(|error| invalid(&error))
    }

    /// Connects, and allows each answer so much time.
    pub(crate) async fn connect(&self, answer: Duration) -> RedisResult<Connection> {
        let settings =
            || AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECTING)).set_response_timeout(Some(answer));
        #[cfg(feature = "tls")]
        provide_cryptography();
        match self {
            Server::Alone(client) => {
                client.get_multiplexed_async_connection_with_config(&settings()).await.map(Connection::Node)
            }
            #[cfg(feature = "sentinel")]
            Server::Sentinel(client) => {
                let mut client = client.lock().await;
                client.get_async_connection_with_config(&settings()).await.map(Connection::Node)
            }
            #[cfg(feature = "cluster")]
            Server::Cluster(client) => {
                let settings = redis::cluster::ClusterConfig::new()
                    .set_connection_timeout(CONNECTING)
                    .set_response_timeout(answer);
                client.get_async_connection_with_config(settings).await.map(Connection::Cluster)
            }
        }
    }
}

/// TLS takes its cryptography from what the process has chosen; a host that has chosen nothing gets what this crate brings.
#[cfg(feature = "tls")]
fn provide_cryptography() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another may have been faster: then there is one.
        drop(rustls::crypto::ring::default_provider().install_default());
    }
}

/// Names the kind and nothing else: addresses hold passwords.
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
pub(crate) enum Connection {
    Node(MultiplexedConnection),
    #[cfg(feature = "cluster")]
    Cluster(redis::cluster_async::ClusterConnection),
}

impl Connection {
    /// Whether it is to one server, which knows it by a number.
    pub(crate) fn has_id(&self) -> bool {
        matches!(self, Connection::Node(_))
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Connection::Node(connection) => connection.req_packed_command(command),
            #[cfg(feature = "cluster")]
            Connection::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Connection::Node(connection) => connection.req_packed_commands(pipeline, offset, count),
            #[cfg(feature = "cluster")]
            Connection::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Connection::Node(connection) => connection.get_db(),
            #[cfg(feature = "cluster")]
            Connection::Cluster(connection) => connection.get_db(),
        }
    }
}

/// The client's reasons never quote the address; its kinds say what part is wrong.
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
        // Nobody speaks TLS there, but it is tried: what is missing would be missed before that.
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
