#!/bin/sh
# Compiles a crate of this workspace with instrumentation, so that libFuzzer sees which paths an input takes. The
# dependencies are built as usual, and so need not be built again. All options are those of the stable compiler.
exec "$@" --cfg fuzzing --check-cfg 'cfg(fuzzing)' -Copt-level=2 -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
