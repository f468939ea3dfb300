//! Sets up the connections, and protects them.
//!
//! A future that is dropped while a Postgres transaction begins returns its connection to the pool inside the open
//! transaction. The next user of that connection writes into it, gets `Ok`, and loses the write. Therefore no
//! transaction of the store itself begins in a future that may be dropped, and every connection that the host
//! returns is cleared of any transaction. On Postgres, the store's own connections are in [no such
//! pool](own).

#[cfg(feature = "postgres")]
mod address;
pub(crate) mod bounds;
pub(crate) mod calls;
pub(crate) mod cause;
pub(crate) mod connections;
#[cfg(feature = "sqlite")]
mod file;
pub(crate) mod open;
#[cfg(feature = "postgres")]
mod own;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
