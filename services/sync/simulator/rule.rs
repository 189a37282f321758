//! The rules that can be taken away, to see that something notices.
//!
//! The machines have no switch for it. What surrounds them in the simulator feeds a machine what makes its rule hold
//! whatever happens, or does not do what the machine says.

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    HashesAreCompared,
    ForksAreMoved,
    ClosedLogsAreOffered,
    PendingIsKept,
    HubsStepBack,
    ReceiverTellsThePosition,
    GapsAreFlagged,
    GapsAreFilled,
    TwoBackups,
    BackupsAreCompared,
    RepeatsCountOnce,
    HistoriesAreCompared,
    LostHistoriesAreNoticed,
    RowsAreSummed,
    StagedUntilTheEnd,
    OfferComesFirst,
    OfferIsToThisHistory,
    NewerRowsAreTaken,
    CodesAreChecked,
    LedgerHoldsAtOffer,
    LedgerGoesUp,
    LedgerGoesDown,
    SweptBeforeConfirmed,
    ClockIsNotBeforeTheBuild,
    MajorityOfClocks,
    FloorRisesBySteps,
}

impl Rule {
    pub const ALL: &[Self] = &[
        Self::HashesAreCompared,
        Self::ForksAreMoved,
        Self::ClosedLogsAreOffered,
        Self::PendingIsKept,
        Self::HubsStepBack,
        Self::ReceiverTellsThePosition,
        Self::GapsAreFlagged,
        Self::GapsAreFilled,
        Self::TwoBackups,
        Self::BackupsAreCompared,
        Self::RepeatsCountOnce,
        Self::HistoriesAreCompared,
        Self::LostHistoriesAreNoticed,
        Self::RowsAreSummed,
        Self::StagedUntilTheEnd,
        Self::OfferComesFirst,
        Self::OfferIsToThisHistory,
        Self::NewerRowsAreTaken,
        Self::CodesAreChecked,
        Self::LedgerHoldsAtOffer,
        Self::LedgerGoesUp,
        Self::LedgerGoesDown,
        Self::SweptBeforeConfirmed,
        Self::ClockIsNotBeforeTheBuild,
        Self::MajorityOfClocks,
        Self::FloorRisesBySteps,
    ];

    /// What it says.
    pub fn says(self) -> &'static str {
        match self {
            Self::HashesAreCompared => "events under the same numbers are compared by hash",
            Self::ForksAreMoved => "the events of a fork are moved to another log",
            Self::ClosedLogsAreOffered => "a log that was rolled back is offered still",
            Self::PendingIsKept => "a Hello without an answer is sent again as it was",
            Self::HubsStepBack => "more contacts than the hub knows: the hub was restored",
            Self::ReceiverTellsThePosition => "the hub says from where to push",
            Self::GapsAreFlagged => "what is pushed after deleted events says so",
            Self::GapsAreFilled => "events that the hub has a gap for are moved",
            Self::TwoBackups => "only what two backups have is deleted",
            Self::BackupsAreCompared => "a backup of another past does not count",
            Self::RepeatsCountOnce => "an event that comes again counts once",
            Self::HistoriesAreCompared => "hub and terminal compare the gallery's history",
            Self::LostHistoriesAreNoticed => "a history that the hub does not know is one that it lost",
            Self::RowsAreSummed => "hub and terminal compare the sum over the rows",
            Self::StagedUntilTheEnd => "rows count once their end has come",
            Self::OfferComesFirst => "a terminal offers its rows before it is sent others",
            Self::OfferIsToThisHistory => "rows that were offered to another history are not overwritten",
            Self::NewerRowsAreTaken => "a hub takes back rows that are newer than its own",
            Self::CodesAreChecked => "a hub takes back only what it made",
            Self::LedgerHoldsAtOffer => "nobody in the ledger is taken back",
            Self::LedgerGoesUp => "a hub takes lines of the ledger from terminals",
            Self::LedgerGoesDown => "a terminal takes lines of the ledger from the hub",
            Self::SweptBeforeConfirmed => "an erasure is confirmed once it is swept",
            Self::ClockIsNotBeforeTheBuild => "a hub's clock is not before the program's date",
            Self::MajorityOfClocks => "a hub's clock is with most of the terminals",
            Self::FloorRisesBySteps => "one answer raises the earliest time by 400 days at most",
        }
    }

    /// The rule of this name, as the table prints it.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|rule| format!("{rule:?}") == name)
    }
}
