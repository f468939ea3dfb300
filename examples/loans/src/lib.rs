//! A web service that takes in applications for loans. Each application is a row of the service's own and a run of
//! the workflow `loan`, both created in one transaction.
//!
//! Read it in the order that an [`application`] follows: [`apply`] stores it and starts its run, the [`workflow`] asks
//! the [`bureau`] about the customer, a person [decides](decide), and a step writes the outcome into the table of
//! [loans](loan). A [`view`] shows where it is and why. [`ApiError`] maps each error to its HTTP status, and
//! [`serve()`] runs the server and the workers until one [`Shutdown`] stops both.

pub mod api_error;
pub mod app;
pub mod application;
pub mod apply;
pub mod bureau;
pub mod caller;
pub mod decide;
pub mod loan;
pub mod serve;
pub mod shutdown;
pub mod view;
pub mod workflow;

pub use api_error::ApiError;
pub use app::App;
pub use serve::{router, serve};
pub use shutdown::Shutdown;
