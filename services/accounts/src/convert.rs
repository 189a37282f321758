//! Between the contract's types and ours.

use std::collections::BTreeSet;

use prost_types::Timestamp;
use rollcall_core::{CallerId, Role, UtcInstant};
use rollcall_proto::v1;

use crate::AccountsError;
use crate::account::{Account, AccountChange, Login, NewAccount, Password};
use crate::error::shown;
use crate::token::{Authenticated, NewToken, Scope, Token};

pub(crate) fn role_to_proto(role: Role) -> v1::Role {
    match role {
        Role::Admin => v1::Role::Admin,
        Role::Office => v1::Role::Office,
        Role::Teacher => v1::Role::Teacher,
        Role::Viewer => v1::Role::Viewer,
        Role::Terminal => v1::Role::Terminal,
    }
}

fn role_from_proto(field: &'static str, number: i32) -> Result<Role, AccountsError> {
    match v1::Role::try_from(number) {
        Ok(v1::Role::Admin) => Ok(Role::Admin),
        Ok(v1::Role::Office) => Ok(Role::Office),
        Ok(v1::Role::Teacher) => Ok(Role::Teacher),
        Ok(v1::Role::Viewer) => Ok(Role::Viewer),
        Ok(v1::Role::Terminal) => Ok(Role::Terminal),
        Ok(v1::Role::Unspecified) | Err(_) => {
            let problem = "has to be ROLE_ADMIN, ROLE_OFFICE, ROLE_TEACHER or ROLE_VIEWER";
            Err(AccountsError::field(field, problem))
        }
    }
}

fn timestamp(instant: UtcInstant) -> Timestamp {
    const SECOND_US: i64 = 1_000_000;
    let nanos = i32::try_from(instant.micros().rem_euclid(SECOND_US) * 1_000).unwrap_or(0);
    Timestamp { seconds: instant.micros().div_euclid(SECOND_US), nanos }
}

fn instant(field: &'static str, time: Option<&Timestamp>) -> Result<UtcInstant, AccountsError> {
    let time = time.ok_or_else(|| AccountsError::field(field, "has to be given"))?;
    let micros = time.seconds.checked_mul(1_000_000).filter(|_| (0..1_000_000_000).contains(&time.nanos));
    let micros = micros.ok_or_else(|| AccountsError::field(field, "is no time"))?;
    Ok(UtcInstant::from_micros(micros.saturating_add(i64::from(time.nanos) / 1_000)))
}

impl From<&Account> for v1::Account {
    fn from(account: &Account) -> Self {
        Self {
            name: account.id.name(),
            login: account.login.as_str().to_owned(),
            display_name: account.display_name.clone(),
            role: role_to_proto(account.role).into(),
            disabled: account.disabled,
            create_time: Some(timestamp(account.created)),
            etag: account.etag(),
        }
    }
}

impl TryFrom<v1::CreateAccountRequest> for NewAccount {
    type Error = AccountsError;

    fn try_from(request: v1::CreateAccountRequest) -> Result<Self, AccountsError> {
        let account = request.account.ok_or_else(|| AccountsError::field("account", "has to be given"))?;
        let password = (!request.password.is_empty()).then(|| Password::new(request.password)).transpose()?;
        Ok(Self {
            login: Login::new(&account.login)?,
            display_name: account.display_name,
            role: role_from_proto("account.role", account.role)?,
            password,
        })
    }
}

/// What a field mask picks from an account.
pub(crate) fn account_change(
    account: &v1::Account,
    paths: &[String],
) -> Result<AccountChange, AccountsError> {
    let mut change = AccountChange {
        etag: (!account.etag.is_empty()).then(|| account.etag.clone()),
        ..AccountChange::default()
    };
    for path in paths {
        match path.as_str() {
            "display_name" => change.display_name = Some(account.display_name.clone()),
            "role" => change.role = Some(role_from_proto("account.role", account.role)?),
            "disabled" => change.disabled = Some(account.disabled),
            other => return Err(AccountsError::Mask { given: shown(other) }),
        }
    }
    if paths.is_empty() {
        return Err(AccountsError::Mask { given: String::new() });
    }
    Ok(change)
}

impl From<&Token> for v1::Token {
    fn from(token: &Token) -> Self {
        Self {
            name: token.id.name(),
            display_name: token.display_name.clone(),
            role: role_to_proto(token.role).into(),
            scopes: words(&token.scopes),
            create_time: Some(timestamp(token.created)),
            expire_time: Some(timestamp(token.expire)),
            revoke_time: token.revoke.map(timestamp),
            last_used_time: token.last_used.map(timestamp),
        }
    }
}

impl TryFrom<v1::CreateTokenRequest> for NewToken {
    type Error = AccountsError;

    fn try_from(request: v1::CreateTokenRequest) -> Result<Self, AccountsError> {
        let token = request.token.ok_or_else(|| AccountsError::field("token", "has to be given"))?;
        let scopes: Result<BTreeSet<Scope>, _> = token.scopes.iter().map(|scope| Scope::new(scope)).collect();
        Ok(Self {
            display_name: token.display_name,
            role: role_from_proto("token.role", token.role)?,
            scopes: scopes?,
            expire: instant("token.expire_time", token.expire_time.as_ref())?,
        })
    }
}

impl From<&Authenticated> for v1::Caller {
    fn from(who: &Authenticated) -> Self {
        let scopes = match who.caller.id {
            CallerId::Token(_) => who.scopes.as_ref().map(words).unwrap_or_default(),
            CallerId::Account(_) | CallerId::Terminal(_) => Vec::new(),
        };
        Self {
            name: who.caller.name(),
            display_name: who.display_name.clone(),
            role: role_to_proto(who.caller.role).into(),
            scopes,
            expire_time: who.expire.map(timestamp),
        }
    }
}

fn words(scopes: &BTreeSet<Scope>) -> Vec<String> {
    scopes.iter().map(|scope| scope.as_str().to_owned()).collect()
}
