//! After the host's commit, the workers are woken and the events are emitted.

#![deny(unused_must_use)]

use squidmesh_core::Squidmesh;
use squidmesh_core::port::StoreSession;

fn start(mesh: &Squidmesh, session: &dyn StoreSession) {
    let scope = mesh.within(session);
    scope.into_after_commit();
}

fn main() {}
