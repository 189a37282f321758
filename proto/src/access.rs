//! Who may make which call, as the `access` option of each RPC says.

use crate::v1::Role;

include!("generated/access.rs");

/// The rule of one RPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Roles that may.
    pub roles: &'static [Role],
    /// The scope that a token must have; `None`: any token may.
    pub scope: Option<&'static str>,
    /// Whoever reaches the server may; then there are no roles and no scope.
    pub anyone: bool,
}

/// The rule for the HTTP path of a call, `/rollcall.v1.GalleryService/Identify`. `None`: no such RPC.
pub fn access(path: &str) -> Option<&'static Access> {
    ACCESS.binary_search_by_key(&path, |(path, _)| path).ok().map(|index| &ACCESS[index].1)
}

/// Every call's path with its rule, by path.
pub fn rules() -> impl Iterator<Item = (&'static str, &'static Access)> {
    ACCESS.iter().map(|(path, access)| (*path, access))
}
