//! Who gets in: every RPC with every role, tokens, certificates, what is taken away.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use harness::{ClientCertificate, MANY, SILENT, SOON, Site, localhost, outcome};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rollcall_accounts::Scope;
use rollcall_core::{Role, TerminalId, UtcInstant};
use rollcall_proto::v1;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::{Code, Request, Status};

const HUMANS: [Role; 4] = [Role::Admin, Role::Office, Role::Teacher, Role::Viewer];

fn refusal(result: Result<impl std::fmt::Debug, Status>) -> (Code, String) {
    let status = result.expect_err("a refusal");
    (status.code(), rollcall_proto::reason(&status).unwrap_or_default())
}

fn proto(role: Role) -> v1::Role {
    match role {
        Role::Admin => v1::Role::Admin,
        Role::Office => v1::Role::Office,
        Role::Teacher => v1::Role::Teacher,
        Role::Viewer => v1::Role::Viewer,
        Role::Terminal => v1::Role::Terminal,
    }
}

/// What the rules say of a call.
fn expected(access: &rollcall_proto::Access, role: Role, scopes: Option<&BTreeSet<&str>>) -> &'static str {
    if access.anyone {
        return "";
    }
    if !access.roles.contains(&proto(role)) {
        return "ROLE_FORBIDS";
    }
    match (access.scope, scopes) {
        (Some(scope), Some(scopes)) if !scopes.contains(scope) => "SCOPE_MISSING",
        _ => "",
    }
}

/// The reason with which a call is refused; empty: it comes through, whatever its handler says.
async fn refused(connection: &h2::client::SendRequest<Bytes>, request: http::Request<()>) -> String {
    let mut connection = connection.clone().ready().await.unwrap();
    // Without a message, so that no handler does anything.
    let (response, _) = connection.send_request(request, true).unwrap();
    let response = response.await.expect("a response");
    if !response.headers().contains_key("grpc-status") {
        return String::new();
    }
    match harness::told(response.headers()) {
        (Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented, reason) => {
            reason.expect("a reason")
        }
        _ => String::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f066_every_call_takes_the_roles_and_scopes_of_its_rule_and_no_others() {
    let site = Site::start().await;
    let all: BTreeSet<&str> = Scope::all().collect();
    let mut checked = 0;
    for role in HUMANS {
        let mut tokens =
            vec![(all.clone(), site.token(role, &all.iter().copied().collect::<Vec<_>>()).await.1)];
        for scope in &all {
            let others: BTreeSet<&str> = all.iter().copied().filter(|other| other != scope).collect();
            let token = site.token(role, &others.iter().copied().collect::<Vec<_>>()).await.1;
            tokens.push((others, token));
        }
        for (scopes, token) in tokens {
            let connection = site.h2().await;
            for (path, access) in rollcall_proto::rules() {
                let found = refused(&connection, site.request(path, &token)).await;
                assert_eq!(found, expected(access, role, Some(&scopes)), "{role:?} with {scopes:?}: {path}");
                checked += 1;
            }
        }
    }
    assert_eq!(checked, 4 * (all.len() + 1) * rollcall_proto::rules().count());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f066_a_terminals_certificate_opens_the_terminals_calls_and_no_others() {
    let site = Site::start().await;
    let config = site.client_config(Some(&site.terminal(TerminalId::generate())));
    let tcp = TcpStream::connect(site.address).await.unwrap();
    let tls = TlsConnector::from(config).connect(localhost(), tcp).await.unwrap();
    let (connection, io) = h2::client::handshake(tls).await.unwrap();
    tokio::spawn(io);
    for (path, access) in rollcall_proto::rules() {
        let mut request = site.request(path, "");
        request.headers_mut().remove("authorization");
        let found = refused(&connection, request).await;
        assert_eq!(found, expected(access, Role::Terminal, None), "{path}");
    }
}

/// What the server says to a client that shows this certificate.
async fn shown(site: &Site, certificate: &ClientCertificate) -> std::io::Result<usize> {
    let tcp = TcpStream::connect(site.address).await?;
    let config = site.client_config(Some(certificate));
    let mut tls = TlsConnector::from(config).connect(localhost(), tcp).await?;
    // In TLS 1.3 the client has finished before the server has looked at its certificate.
    tls.read(&mut [0; 1]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f066_a_certificate_that_the_site_did_not_sign_fails_the_handshake() {
    let site = Site::start().await;
    let uri = format!("urn:rollcall:terminal:{}", TerminalId::generate());
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let other_site = Issuer::new(params, KeyPair::generate().unwrap());
    for certificate in [ClientCertificate::self_signed(&uri), ClientCertificate::of(&other_site, &uri)] {
        let error = shown(&site, &certificate).await.expect_err("a refused handshake");
        assert!(error.to_string().contains("received fatal alert"), "{error}");
    }
    assert!(shown(&site, &site.terminal(TerminalId::generate())).await.unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f066_a_certificate_that_names_no_terminal_is_nobodys() {
    let site = Site::start().await;
    let key = std::fs::read_to_string(site.folder.path().join("ca.key")).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&site.ca_pem(), KeyPair::from_pem(&key).unwrap()).unwrap();
    for uri in ["urn:rollcall:terminal:", "urn:rollcall:person:0193a5c0-0000-7000-8000-000000000001"] {
        let certificate = ClientCertificate::of(&issuer, uri);
        let channel = site.channel(Some(&certificate)).await;
        let mut client = v1::account_service_client::AccountServiceClient::new(channel);
        let found = refusal(client.get_caller(v1::GetCallerRequest {}).await);
        assert_eq!(found, (Code::Unauthenticated, "CREDENTIALS_INVALID".into()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_without_credentials_is_told_what_to_send() {
    let site = Site::start().await;
    let status = site.accounts_client("").await.get_caller(v1::GetCallerRequest {}).await.unwrap_err();
    assert_eq!(rollcall_proto::reason(&status).unwrap(), "CREDENTIALS_MISSING");
    assert!(status.message().contains("authorization: Bearer"), "{}", status.message());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_administrators_token_says_who_it_is_and_reads_health() {
    let site = Site::start().await;
    let caller = site.accounts_client(&site.admin).await.get_caller(v1::GetCallerRequest {}).await;
    let caller = caller.unwrap().into_inner();
    assert_eq!(caller.role(), v1::Role::Admin);
    assert_eq!(caller.scopes.len(), Scope::all().count());
    let health = site.health_client(&site.admin).await.get_health(v1::GetHealthRequest {}).await;
    assert_eq!(health.unwrap().into_inner().parts[0].state(), v1::health::State::Well);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_token_is_refused_and_the_eleventh_has_to_wait_but_a_right_one_is_served() {
    let site = Site::start().await;
    let mut wrong = site.admin.clone().into_bytes();
    let last = wrong.len() - 2;
    wrong[last] = if wrong[last] == b'A' { b'B' } else { b'A' };
    let wrong = String::from_utf8(wrong).unwrap();
    let mut client = site.accounts_client(&wrong).await;
    for _ in 0..10 {
        let found = refusal(client.get_caller(v1::GetCallerRequest {}).await);
        assert_eq!(found, (Code::Unauthenticated, "CREDENTIALS_INVALID".into()));
    }
    let status = client.get_caller(v1::GetCallerRequest {}).await.unwrap_err();
    assert_eq!(rollcall_proto::reason(&status).unwrap(), "TOO_MANY_REQUESTS");
    let details = tonic_types::StatusExt::get_details_retry_info(&status).expect("a delay");
    assert!(details.retry_delay.is_some_and(|delay| delay <= Duration::from_secs(6)));
    site.accounts_client(&site.admin).await.get_caller(v1::GetCallerRequest {}).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_is_refused_at_the_next_call_and_its_streams_end_within_five_seconds() {
    let site = Site::start().await;
    let (id, token) = site.token(Role::Viewer, &["attendance.read"]).await;
    let mut connection = site.h2().await;
    let mut request = site.request(MANY, &token);
    request.headers_mut().insert("x-fake", SILENT.parse().unwrap());
    let (response, _) = connection.send_request(request, true).unwrap();
    let response = tokio::time::timeout(SOON, response).await.unwrap().unwrap();
    assert!(!response.headers().contains_key("grpc-status"), "it is open");
    site.accounts.revoke_token(id, UtcInstant::now()).await.unwrap();
    let found = refusal(site.accounts_client(&token).await.get_caller(v1::GetCallerRequest {}).await);
    assert_eq!(found, (Code::Unauthenticated, "TOKEN_REVOKED".into()));
    let mut body = response.into_body();
    let trailers = tokio::time::timeout(Duration::from_secs(5), body.trailers()).await;
    let trailers = trailers.expect("within five seconds").unwrap().unwrap();
    assert_eq!(harness::told(&trailers), (Code::Unauthenticated, Some("TOKEN_REVOKED".into())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_streams_of_a_token_end_when_its_time_is_over() {
    let site = Site::start().await;
    let (_, token) = site.token_for(Role::Viewer, &["attendance.read"], Duration::from_secs(2)).await;
    let mut request = site.request(MANY, &token);
    request.headers_mut().insert("x-fake", SILENT.parse().unwrap());
    let (response, _) = site.h2().await.send_request(request, true).unwrap();
    let found = tokio::time::timeout(SOON, outcome(response)).await.expect("an end");
    assert_eq!(found, (Code::Unauthenticated, Some("TOKEN_EXPIRED".into())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_call_and_an_unknown_service_are_not_served_here() {
    let site = Site::start().await;
    for path in ["/rollcall.v1.AccountService/Backdoor", "/rollcall.v2.X/Y", "/", "/a", "/%0a%1b"] {
        let mut connection = site.h2().await;
        let (response, _) = connection.send_request(site.request(path, &site.admin), true).unwrap();
        assert_eq!(outcome(response).await, (Code::Unimplemented, Some("NOT_SERVED_HERE".into())), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f070_health_says_serving_to_everybody_and_reflection_is_off() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;

    let site = Site::start().await;
    let mut health = HealthClient::new(site.channel(None).await);
    let answer = health.check(HealthCheckRequest { service: String::new() }).await.unwrap().into_inner();
    assert_eq!(answer.status, 1, "SERVING");
    assert_eq!(prost::Message::encoded_len(&answer), 2, "and nothing else");

    let found = refusal(listed(&site, &site.admin).await);
    assert_eq!(found, (Code::Unimplemented, "NOT_SERVED_HERE".into()));

    let site = Site::start_with(|config| config.reflection = rollcall_server::Reflection::On).await;
    let found = refusal(listed(&site, "").await);
    assert_eq!(found, (Code::Unauthenticated, "CREDENTIALS_MISSING".into()));
    let (_, viewer) = site.token(Role::Viewer, &["attendance.read"]).await;
    assert!(listed(&site, &viewer).await.unwrap().is_some());
}

/// What reflection says about the services.
async fn listed(
    site: &Site,
    token: &str,
) -> Result<Option<tonic_reflection::pb::v1::ServerReflectionResponse>, Status> {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

    let message_request = Some(MessageRequest::ListServices(String::new()));
    let request = ServerReflectionRequest { host: String::new(), message_request };
    let mut client = ServerReflectionClient::new(site.authorised(token).await);
    let answers = client.server_reflection_info(Request::new(tokio_stream::iter([request]))).await?;
    answers.into_inner().message().await
}
