//! Accounts, roles and script tokens: who may ask, and as what.
//!
//! Promises: a token's secret and a password are nowhere kept in clear; a token may do no more than its maker; what an
//! administrator takes away ends at the next call (in another process that shares the database, within two seconds).
//!
//! Not here: looking at a connection (the server does), certificates of terminals, sessions of browsers.

mod account;
mod accounts;
mod bootstrap;
mod convert;
mod error;
pub mod grpc;
mod password;
mod store;
pub mod token;

pub use account::{Account, AccountChange, Login, NewAccount, Password};
pub use accounts::{Accounts, MadeToken, Page};
pub use error::AccountsError;
pub use store::MIGRATIONS;
pub use token::{Authenticated, NewToken, Scope, Token};
