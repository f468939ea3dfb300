//! The engine, tested as data: set a state, call a command, look at the decision that comes back. No store, no clock, no
//! executor.

mod adopt;
mod begin;
mod cancel;
mod compensate;
mod dispatch;
mod go_on;
mod join;
mod manual;
mod record;
mod resume;
mod rig;
mod start;
