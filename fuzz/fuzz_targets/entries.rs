//! Fuzzes `squidmesh_fuzz::entries`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| squidmesh_fuzz::run(squidmesh_fuzz::entries::run, data));
