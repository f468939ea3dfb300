//! The names of the rules: a violation names the broken rule, and a mutation the rule that must notice it.

pub const STARTS: &str = "an acknowledged start exists, and a key starts one run";
pub const ANSWERS: &str = "what was refused did not happen, and what was asked once happened once";
pub const TERMINAL_STATES: &str = "a run's end is final and explained";
pub const NUMBERS: &str = "attempts are numbered without gaps, and one is open";
pub const LIMITS: &str = "no step is tried more often than it may be";
pub const RESULTS: &str = "a completed step has one result, of its last attempt";
pub const TIMES: &str = "nothing is done before its time";
pub const JOINS: &str = "a step is scheduled after its dependencies, and as soon as they are done";
pub const SNAPSHOTS: &str = "a snapshot is made of the payload and of what came before";
pub const INPUTS: &str = "every attempt is given the step's snapshot";
pub const CANCELS: &str = "nothing starts after a confirmed cancellation";
pub const COMPENSATIONS: &str = "compensation runs backwards, and only in failed runs";
pub const CALLBACKS: &str = "a compensation is repeated only if it failed or was lost, in time, and within its limit";
pub const DECISIONS: &str = "a step that waits for a person is decided once";
pub const EVENTS: &str = "only what was committed is emitted";
pub const INTENTS: &str = "what is to be done is dispatched, and nothing else";
pub const OCCURRENCES: &str = "a cron occurrence starts one run";
pub const ROWS: &str = "a transactional step's rows are there if and only if it completed";
pub const SENDERS: &str = "what the sender of a signal was answered is true, and nobody else sent one";
pub const QUIESCENCE: &str = "at rest, every run has ended or waits for a person, a signal, a time or a version";
pub const OWED: &str = "at rest, what was owed is compensated";
pub const TRANSITIONS: &str = "a run moves as its life cycle allows, and in its version";
pub const FINAL: &str = "what has ended stays as it is";
pub const FENCED: &str = "an attempt begins and ends in the hands of who holds it";
pub const BEGINNINGS: &str = "nothing begins in a run that is over, nor before what it depends on";
pub const SEQUENCE: &str = "steps are numbered in the order in which they completed";
pub const WAYS: &str = "a run leaves a step by the first way that its outcome opens, once";
pub const SIGNALS: &str = "a signal is kept until a step that waits for it takes it, once, and the oldest first";
pub const SIGNAL_TRAIL: &str = "the trail has every signal that a run received, and those that it left";
pub const RESTLESS: &str = "everything comes to rest";
pub const SCHEDULES: &str = "every occurrence of a schedule is caught up with";
pub const OFFERS: &str = "what is offered is accepted";
pub const ALONE: &str = "a process never carries out what it is carrying out already";
pub const PANICS: &str = "nothing panics";
pub const LEFT: &str = "a delivery that ends leaves no attempt open";

/// All rules.
pub const ALL: [&str; 35] = [
    STARTS,
    ANSWERS,
    TERMINAL_STATES,
    NUMBERS,
    LIMITS,
    RESULTS,
    TIMES,
    JOINS,
    SNAPSHOTS,
    INPUTS,
    CANCELS,
    COMPENSATIONS,
    CALLBACKS,
    DECISIONS,
    EVENTS,
    INTENTS,
    OCCURRENCES,
    ROWS,
    SENDERS,
    QUIESCENCE,
    OWED,
    TRANSITIONS,
    FINAL,
    FENCED,
    BEGINNINGS,
    SEQUENCE,
    WAYS,
    SIGNALS,
    SIGNAL_TRAIL,
    RESTLESS,
    SCHEDULES,
    OFFERS,
    ALONE,
    PANICS,
    LEFT,
];
