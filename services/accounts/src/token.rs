//! Tokens: what scripts show. Types and rules.
//!
//! The text is `rct_` and 64 characters of base64url: 16 bytes of id, 32 random bytes. The random bytes are the secret;
//! only their SHA-256 is kept. That is enough, because there are too many of them to try; a slow hash is for passwords.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rollcall_core::{AccountId, Caller, CallerId, Role, TokenId, UtcInstant, limits};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::AccountsError;
use crate::account::{human_role, line};
use crate::error::{role_name, shown};

const PREFIX: &str = "rct_";
const ID_SIZE_BYTES: usize = 16;
const SECRET_SIZE_BYTES: usize = 32;
const TEXT_CHARS: usize = PREFIX.len() + (ID_SIZE_BYTES + SECRET_SIZE_BYTES) / 3 * 4;

/// The right to make some of the calls: `gallery.read`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(&'static str);

static SCOPES: LazyLock<BTreeSet<&'static str>> =
    LazyLock::new(|| rollcall_proto::rules().filter_map(|(_, access)| access.scope).collect());

impl Scope {
    /// Every scope that a call asks for, as the contract's rules say.
    pub fn all() -> impl Iterator<Item = &'static str> {
        SCOPES.iter().copied()
    }

    /// # Errors
    /// When no call asks for it.
    pub fn new(text: &str) -> Result<Self, AccountsError> {
        let known = SCOPES.get(text).map(|known| Self(known));
        known.ok_or_else(|| AccountsError::NoSuchScope { given: shown(text) })
    }

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

/// A script's token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// What it is for.
    pub display_name: String,
    /// The most that it may be.
    pub role: Role,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// Who made it.
    pub maker: Maker,
    /// The account without which it does not count: the maker, or the account behind the token that made it.
    pub account: Option<AccountId>,
    /// When it was made.
    pub created: UtcInstant,
    /// When it ends by itself.
    pub expire: UtcInstant,
    /// When it was withdrawn.
    pub revoke: Option<UtcInstant>,
    /// The hour in which it was last used.
    pub last_used: Option<UtcInstant>,
}

/// Who made a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// A program, for whoever can read its data folder.
    Folder(FolderId),
    /// Somebody by a call.
    Caller(CallerId),
}

/// Tells the data folders of programs over one database apart: 16 random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FolderId([u8; 16]);

impl FolderId {
    /// Of a token that was made before folders had ids.
    pub(crate) const UNKNOWN: Self = Self([0; 16]);

    /// A new one.
    pub(crate) fn generate() -> Result<Self, AccountsError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id)
            .map_err(|error| AccountsError::Hashing(format!("no random bytes: {error}")))?;
        Ok(Self(id))
    }

    /// The id that 32 hex digits name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok().filter(|_| is_hex)?;
        Some(Self(number.to_be_bytes()))
    }
}

impl std::fmt::Display for FolderId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// What it is for, 1 to 100 characters.
    pub display_name: String,
    /// Not [`Role::Terminal`].
    pub role: Role,
    /// At least one.
    pub scopes: BTreeSet<Scope>,
    /// At most two years ahead.
    pub expire: UtcInstant,
}

impl NewToken {
    /// Tells requests apart.
    pub(crate) fn sha256(&self, maker: Maker) -> [u8; 32] {
        let scopes: Vec<&str> = self.scopes.iter().map(|scope| scope.0).collect();
        let (role, expire) = (role_name(self.role), self.expire.micros());
        let text = format!("{maker:?}\n{}\n{role}\n{}\n{expire}", self.display_name, scopes.join(" "));
        Sha256::digest(text.as_bytes()).into()
    }
}

/// Somebody whose credentials have been checked, and what they may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticated {
    /// Who, as what.
    pub caller: Caller,
    /// What others call them.
    pub display_name: String,
    /// Of a token; `None`: every scope that the role has.
    pub scopes: Option<BTreeSet<Scope>>,
    /// When this ends by itself.
    pub expire: Option<UtcInstant>,
    /// The account behind the token.
    pub account: Option<AccountId>,
}

impl Authenticated {
    /// Whether a call that asks for `scope` may be made.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes.as_ref().is_none_or(|scopes| scopes.iter().any(|held| held.0 == scope))
    }
}

/// Whether `maker` may make this token at `now`.
///
/// # Errors
/// A name that is no line, no scope, a time that is past or too far; more than the maker may do.
pub fn check_new(new: &NewToken, maker: &Authenticated, now: UtcInstant) -> Result<(), AccountsError> {
    line("token.display_name", &new.display_name, limits::LOGIN_CHARS)?;
    human_role("token.role", new.role)?;
    if new.scopes.is_empty() {
        let all: Vec<&str> = Scope::all().collect();
        let problem = format!("has to name what the token may do: {}", all.join(", "));
        return Err(AccountsError::field("token.scopes", problem));
    }
    if new.expire <= now || new.expire > now.after(lifetime()) {
        let problem = "has to lie ahead, at most two years";
        return Err(AccountsError::field("token.expire_time", problem));
    }
    if new.role < maker.caller.role {
        return Err(AccountsError::RoleAboveMaker { role: new.role });
    }
    if let Some(lacking) = new.scopes.iter().find(|scope| !maker.has_scope(scope.0)) {
        return Err(AccountsError::ScopeAboveMaker { scope: lacking.0 });
    }
    match maker.expire {
        Some(expire) if new.expire > expire => Err(AccountsError::ExpiryAboveMaker { expire }),
        _ => Ok(()),
    }
}

/// What somebody who shows this token may do at `now`. `account` is the account behind it: its role, unless it is
/// disabled.
///
/// # Errors
/// [`AccountsError::TokenRevoked`] and [`AccountsError::TokenExpired`].
pub fn standing(
    token: &Token,
    account: Option<(Role, Disabled)>,
    now: UtcInstant,
) -> Result<Authenticated, AccountsError> {
    if token.revoke.is_some() {
        return Err(AccountsError::TokenRevoked);
    }
    let role = match (token.account, account) {
        (None, _) => token.role,
        (Some(_), Some((role, Disabled::No))) => token.role.max(role),
        (Some(_), _) => return Err(AccountsError::TokenRevoked),
    };
    if token.expire <= now {
        return Err(AccountsError::TokenExpired { at: token.expire });
    }
    Ok(Authenticated {
        caller: Caller { id: CallerId::Token(token.id), role },
        display_name: token.display_name.clone(),
        scopes: Some(token.scopes.clone()),
        expire: Some(token.expire),
        account: token.account,
    })
}

/// Whether an account is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disabled {
    /// It counts.
    No,
    /// It does not.
    Yes,
}

/// The longest life of a token.
pub fn lifetime() -> Duration {
    Duration::from_secs(limits::TOKEN_LIFETIME_HOURS * 3_600)
}

/// The hour that an instant lies in.
pub(crate) fn hour(instant: UtcInstant) -> UtcInstant {
    const HOUR_US: i64 = 3_600_000_000;
    UtcInstant::from_micros(instant.micros() - instant.micros().rem_euclid(HOUR_US))
}

/// A token as a script shows it: an id and a secret.
pub struct TokenSecret {
    /// Which token.
    pub id: TokenId,
    secret: Zeroizing<[u8; SECRET_SIZE_BYTES]>,
}

impl TokenSecret {
    /// A new secret for a new token.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn generate() -> Result<Self, AccountsError> {
        let mut secret = Zeroizing::new([0; SECRET_SIZE_BYTES]);
        getrandom::fill(&mut secret[..])
            .map_err(|error| AccountsError::Hashing(format!("no random bytes: {error}")))?;
        Ok(Self { id: TokenId::generate(), secret })
    }

    /// Reads what a script sent.
    ///
    /// # Errors
    /// [`AccountsError::TokenUnknown`].
    pub fn parse(text: &str) -> Result<Self, AccountsError> {
        let body = (text.len() == TEXT_CHARS).then(|| text.strip_prefix(PREFIX)).flatten();
        let body = body.ok_or(AccountsError::TokenUnknown)?;
        let mut bytes = Zeroizing::new([0; ID_SIZE_BYTES + SECRET_SIZE_BYTES]);
        match URL_SAFE_NO_PAD.decode_slice(body, &mut bytes[..]) {
            Ok(size) if size == bytes.len() => {}
            _ => return Err(AccountsError::TokenUnknown),
        }
        let mut id = [0; ID_SIZE_BYTES];
        let mut secret = Zeroizing::new([0; SECRET_SIZE_BYTES]);
        id.copy_from_slice(&bytes[..ID_SIZE_BYTES]);
        secret.copy_from_slice(&bytes[ID_SIZE_BYTES..]);
        Ok(Self { id: TokenId::from_bytes(id), secret })
    }

    /// What a script has to send.
    pub fn text(&self) -> Zeroizing<String> {
        let bytes = Zeroizing::new([&self.id.to_bytes()[..], &self.secret[..]].concat());
        Zeroizing::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&bytes)))
    }

    /// What is kept of the secret.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.secret[..]).into()
    }

    /// Whether it is the secret that this was kept of. Takes as long for a wrong one.
    pub fn is(&self, sha256: &[u8]) -> bool {
        self.sha256().ct_eq(sha256).into()
    }
}

impl std::fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenSecret({})", self.id)
    }
}
