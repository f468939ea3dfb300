//! Orders, as customers place them: one JSON object a line.
//!
//! Knows the form of an order and how a file of orders is read. Knows nothing of stock, money or workflows.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::gateway::{Card, Operation, Payment};

/// An order. It is the payload of the workflow `checkout`, and the input of most of its steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Order {
    /// The shop's own number, unique for ever.
    pub order_id: String,
    /// The ordered lines; each article once.
    pub lines: Vec<Line>,
    /// The card that pays.
    #[serde(default, skip_serializing_if = "is_ordinary")]
    pub card: Card,
    /// Whether customs inspect the parcel before it leaves.
    #[serde(default, skip_serializing_if = "is_ordinary")]
    pub inspected: bool,
}

fn is_ordinary<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// One article of an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    /// The article.
    pub sku: String,
    /// The quantity.
    pub quantity: u32,
    /// The price of one, in cents.
    pub unit_cents: u32,
}

impl Order {
    /// Returns the price of the order, in cents.
    pub fn total_cents(&self) -> i64 {
        self.lines.iter().map(|line| i64::from(line.quantity) * i64::from(line.unit_cents)).sum()
    }

    /// Returns the gateway request for an operation with the price of the order.
    pub fn payment(&self, operation: Operation) -> Payment {
        Payment { operation, order_id: self.order_id.clone(), amount_cents: self.total_cents(), card: self.card }
    }
}

/// Why a file of orders was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OrdersError {
    /// The file cannot be read or written.
    #[error("the orders in {} cannot be read or written", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A line is not an order.
    #[error("line {line} of {} is not an order", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
}

/// Reads a file of orders.
///
/// # Errors
/// Returns an [`OrdersError`] that names the line that is wrong.
pub fn read(path: &Path) -> Result<Vec<Order>, OrdersError> {
    let file = |source| OrdersError::File { path: path.to_owned(), source };
    let mut orders = Vec::new();
    for (line, text) in (1..).zip(BufReader::new(File::open(path).map_err(file)?).lines()) {
        let order = serde_json::from_str(&text.map_err(file)?);
        orders.push(order.map_err(|source| OrdersError::Line { path: path.to_owned(), line, source })?);
    }
    Ok(orders)
}

/// Writes a file of orders, completely or not at all.
///
/// # Errors
/// Returns [`OrdersError::File`].
pub fn write(path: &Path, orders: &[Order]) -> Result<(), OrdersError> {
    let mut text = String::new();
    for order in orders {
        let line = serde_json::to_string(order);
        text += &line.map_err(|error| OrdersError::File { path: path.to_owned(), source: error.into() })?;
        text.push('\n');
    }
    let half = path.with_extension("half");
    let written = std::fs::write(&half, text).and_then(|()| std::fs::rename(&half, path));
    written.map_err(|source| OrdersError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_orders::sample_orders;

    #[test]
    fn a_file_reads_back_what_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("orders.jsonl");
        write(&path, &sample_orders(7)).unwrap();
        assert_eq!(read(&path).unwrap(), sample_orders(7));
    }

    #[test]
    fn a_line_that_is_no_order_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("orders.jsonl");
        std::fs::write(&path, "{\"order_id\":\"1\",\"lines\":[]}\n{\"order_id\":2}\n").unwrap();
        assert!(matches!(read(&path), Err(OrdersError::Line { line: 2, .. })));
    }
}
