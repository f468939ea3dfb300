//! The model host: an online shop that takes its orders through two durable workflows.
//!
//! Read it in the order in which an order goes: [`intake`] starts a run with the order's row, [`checkout`] reserves the goods and
//! takes the money, [`fulfilment`] packs, ships and invoices, [`summary`] proves from three independent sources (the shop's tables,
//! the runs, the gateway's journal) that nothing was lost and nothing happened twice. [`host`] puts it together.
//!
//! Workflows know steps, steps know the shop's tables and the payment gateway's interface. No step knows how it is delivered,
//! how often it is tried, or on which database it runs.

pub mod checkout;
mod executor;
pub mod fulfilment;
pub mod gateway;
pub mod host;
pub mod intake;
pub mod inventory;
pub mod mesh_slot;
pub mod options;
pub mod orders;
pub mod payments;
pub mod program;
pub mod progress;
pub mod sample_orders;
pub mod shop;
pub mod summary;
pub mod tables;
