//! Certificates of terminals on real connections: whose count, for how long, and whom a terminal takes for its hub.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use harness::{SILENT, SOON, Site, localhost, told};
use rollcall_core::{TerminalId, UtcInstant};
use rollcall_server::{
    Authority, ClockFloor, HubTrust, OtherHub, Seen, TerminalKey, client_config, key_sha256,
};
use rustls::{CertificateError, ClientConfig, OtherError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::Code;

const DAY: Duration = Duration::from_secs(86_400);
const OPEN: &str = "/rollcall.v1.SyncService/Open";
const NOTIFY: &str = "/rollcall.v1.SyncService/Notify";
const RENEW: &str = "/rollcall.v1.SyncService/RenewCertificate";

fn clock() -> Arc<ClockFloor> {
    ClockFloor::new(UtcInstant::from_micros(0), UtcInstant::from_micros(0))
}

fn config(site: &Site, own: &(TerminalKey, Vec<Vec<u8>>)) -> Arc<ClientConfig> {
    let trust = HubTrust::Authorities(site.authority.certificates(UtcInstant::now()).unwrap());
    client_config(trust, Some((&own.0, &own.1)), clock()).unwrap()
}

async fn connect(site: &Site, config: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(site.address).await.unwrap();
    TlsConnector::from(config).connect(localhost(), tcp).await
}

/// A connection of a terminal with this certificate.
async fn terminal(site: &Site, own: &(TerminalKey, Vec<Vec<u8>>)) -> h2::client::SendRequest<Bytes> {
    let (send, io) = h2::client::handshake(connect(site, config(site, own)).await.unwrap()).await.unwrap();
    tokio::spawn(io);
    send.ready().await.unwrap()
}

/// The code and the words with which a call is answered.
async fn called(site: &Site, connection: &h2::client::SendRequest<Bytes>, path: &str) -> (Code, String) {
    let mut connection = connection.clone().ready().await.unwrap();
    let mut request = site.request(path, "");
    request.headers_mut().remove("authorization");
    let (response, mut body) = connection.send_request(request, false).unwrap();
    // Whoever is refused may be answered before the message is sent.
    let _refused = body.send_data(harness::whole(b""), true);
    let response = response.await.unwrap();
    if response.headers().contains_key("grpc-status") {
        let status = tonic::Status::from_header_map(response.headers()).unwrap();
        return (status.code(), status.message().to_owned());
    }
    (Code::Ok, String::new())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f053_an_expired_certificate_may_renew_itself_and_nothing_else() {
    let site = Site::start().await;
    let own = site.signed(TerminalId::generate(), UtcInstant::now().before(DAY * 91));
    let connection = terminal(&site, &own).await;
    let (code, words) = called(&site, &connection, OPEN).await;
    assert_eq!(code, Code::Unauthenticated);
    assert!(words.contains("ended on") && words.contains("RenewCertificate"), "{words}");
    assert_eq!(called(&site, &connection, RENEW).await.0, Code::Ok);
    let renewed = site.signed(TerminalId::generate(), UtcInstant::now());
    assert_eq!(called(&site, &terminal(&site, &renewed).await, OPEN).await.0, Code::Ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f053_a_certificate_from_the_future_is_told_what_the_hubs_clock_says() {
    let site = Site::start().await;
    let own = site.signed(TerminalId::generate(), UtcInstant::now().after(DAY * 400));
    let connection = terminal(&site, &own).await;
    let (code, words) = called(&site, &connection, OPEN).await;
    assert_eq!(code, Code::Unauthenticated);
    assert!(words.contains("begins on") && words.contains("the clock here says"), "{words}");
    assert_eq!(called(&site, &connection, RENEW).await.0, Code::Ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f053_an_expired_certificate_of_another_site_fails_the_handshake() {
    let site = Site::start().await;
    let other = tempfile::tempdir().unwrap();
    let long_ago = UtcInstant::now().before(DAY * 200);
    let other = Authority::open(other.path(), long_ago).unwrap();
    let key = TerminalKey::generate().unwrap();
    let leaf = other.sign_terminal(&key.request().unwrap(), TerminalId::generate(), long_ago).unwrap();
    let mut tls = connect(&site, config(&site, &(key, leaf.chain))).await.unwrap();
    let error = tls.read(&mut [0; 1]).await.expect_err("a refused handshake");
    assert!(error.to_string().contains("received fatal alert"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f053_a_server_that_never_stops_shows_its_renewed_certificate() {
    let site = Site::start().await;
    let shown = async || {
        let config = config(&site, &site.signed(TerminalId::generate(), UtcInstant::now()));
        let tls = connect(&site, config).await.unwrap();
        tls.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let first = shown().await;
    site.renew();
    assert_eq!(first, shown().await, "it is good for long");
    std::fs::remove_file(site.folder.path().join("server.pem")).unwrap();
    site.renew();
    assert_ne!(first, shown().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f067_a_revoked_terminals_next_call_is_refused_and_its_stream_ends_within_five_seconds() {
    let site = Site::start().await;
    let id = TerminalId::generate();
    let own = site.signed(id, UtcInstant::now());
    let connection = terminal(&site, &own).await;
    let mut request = site.request(NOTIFY, "");
    request.headers_mut().remove("authorization");
    request.headers_mut().insert("x-fake", SILENT.parse().unwrap());
    let (response, _) = connection.clone().ready().await.unwrap().send_request(request, true).unwrap();
    let response = tokio::time::timeout(SOON, response).await.unwrap().unwrap();
    assert!(!response.headers().contains_key("grpc-status"), "it is open");
    let shown = site.registry.last().unwrap();
    assert_eq!((shown.terminal, shown.key_sha256), (id, own.0.sha256()));

    site.registry.revoke(id);
    let (code, words) = called(&site, &connection, OPEN).await;
    assert_eq!((code, words.as_str()), (Code::Unauthenticated, "the terminal was revoked"));
    let mut body = response.into_body();
    let trailers = tokio::time::timeout(Duration::from_secs(5), body.trailers()).await;
    let trailers = trailers.expect("within five seconds").unwrap().unwrap();
    assert_eq!(told(&trailers), (Code::Unauthenticated, Some("CREDENTIALS_INVALID".into())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f080_certificates_of_both_authorities_are_taken_until_the_old_one_goes() {
    let site = Site::start().await;
    let old = site.signed(TerminalId::generate(), UtcInstant::now());
    // It was away when the rotation began, and knows the old authority alone.
    let away = config(&site, &old);
    site.authority.begin_rotation(UtcInstant::now()).unwrap();
    let new = site.signed(TerminalId::generate(), UtcInstant::now());
    for own in [&old, &new] {
        assert_eq!(called(&site, &terminal(&site, own).await, OPEN).await.0, Code::Ok);
    }
    assert_eq!(
        site.registry.last().unwrap().authority,
        site.authority.next(UtcInstant::now()).unwrap().unwrap()
    );
    connect(&site, Arc::clone(&away)).await.unwrap();

    let knows_both = config(&site, &new);
    site.authority.end_rotation(UtcInstant::now()).unwrap();
    site.renew();
    assert!(connect(&site, away).await.is_err(), "the server's certificate is of the new authority");
    connect(&site, knows_both).await.unwrap();
    let mut tls = connect(&site, config(&site, &old)).await.unwrap();
    assert!(tls.read(&mut [0; 1]).await.is_err(), "the old authority's are not taken any more");
}

fn other_hub(error: &std::io::Error) -> Option<OtherHub> {
    let inner = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) = inner else {
        return None;
    };
    inner.downcast_ref::<OtherHub>().cloned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f075_a_terminal_sends_nothing_to_another_hub_than_the_one_that_its_token_pins() {
    let (site, other) = (Site::start().await, Site::start().await);
    let now = UtcInstant::now();
    let pin = |site: &Site| key_sha256(&site.authority.certificates(now).unwrap()[0]).unwrap();
    let pinned = client_config(HubTrust::Pinned(pin(&site)), None, clock()).unwrap();
    connect(&site, Arc::clone(&pinned)).await.unwrap();
    let error = connect(&other, pinned).await.unwrap_err();
    let expected = OtherHub::Pin { expected: pin(&site), shown: Some(pin(&other)) };
    assert_eq!(other_hub(&error), Some(expected.clone()));
    let hex: String = pin(&site).iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(expected.to_string().contains(&hex), "{expected}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f073_a_terminal_takes_any_address_of_its_own_hub_and_no_other_hub() {
    let (site, other) = (Site::start().await, Site::start().await);
    let config = config(&site, &site.signed(TerminalId::generate(), UtcInstant::now()));
    let connector = TlsConnector::from(Arc::clone(&config));
    let tcp = TcpStream::connect(site.address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("moved.example").unwrap();
    connector.connect(name, tcp).await.unwrap();
    assert!(connect(&other, config).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_is_taken_without_proof_is_remembered_by_its_authority() {
    let site = Site::start().await;
    let seen = Arc::new(Seen::default());
    let whoever = client_config(HubTrust::Whoever(Arc::clone(&seen)), None, clock()).unwrap();
    assert_eq!(seen.authority(), None);
    connect(&site, whoever).await.unwrap();
    let authority = site.authority.certificates(UtcInstant::now()).unwrap();
    assert_eq!(seen.authority(), Some(authority[0].clone()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f048_a_terminal_whose_clock_was_never_set_judges_by_the_floor() {
    let site = Site::start().await;
    let own = site.signed(TerminalId::generate(), UtcInstant::now());
    let trust = || HubTrust::Authorities(site.authority.certificates(UtcInstant::now()).unwrap());
    let late = ClockFloor::new(UtcInstant::now().after(DAY * 500), UtcInstant::from_micros(0));
    let config = client_config(trust(), Some((&own.0, &own.1)), late).unwrap();
    let error = connect(&site, config).await.unwrap_err();
    assert!(error.to_string().contains("expired"), "the floor counts: {error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f069_whoever_speaks_plain_http_is_closed_off() {
    let site = Site::start().await;
    let mut tcp = TcpStream::connect(site.address).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(SOON, tcp.read_to_end(&mut answer)).await.expect("an end");
    assert!(read.is_err() || !answer.starts_with(b"HTTP"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f066_a_program_without_terminals_refuses_their_certificates_in_words() {
    let site = Site::start_without_terminals().await;
    let own = site.signed(TerminalId::generate(), UtcInstant::now());
    let (code, words) = called(&site, &terminal(&site, &own).await, OPEN).await;
    assert_eq!(code, Code::Unauthenticated);
    assert!(words.contains("adopted no terminals"), "{words}");
}
