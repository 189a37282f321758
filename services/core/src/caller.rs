//! Who makes a call.

use std::net::IpAddr;

use crate::{AccountId, TerminalId, TokenId};

/// What somebody is to the site. `proto/rollcall/v1/common.proto` says what each may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// School IT.
    Admin,
    /// The office.
    Office,
    /// A teacher.
    Teacher,
    /// Reads.
    Viewer,
    /// A device at a door.
    Terminal,
}

/// Where a call comes from, as the server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddress(pub IpAddr);

/// Whose call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallerId {
    /// Somebody who has signed in.
    Account(AccountId),
    /// A script.
    Token(TokenId),
    /// A device, by its certificate.
    Terminal(TerminalId),
}

/// Somebody whose right to make this call has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    /// Who.
    pub id: CallerId,
    /// As what.
    pub role: Role,
}

impl Caller {
    /// The resource name, as events and ledgers keep it: `tokens/ID`.
    pub fn name(&self) -> String {
        match self.id {
            CallerId::Account(id) => id.name(),
            CallerId::Token(id) => id.name(),
            CallerId::Terminal(id) => id.name(),
        }
    }
}
