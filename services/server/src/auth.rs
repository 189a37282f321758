//! Who calls, and whether they may.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use rollcall_accounts::Authenticated;
use rollcall_core::{Fault, Reason, Role, UtcInstant};
use tonic::Status;

use crate::clients::ShownCertificate;
use crate::contract::{Rpc, Rule};
use crate::refusal;
use crate::standing::{Admitted, Standing};
use crate::throttle::Throttle;

/// Who is at the other end of a connection, as far as the connection tells.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    pub(crate) certificate: Certificate,
}

/// What certificate a client showed. One that the site's authority did not sign does not come this far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Certificate {
    /// None.
    None,
    /// A terminal's.
    Terminal(Arc<ShownCertificate>),
    /// One that names no terminal.
    Nameless,
}

/// The one call that a terminal may make whose certificate's time is over: without it nobody could ever renew one.
pub(crate) const RENEWAL: &str = "/rollcall.v1.SyncService/RenewCertificate";

/// Lets a call through or not. `None`: a call that needs nobody.
pub(crate) async fn authorise(
    standing: &Standing,
    throttle: &Throttle,
    peer: &Peer,
    headers: &HeaderMap,
    rpc: &Rpc,
) -> Result<Option<Admitted>, Status> {
    if matches!(rpc.rule, Rule::Anyone | Rule::Stranger) {
        return Ok(None);
    }
    let admitted = authenticate(standing, peer, headers, rpc, UtcInstant::now()).await;
    let admitted = admitted.map_err(|fault| refused(throttle, peer, &fault))?;
    permit(rpc, &admitted.who).map_err(|fault| refusal::status(&fault))?;
    Ok(Some(admitted))
}

fn refused(throttle: &Throttle, peer: &Peer, fault: &Fault) -> Status {
    if fault.reason == Reason::CredentialsInvalid
        && let Err(throttled) = throttle.count(peer.address, Instant::now())
    {
        return refusal::status_with_delay(&throttled.fault(), throttled.delay);
    }
    refusal::status(fault)
}

async fn authenticate(
    standing: &Standing,
    peer: &Peer,
    headers: &HeaderMap,
    rpc: &Rpc,
    now: UtcInstant,
) -> Result<Admitted, Fault> {
    match (bearer(headers)?, &peer.certificate) {
        (Some(token), _) => standing.of_token(token, now).await,
        (None, Certificate::Terminal(shown)) => {
            let admitted = standing.of_terminal(shown).await?;
            if *rpc.path != *RENEWAL {
                shown.check_time(now)?;
            }
            Ok(admitted)
        }
        (None, Certificate::Nameless) => Err(Fault::new(
            Reason::CredentialsInvalid,
            "the client certificate names no terminal (urn:rollcall:terminal:ID)",
        )),
        (None, Certificate::None) => Err(Fault::new(
            Reason::CredentialsMissing,
            "the call names nobody; send the metadata \"authorization: Bearer TOKEN\", or show a terminal's certificate",
        )),
    }
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Fault> {
    let invalid = || {
        Fault::new(
            Reason::CredentialsInvalid,
            "the metadata \"authorization\" has to be \"Bearer TOKEN\", once",
        )
    };
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(invalid());
    }
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(invalid)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(Some(token)) } else { Err(invalid()) }
}

/// Whether somebody known may make this call.
pub(crate) fn permit(rpc: &Rpc, who: &Authenticated) -> Result<(), Fault> {
    let Rule::Listed(access) = rpc.rule else { return Ok(()) };
    let roles: Vec<&str> = access.roles.iter().map(|role| proto_role_name(*role)).collect();
    let role = role_name(who.caller.role);
    if !roles.contains(&role) {
        let message =
            format!("the role {role} may not call {}; it takes one of: {}", rpc.path, roles.join(", "));
        return Err(Fault::new(Reason::RoleForbids, message)
            .with("rpc", &rpc.path)
            .with("role", role)
            .with("roles", roles.join(" ")));
    }
    match access.scope {
        Some(scope) if !who.has_scope(scope) => {
            let message = format!("the token lacks the scope {scope}, which {} takes", rpc.path);
            Err(Fault::new(Reason::ScopeMissing, message).with("rpc", &rpc.path).with("scope", scope))
        }
        _ => Ok(()),
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Admin => "admin",
        Role::Office => "office",
        Role::Teacher => "teacher",
        Role::Viewer => "viewer",
        Role::Terminal => "terminal",
    }
}

fn proto_role_name(role: rollcall_proto::v1::Role) -> &'static str {
    use rollcall_proto::v1::Role as Proto;
    match role {
        Proto::Admin => role_name(Role::Admin),
        Proto::Office => role_name(Role::Office),
        Proto::Teacher => role_name(Role::Teacher),
        Proto::Viewer => role_name(Role::Viewer),
        Proto::Terminal => role_name(Role::Terminal),
        Proto::Unspecified => "nobody",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_token_comes_once_after_the_word_bearer() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            }
            bearer(&headers).map(|token| token.map(str::to_owned)).map_err(|fault| fault.reason)
        };
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["Bearer x"]), Ok(Some("x".into())));
        assert_eq!(read(&["bearer x"]), Ok(Some("x".into())));
        for wrong in [&["Basic x"][..], &["x"], &[""], &["Bearer x", "Bearer x"], &["Bearer x", "Basic y"]] {
            assert_eq!(read(wrong), Err(Reason::CredentialsInvalid), "{wrong:?}");
        }
    }
}
