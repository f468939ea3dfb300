#!/bin/sh
# Calls the compiler for a crate of this workspace so that libFuzzer sees which ways an input takes through it. The crates that it
# depends on are built as always, and so need not be built again. All of these are options of the stable compiler.
exec "$@" --cfg fuzzing --check-cfg 'cfg(fuzzing)' -Copt-level=2 -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
