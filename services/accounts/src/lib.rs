//! Accounts, roles and script tokens.
