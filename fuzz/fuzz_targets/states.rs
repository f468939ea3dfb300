//! Fuzzes `squidmesh_fuzz::states`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| squidmesh_fuzz::run(squidmesh_fuzz::states::run, data));
