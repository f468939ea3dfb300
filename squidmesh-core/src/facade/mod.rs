//! The host's handle and its builder: the only part that knows both the runtime and the runner.

mod builder;
mod squidmesh;

pub use builder::SquidmeshBuilder;
pub use squidmesh::Squidmesh;
