//! Whose word counts, and whether it still does: tokens and accounts by [`Accounts`], terminals by a [`Registry`].

use std::pin::Pin;
use std::sync::Arc;

use rollcall_accounts::{Accounts, Authenticated};
use rollcall_core::{Caller, CallerId, Fault, Reason, Role, UtcInstant};

use crate::clients::ShownCertificate;

/// What a [`Registry`] answers.
pub type Judgement<'a> = Pin<Box<dyn Future<Output = Result<(), Fault>> + Send + 'a>>;

/// Which terminals belong to the site: the hub's table of them, which takes away what a certificate alone would give
/// for 90 days. A program without one has no terminals.
pub trait Registry: Send + Sync + 'static {
    /// Whether this certificate's terminal is one of the site's, was not revoked, and has this key. Asked at every call
    /// and, while a stream is open, each second.
    ///
    /// # Errors
    /// `CREDENTIALS_INVALID` in words when it is not. Another fault, such as a database that does not answer, refuses
    /// the call and leaves open streams open.
    fn judge<'a>(&'a self, shown: &'a ShownCertificate) -> Judgement<'a>;
}

/// Somebody who was let in.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    pub(crate) who: Authenticated,
    /// Of a terminal.
    pub(crate) certificate: Option<Arc<ShownCertificate>>,
}

/// Who is asked about callers.
#[derive(Clone)]
pub(crate) struct Standing {
    pub(crate) accounts: Accounts,
    pub(crate) registry: Option<Arc<dyn Registry>>,
}

impl Standing {
    /// Who shows this token.
    pub(crate) async fn of_token(&self, token: &str, now: UtcInstant) -> Result<Admitted, Fault> {
        let who = self.accounts.authenticate_token(token, now).await.map_err(|error| error.fault())?;
        Ok(Admitted { who, certificate: None })
    }

    /// The terminal that shows this certificate. Its time is looked at elsewhere.
    pub(crate) async fn of_terminal(&self, shown: &Arc<ShownCertificate>) -> Result<Admitted, Fault> {
        match &self.registry {
            Some(registry) => registry.judge(shown).await?,
            None => {
                let message =
                    "this program has adopted no terminals; show a terminal's certificate to its hub";
                return Err(Fault::new(Reason::CredentialsInvalid, message));
            }
        }
        let who = Authenticated {
            caller: Caller { id: CallerId::Terminal(shown.terminal), role: Role::Terminal },
            display_name: String::new(),
            scopes: None,
            expire: None,
            account: None,
        };
        Ok(Admitted { who, certificate: Some(Arc::clone(shown)) })
    }

    /// Whether somebody who was let in still is, as what they were.
    pub(crate) async fn still(&self, admitted: &Admitted, now: UtcInstant) -> Result<(), Fault> {
        let role = match &admitted.certificate {
            Some(shown) => {
                shown.check_time(now)?;
                self.of_terminal(shown).await?.who.caller.role
            }
            None => {
                let standing = self.accounts.standing(&admitted.who.caller, now).await;
                standing.map_err(|error| error.fault())?.caller.role
            }
        };
        if role == admitted.who.caller.role {
            return Ok(());
        }
        Err(Fault::new(Reason::RoleForbids, "the caller's role has changed; call again"))
    }
}
