//! Fuzzes `squidmesh_fuzz::schedules`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| squidmesh_fuzz::run(squidmesh_fuzz::schedules::run, data));
