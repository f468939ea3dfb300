//! How the gateway behaves: unreliably, and the same way every time.
//!
//! Decides from the order and from the number of earlier requests; no clock, no random numbers, no state.

use super::{Card, Operation, Payment};

/// What the gateway does with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// Executes it and confirms.
    Ready,
    /// Executes it and confirms after a delay.
    Slow,
    /// Executes it, and the answer is lost.
    LosesAnswer,
    /// Neither executes nor answers it.
    Silent,
    /// Does not execute it and requests a pause.
    Busy,
    /// Declines it permanently.
    Declines,
}

/// One in this number of orders has a card that is declined.
const DECLINED: u64 = 24;

/// Returns what happens to a payment after `earlier` requests for it. Every payment meets at most three mishaps.
pub(super) fn mood(payment: &Payment, earlier: u64) -> Mood {
    let order = hash(payment.order_id.as_bytes());
    if payment.operation == Operation::Authorise && order.is_multiple_of(DECLINED) {
        return Mood::Declines;
    }
    if payment.operation == Operation::Capture && payment.card == Card::ExpiresBeforeCapture {
        return Mood::Declines;
    }
    let fate = hash(format!("{:?} {}", payment.operation, payment.order_id).as_bytes());
    let mishaps = match fate % 100 {
        0..70 => 0,
        70..87 => 1,
        87..96 => 2,
        _ => 3,
    };
    match (earlier < mishaps, (fate >> (8 + 2 * earlier.min(3))) & 3) {
        (true, 0 | 1) => Mood::Busy,
        (true, 2) => Mood::Silent,
        (true, _) => Mood::LosesAnswer,
        (false, 0) => Mood::Slow,
        (false, _) => Mood::Ready,
    }
}

/// FNV-1a, with its bits mixed once more, because only a few of them are used.
fn hash(bytes: &[u8]) -> u64 {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ (mixed >> 32)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::sample_orders::sample_orders;

    #[test]
    fn a_payment_that_is_not_declined_succeeds_by_the_fourth_request() {
        let mut seen = HashSet::new();
        for order in sample_orders(1_000) {
            for operation in [Operation::Authorise, Operation::Capture, Operation::Void] {
                let payment = order.payment(operation);
                let moods: Vec<_> = (0..4).map(|earlier| mood(&payment, earlier)).collect();
                let declined = moods.contains(&Mood::Declines);
                assert!(matches!(moods[3], Mood::Ready | Mood::Slow) != declined, "{payment:?}: {moods:?}");
                assert!(!declined || operation == Operation::Authorise, "{payment:?} is declined too late");
                seen.extend(moods.into_iter().map(|mood| format!("{mood:?}")));
            }
        }
        assert_eq!(seen.len(), 6, "the script plays every mood: {seen:?}");
    }
}
