//! The model host: an online shop that processes its orders with durable workflows.
//!
//! Read it in the order that an order follows: [`intake`] starts a run with the order's row, [`checkout`] reserves
//! the goods, has [`reviewers`] look at big orders and takes the money, [`fulfilment`] packs, ships and invoices,
//! [`settlement`] settles by night what was taken by day, and [`summary`] proves from three independent sources (the
//! shop's tables, the runs, the gateway's journal) that nothing was lost and nothing happened twice. Meanwhile the
//! [`operator`] asks why runs wait, and resumes failed ones. [`host`] puts it together, and a [`scenario`] provides
//! the orders. A [`crew`] of [`worker`] processes may share the work.
//!
//! Workflows know steps; steps know the shop's tables and the payment gateway's interface. No step knows how it is
//! delivered, how often it is attempted, or on which database it runs.

pub mod checkout;
pub mod crew;
pub mod database;
pub mod executor;
pub mod fulfilment;
pub mod gateway;
pub mod host;
pub mod intake;
pub mod introduction;
pub mod inventory;
pub mod mesh_slot;
pub mod operator;
pub mod options;
pub mod orders;
pub mod payments;
pub mod program;
pub mod progress;
pub mod reviewers;
pub mod runs;
pub mod sample_orders;
pub mod scenario;
pub mod settlement;
pub mod shop;
pub mod summary;
pub mod tables;
pub mod worker;
