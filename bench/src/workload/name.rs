//! The names of the workloads: in the table, in the JSON file, and after `--only`.

pub(crate) const LIMITS_POSTGRES: &str = "limits-postgres";
pub(crate) const LIMITS_SQLITE: &str = "limits-sqlite";
pub(crate) const CHAIN_1K_POSTGRES: &str = "chain-1k-postgres";
pub(crate) const CHAIN_10K_POSTGRES: &str = "chain-10k-postgres";
pub(crate) const STARTS_AND_WORK: &str = "starts-and-work";
pub(crate) const CHAIN_1K_SQLITE: &str = "chain-1k-sqlite";
pub(crate) const CHAIN_10K_SQLITE: &str = "chain-10k-sqlite";
pub(crate) const ALONE: &str = "alone";
pub(crate) const ALONE_SQLITE: &str = "alone-sqlite";
pub(crate) const ARRIVAL: &str = "arrival";
pub(crate) const FAN_10: &str = "fan-10";
pub(crate) const FAN_1000: &str = "fan-1000";
pub(crate) const OUTPUTS_1K: &str = "outputs-1k";
pub(crate) const OUTPUTS_64K: &str = "outputs-64k";
/// The bytes of an output of [`OUTPUTS_64K`].
pub(crate) const LARGE_OUTPUT: usize = 65_536;
pub(crate) const DELAYED: &str = "delayed";
pub(crate) const RETRIES: &str = "retries";
pub(crate) const TRANSACTIONAL: &str = "transactional";
pub(crate) const STARTS_SINGLE: &str = "starts-single";
pub(crate) const STARTS_BATCH: &str = "starts-batch";
pub(crate) const STARTS_IN_TRANSACTION: &str = "starts-in-transaction";
pub(crate) const HISTORY: &str = "history";
pub(crate) const SNAPSHOT: &str = "snapshot";
pub(crate) const PROCESSES_1: &str = "processes-1";
pub(crate) const PROCESSES_2: &str = "processes-2";
pub(crate) const PROCESSES_4: &str = "processes-4";
pub(crate) const SIGNAL_ALONE: &str = "signal-alone";
pub(crate) const SIGNALS_10K: &str = "signals-10k";
pub(crate) const REDIS: &str = "redis";
pub(crate) const IDLE: &str = "idle";
