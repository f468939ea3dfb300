//! The derive macro is that of schemars 1.

use squidmesh_core::Trigger;

struct Order;

impl schemars_before::JsonSchema for Order {
    fn schema_name() -> String {
        "Order".to_owned()
    }

    fn json_schema(generator: &mut schemars_before::r#gen::SchemaGenerator) -> schemars_before::schema::Schema {
        generator.subschema_for::<String>()
    }
}

fn main() {
    let _ = Trigger::manual("place_order").payload::<Order>();
}
