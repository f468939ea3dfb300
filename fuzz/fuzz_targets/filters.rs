//! Fuzzes `squidmesh_fuzz::filters`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| squidmesh_fuzz::run(squidmesh_fuzz::filters::run, data));
