//! What the log says, and cannot be made to say.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use harness::{ONE, PANICS, SOON, Site, outcome};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;
use tracing_subscriber::fmt::MakeWriter;

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Logs as the programs do until the guard is dropped; the runtime has one thread, so all of it.
    fn start(&self, json: bool) -> tracing::subscriber::DefaultGuard {
        let lines = tracing_subscriber::fmt().with_writer(self.clone()).with_max_level(tracing::Level::DEBUG);
        if json {
            let lines = lines.json().flatten_event(true).with_current_span(true);
            tracing::subscriber::set_default(lines.finish())
        } else {
            let lines = lines.with_ansi(false).fmt_fields(rollcall_server::log_fields());
            tracing::subscriber::set_default(lines.finish())
        }
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// A value that is what an attacker would write.
fn log_odd_values() {
    let odd = "a\nforged line \u{1b}[31m\r\u{202e}\u{2028}\0".to_owned() + &"A".repeat(64 << 10);
    tracing::info!(text = odd, display = %odd, debug = ?odd, "a constant message");
    tracing::info!("a message with {odd}");
    tracing::info_span!("span", name = %odd).in_scope(|| tracing::info!("inside"));
}

#[test]
fn f072_in_text_a_value_stays_on_its_line_however_it_is_logged() {
    let log = Log::default();
    let guard = log.start(false);
    log_odd_values();
    drop(guard);
    let text = log.text();
    assert_eq!(text.lines().count(), 3, "{text}");
    for line in text.lines() {
        assert!(line.starts_with("20") && line.len() < 4 * 4_200, "{} bytes", line.len());
        let broken = |char: char| char.is_control() || "\u{202e}\u{2028}".contains(char);
        assert!(!line.contains(broken), "{line:.300}");
    }
    assert!(text.contains(r"display=a\nforged line \u{1b}[31m\r\u{202e}\u{2028}\0AAA"), "{text:.600}");
}

#[test]
fn f072_in_json_a_value_stays_on_its_line_however_it_is_logged() {
    let log = Log::default();
    let guard = log.start(true);
    log_odd_values();
    drop(guard);
    let text = log.text();
    assert_eq!(text.lines().count(), 3);
    for line in text.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("JSON");
        assert!(!line.contains(char::is_control), "{line:.300}");
    }
}

const ID: &str = "0193a5c0-0000-7000-8000-00000000000a";

/// Calls with what an attacker would like to see in the log. Returns the secret that none of it may have.
async fn attack() -> String {
    let site = Site::start().await;
    let long = "A".repeat(10_000);
    let odd: [(&str, &[u8]); 5] = [
        ("x-request-id", b"forged \x1b[31mline"),
        ("x-request-id", &[0xff, 0xfe, b'\t', b'x']),
        ("user-agent", long.as_bytes()),
        ("authorization", b"Bearer \x1b[2J\t\xff"),
        ("grpc-timeout", b"\x1b[31m"),
    ];
    for (name, value) in odd {
        let Ok(value) = http::HeaderValue::from_bytes(value) else { continue };
        let mut request = site.request(ONE, &site.admin);
        request.headers_mut().insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
        let (response, _) = site.h2().await.send_request(request, true).unwrap();
        outcome(response).await;
    }
    let path = format!("/%0aforged/{}", "B".repeat(10_000));
    let (response, _) = site.h2().await.send_request(site.request(&path, &site.admin), true).unwrap();
    assert_eq!(outcome(response).await.0, Code::Unimplemented);
    let (response, _) = site.h2().await.send_request(site.fake(ONE, PANICS), true).unwrap();
    assert_eq!(outcome(response).await.0, Code::Internal);
    let mut request = site.request(ONE, &site.admin);
    request.headers_mut().insert("x-request-id", ID.parse().unwrap());
    let (response, _) = site.h2().await.send_request(request, true).unwrap();
    let response = tokio::time::timeout(SOON, response).await.unwrap().unwrap();
    assert_eq!(response.headers()["x-request-id"], ID);
    drop(response);
    let secret = site.admin.clone();
    site.drain(SOON).await;
    secret
}

#[tokio::test]
async fn f072_in_text_every_line_is_one_event_and_short() {
    let log = Log::default();
    let guard = log.start(false);
    let secret = attack().await;
    drop(guard);
    let text = log.text();
    assert!(text.lines().count() > 8, "{text}");
    for line in text.lines() {
        assert!(line.starts_with("20") && line.len() < 1_000, "{line:?}");
        assert!(!line.contains('\u{1b}'), "{line:?}");
        assert!(!line.contains("forged \u{1b}") && !line.contains("AAAA"), "{line:?}");
    }
    assert!(!text.contains(&secret));
    let named = text.lines().find(|line| line.contains(ID)).expect("the call with its id");
    assert!(named.contains("code=\"OK\"") && named.contains("caller=\"tokens/"), "{named}");
}

#[tokio::test]
async fn f072_in_json_every_line_is_one_event_and_short() {
    let log = Log::default();
    let guard = log.start(true);
    let secret = attack().await;
    drop(guard);
    let text = log.text();
    for line in text.lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(line.len() < 1_500 && event["timestamp"].is_string(), "{line}");
    }
    assert!(!text.contains(&secret));
    let named = text.lines().find(|line| line.contains(ID)).expect("the call with its id");
    let event: serde_json::Value = serde_json::from_str(named).unwrap();
    assert_eq!((&event["code"], &event["span"]["rpc"]), (&"OK".into(), &ONE.into()));
    assert!(event["duration_ms"].is_u64());
}

#[tokio::test]
async fn f069_plaintext_to_the_port_is_one_line_for_those_who_look() {
    let log = Log::default();
    let site = Site::start().await;
    let guard = log.start(false);
    let mut tcp = TcpStream::connect(site.address).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let _ = tokio::time::timeout(SOON, tcp.read_to_end(&mut Vec::new())).await.expect("it is closed");
    drop(guard);
    let ours: Vec<String> =
        log.text().lines().filter(|line| line.contains("rollcall")).map(str::to_owned).collect();
    assert_eq!(ours.len(), 1, "{ours:?}");
    assert!(ours[0].contains("DEBUG") && ours[0].contains("a TLS handshake failed"), "{ours:?}");
}
