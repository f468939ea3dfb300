//! A broken history is found.
