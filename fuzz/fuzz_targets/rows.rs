//! Fuzzes `squidmesh_fuzz::rows`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| squidmesh_fuzz::run(squidmesh_fuzz::rows::run, data));
