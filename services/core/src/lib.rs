//! The words that every room of Rollcall shares: ids, instants and site days, faults, limits.
//!
//! Knows no other crate of the workspace. Its only input is the clock.

mod caller;
mod fault;
mod ids;
pub mod limits;
pub mod page;
mod set_hash;
mod time;
mod week;

pub use caller::{Caller, CallerId, PeerAddress, Role};
pub use fault::{Code, Fault, Reason};
pub use ids::{
    AccountId, BadName, CommandId, ConsentId, CredentialId, ErasureId, EventId, GalleryId, GroupId, LogId,
    MismatchId, PeriodId, PersonId, TemplateId, TerminalId, TokenId,
};
pub use set_hash::SetHash;
pub use time::{SiteDay, SiteTime, SiteZone, UnknownZone, UtcInstant};
pub use week::{Hours, Weekdays};
