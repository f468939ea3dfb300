//! The engine, tested as data: set a state, call a command, look at the decision that comes back. No store, no clock, no executor.
