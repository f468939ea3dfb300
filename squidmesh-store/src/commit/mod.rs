//! Writes commits, in groups: encoded in the caller's task, queued, batched, and written in one transaction.
//!
//! The flow is [`committer`] (queued) → [`transactions`] (retried, split) → [`batch`] → [`postgres_batch`] or
//! [`sqlite_batch`]; a commit that is blocked leaves it for [`lock_wait`].
//!
//! Every transaction takes its locks in the same order: runs, definitions, step runs, attempts, intents, audit.

mod abort;
mod batch;
mod changes;
mod committer;
mod encoded_commit;
mod key_owners;
mod lock_wait;
pub(crate) mod postgres_batch;
pub(crate) mod sqlite_batch;
mod transactions;

pub(crate) use abort::{Abort, MAX_RETRIES};
pub(crate) use committer::Committer;
pub(crate) use encoded_commit::EncodedCommit;
