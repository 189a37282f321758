//! A whole terminal: an `edge-agent` with a camera that the test directs, a recorded door and a screen.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
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
        let mut terminal = Self::unstarted(film, settings);
        terminal.agent.restart();
        terminal
    }

    /// One whose program is not started.
    pub fn unstarted(film: Film, settings: &str) -> Self {
        let metrics = free_port();
        let mut player = None;
        let agent = Agent::configured(|folder| {
            let camera = player.insert(Player::start(folder, film)).camera();
            format!("{camera}\n[server]\nmetrics_address = \"{metrics}\"\n\n{DOOR}\n{settings}")
        });
        Self { agent, player: player.unwrap(), metrics }
    }

    /// Types a PIN on the screen; whether it was somebody's, and was told so.
    pub fn type_pin(&self, digits: &str) -> bool {
        self.pin_answer(digits).is_some_and(|answer| answer["is_over"] == true)
    }

    /// What the pad on the screen was told; nothing when the program ended or was too busy.
    pub fn pin_answer(&self, digits: &str) -> Option<serde_json::Value> {
        let answer = type_pin(self.agent.screen(), digits).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| serde_json::from_str(body).unwrap())
    }

    /// One with somebody whose PIN is [`PIN`].
    pub async fn start_with_a_pin() -> Self {
        let terminal = Self::start(Film::default(), "");
        terminal.add_pin("Somebody").await;
        terminal
    }

    /// Adds a person whose PIN is [`PIN`]; its name.
    pub async fn add_pin(&self, display_name: &str) -> String {
        let mut client = self.agent.client().await;
        let person = client.create_person(display_name, "").await.name;
        let request = v1::CreateCredentialRequest {
            person: person.clone(),
            kind: v1::CredentialKind::Pin.into(),
            value: PIN.to_owned(),
            ..Default::default()
        };
        client.gallery.create_credential(request).await.unwrap();
        person
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

    /// Waits until its lock was released so often, and locked again.
    pub fn wait_for_pulses(&self, count: usize) -> Vec<Pulse> {
        let pulses = self.locked_after(|pulses| pulses.len() >= count);
        assert_eq!(pulses.len(), count, "{pulses:?}");
        pulses
    }

    /// What its lock did, once it has locked.
    pub fn pulses_once_locked(&self) -> Vec<Pulse> {
        self.locked_after(|pulses| !pulses.is_empty())
    }

    fn locked_after(&self, are_there: impl Fn(&[Pulse]) -> bool) -> Vec<Pulse> {
        let until = Instant::now() + DEADLINE;
        loop {
            let pulses = self.pulses();
            if are_there(&pulses) && pulses.iter().all(|pulse| pulse.locked_ms.is_some()) {
                return pulses;
            }
            assert!(Instant::now() < until, "the lock has not locked: {pulses:?}");
            std::thread::yield_now();
        }
    }

    /// Presses the exit button, or lets go of it.
    pub fn set_exit(&self, state: &str) {
        std::fs::write(self.agent.folder().join("door.inputs"), format!("exit={state}\n")).unwrap();
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
        Screen::follow(self.agent.screen())
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
exit = { line = 6 }
";

/// What the screen is told, as it changes.
pub struct Screen {
    states: Receiver<serde_json::Value>,
    latest: serde_json::Value,
}

impl Screen {
    fn follow(kiosk: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(kiosk).unwrap();
        write!(stream, "GET /events HTTP/1.1\r\nHost: {kiosk}\r\n\r\n").unwrap();
        let (send, states) = mpsc::channel();
        // Ends with the stream, or when nobody follows any more.
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let data = line.strip_prefix("data:").map(str::trim);
                let state = data.and_then(|data| serde_json::from_str(data).ok());
                if state.is_some_and(|state| send.send(state).is_err()) {
                    return;
                }
            }
        });
        let latest =
            states.recv_timeout(DEADLINE).expect("the screen is told how it is when it begins to follow");
        Self { states, latest }
    }

    /// The content of the page now.
    pub fn now(&mut self) -> &serde_json::Value {
        self.latest = self.states.try_iter().last().unwrap_or_else(|| self.latest.take());
        &self.latest
    }

    /// The next content of the page.
    pub fn next_state(&mut self) -> serde_json::Value {
        self.latest = self.states.recv_timeout(DEADLINE).expect("the screen is told of a change");
        self.latest.clone()
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

/// The events of these kinds, oldest first; of every kind where none is named. No event is there twice.
pub async fn listed(client: &mut Client, kinds: &[&str]) -> Vec<v1::Event> {
    let kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
    let filter = Some(v1::EventFilter { kinds, ..Default::default() });
    let (mut found, mut cursor): (Vec<v1::Event>, _) = (Vec::new(), String::new());
    loop {
        let request = v1::ListEventsRequest { filter: filter.clone(), cursor, ..Default::default() };
        let page = client.attendance.list_events(request).await.unwrap().into_inner();
        found.extend(page.events);
        if !page.more {
            break;
        }
        cursor = page.next_cursor;
    }
    let names: BTreeSet<&str> = found.iter().map(|event| &*event.name).collect();
    assert_eq!(names.len(), found.len(), "an event is there twice");
    found
}

/// What happened in them.
pub async fn events(client: &mut Client, kinds: &[&str]) -> Vec<Kind> {
    listed(client, kinds).await.into_iter().filter_map(|event| event.kind?.kind).collect()
}

/// Waits for an event of this kind that is as asked.
pub async fn wait_for_event(client: &mut Client, kind: &str, is_it: impl Fn(&Kind) -> bool) {
    let filter = Some(v1::EventFilter { kinds: vec![kind.to_owned()], ..Default::default() });
    let request = v1::WatchEventsRequest { filter, ..Default::default() };
    let mut followed = client.attendance.watch_events(request).await.unwrap().into_inner();
    loop {
        let page = tokio::time::timeout(DEADLINE, followed.message()).await.expect("such an event").unwrap();
        let events = page.expect("the program goes on").events;
        if events.into_iter().filter_map(|event| event.kind?.kind).any(|kind| is_it(&kind)) {
            return;
        }
    }
}

/// The events of passages: recognised, unknown, refused, by credential.
pub async fn passages(client: &mut Client) -> Vec<Kind> {
    events(client, &["recognised", "unknown_face", "entry_refused", "credential_used"]).await
}

/// When somebody came in by PIN, card or badge, in milliseconds since boot.
pub async fn entries_ms(client: &mut Client) -> Vec<u64> {
    let since_boot = |event: v1::Event| event.stamp.unwrap().boottime_us as u64 / 1_000;
    listed(client, &["credential_used"]).await.into_iter().map(since_boot).collect()
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

/// Whether who came in then found the lock released, by a pulse of their own or one that lasted still; and it has locked.
pub fn has_its_pulse(pulses: &[Pulse], entry: u64) -> bool {
    // As above.
    let until = entry + OPEN_WITHIN_MS + 1_000;
    pulses.iter().any(|pulse| pulse.released_ms <= until && pulse.locked_ms.is_some_and(|at| at >= entry))
}

/// Everybody who came in found the lock released.
pub fn assert_each_entry_has_its_pulse(pulses: &[Pulse], entries: &[u64], context: &str) {
    for entry in entries {
        assert!(has_its_pulse(pulses, *entry), "{context}: no pulse for {entry} in {pulses:?}");
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
