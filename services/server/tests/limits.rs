//! What a client cannot take: time, memory, connections, streams.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::time::Duration;

use bytes::Bytes;
use harness::{
    ENDLESS, HANGS, HUGE, MANY, ONE, PANICS, SILENT, SOON, Site, localhost, message, outcome, provider, whole,
};
use rollcall_proto::v1;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Code;

const CREATE_TOKEN: &str = "/rollcall.v1.AccountService/CreateToken";
const UPDATE_ACCOUNT: &str = "/rollcall.v1.AccountService/UpdateAccount";
/// Reading memory of the whole process: nothing else of the kind may run at the same time.
static MEMORY: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Sends these bytes as the body of a call, and whether that was all.
async fn send(
    site: &Site,
    path: &str,
    mut body: Bytes,
    end: bool,
    headers: &[(&'static str, &'static str)],
) -> (Code, String) {
    let mut connection = site.h2().await;
    let mut request = site.request(path, &site.admin);
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let (response, mut stream) = connection.send_request(request, false).unwrap();
    stream.reserve_capacity(body.len());
    while !body.is_empty() {
        let Some(Ok(room)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else { break };
        let piece = body.split_to(room.min(body.len()));
        // The answer may have come, and the call been reset, before all is sent.
        if stream.send_data(piece, end && body.is_empty()).is_err() {
            break;
        }
    }
    let (code, reason) = tokio::time::timeout(SOON, outcome(response)).await.expect("an answer");
    (code, reason.unwrap_or_default())
}

fn rss() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

/// How much more memory the process has after this.
async fn growth(work: impl Future<Output = ()>) -> u64 {
    let before = rss();
    work.await;
    rss().saturating_sub(before)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f062_a_claimed_length_is_refused_before_memory_is_taken_and_a_missing_body_dies_at_its_deadline() {
    let _alone = MEMORY.lock().await;
    let site = Site::start_with(|config| config.patience.call = Duration::from_millis(500)).await;
    let grown = growth(async {
        for claimed in [u32::MAX, u32::MAX - 5, 64 * 1_024 + 1] {
            let found = send(&site, CREATE_TOKEN, message(0, claimed, b"12345"), false, &[]).await;
            assert_eq!(found, (Code::ResourceExhausted, "LIMIT_REACHED".into()), "{claimed}");
        }
    })
    .await;
    assert!(grown < 32 << 20, "{grown}");
    let found = send(&site, CREATE_TOKEN, message(0, 60_000, b"12345"), false, &[]).await;
    assert_eq!(found, (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".into()));
    let found = send(&site, CREATE_TOKEN, Bytes::new(), false, &[]).await;
    assert_eq!(found, (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f063_compressed_messages_are_refused_and_not_inflated() {
    let site = Site::start().await;
    // Ten bytes that would be 10 MiB of zeros do not exist, but the flag alone must be enough.
    for (flag, headers) in
        [(1, &[][..]), (7, &[]), (1, &[("grpc-encoding", "gzip")]), (0, &[("grpc-encoding", "gzip")])]
    {
        let found = send(&site, CREATE_TOKEN, message(flag, 4, b"\x1f\x8b\x08\x00"), false, headers).await;
        assert_eq!(found, (Code::Unimplemented, "NOT_SERVED_HERE".into()), "{flag} {headers:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f064_messages_that_are_none_are_refused_with_bounded_memory() {
    let _alone = MEMORY.lock().await;
    let site = Site::start().await;
    let groups = [0x1b_u8].repeat(200);
    // update_mask (field 2) with paths (field 1), as many empty ones as fit.
    let paths = [0x0a_u8, 0x00].repeat(32_000);
    let mut masks = vec![0x12_u8, 0x80, 0xf4, 0x03];
    masks.extend_from_slice(&paths);
    let cases: [(&str, &str, Vec<u8>); 7] = [
        ("empty submessages", CREATE_TOKEN, [0x0a_u8, 0x00].repeat(32_000)),
        ("empty strings", UPDATE_ACCOUNT, masks),
        ("nested groups", CREATE_TOKEN, groups),
        ("field number 2^29-1, truncated", CREATE_TOKEN, vec![0xfa, 0xff, 0xff, 0xff, 0x0f, 0xff]),
        ("overlong varint", CREATE_TOKEN, vec![0xff; 11]),
        ("invalid UTF-8", CREATE_TOKEN, vec![0x12, 0x02, 0xff, 0xfe]),
        ("group without end", CREATE_TOKEN, vec![0x0b, 0x08, 0x01]),
    ];
    let grown = growth(async {
        for (what, path, content) in &cases {
            let (code, reason) = send(&site, path, whole(content), true, &[]).await;
            // The empty ones can be read, and lack a field.
            assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "FIELD_INVALID"), "{what}");
        }
        let megabyte = [0x0a_u8, 0x00].repeat(512 << 10);
        let found = send(&site, CREATE_TOKEN, whole(&megabyte), true, &[]).await;
        assert_eq!(found, (Code::ResourceExhausted, "LIMIT_REACHED".into()));
    })
    .await;
    assert!(grown < 64 << 20, "{grown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f065_a_reader_that_does_not_read_is_cut_and_holds_little_memory() {
    let _alone = MEMORY.lock().await;
    let site = Site::start_with(|config| config.patience.stall = Duration::from_secs(1)).await;
    let mut connection = site.h2().await;
    let mut open = Vec::new();
    let grown = growth(async {
        for _ in 0..64 {
            connection = connection.clone().ready().await.unwrap();
            let (response, _) = connection.send_request(site.fake(MANY, ENDLESS), true).unwrap();
            open.push(tokio::time::timeout(SOON, response).await.unwrap().unwrap().into_body());
        }
    })
    .await;
    // 64 times a message of 256 KiB, of which 16 KiB are handed on.
    assert!(grown < 64 << 20, "{grown}");
    for body in &mut open {
        let end = async {
            loop {
                match body.data().await {
                    // Taken, but never acknowledged: the window stays closed.
                    Some(Ok(_)) => {}
                    other => return other,
                }
            }
        };
        let end = tokio::time::timeout(SOON, end).await.expect("it is cut");
        let error = end.expect("an error").expect_err("a reset");
        assert_eq!(error.reason(), Some(h2::Reason::CANCEL), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f065_a_reader_that_reads_is_served_beyond_the_time_for_one_piece() {
    let site = Site::start_with(|config| config.patience.stall = Duration::from_secs(1)).await;
    let mut connection = site.h2().await;
    let (response, _) = connection.send_request(site.fake(MANY, ENDLESS), true).unwrap();
    let mut body = response.await.unwrap().into_body();
    let mut read = 0;
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(3) || read < 1 << 20 {
        let size = body.data().await.expect("data").expect("data").len();
        body.flow_control().release_capacity(size).unwrap();
        read += size;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f065_the_65th_stream_of_a_connection_is_refused() {
    let site = Site::start().await;
    let mut builder = h2::client::Builder::new();
    // What the server allows is not asked for, as a client would that attacks it.
    builder.initial_max_send_streams(1_000);
    let mut connection = site.h2_with(builder).await;
    let mut open = Vec::new();
    for _ in 0..80 {
        match connection.send_request(site.fake(MANY, SILENT), true) {
            Ok((response, _)) => open.push(response),
            Err(_) => break,
        }
    }
    // Kept, so that none ends and makes room.
    let mut served = Vec::new();
    for response in open {
        match tokio::time::timeout(Duration::from_millis(500), response).await {
            Ok(Ok(response)) => served.push(response),
            Ok(Err(error)) => assert_eq!(error.reason(), Some(h2::Reason::REFUSED_STREAM), "{error}"),
            // This client waits by itself for the limit that it was told.
            Err(_) => {}
        }
    }
    assert!(served.len() <= 64, "{}", served.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f071_deadlines_are_honoured_capped_and_ignored_when_they_are_none() {
    let site = Site::start_with(|config| config.patience.call = Duration::from_millis(500)).await;
    let call = async |timeout: &'static str, does: &'static str| {
        let mut connection = site.h2().await;
        let mut request = site.fake(ONE, does);
        request.headers_mut().insert("grpc-timeout", timeout.parse().unwrap());
        let (response, _) = connection.send_request(request, true).unwrap();
        let found = tokio::time::timeout(SOON, outcome(response)).await.expect("an answer");
        (found.0, found.1.unwrap_or_default())
    };
    let over = (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned());
    assert_eq!(call("1n", "").await, over);
    assert_eq!(call("99999999H", HANGS).await, over);
    assert_eq!(call("50m", HANGS).await, over);
    for garbage in ["", "soon", "-1S", "123456789S"] {
        assert_eq!(call(garbage, "").await.0, Code::Ok, "{garbage}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_no_client_would_take_is_not_sent() {
    let site = Site::start().await;
    let (response, _) = site.h2().await.send_request(site.fake(ONE, HUGE), true).unwrap();
    assert_eq!(outcome(response).await, (Code::ResourceExhausted, Some("LIMIT_REACHED".into())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_at_the_clients_deadline_and_at_ours() {
    let site = Site::start_with(|config| config.patience.stream = Duration::from_secs(2)).await;
    for (timeout, expected) in [(Some("1S"), Code::DeadlineExceeded), (None, Code::Unavailable)] {
        let mut request = site.fake(MANY, SILENT);
        if let Some(timeout) = timeout {
            request.headers_mut().insert("grpc-timeout", timeout.parse().unwrap());
        }
        let mut connection = site.h2().await;
        let (response, _) = connection.send_request(request, true).unwrap();
        let (code, _) = tokio::time::timeout(SOON, outcome(response)).await.expect("an end");
        assert_eq!(code, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f068_tls_1_2_is_refused() {
    let site = Site::start().await;
    let config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(site.roots())
        .with_no_client_auth();
    let tcp = TcpStream::connect(site.address).await.unwrap();
    let error = TlsConnector::from(std::sync::Arc::new(config)).connect(localhost(), tcp).await.unwrap_err();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
    let tls = site.tls().await;
    assert_eq!(tls.get_ref().1.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f068_nothing_is_resumed_so_there_is_no_early_data_to_replay() {
    let site = Site::start().await;
    let config = site.client_config(None);
    for _ in 0..2 {
        let tcp = TcpStream::connect(site.address).await.unwrap();
        let connector = TlsConnector::from(std::sync::Arc::clone(&config));
        let mut tls = connector.connect(localhost(), tcp).await.unwrap();
        assert!(tls.read(&mut [0; 1]).await.unwrap() > 0, "the server's settings");
        assert_eq!(tls.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f069_plaintext_is_closed() {
    let site = Site::start().await;
    for greeting in [&b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut tcp = TcpStream::connect(site.address).await.unwrap();
        tcp.write_all(greeting).await.unwrap();
        let mut answer = Vec::new();
        let closed = tokio::time::timeout(SOON, tcp.read_to_end(&mut answer)).await.expect("it is closed");
        // A TLS alert at most, or a reset.
        assert!(closed.is_err() || answer.len() <= 7, "{answer:?}");
    }
    site.health_client(&site.admin).await.get_health(v1::GetHealthRequest {}).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f057_a_handshake_that_does_not_come_to_an_end_is_dropped() {
    let site = Site::start_with(|config| config.patience.handshake = Duration::from_millis(300)).await;
    let mut tcp = TcpStream::connect(site.address).await.unwrap();
    // The first byte of a ClientHello, and then silence.
    tcp.write_all(&[0x16]).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(SOON, tcp.read_to_end(&mut answer)).await.expect("it is closed");
    assert!(answer.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f056_the_17th_connection_of_an_address_is_closed_and_others_are_served() {
    let site = Site::start().await;
    let mut silent = Vec::new();
    for _ in 0..16 {
        silent.push(TcpStream::connect(site.address).await.unwrap());
    }
    let mut refused = TcpStream::connect(site.address).await.unwrap();
    let read = tokio::time::timeout(SOON, refused.read(&mut [0; 1])).await.expect("it is closed");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let other = socket.connect(site.address).await.unwrap();
    TlsConnector::from(site.client_config(None)).connect(localhost(), other).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_calls_is_closed() {
    let site = Site::start_with(|config| {
        config.patience.handshake = Duration::from_secs(1);
        config.patience.idle = Duration::from_millis(300);
        config.patience.grace = Duration::from_millis(300);
    })
    .await;
    // One that never speaks HTTP/2, and one that has made a call.
    let mut silent = site.tls().await;
    let mut connection = site.h2().await;
    let (response, _) = connection.send_request(site.fake(ONE, ""), true).unwrap();
    assert_eq!(outcome(response).await.0, Code::Ok);
    let closed = async {
        while connection.clone().ready().await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, closed).await.expect("it is closed");
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(SOON, silent.read_to_end(&mut rest)).await.expect("it is closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_a_handler_is_an_internal_error_and_the_server_lives_on() {
    let site = Site::start().await;
    let mut connection = site.h2().await;
    let (response, _) = connection.send_request(site.fake(ONE, PANICS), true).unwrap();
    assert_eq!(outcome(response).await, (Code::Internal, Some("INTERNAL".into())));
    let (response, _) = connection.ready().await.unwrap().send_request(site.fake(ONE, ""), true).unwrap();
    assert_eq!(outcome(response).await.0, Code::Ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_ends_streams_with_a_reason_and_lets_calls_end() {
    let site = Site::start().await;
    let mut connection = site.h2().await;
    let (response, _) = connection.send_request(site.fake(MANY, SILENT), true).unwrap();
    let response = response.await.unwrap();
    let address = site.address;
    let left = tokio::spawn(site.drain(Duration::from_secs(20)));
    let mut body = response.into_body();
    let trailers = tokio::time::timeout(SOON, body.trailers()).await.unwrap().unwrap().unwrap();
    assert_eq!(harness::told(&trailers), (Code::Unavailable, Some("UNAVAILABLE".into())));
    drop((body, connection));
    assert_eq!(tokio::time::timeout(SOON, left).await.unwrap().unwrap(), 0);
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_end_is_cut_when_draining_has_waited_enough() {
    let site = Site::start().await;
    let mut connection = site.h2().await;
    let (response, _) = connection.send_request(site.fake(ONE, HANGS), true).unwrap();
    let calls = tokio::spawn(response);
    // The call has come when another on the same connection is answered.
    let (response, _) = connection.ready().await.unwrap().send_request(site.fake(ONE, ""), true).unwrap();
    assert_eq!(outcome(response).await.0, Code::Ok);
    assert!(site.drain(Duration::from_millis(100)).await > 0);
    assert!(tokio::time::timeout(SOON, calls).await.unwrap().unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_count_calls_by_rpc_and_code() {
    let site = Site::start_with(|config| config.metrics_listen = Some("127.0.0.1:0".parse().unwrap())).await;
    site.health_client(&site.admin).await.get_health(v1::GetHealthRequest {}).await.unwrap();
    let get = async |path: &str| {
        let mut tcp = TcpStream::connect(site.metrics.unwrap()).await.unwrap();
        tcp.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut page = String::new();
        tokio::time::timeout(SOON, tcp.read_to_string(&mut page)).await.unwrap().unwrap();
        page
    };
    let counted = async {
        // The call is counted when its last byte was handed on, which may be after the client has it.
        while !get("/metrics")
            .await
            .contains("rollcall_calls_total{rpc=\"/rollcall.v1.HealthService/GetHealth\",code=\"OK\"}")
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, counted).await.expect("it is counted");
    assert!(get("/").await.starts_with("HTTP/1.1 404"));
}
