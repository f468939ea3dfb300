//! The gateway's own journal: a file to which every request is appended as one line.
//!
//! The gateway lives in the process of the example and dies with it, but a real one would not: what it has done must
//! outlive a `kill -9`. A line is written in one piece before the answer is sent; half a line at the end is cut off
//! at the start.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Operation, Payment};

/// One request and its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The idempotency key.
    pub key: String,
    /// The requested payment.
    #[serde(flatten)]
    pub payment: Payment,
    /// Whether it took effect now. At most one delivery of a key has an effect.
    pub effect: bool,
    /// The HTTP status of the answer; `None` if the answer was lost or never sent.
    pub answer: Option<u16>,
}

/// The journal while the gateway is open.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    requests: HashMap<String, u64>,
    done: HashMap<String, Payment>,
    effects: HashSet<Payment>,
}

impl Journal {
    /// Opens the journal, a new file if there is none.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        file.set_len(whole as u64)?;
        let mut journal = Journal { file, requests: HashMap::new(), done: HashMap::new(), effects: HashSet::new() };
        for delivery in deliveries(&text)? {
            journal.count(delivery);
        }
        Ok(journal)
    }

    /// Returns how often a key was requested.
    pub(super) fn requests(&self, key: &str) -> u64 {
        self.requests.get(key).copied().unwrap_or(0)
    }

    /// Returns the payment that took effect under a key.
    pub(super) fn done(&self, key: &str) -> Option<&Payment> {
        self.done.get(key)
    }

    /// Returns whether the amount of a payment is authorised.
    pub(super) fn is_authorised(&self, payment: &Payment) -> bool {
        let did = |operation| self.effects.contains(&Payment { operation, ..payment.clone() });
        did(Operation::Authorise) && !did(Operation::Void)
    }

    /// Appends a request to the journal.
    pub(super) fn record(&mut self, delivery: Delivery) -> io::Result<()> {
        let mut line = serde_json::to_string(&delivery)?;
        line.push('\n');
        self.file.write_all(line.as_bytes())?;
        self.count(delivery);
        Ok(())
    }

    fn count(&mut self, delivery: Delivery) {
        *self.requests.entry(delivery.key.clone()).or_default() += 1;
        if delivery.effect {
            self.effects.insert(delivery.payment.clone());
            self.done.insert(delivery.key, delivery.payment);
        }
    }
}

fn deliveries(text: &str) -> io::Result<Vec<Delivery>> {
    let whole = text.rfind('\n').and_then(|end| text.get(..end)).unwrap_or_default();
    Ok(whole.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// Everything that the gateway did, read from its journal.
#[derive(Clone, Debug, Default)]
pub struct Statement {
    deliveries: Vec<Delivery>,
}

impl Statement {
    /// Creates the statement of these requests.
    pub fn of(deliveries: Vec<Delivery>) -> Self {
        Statement { deliveries }
    }

    /// Reads the journal, which need not exist yet.
    ///
    /// # Errors
    /// Returns the file system's error, or `InvalidData` for a line that is not a delivery.
    pub fn read(path: &Path) -> io::Result<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Statement { deliveries: deliveries(&text)? }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Statement::default()),
            Err(error) => Err(error),
        }
    }

    /// Returns every request, in order.
    pub fn deliveries(&self) -> &[Delivery] {
        &self.deliveries
    }

    /// Returns every payment that took effect, in order: one that took effect twice is returned twice.
    pub fn effects(&self, operation: Operation) -> impl Iterator<Item = &Payment> {
        let done = self.deliveries.iter().filter(|delivery| delivery.effect).map(|delivery| &delivery.payment);
        done.filter(move |payment| payment.operation == operation)
    }

    /// Returns the keys that had more than one effect. There should be none.
    pub fn doubled_keys(&self) -> Vec<&str> {
        let mut seen = HashSet::new();
        let effects = self.deliveries.iter().filter(|delivery| delivery.effect);
        effects.map(|delivery| delivery.key.as_str()).filter(|key| !seen.insert(*key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Card;

    fn payment(amount_cents: i64) -> Payment {
        let (operation, order_id) = (Operation::Authorise, "1".to_owned());
        Payment { operation, order_id, amount_cents, card: Card::Ordinary }
    }

    fn delivery(key: &str, effect: bool) -> Delivery {
        let payment = payment(500);
        Delivery { key: key.to_owned(), payment, effect, answer: effect.then_some(200) }
    }

    #[test]
    fn books_opened_again_remember_what_was_done() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let mut journal = Journal::open(&path).unwrap();
        journal.record(delivery("a", false)).unwrap();
        journal.record(delivery("a", true)).unwrap();
        let journal = Journal::open(&path).unwrap();
        assert_eq!((journal.requests("a"), journal.requests("b")), (2, 0));
        assert!(journal.done("a").is_some());
        assert!(journal.is_authorised(&payment(500)) && !journal.is_authorised(&payment(501)));
    }

    #[test]
    fn half_a_line_at_the_end_is_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        Journal::open(&path).unwrap().record(delivery("a", true)).unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"key\":\"b\",\"oper").unwrap();
        Journal::open(&path).unwrap().record(delivery("b", true)).unwrap();
        let statement = Statement::read(&path).unwrap();
        assert_eq!(statement.deliveries(), [delivery("a", true), delivery("b", true)]);
        assert!(statement.doubled_keys().is_empty());
    }

    #[test]
    fn a_key_with_two_effects_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let mut journal = Journal::open(&path).unwrap();
        journal.record(delivery("a", true)).unwrap();
        journal.record(delivery("a", true)).unwrap();
        let statement = Statement::read(&path).unwrap();
        assert_eq!(statement.doubled_keys(), ["a"]);
        assert_eq!(statement.effects(Operation::Authorise).count(), 2);
    }
}
