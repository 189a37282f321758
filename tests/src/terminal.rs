//! A whole terminal: an `edge-agent` with a camera that the test directs, a recorded door and a screen.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rollcall_proto::v1;
use rollcall_proto::v1::consent::Decision;
use rollcall_proto::v1::event_kind::Kind;

use crate::pictures::portrait;
use crate::player::Player;
use crate::scene::{Film, SECOND};
use crate::{Agent, Client};

/// The PIN of [`Terminal::start_with_a_pin`].
pub const PIN: &str = "271828";

/// The door opens so long after somebody may pass: the log is waited for 250 ms, and the lock is a process away.
pub const OPEN_WITHIN_MS: u64 = 250 + 100;

/// What is waited for comes within this time, or never.
const DEADLINE: Duration = Duration::from_secs(60);

/// See the module.
pub struct Terminal {
    /// The program.
    pub agent: Agent,
    /// Its camera.
    pub player: Player,
    /// Where metrics are.
    pub metrics: SocketAddr,
    /// Where the screen is.
    pub kiosk: SocketAddr,
}

/// A lock that was released and locked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// When, by the machine's monotonic clock.
    pub released_ms: u64,
    /// `None`: it is released still.
    pub locked_ms: Option<u64>,
}

impl Terminal {
    /// Starts one. `settings` is what its configuration says beside camera, door, screen and server.
    pub fn start(film: Film, settings: &str) -> Self {
        let (metrics, kiosk) = (free_port(), free_port());
        let mut player = None;
        let mut agent = Agent::configured(|folder| {
            let camera = player.insert(Player::start(folder, film)).camera();
            format!(
                "{camera}\n[server]\nmetrics_address = \"{metrics}\"\n\n[kiosk]\naddress = \"{kiosk}\"\n\n{DOOR}\n{settings}"
            )
        });
        agent.restart();
        Self { agent, player: player.unwrap(), metrics, kiosk }
    }

    /// Types a PIN on the screen; whether the screen was told what became of it.
    pub fn type_pin(&self, digits: &str) -> bool {
        type_pin(self.kiosk, digits).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// One without liveness checks, and with somebody whose PIN is [`PIN`].
    pub async fn start_with_a_pin() -> Self {
        let terminal = Self::start(Film::default(), "");
        let mut client = terminal.agent.client().await;
        let request = v1::CreateCredentialRequest {
            person: client.create_person("Somebody", "").await.name,
            kind: v1::CredentialKind::Pin.into(),
            value: PIN.to_owned(),
            ..Default::default()
        };
        client.gallery.create_credential(request).await.unwrap();
        terminal
    }

    /// Enrols the two people of the scenes; their names.
    pub async fn enrol_both(&self) -> [String; 2] {
        let mut client = self.agent.client().await;
        let mut enrolled = Vec::new();
        for (name, portraits) in
            [("First Person", &["obama.jpg", "obama2.jpg"][..]), ("Second Person", &[SECOND])]
        {
            let person = client.create_person(name, "").await.name;
            client.record_consent(&person, Decision::Given).await;
            for file in portraits {
                client.enrol(&person, portrait(file)).await.unwrap();
            }
            enrolled.push(person);
        }
        enrolled.try_into().unwrap()
    }

    /// What its lock did.
    pub fn pulses(&self) -> Vec<Pulse> {
        pulses(&self.record())
    }

    /// The file of the recorded door.
    pub fn record(&self) -> PathBuf {
        self.agent.folder().join("door.jsonl")
    }

    /// The value of a counter or gauge, 0 when it is not there.
    pub fn metric(&self, name: &str) -> f64 {
        let text = get(self.metrics, "/metrics");
        let line = text
            .lines()
            .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
    }

    /// Follows what the screen shows.
    pub fn screen(&self) -> Screen {
        let mut stream = TcpStream::connect(self.kiosk).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(stream, "GET /events HTTP/1.1\r\nHost: {}\r\n\r\n", self.kiosk).unwrap();
        Screen { lines: BufReader::new(stream) }
    }
}

/// Driver and times of the recorded door.
const DOOR: &str = "[door]
driver = \"recorded\"
record = \"door.jsonl\"
inputs = \"door.inputs\"
fail = \"secure\"
open_ms = 500
lock = { line = 17 }
green = { line = 22 }
buzzer = { line = 24 }
contact = { line = 5 }
";

/// What the screen is told, as it changes.
pub struct Screen {
    lines: BufReader<TcpStream>,
}

impl Screen {
    /// The next content of the page.
    pub fn next_state(&mut self) -> serde_json::Value {
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "the screen's stream has ended");
            let data = line.trim_end().strip_prefix("data:").map(str::trim);
            if let Some(state) = data.and_then(|data| serde_json::from_str(data).ok()) {
                return state;
            }
        }
    }

    /// Waits until the page's content is as asked.
    pub fn wait_for(&mut self, is_there: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let until = Instant::now() + DEADLINE;
        loop {
            let state = self.next_state();
            if is_there(&state) {
                return state;
            }
            assert!(Instant::now() < until, "the screen did not come to show it: {state}");
        }
    }
}

/// What a recorded lock did.
pub fn pulses(record: &Path) -> Vec<Pulse> {
    let text = std::fs::read_to_string(record).unwrap_or_default();
    let mut pulses: Vec<Pulse> = Vec::new();
    // A line torn by a kill is the last.
    for entry in text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()) {
        let at = entry["mono_ms"].as_u64().unwrap();
        match (entry["line"].as_str().unwrap(), entry["level"].as_str().unwrap()) {
            ("lock", "released") => pulses.push(Pulse { released_ms: at, locked_ms: None }),
            ("lock", "locked") => {
                if let Some(pulse) = pulses.last_mut() {
                    pulse.locked_ms.get_or_insert(at);
                }
            }
            _ => {}
        }
    }
    pulses
}

/// The events of these kinds, oldest first.
pub async fn events(client: &mut Client, kinds: &[&str]) -> Vec<Kind> {
    let filter = v1::EventFilter {
        kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        ..Default::default()
    };
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let request = v1::ListEventsRequest { filter: Some(filter.clone()), cursor, ..Default::default() };
        let page = client.attendance.list_events(request).await.unwrap().into_inner();
        found.extend(page.events.into_iter().filter_map(|event| event.kind?.kind));
        if !page.more {
            return found;
        }
        cursor = page.next_cursor;
    }
}

/// The events of passages: recognised, unknown, refused, by credential.
pub async fn passages(client: &mut Client) -> Vec<Kind> {
    events(client, &["recognised", "unknown_face", "entry_refused", "credential_used"]).await
}

/// When somebody came in by PIN, card or badge, in milliseconds since boot. No event is there twice.
pub async fn entries_ms(client: &mut Client) -> Vec<u64> {
    let (mut names, mut entries) = (BTreeSet::new(), Vec::new());
    let mut cursor = String::new();
    loop {
        let filter = v1::EventFilter { kinds: vec!["credential_used".into()], ..Default::default() };
        let request = v1::ListEventsRequest { filter: Some(filter), cursor, ..Default::default() };
        let page = client.attendance.list_events(request).await.unwrap().into_inner();
        for event in page.events {
            entries.push(event.stamp.unwrap().boottime_us as u64 / 1_000);
            assert!(names.insert(event.name.clone()), "{} is there twice", event.name);
        }
        if !page.more {
            return entries;
        }
        cursor = page.next_cursor;
    }
}

/// Every pulse has an event of its own, made at most so long before the lock was released.
pub fn assert_each_pulse_has_its_event(pulses: &[Pulse], entries: &[u64], context: &str) {
    let mut left: BTreeSet<u64> = entries.iter().copied().collect();
    for pulse in pulses {
        // A busy machine may need a second more.
        let earliest = pulse.released_ms.saturating_sub(OPEN_WITHIN_MS + 1_000);
        let Some(found) = left.range(earliest..=pulse.released_ms + 5).next().copied() else {
            panic!("{context}: no event for {pulse:?} in {entries:?}");
        };
        left.remove(&found);
    }
}

/// The alarms, each with whether it was an end.
pub async fn alarms(client: &mut Client) -> Vec<(String, bool)> {
    let alarms = events(client, &["alarm_raised"]).await;
    alarms
        .into_iter()
        .map(|kind| match kind {
            Kind::AlarmRaised(alarm) => (alarm.alarm, alarm.cleared),
            other => panic!("not asked for: {other:?}"),
        })
        .collect()
}

/// The body of an answer over plain HTTP.
fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The answer of the screen to a PIN.
fn type_pin(kiosk: SocketAddr, digits: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(kiosk)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let body = format!("{{\"digits\":\"{digits}\"}}");
    write!(
        stream,
        "POST /pin HTTP/1.1\r\nHost: {kiosk}\r\nOrigin: http://{kiosk}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A port that nobody has now.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
