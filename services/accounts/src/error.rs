//! What can go wrong with accounts and tokens.

use rollcall_core::{Fault, Reason, Role, UtcInstant, limits};
use rollcall_store::StoreError;

/// Why it was refused.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    /// A field cannot be taken as it is.
    #[error("{field} {problem}")]
    Field {
        /// Its path in the request.
        field: &'static str,
        /// What is wrong and what to write instead.
        problem: String,
    },
    /// A scope that no call asks for.
    #[error("there is no scope \"{given}\"; there are: {}", crate::Scope::all().collect::<Vec<_>>().join(", "))]
    NoSuchScope {
        /// As it came, cut.
        given: String,
    },
    /// A field mask names what cannot be changed.
    #[error("update_mask names \"{given}\"; display_name, role and disabled can be changed")]
    Mask {
        /// As it came, cut.
        given: String,
    },
    /// A page size, page token or request id.
    #[error("{}", .0.message)]
    Asked(Fault),
    /// No such account or token.
    #[error("there is no {name}")]
    NotFound {
        /// The resource name.
        name: String,
    },
    /// Another account has this login.
    #[error("another account has this login; choose another, capitals make no difference")]
    LoginTaken,
    /// The request id belongs to another request.
    #[error("this request_id was used before with another request; send a new UUID with each new request")]
    RequestIdReused,
    /// Somebody changed the account meanwhile.
    #[error("{name} was changed since its etag was read; read it again, then repeat the change")]
    EtagMismatch {
        /// The resource name.
        name: String,
    },
    /// Nobody could administrate the site any more.
    #[error("{name} is the last account that is an administrator; make another one first")]
    LastAdministrator {
        /// The resource name.
        name: String,
    },
    /// More than the maker may do.
    #[error("a token may do no more than its maker: you may not give the role {}", role_name(*.role))]
    RoleAboveMaker {
        /// The role that was asked for.
        role: Role,
    },
    /// A scope that the maker lacks.
    #[error("a token may do no more than its maker: yours lacks the scope {scope}")]
    ScopeAboveMaker {
        /// The scope.
        scope: &'static str,
    },
    /// Later than the maker.
    #[error("a token may do no more than its maker: yours ends at {expire}, so expire_time can be no later")]
    ExpiryAboveMaker {
        /// When the maker ends.
        expire: UtcInstant,
    },
    /// There are enough.
    #[error("there are {limit} {what} already, which is the limit; disable or revoke some")]
    Limit {
        /// Accounts or tokens.
        what: &'static str,
        /// How many there can be.
        limit: usize,
    },
    /// Not one of this site's.
    #[error("the token is not one of this site's; copy it whole, from rct_ on")]
    TokenUnknown,
    /// Its time is over.
    #[error("the token expired at {at}; make a new one")]
    TokenExpired {
        /// When.
        at: UtcInstant,
    },
    /// It was withdrawn, or its maker's account was disabled.
    #[error("the token was revoked; ask an administrator for a new one")]
    TokenRevoked,
    /// No such login, or another password: it is not said which.
    #[error("login or password is wrong")]
    PasswordWrong,
    /// Hashing failed: a fault of this program.
    #[error("the password cannot be hashed: {0}")]
    Hashing(String),
    /// The database, or the token's file.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AccountsError {
    /// What a caller is told.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Field { field, .. } => Fault::new(Reason::FieldInvalid, self).with("field", field),
            Self::NoSuchScope { .. } => Fault::new(Reason::FieldInvalid, self).with("field", "token.scopes"),
            Self::ExpiryAboveMaker { .. } => {
                Fault::new(Reason::FieldInvalid, self).with("field", "token.expire_time")
            }
            Self::Mask { .. } => Fault::new(Reason::UpdateMaskInvalid, self),
            Self::Asked(fault) => fault.clone(),
            Self::NotFound { name } => Fault::new(Reason::NotFound, self).with("name", name),
            Self::LoginTaken => Fault::new(Reason::AlreadyExists, self).with("field", "account.login"),
            Self::RequestIdReused => Fault::new(Reason::RequestIdReused, self).with("field", "request_id"),
            Self::EtagMismatch { name } => Fault::new(Reason::EtagMismatch, self).with("name", name),
            Self::LastAdministrator { name } => Fault::new(Reason::StateForbids, self).with("name", name),
            Self::RoleAboveMaker { role } => {
                Fault::new(Reason::RoleForbids, self).with("role", role_name(*role))
            }
            Self::ScopeAboveMaker { scope } => Fault::new(Reason::ScopeMissing, self).with("scope", scope),
            Self::Limit { limit, .. } => Fault::new(Reason::LimitReached, self).with("limit", limit),
            Self::TokenUnknown | Self::PasswordWrong => Fault::new(Reason::CredentialsInvalid, self),
            Self::TokenExpired { at } => Fault::new(Reason::TokenExpired, self).with("expire_time", at),
            Self::TokenRevoked => Fault::new(Reason::TokenRevoked, self),
            Self::Hashing(_) => Fault::new(Reason::Internal, self),
            Self::Store(error) => error.fault(),
        }
    }

    pub(crate) fn field(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Field { field, problem: problem.into() }
    }
}

/// A role as people and the database write it.
pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Admin => "admin",
        Role::Office => "office",
        Role::Teacher => "teacher",
        Role::Viewer => "viewer",
        Role::Terminal => "terminal",
    }
}

/// What came, as much of it as is worth showing.
pub(crate) fn shown(given: &str) -> String {
    given.chars().take(limits::LOGGED_CHARS).collect()
}
