//! Fuzzes `squidmesh_fuzz::payloads`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| squidmesh_fuzz::run(squidmesh_fuzz::payloads::run, data));
