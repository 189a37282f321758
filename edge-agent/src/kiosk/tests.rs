//! The screen over real sockets: what is answered, and what is refused.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::config::{Language, LoopbackAddress};
use std::time::Instant;

use super::*;
use crate::recognition::{FaceInView, Prompt, TrackId};

/// Longer than anything takes that works.
const DEADLINE: Duration = Duration::from_secs(30);

/// A screen, and the ends of its channels that others hold.
pub(super) struct Screen {
    pub address: SocketAddr,
    pub view: watch::Sender<View>,
    pub announcement: watch::Sender<Option<Announcement>>,
    pub status: watch::Sender<Status>,
    pub preview: LivePicture,
    pub commands: mpsc::Receiver<KioskCommand>,
    pub running: Running,
    pub enrolment: watch::Sender<Option<Guiding>>,
    _zone: watch::Sender<SiteZone>,
}

impl Screen {
    pub(super) async fn start(config: &KioskConfig, button: HereButton, patience: Patience) -> Self {
        let (view, seen) = watch::channel(View::default());
        let (announcement, announced) = watch::channel(None);
        let (status, terminal) = watch::channel(Status { door: "Main gate".into(), ..Status::default() });
        let preview = LivePicture::default();
        let (zone, zones) = watch::channel(SiteZone::named("Asia/Ho_Chi_Minh").unwrap());
        let (enrolment, enrolling) = watch::channel(None);
        let (sender, commands) = mpsc::channel(limits::KIOSK_COMMANDS);
        let inputs = Inputs {
            view: seen,
            announcement: announced,
            status: terminal,
            preview: preview.clone(),
            zone: zones,
            enrolment: enrolling,
            button,
            commands: sender,
        };
        let mut kiosk = Kiosk::build(config, inputs).await.unwrap();
        kiosk.patience = patience;
        let address = kiosk.address;
        let running = kiosk.spawn();
        Self { address, view, announcement, status, preview, commands, running, enrolment, _zone: zone }
    }

    async fn plain() -> Self {
        Self::start(&any_port(), HereButton::Absent, Patience::default()).await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends these bytes and reads until the other end closes.
    async fn raw(&self, request: &[u8]) -> String {
        let mut stream = self.connect().await;
        // Whoever is refused early does not read all of it.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("an end");
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn get(&self, path: &str) -> String {
        let host = self.address;
        self.raw(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").as_bytes()).await
    }

    async fn post(&self, path: &str, body: &str) -> String {
        let (host, length) = (self.address, body.len());
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\norigin: http://{host}\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n"
        );
        self.raw(format!("{head}{body}").as_bytes()).await
    }

    async fn events(&self) -> Events {
        let mut stream = self.connect().await;
        let head = format!("GET /events HTTP/1.1\r\nhost: {}\r\n\r\n", self.address);
        stream.write_all(head.as_bytes()).await.unwrap();
        Events(BufReader::new(stream))
    }
}

/// A stream of events.
struct Events(BufReader<TcpStream>);

impl Events {
    /// The data of the next event of this name; `None` at the end of the stream.
    async fn next(&mut self, name: &str) -> Option<String> {
        let mut is_it = false;
        loop {
            let mut line = String::new();
            if timeout(DEADLINE, self.0.read_line(&mut line)).await.expect("an event").unwrap_or(0) == 0 {
                return None;
            }
            match line.trim_end().split_once(':') {
                Some(("event", event)) => is_it = event.trim_start() == name,
                Some(("data", data)) if is_it => return Some(data.trim_start().to_owned()),
                _ => {}
            }
        }
    }

    /// The first state that is so.
    async fn state(&mut self, is_so: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        loop {
            let state = serde_json::from_str(&self.next("state").await.expect("a state")).unwrap();
            if is_so(&state) {
                return state;
            }
        }
    }
}

pub(super) fn any_port() -> KioskConfig {
    let address = LoopbackAddress::try_from("127.0.0.1:0".to_owned()).unwrap();
    KioskConfig { address, ..KioskConfig::default() }
}

fn status_of(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[tokio::test]
async fn the_page_and_all_its_files_are_served_and_nothing_else() {
    let screen = Screen::plain().await;
    let page = screen.get("/").await;
    assert_eq!(status_of(&page), "200", "{page}");
    assert!(page.contains("default-src 'none'; script-src 'self'; style-src 'self'"), "{page}");
    assert!(!page.contains("unsafe-inline"), "{page}");
    assert!(page.contains("Look here") && !page.contains("{{"), "{page}");
    // Nothing inline, nothing from elsewhere.
    assert!(!page.contains("<script>") && !page.contains("style=") && !page.contains("//"), "{page}");
    for asset in &page::ASSETS {
        let answer = screen.get(asset.path).await;
        assert_eq!(status_of(&answer), "200", "{}", asset.path);
        assert!(answer.contains(asset.kind) && answer.contains("nosniff"), "{}", asset.path);
        assert!(
            asset.path == "/tokens.css" || page.contains(asset.path) || asset.kind.contains("javascript")
        );
        assert!(
            !asset.text.contains("http://") || asset.text.contains("www.w3.org/2000/svg"),
            "{}",
            asset.path
        );
    }
    for path in ["/favicon.ico", "/../Cargo.toml", "/kiosk.js/", "//", "/pin?digits=1234"] {
        assert!(["404", "405"].contains(&status_of(&screen.get(path).await)), "{path}");
    }
}

#[tokio::test]
async fn both_languages_have_a_page() {
    for (language, words) in [(Language::En, "Look here"), (Language::Vi, "Vui lòng nhìn vào đây")] {
        let config = KioskConfig { language, ..any_port() };
        let screen = Screen::start(&config, HereButton::Shown, Patience::default()).await;
        assert!(screen.get("/").await.contains(words));
    }
}

#[tokio::test]
async fn hostile_requests_are_refused() {
    let screen = Screen::plain().await;
    let ours = screen.address;
    let with = |line: &str, headers: &str| format!("{line}\r\n{headers}connection: close\r\n\r\n");
    let host = format!("host: {ours}\r\n");
    for (request, status) in [
        (with("GET / HTTP/1.1", "host: evil.example\r\n"), "403"),
        (with("GET /events HTTP/1.1", &format!("host: evil.example:{}\r\n", ours.port())), "403"),
        (with("GET /picture HTTP/1.1", &format!("{host}origin: http://evil.example\r\n")), "403"),
        (with("GET / HTTP/1.1", &format!("{host}sec-fetch-site: cross-site\r\n")), "403"),
        (with("GET http://evil.example/ HTTP/1.1", &host), "403"),
        (with("POST /here HTTP/1.1", &host), "403"),
        (with("POST /pin HTTP/1.1", &format!("{host}origin: null\r\n")), "403"),
        (with("GET / HTTP/1.0", ""), "403"),
        (with("POST / HTTP/1.1", &format!("{host}origin: http://{ours}\r\n")), "405"),
        (with("DELETE /pin HTTP/1.1", &format!("{host}origin: http://{ours}\r\n")), "405"),
        (with("GET /pin HTTP/1.1", &host), "405"),
        (with("POST /pin HTTP/1.1", &format!("{host}origin: http://{ours}\r\n")), "415"),
        (with("GET / HTTP/1.1", &format!("{host}x: {}\r\n", "a".repeat(64 << 10))), "431"),
        ("\0\0\0\0\r\n\r\n".to_owned(), "400"),
    ] {
        let answer = screen.raw(request.as_bytes()).await;
        assert_eq!(status_of(&answer), status, "{}: {answer}", request.lines().next().unwrap_or_default());
        assert!(!answer.contains("access-control-allow"), "{answer}");
    }
    let huge = format!("{{\"digits\":\"{}\"}}", "1".repeat(100_000));
    assert_eq!(status_of(&screen.post("/pin", &huge).await), "413");
    for body in ["", "{}", "[]", "{\"digits\":\"\"}", "{\"digits\":\"123\"}", "{\"digits\":\"12345a\"}"] {
        assert_eq!(status_of(&screen.post("/pin", body).await), "422", "{body}");
    }
    assert_eq!(status_of(&screen.post("/pin", "{\"digits\":\"123456\",\"x\":1}").await), "422");
    assert!(screen.announcement.borrow().is_none());
}

#[tokio::test]
async fn a_slow_request_is_cut() {
    let patience = Patience { request: Duration::from_millis(50), ..Patience::default() };
    let screen = Screen::start(&any_port(), HereButton::Absent, patience).await;
    // `raw` ends when the other end closes.
    screen.raw(b"GET / HT").await;
    screen.raw(b"").await;
    let ours = screen.address;
    let head = format!(
        "POST /pin HTTP/1.1\r\nhost: {ours}\r\norigin: http://{ours}\r\ncontent-type: application/json\r\n\
         content-length: 20\r\nconnection: close\r\n\r\n{{"
    );
    assert_eq!(status_of(&screen.raw(head.as_bytes()).await), "408");
    assert_eq!(status_of(&screen.get("/").await), "200");
}

#[tokio::test]
async fn an_old_connection_ends() {
    let patience = Patience { connection: Duration::from_millis(50), ..Patience::default() };
    let screen = Screen::start(&any_port(), HereButton::Absent, patience).await;
    let mut events = screen.events().await;
    while events.next("state").await.is_some() {}
}

#[tokio::test]
async fn a_connection_too_many_is_closed_and_the_next_is_served_again() {
    let screen = Screen::plain().await;
    let mut open = Vec::new();
    for _ in 0..limits::KIOSK_CONNECTIONS {
        let mut stream = screen.connect().await;
        let head = format!("GET /tokens.css HTTP/1.1\r\nhost: {}\r\n\r\n", screen.address);
        stream.write_all(head.as_bytes()).await.unwrap();
        assert!(timeout(DEADLINE, stream.read(&mut [0; 512])).await.unwrap().unwrap() > 0);
        open.push(stream);
    }
    assert_eq!(status_of(&screen.get("/").await), "none");
    drop(open);
    while status_of(&screen.get("/").await) != "200" {}
}

#[tokio::test]
async fn a_viewer_gets_the_state_at_once_and_then_what_changes() {
    let screen = Screen::plain().await;
    let mut events = screen.events().await;
    let first = events.state(|_| true).await;
    assert_eq!((&first["door"], &first["is_idle"]), (&"Main gate".into(), &true.into()));
    assert_eq!(screen.running.viewers(), 1);
    let bounds = rollcall_vision::Rect { x0: 0.25, y0: 0.2, x1: 0.5, y1: 0.7 };
    let face = FaceInView { track: TrackId(3), bounds, prompt: Prompt::TurnLeft };
    screen.view.send_modify(|view| view.faces.push(face));
    let turned = events.state(|state| !state["prompt"].is_null()).await;
    assert_eq!(turned["prompt"]["text"], "Turn your head to the left");
    assert_eq!(turned["prompt"]["arrow"], "left");
    let mut second = screen.events().await;
    assert_eq!(second.state(|_| true).await, turned);
}

#[tokio::test]
async fn a_quiet_stream_has_a_heartbeat() {
    let screen = Screen::plain().await;
    let mut events = screen.events().await;
    assert!(events.next("beat").await.is_some());
}

#[tokio::test]
async fn a_fifth_viewer_is_refused_with_words_until_there_is_room() {
    let screen = Screen::plain().await;
    let mut viewers = Vec::new();
    for _ in 0..limits::KIOSK_VIEWERS {
        let mut viewer = screen.events().await;
        viewer.next("state").await.unwrap();
        viewers.push(viewer);
    }
    let words = screen.events().await.next("refused").await.unwrap();
    assert!(words.contains("too many windows"), "{words}");
    viewers.pop();
    while screen.running.viewers() == limits::KIOSK_VIEWERS {
        tokio::task::yield_now().await;
    }
    assert!(screen.events().await.next("state").await.is_some());
}

#[tokio::test]
async fn pictures_come_one_after_another_and_an_old_one_not_at_all() {
    let patience = Patience { picture: Duration::from_millis(20), ..Patience::default() };
    let screen = Screen::start(&any_port(), HereButton::Absent, patience).await;
    assert_eq!(status_of(&screen.get("/picture").await), "204");
    let picture = |number, captured| Some(Preview { jpeg: Arc::from(*b"\xff\xd8jpeg"), number, captured });
    screen.preview.send_replace(picture(7, Instant::now()));
    let answer = screen.get("/picture").await;
    assert!(answer.contains("image/jpeg") && answer.contains("x-picture: 7") && answer.ends_with("jpeg"));
    assert_eq!(status_of(&screen.get("/picture?after=7").await), "204");
    assert_eq!(status_of(&screen.get("/picture?after=6").await), "200");
    assert_eq!(status_of(&screen.get("/picture?after=x").await), "400");
    let old = Instant::now().checked_sub(Duration::from_millis(limits::KIOSK_PICTURE_AGE_MS)).unwrap();
    screen.preview.send_replace(picture(8, old));
    assert_eq!(status_of(&screen.get("/picture?after=7").await), "204");
}

#[tokio::test]
async fn a_picture_is_subscribed_to_only_while_a_screen_waits_for_one() {
    let screen = Screen::plain().await;
    let mut events = screen.events().await;
    assert!(events.next("state").await.is_some());
    assert_eq!(screen.preview.receiver_count(), 0, "a page that is open but hidden fetches none");
    let once_it_waits = async {
        while screen.preview.receiver_count() == 0 {
            tokio::task::yield_now().await;
        }
        let jpeg = Arc::from(*b"\xff\xd8jpeg");
        screen.preview.send_replace(Some(Preview { jpeg, number: 1, captured: Instant::now() }));
    };
    let (answer, ()) = tokio::join!(screen.get("/picture"), once_it_waits);
    assert_eq!(status_of(&answer), "200");
    assert_eq!(screen.preview.receiver_count(), 0);
}

#[tokio::test]
async fn a_pin_goes_to_the_entrance_and_its_answer_to_the_pad() {
    let mut screen = Screen::plain().await;
    let welcome = Announced::Welcome { first_name: "Linh".into(), is_leaving: false };
    for (announced, is_over, words) in [
        (welcome, true, "\"\""),
        (Announced::CredentialInvalid, false, "Please try again."),
        (Announced::WaitSeconds(30), false, "Please wait 30 seconds."),
        (Announced::LockedDown, true, "\"\""),
    ] {
        let mut commands = screen.commands;
        let entrance = tokio::spawn(async move {
            let Some(KioskCommand::Pin { digits, reply }) = commands.recv().await else { panic!("no PIN") };
            assert_eq!(digits, "204816");
            reply.send(announced).unwrap();
            commands
        });
        screen.commands = mpsc::channel(1).1;
        let answer = screen.post("/pin", "{\"digits\":\"204816\"}").await;
        screen.commands = entrance.await.unwrap();
        assert_eq!(status_of(&answer), "200", "{answer}");
        assert!(answer.contains(&format!("\"is_over\":{is_over}")) && answer.contains(words), "{answer}");
        assert!(!answer.contains("Linh"), "{answer}");
    }
}

#[tokio::test]
async fn a_pin_that_nobody_takes_is_answered_and_the_queue_is_bounded() {
    let patience = Patience { pin: Duration::from_millis(10), ..Patience::default() };
    let mut screen = Screen::start(&any_port(), HereButton::Absent, patience).await;
    for _ in 0..=limits::KIOSK_COMMANDS {
        let answer = screen.post("/pin", "{\"digits\":\"204816\"}").await;
        assert_eq!(status_of(&answer), "503", "{answer}");
        assert!(answer.contains("That did not work."), "{answer}");
    }
    assert_eq!(status_of(&screen.post("/here", "").await), "503");
    assert_eq!(screen.commands.len(), limits::KIOSK_COMMANDS);
    while screen.commands.try_recv().is_ok() {}
    assert_eq!(status_of(&screen.post("/here", "").await), "202");
    assert!(matches!(screen.commands.recv().await, Some(KioskCommand::ButtonPressed)));
}

#[tokio::test]
async fn a_secret_is_in_no_debug_text() {
    let (reply, _answer) = oneshot::channel();
    assert_eq!(format!("{:?}", KioskCommand::Pin { digits: "204816".into(), reply }), "Pin");
}

#[tokio::test]
async fn a_screen_that_is_drained_ends_its_streams() {
    let screen = Screen::plain().await;
    let mut events = screen.events().await;
    events.next("state").await.unwrap();
    assert_eq!(screen.running.drain(DEADLINE).await, 0);
    while events.next("state").await.is_some() {}
}

#[tokio::test]
async fn an_address_that_is_taken_is_told_with_what_to_do() {
    let screen = Screen::plain().await;
    let address = LoopbackAddress::try_from(screen.address.to_string()).unwrap();
    let (_view, view) = watch::channel(View::default());
    let (_announcement, announcement) = watch::channel(None);
    let (_status, status) = watch::channel(Status::default());
    let preview = LivePicture::default();
    let (_zone, zone) = watch::channel(SiteZone::utc());
    let (_enrolment, enrolment) = watch::channel(None);
    let commands = mpsc::channel(1).0;
    let button = HereButton::Absent;
    let inputs = Inputs { view, announcement, status, preview, zone, enrolment, button, commands };
    let refusal = Kiosk::build(&KioskConfig { address, ..any_port() }, inputs).await.err().unwrap();
    assert!(refusal.to_string().contains("[kiosk] address"), "{refusal}");
}
