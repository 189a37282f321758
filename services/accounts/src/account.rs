//! Accounts: who signs in, as what. Types and rules.

use rollcall_core::{AccountId, Role, UtcInstant, limits};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::AccountsError;
use crate::error::role_name;

/// Somebody who can sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// What is typed to sign in.
    pub login: Login,
    /// What others call them.
    pub display_name: String,
    /// What they are to the site.
    pub role: Role,
    /// They cannot sign in, and their tokens do not count.
    pub disabled: bool,
    /// When it was made.
    pub created: UtcInstant,
    /// Grows by one with each change.
    pub version: i64,
}

impl Account {
    /// Whether it can administrate the site.
    pub fn is_administrator(&self) -> bool {
        self.role == Role::Admin && !self.disabled
    }

    /// For optimistic changes.
    pub fn etag(&self) -> String {
        self.version.to_string()
    }

    /// The account after the change.
    pub(crate) fn changed(&self, change: &AccountChange) -> Self {
        Self {
            display_name: change.display_name.clone().unwrap_or_else(|| self.display_name.clone()),
            role: change.role.unwrap_or(self.role),
            disabled: change.disabled.unwrap_or(self.disabled),
            version: self.version + 1,
            ..self.clone()
        }
    }
}

/// What somebody types to sign in: 1 to 100 characters without blanks at its ends, the same in capitals or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login(String);

impl Login {
    /// # Errors
    /// An empty or too long login, one with control characters or with blanks at its ends.
    pub fn new(text: &str) -> Result<Self, AccountsError> {
        Ok(Self(line("account.login", text, limits::LOGIN_CHARS)?))
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The spelling that two accounts cannot share.
    pub fn folded(&self) -> String {
        self.0.to_lowercase()
    }
}

/// An account to be made.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// See [`Account`].
    pub login: Login,
    /// See [`Account`]; 1 to 200 characters.
    pub display_name: String,
    /// See [`Account`]; not [`Role::Terminal`].
    pub role: Role,
    /// `None`: they cannot sign in until one is set.
    pub password: Option<Password>,
}

impl NewAccount {
    /// Tells requests apart. The password is not in it: a hash that is as fast as this would give it away.
    pub(crate) fn sha256(&self) -> [u8; 32] {
        let text = format!("{}\n{}\n{}", self.login.as_str(), self.display_name, role_name(self.role));
        Sha256::digest(text.as_bytes()).into()
    }
}

/// What to change; `None` stays.
#[derive(Clone, Debug, Default)]
pub struct AccountChange {
    /// See [`Account`].
    pub display_name: Option<String>,
    /// See [`Account`].
    pub role: Option<Role>,
    /// See [`Account`].
    pub disabled: Option<bool>,
    /// The etag that was read; `None`: whatever it is.
    pub etag: Option<String>,
}

/// A password of 12 to 200 characters. Overwritten in memory when it is dropped.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// # Errors
    /// A password that is too short or too long.
    pub fn new(text: String) -> Result<Self, AccountsError> {
        let text = Zeroizing::new(text);
        let range = limits::PASSWORD_CHARS_MIN..=limits::PASSWORD_CHARS;
        if !range.contains(&text.chars().count()) {
            let problem = format!("has to have {} to {} characters", range.start(), range.end());
            return Err(AccountsError::field("password", problem));
        }
        Ok(Self(text))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password")
    }
}

/// A line of text of 1 to `chars` characters: no control characters, no blanks at its ends.
pub(crate) fn line(field: &'static str, text: &str, chars: usize) -> Result<String, AccountsError> {
    let fine = !text.is_empty()
        && text.chars().count() <= chars
        && text.trim() == text
        && !text.chars().any(char::is_control);
    if fine {
        return Ok(text.to_owned());
    }
    let problem = format!("has to have 1 to {chars} characters on one line, without blanks at its ends");
    Err(AccountsError::field(field, problem))
}

/// The role as an account or token can have it.
pub(crate) fn human_role(field: &'static str, role: Role) -> Result<Role, AccountsError> {
    if role == Role::Terminal {
        return Err(AccountsError::field(field, "cannot be ROLE_TERMINAL; terminals have certificates"));
    }
    Ok(role)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_login_is_one_line_and_its_capitals_do_not_count() {
        assert_eq!(Login::new("Đặng.Lan").unwrap().folded(), Login::new("đặng.lan").unwrap().folded());
        assert!(Login::new(&"é".repeat(100)).is_ok());
        for wrong in ["", " ", " a", "a ", "a\nb", "\u{1b}[31m", "a\0", &"é".repeat(101)] {
            assert!(Login::new(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_password_has_12_to_200_characters_and_is_never_printed() {
        for (chars, fine) in [(0, false), (11, false), (12, true), (200, true), (201, false)] {
            assert_eq!(Password::new("ß".repeat(chars)).is_ok(), fine, "{chars}");
        }
        assert_eq!(format!("{:?}", Password::new("correct horse".into()).unwrap()), "Password");
    }
}
