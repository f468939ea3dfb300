//! The contract of a payload is derived from its type.

use squidmesh_core::Trigger;

#[derive(serde::Deserialize)]
struct Order {
    order_id: String,
}

fn main() {
    let _ = Trigger::manual("place_order").payload::<Order>();
    let _ = |order: Order| order.order_id;
}
