//! The scripted gateway over HTTP: in every mood, a key has one effect, before and after a restart.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::time::Duration;

use squidmesh_examples::gateway::{
    Card, Gateway, GatewayError, GatewayServer, HttpGateway, Operation, Payment, Statement,
};
use squidmesh_examples::sample_orders::sample_orders;

/// Requests until there is a verdict, without a pause.
async fn verdict(gateway: &HttpGateway, key: &str, payment: &Payment) -> Result<String, String> {
    loop {
        match tokio::time::timeout(Duration::from_millis(500), gateway.ask(key, payment)).await {
            Ok(Ok(receipt)) => return Ok(receipt.id),
            Ok(Err(GatewayError::Refused { reason })) => return Err(reason),
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

#[tokio::test]
async fn a_key_has_one_effect_in_two_lives_of_the_gateway() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let payments: Vec<Payment> =
        sample_orders(40).into_iter().map(|order| order.payment(Operation::Authorise)).collect();

    let mut verdicts = Vec::new();
    for _ in ["first life", "second life"] {
        let server = GatewayServer::open(&journal).await.unwrap();
        let gateway = HttpGateway::at(server.address()).unwrap();
        let asked = payments.iter().map(|payment| verdict(&gateway, &payment.order_id, payment));
        verdicts.push(futures_util::future::join_all(asked).await);
    }
    assert_eq!(verdicts[0], verdicts[1]);
    let granted = verdicts[0].iter().filter(|verdict| verdict.is_ok()).count();
    assert!(granted > 0 && granted < payments.len(), "some cards are declined, not all: {granted}");
    let statement = Statement::read(&journal).unwrap();
    assert_eq!(statement.effects(Operation::Authorise).count(), granted);
    assert!(statement.doubled_keys().is_empty());
}

#[tokio::test]
async fn nothing_is_captured_that_is_not_put_aside() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let server = GatewayServer::open(&journal).await.unwrap();
    let gateway = HttpGateway::at(server.address()).unwrap();
    let (order_id, card) = ("not-declined".to_owned(), Card::Ordinary);
    let payment = |operation| Payment { operation, order_id: order_id.clone(), amount_cents: 5, card };
    let refused = Err("no such amount was authorised".to_owned());
    assert_eq!(verdict(&gateway, "early", &payment(Operation::Capture)).await, refused);
    assert!(verdict(&gateway, "authorise", &payment(Operation::Authorise)).await.is_ok());
    assert!(verdict(&gateway, "void", &payment(Operation::Void)).await.is_ok());
    assert_eq!(verdict(&gateway, "late", &payment(Operation::Capture)).await, refused);
    assert_eq!(Statement::read(&journal).unwrap().effects(Operation::Capture).count(), 0);
}
