//! A server without file descriptors, and one under a flood of resets: programs of their own, whose processor time and
//! memory can be looked at.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness::{SOON, Site, localhost};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const ROLE: &str = "ROLLCALL_TEST_SERVER_FILES";
const FILES: u64 = 64;

/// The server of the other tests, in a process of its own.
struct Apart {
    child: Child,
    address: SocketAddr,
    ca: PathBuf,
}

impl Apart {
    fn start(files: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "serves_when_it_is_started_as_the_server", "--nocapture"])
            .env(ROLE, files.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.find_map(|line| line.unwrap().split_once("ready ").map(|(_, rest)| rest.to_owned()));
        let line = line.expect("the ready line");
        let (address, ca) = line.split_once(' ').unwrap();
        Self { child, address: address.parse().unwrap(), ca: ca.into() }
    }

    /// Processor time so far, of which there are 100 ticks a second.
    fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<&str> = fields.split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    fn rss(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
    }

    /// From this address of the loopback.
    async fn connect(&self, host: u8) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, host], 0))).unwrap();
        socket.connect(self.address).await
    }

    async fn tls(&self, host: u8) -> std::io::Result<TlsStream<TcpStream>> {
        use rustls::pki_types::pem::PemObject as _;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(rustls::pki_types::CertificateDer::from_pem_file(&self.ca).unwrap()).unwrap();
        let mut config = rustls::ClientConfig::builder_with_provider(harness::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let tcp = self.connect(host).await?;
        TlsConnector::from(std::sync::Arc::new(config)).connect(localhost(), tcp).await
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does nothing as a test. Started by the others it is the server, until its input ends.
#[test]
fn serves_when_it_is_started_as_the_server() {
    let Some(files) = std::env::var_os(ROLE) else { return };
    let files: u64 = files.into_string().unwrap().parse().unwrap();
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum }).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let site = Site::start_with(|config| config.patience.handshake = Duration::from_secs(60)).await;
        let ca = site.folder.path().join(rollcall_server::CA_FILE);
        // The harness of the tests has begun the line.
        writeln!(std::io::stdout(), "\nready {} {}", site.address, ca.display()).unwrap();
        tokio::task::spawn_blocking(|| std::io::stdin().lines().count()).await.unwrap();
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f058_without_file_descriptors_it_waits_instead_of_spinning_and_recovers() {
    let server = Apart::start(FILES);
    let mut silent = Vec::new();
    // The kernel completes connections that the server has not accepted.
    for index in 0..96_u8 {
        silent.push(server.connect(2 + index / 16).await.unwrap());
    }
    let open = || std::fs::read_dir(format!("/proc/{}/fd", server.child.id())).unwrap().count() as u64;
    let begun = Instant::now();
    while open() < FILES - 1 {
        assert!(begun.elapsed() < SOON, "{} are open", open());
        tokio::task::yield_now().await;
    }
    let (begun, before) = (Instant::now(), server.ticks());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (ticks, ms) = (server.ticks() - before, begun.elapsed().as_millis() as u64);
    assert!(ticks * 10 * 100 < ms * 20, "{ticks} ticks in {ms} ms");
    drop(silent);
    let served = async {
        while server.tls(200).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, served).await.expect("it serves again");
}

fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), content].concat()
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// `:method POST`, `:scheme https`, `:path /`, `:authority localhost`, as HPACK writes them.
fn request() -> Vec<u8> {
    [&[0x83, 0x87, 0x84, 0x41, 9][..], b"localhost"].concat()
}

/// Sends until the server has enough of it; what it said in the end: the code of its GOAWAY, if there was one.
async fn flood(server: &Apart, frames: impl Iterator<Item = Vec<u8>>) -> Option<u32> {
    let mut tls = server.tls(7).await.unwrap();
    tls.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
    let (mut read, mut write) = tokio::io::split(tls);
    let reader = tokio::spawn(async move {
        let mut all = Vec::new();
        // A reset instead of an end is an end too.
        let _ = read.read_to_end(&mut all).await;
        all
    });
    for frame in frames {
        if write.write_all(&frame).await.is_err() {
            break;
        }
    }
    let _ = write.flush().await;
    let all = tokio::time::timeout(SOON, reader).await.expect("the connection is closed").unwrap();
    let mut rest = all.as_slice();
    while let Some((head, after)) = rest.split_at_checked(9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let Some((content, after)) = after.split_at_checked(length) else { break };
        if head[3] == GOAWAY {
            return Some(u32::from_be_bytes(content[4..8].try_into().unwrap()));
        }
        rest = after;
    }
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f059_a_flood_of_resets_is_told_to_calm_down_and_costs_little() {
    const ENHANCE_YOUR_CALM: u32 = 11;
    let server = Apart::start(1_024);
    let before = server.rss();
    let resets = (0..100_000_u32).map(|index| {
        let stream = index * 2 + 1;
        [frame(HEADERS, END_HEADERS, stream, &request()), frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())]
            .concat()
    });
    assert_eq!(flood(&server, resets).await, Some(ENHANCE_YOUR_CALM));
    assert!(server.rss() < before + (16 << 20), "{} and then {}", before, server.rss());
    server.tls(8).await.expect("others are served");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f060_headers_without_end_close_the_connection_and_cost_little() {
    let server = Apart::start(1_024);
    let before = server.rss();
    // A literal header of 16,000 bytes that is not indexed, again and again in CONTINUATION frames.
    let literal = [&[0x00, 1, b'x', 0x7f, 0x81, 0x7c][..], &[b'y'; 16_000]].concat();
    let first = std::iter::once(frame(HEADERS, 0, 1, &request()));
    let more = (0..4_000).map(|_| frame(CONTINUATION, 0, 1, &literal));
    flood(&server, first.chain(more)).await;
    assert!(server.rss() < before + (16 << 20), "{} and then {}", before, server.rss());
    server.tls(8).await.expect("others are served");
}
