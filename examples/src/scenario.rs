//! The scenarios of the shop: each is a list of orders that exercises a part of it.
//!
//! The shop is the same in all of them. Knows which orders there are; nothing of how they proceed.

use std::str::FromStr;

use crate::gateway::Card;
use crate::orders::{Line, Order};
use crate::sample_orders::sample_orders;

/// A scenario.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scenario {
    /// Ordinary orders.
    #[default]
    Plain,
    /// Big orders, which have to be reviewed: some are approved, some rejected, some left until the deadline.
    Approvals,
    /// Cards that expire before the money is captured: the completed steps are compensated.
    Saga,
    /// Parcels that customs hold: the run fails, and is resumed when they clear the parcel.
    Customs,
    /// A nightly settlement job: what the gateway took is settled while orders are being processed.
    Settlement,
    /// All of them together.
    All,
}

/// There is no such scenario.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no scenario {0:?}; there are: plain, approvals, saga, customs, settlement, all")]
pub struct UnknownScenario(String);

impl Scenario {
    /// Every scenario.
    pub const ALL: [Scenario; 6] =
        [Scenario::Plain, Scenario::Approvals, Scenario::Saga, Scenario::Customs, Scenario::Settlement, Scenario::All];

    /// Returns its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Scenario::Plain => "plain",
            Scenario::Approvals => "approvals",
            Scenario::Saga => "saga",
            Scenario::Customs => "customs",
            Scenario::Settlement => "settlement",
            Scenario::All => "all",
        }
    }

    /// Returns whether the scenario includes a night.
    pub const fn has_a_night(self) -> bool {
        matches!(self, Scenario::Settlement | Scenario::All)
    }

    /// Returns its orders: `plain` plain ones where it has any, and a sixteenth of that, at least six, of each other
    /// kind.
    pub fn orders(self, plain: usize) -> Vec<Order> {
        let few = (plain / 16).max(6);
        match self {
            Scenario::Plain | Scenario::Settlement => sample_orders(plain),
            Scenario::Approvals => numbered("big", few, big),
            Scenario::Saga => numbered("card", few, |order| Order { card: Card::ExpiresBeforeCapture, ..order }),
            Scenario::Customs => numbered("customs", few, |order| Order { inspected: true, ..order }),
            Scenario::All => {
                let parts = [Scenario::Plain, Scenario::Approvals, Scenario::Saga, Scenario::Customs];
                parts.into_iter().flat_map(|part| part.orders(plain)).collect()
            }
        }
    }
}

impl FromStr for Scenario {
    type Err = UnknownScenario;

    fn from_str(name: &str) -> Result<Self, UnknownScenario> {
        let found = Scenario::ALL.into_iter().find(|scenario| scenario.name() == name);
        found.ok_or_else(|| UnknownScenario(name.to_owned()))
    }
}

/// Returns sample orders with their own numbers, each changed.
fn numbered(prefix: &str, count: usize, change: impl Fn(Order) -> Order) -> Vec<Order> {
    let renamed = |order: Order| Order { order_id: order.order_id.replace("order", prefix), ..order };
    sample_orders(count).into_iter().map(renamed).map(change).collect()
}

/// Adds six, twelve or eighteen diving bells: sums to approve, to leave and to reject.
fn big(mut order: Order) -> Order {
    let number: u32 = order.order_id.rsplit('-').next().and_then(|digits| digits.parse().ok()).unwrap_or_default();
    order.lines.retain(|line| line.sku != "diving-bell");
    order.lines.push(Line { sku: "diving-bell".to_owned(), quantity: 6 * (1 + number % 3), unit_cents: 129_900 });
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkout::REVIEWED_ABOVE_CENTS;

    #[test]
    fn every_scenario_is_found_by_its_name() {
        for scenario in Scenario::ALL {
            assert_eq!(scenario.name().parse(), Ok(scenario));
        }
        assert!("everything".parse::<Scenario>().is_err());
    }

    #[test]
    fn only_big_orders_are_reviewed() {
        let big = |order: &Order| order.total_cents() > REVIEWED_ABOVE_CENTS;
        assert!(Scenario::Approvals.orders(1_000).iter().all(big));
        for scenario in [Scenario::Plain, Scenario::Saga, Scenario::Customs] {
            assert!(!scenario.orders(1_000).iter().any(big), "{scenario:?}");
        }
    }

    #[test]
    fn no_two_orders_have_one_number() {
        let orders = Scenario::All.orders(100);
        let numbers: std::collections::HashSet<_> = orders.iter().map(|order| &order.order_id).collect();
        assert_eq!(numbers.len(), orders.len());
    }
}
