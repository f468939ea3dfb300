//! Notifications of new work, sent to other handles and processes and received from them.
//!
//! A notification is only a reason to look into the database; a process that misses it finds the same work a
//! little later.

#[cfg(feature = "sqlite")]
mod files;
mod notifications;
mod notifier;
#[cfg(feature = "postgres")]
mod postgres;

pub(crate) use notifier::Notifier;
