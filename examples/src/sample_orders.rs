//! Orders to try the shop with: the same ones every time.
//!
//! Knows the shop's catalogue and a little arithmetic; no clock and no random numbers.

use crate::gateway::Card;
use crate::orders::{Line, Order};
use crate::shop::CATALOGUE;

/// Returns `count` orders of one to three articles. A longer list begins with the shorter one.
pub fn sample_orders(count: usize) -> Vec<Order> {
    (1..).take(count).map(order).collect()
}

fn order(number: u64) -> Order {
    let mut draws = Draws(number);
    let mut lines: Vec<Line> = Vec::new();
    for _ in 0..=draws.next(3) {
        let drawn = draws.next(CATALOGUE.len() as u64);
        let article = CATALOGUE.iter().zip(0_u64..).find(|(_, place)| *place == drawn);
        if let Some(((sku, unit_cents), _)) = article
            && lines.iter().all(|line| line.sku != *sku)
        {
            let quantity = if draws.next(4) == 0 { 3 } else { 1 };
            lines.push(Line { sku: (*sku).to_owned(), quantity, unit_cents: *unit_cents });
        }
    }
    Order { order_id: format!("order-{number:06}"), lines, card: Card::Ordinary, inspected: false }
}

/// A small generator (splitmix64): well mixed from the first draw, and the same everywhere.
struct Draws(u64);

impl Draws {
    /// Returns a number below `bound`.
    fn next(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_the_same_every_time_and_never_empty() {
        let orders = sample_orders(1_000);
        assert_eq!(orders[..10], sample_orders(10));
        assert!(orders.iter().all(|order| (1..=3).contains(&order.lines.len()) && order.total_cents() > 0));
        assert!(orders.iter().any(|order| order.lines.len() == 3));
    }
}
