//! Tests the engine as data: set a state, call a command, check the returned decision. No store, no clock, no
//! executor.

mod adopt;
mod begin;
mod cancel;
mod compensate;
mod continuation;
mod dispatch;
mod harness;
mod join;
mod lived;
mod manual;
mod record;
mod resume;
mod signal;
mod start;
mod way;
