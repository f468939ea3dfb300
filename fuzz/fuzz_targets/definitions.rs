//! Fuzzes `squidmesh_fuzz::definitions`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| squidmesh_fuzz::run(squidmesh_fuzz::definitions::run, data));
