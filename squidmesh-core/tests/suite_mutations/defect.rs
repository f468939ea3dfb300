//! The ways in which a store is broken, one at a time, by the method of the port in which they show.

macro_rules! defects {
    ($($(#[$docs:meta])* $defect:ident,)*) => {
        /// One defect of a store.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub(crate) enum Defect {
            $($(#[$docs])* $defect,)*
        }

        impl Defect {
            /// All defects.
            pub(crate) const ALL: &[Defect] = &[$(Defect::$defect),*];
        }
    };
}

defects! {
    // The store without a defect.
    None,
    // `commit`.
    FenceIgnored,
    OneFenceIsEnough,
    RevisionIgnored,
    AddReplaces,
    BatchIsAllOrNothing,
    BatchStopsAtTheFirstRefusal,
    DelayIgnored,
    KeyForgotten,
    DefinitionForgotten,
    RepinningReplaces,
    RepinningIgnored,
    ReplaceAdds,
    RemoveIgnored,
    DueEarly,
    DueLate,
    CommittedLeaseEndsEarly,
    CommittedLeaseForgotten,
    PriorityForgotten,
    QueueForgotten,
    AuditForgotten,
    AttemptsForgotten,
    TokenForgotten,
    SameCommitTwice,
    ConflictIsFenced,
    FencedIsConflict,
    KeyTakenIsConflict,
    KeyTakenNamesTheNewRun,
    AnswersReversed,
    // `load`.
    StepsTorn,
    StaleLoad,
    // `find_by_idempotency_key`.
    KeysOfOtherWorkflows,
    KeysWithoutCase,
    // `definition`.
    AnyDefinition,
    // `history`.
    AuditReversed,
    AttemptsUnsorted,
    HoldersHidden,
    DueTimesTruncated,
    // `list`.
    ListOldestFirst,
    ListNeverEnds,
    ListRepeats,
    ListLimitIgnored,
    StatusesIgnored,
    FirstStatusOnly,
    WorkflowIgnored,
    FromExclusive,
    BeforeInclusive,
    // `claim`.
    LimitIgnored,
    QueuesIgnored,
    VersionsIgnored,
    OrderReversed,
    ExpiredLeasesLast,
    NextDueTimeMissing,
    NextDueTimeRounded,
    OwnLeasesClaimed,
    ExpiredLeasesTaken,
    ClaimEarly,
    LeaseEndsEarly,
    LeaseFixed,
    ClaimNotHeld,
    ClaimHeldUnderAnotherToken,
    StaleClaim,
    ClaimWithoutRun,
    // `claim_keys`.
    OwnKeysClaimed,
    KeysClaimedEarly,
    KeyLeaseEndsEarly,
    ClaimKeysIgnoreLease,
    KeysNotHeld,
    KeysHeldUnderAnotherToken,
    StaleKeyClaim,
    KeysAnsweredInReverse,
    KeyGivenTwiceClaimedTwice,
    NotDueIsHeld,
    AbsentIsHeld,
    // `list_due`.
    PagesRepeat,
    DueUnordered,
    ListedEarly,
    ListedNextDueTimeRounded,
    SinceInclusive,
    SinceIgnored,
    NoMorePages,
    LeaseExpiredMissing,
    LookIsLate,
    LookClaims,
    // `extend_leases`.
    LostLeaseExtended,
    RunStatusMissing,
    RunStatusStale,
    ExtendIgnored,
    ExtendedLeaseEndsEarly,
    ExpiredLeaseLost,
    ExtendReversed,
    // `release_leases`.
    ReleaseIgnored,
    ReleaseDelayIgnored,
    ReleasedEarly,
    AnyLeaseReleased,
    // `triggers` and `compare_and_set_trigger`.
    TriggerRevisionIgnored,
    SameRecordTwice,
    TriggerNotWritten,
    TriggerNotesForgotten,
    TriggersOfOneWorkflow,
    TriggerTimeOff,
    // `stranded`.
    KnownVersionsStranded,
    PatienceIgnored,
    StrandedEarly,
    StrandedReversed,
    StrandedLimitIgnored,
    StrandedRepeat,
    OneRunIgnored,
    // `prune`.
    PruneEarly,
    PruneAMillisecondEarly,
    PruneStatusesIgnored,
    DryRunDeletes,
    PruneLimitIgnored,
    PruneRepeats,
}
