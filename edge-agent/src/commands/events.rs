//! `edge-agent events`: what the log of a running program says, one line an event, as it comes.
//!
//! Names are asked of the program for each line: the log itself holds ids alone.

use std::collections::HashMap;
use std::io::Write as _;
use std::process::ExitCode;

use rollcall_core::UtcInstant;
use rollcall_proto::v1;
use rollcall_proto::v1::event_kind::Kind;

use super::runtime;
use crate::client::{Client, Connection, refused};

/// Options of `edge-agent events`.
#[derive(clap::Args)]
pub struct Args {
    /// From the first event on, not only those to come
    #[arg(long)]
    all: bool,
    /// End when there is no further event now
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Writes lines until it is stopped, or the program ends.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(follow(args))
}

async fn follow(args: &Args) -> anyhow::Result<ExitCode> {
    let client = Client::connect(&args.connection).await?;
    let mut names = Names { client: &client, known: HashMap::new() };
    let mut cursor = if args.all { String::new() } else { "now".to_owned() };
    if args.no_wait {
        loop {
            let request = v1::ListEventsRequest { cursor, page_size: 1_000, filter: None };
            let page = client.attendance().list_events(request).await.map_err(refused)?.into_inner();
            for event in page.events {
                write(&names.line(event).await)?;
            }
            cursor = page.next_cursor;
            if !page.more {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
    let request = v1::WatchEventsRequest { cursor, filter: None };
    let mut stream = client.attendance().watch_events(request).await.map_err(refused)?.into_inner();
    while let Some(answer) = stream.message().await.map_err(refused)? {
        for event in answer.events {
            write(&names.line(event).await)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn write(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// What people are called.
struct Names<'a> {
    client: &'a Client,
    known: HashMap<String, String>,
}

impl Names<'_> {
    /// "2026-11-24T08:41:07Z 17 recognised Linh Nguyen score 0.812 of 0.598 needed, 3 frames, 214 ms"
    async fn line(&mut self, event: v1::Event) -> String {
        let at = event.time.map(|time| {
            UtcInstant::from_micros(time.seconds.saturating_mul(1_000_000) + i64::from(time.nanos) / 1_000)
        });
        let at = at.map(|at| at.to_string()).unwrap_or_default();
        let kind = event.kind.and_then(|kind| kind.kind);
        let said = match kind {
            Some(kind) => self.said(kind).await,
            None => "of a kind that this program does not know".to_owned(),
        };
        let damaged = if event.damaged { " (damaged)" } else { "" };
        format!("{at} {:>5} {said}{damaged}", event.seq)
    }

    async fn said(&mut self, kind: Kind) -> String {
        match kind {
            Kind::Recognised(seen) => {
                format!("recognised {}{}", self.name(&seen.person).await, trace(seen.trace.as_ref()))
            }
            Kind::CredentialUsed(used) => {
                format!("let in by badge, card or PIN {}", self.name(&used.person).await)
            }
            Kind::UnknownFace(seen) => {
                let what = match seen.outcome() {
                    v1::Outcome::Ambiguous => "a face that is too close to two people",
                    _ => "a face that is not known",
                };
                format!("{what}{}", trace(seen.trace.as_ref()))
            }
            Kind::EntryRefused(refused) => {
                let name = self.name(&refused.person).await;
                format!("not let in: {} {name}{}", refused.reason, trace(refused.trace.as_ref()))
            }
            Kind::DoorChanged(door) => format!("door {} {}", door.state, door.by),
            Kind::RecordedManually(seen) => format!("recorded by hand {}", self.name(&seen.person).await),
            Kind::MarkAmended(mark) => {
                let name = self.name(&mark.person).await;
                format!("mark of {name} {} -> {}", mark.old_code, mark.new_code)
            }
            Kind::RegisterClosed(register) => format!("register closed {}", register.session),
            Kind::ClockAnchor(_) => "clock compared".to_owned(),
            Kind::SettingsApplied(settings) => format!("settings {} applied", settings.revision),
            Kind::AlarmRaised(alarm) if alarm.cleared => format!("alarm over {}", alarm.alarm),
            Kind::AlarmRaised(alarm) => format!("ALARM {}", alarm.alarm),
            Kind::LogOpened(log) => format!("log opened {}", log.reason),
        }
    }

    async fn name(&mut self, person: &str) -> String {
        if person.is_empty() {
            return String::new();
        }
        if let Some(known) = self.known.get(person) {
            return known.clone();
        }
        let request = v1::GetPersonRequest { name: person.to_owned() };
        let found =
            self.client.gallery().get_person(request).await.map(|found| found.into_inner().display_name);
        let name = found.unwrap_or_else(|_| person.to_owned());
        self.known.insert(person.to_owned(), name.clone());
        name
    }
}

fn trace(trace: Option<&v1::DecisionTrace>) -> String {
    let Some(trace) = trace else { return String::new() };
    let score = match (trace.score, trace.threshold) {
        (Some(score), Some(threshold)) => format!(", score {score:.3} of {threshold:.3} needed"),
        _ => String::new(),
    };
    let liveness = match trace.liveness_check.as_str() {
        "" | "NOT_CHECKED" => String::new(),
        check => format!(", {}", check.to_lowercase().replace('_', " ")),
    };
    format!("{score}, {} frames, {} ms ({}){liveness}", trace.frames, trace.decided_in_ms, trace.rule)
}
