//! The desk: one passage after the other, from what was seen or presented to the event, the lock and the screen.
//!
//! The order is always the same: may they pass, is it in the log, then the lock. The log is waited for at most
//! [`limits::LOG_PATIENCE_MS`]; after that the door opens and the event follows. A log that can promise nothing any more
//! opens nothing: the program ends then. What is older than [`EVIDENCE_AGE_MAX`] opens nothing either.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rollcall_attendance::{Log, Logged};
use rollcall_core::{CredentialId, PersonId, UtcInstant, limits};
use rollcall_gallery::decide::Outcome;
use rollcall_gallery::{CredentialKind, Gallery, Person};
use rollcall_proto::v1::event_kind::Kind;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::counters;
use super::events::{self, Refused};
use super::names::{GivenName, first_name};
use super::rules::{Pass, Rules};
use super::{Announced, Announcement};
use crate::door::{Door, DoorEvent, Opener, Signal};
use crate::kiosk::KioskCommand;
use crate::readers::Presented;
use crate::readers::pin::Limiter;
use crate::recognition::thread::Handle;
use crate::recognition::{Liveness, Verdict};
use crate::run::{Alarms, Parts};

/// A decision that is older opens nothing.
const EVIDENCE_AGE_MAX: Duration = Duration::from_secs(1);

/// How long the log is waited for.
const LOG_PATIENCE: Duration = Duration::from_millis(limits::LOG_PATIENCE_MS);

/// What the desk works with.
pub struct Desk {
    pub log: Log,
    pub gallery: Gallery,
    pub rules: Rules,
    pub door: Option<Arc<Door>>,
    pub recognition: Option<Arc<Handle>>,
    pub alarms: Alarms,
    pub parts: Arc<Parts>,
    pub given_name: GivenName,
    pub announcements: watch::Sender<Option<Announcement>>,
    pub limiter: Limiter,
    /// Whether the log knows that nothing more is taken for now.
    pub has_noted_wait: bool,
}

/// What comes to the desk.
pub struct Inbox {
    pub verdicts: mpsc::Receiver<Verdict>,
    pub presented: mpsc::Receiver<Presented>,
    pub commands: mpsc::Receiver<KioskCommand>,
    pub door: mpsc::Receiver<DoorEvent>,
}

impl Desk {
    /// Takes what comes, one after the other, until `stop`.
    pub async fn run(mut self, mut inbox: Inbox, stop: CancellationToken) {
        loop {
            tokio::select! {
                Some(event) = inbox.door.recv() => self.door_event(event).await,
                Some(verdict) = inbox.verdicts.recv() => {
                    self.face(verdict).await;
                }
                Some(presented) = inbox.presented.recv() => {
                    self.credential(&presented).await;
                }
                Some(command) = inbox.commands.recv() => self.command(command).await,
                () = stop.cancelled() => return,
            }
        }
    }

    async fn command(&mut self, command: KioskCommand) {
        match command {
            KioskCommand::ButtonPressed => {
                if let Some(recognition) = &self.recognition {
                    recognition.press_button();
                }
            }
            KioskCommand::Pin { digits, reply } => {
                let announced = self.credential(&Presented::Pin(digits)).await;
                // The screen may have gone.
                let _ = reply.send(announced);
            }
        }
    }

    async fn face(&mut self, verdict: Verdict) -> Announced {
        counters::verdict(&verdict);
        tracing::debug!(track = verdict.track.0, frames = verdict.trace.frames, "a passage was decided");
        match (verdict.liveness, verdict.outcome) {
            (Liveness::ChallengeFailed | Liveness::NetworkFailed, _) => {
                self.refuse_face(&verdict, Refused::LivenessFailed, Announced::UseAnother).await
            }
            (Liveness::TooManyFailed, _) => {
                self.refuse_face(&verdict, Refused::TooManyAttempts, Announced::UseAnother).await
            }
            (_, Outcome::Recognised(_))
                if verdict.evidence_at.elapsed() + LOG_PATIENCE > EVIDENCE_AGE_MAX =>
            {
                self.refuse_face(&verdict, Refused::Stale, Announced::UseAnother).await
            }
            (_, Outcome::Recognised(person)) => self.recognised(person, &verdict).await,
            (_, Outcome::Ambiguous) => {
                let announced = self.between(&verdict).await;
                self.refuse(events::unknown(&verdict), announced).await
            }
            (_, Outcome::Unknown | Outcome::Unusable) => {
                self.refuse(events::unknown(&verdict), Announced::UseAnother).await
            }
        }
    }

    async fn recognised(&mut self, person: PersonId, verdict: &Verdict) -> Announced {
        self.parts.recognised();
        let Some(found) = self.person(person).await else {
            return self.refuse_face(verdict, Refused::Left, Announced::UseAnother).await;
        };
        match self.rules.may_pass(&found).await {
            Ok(pass) => {
                let event = events::recognised(person, self.rules.direction(), verdict);
                self.let_in(&found, event, pass).await
            }
            Err(reason) => self.refuse_face(verdict, reason, announced(reason)).await,
        }
    }

    /// Lets somebody in by what they presented, or says why not. What was announced.
    async fn credential(&mut self, presented: &Presented) -> Announced {
        if let Err(wait) = self.limiter.may_try(Instant::now()) {
            // Once is enough: whoever goes on trying must not fill the log.
            if std::mem::replace(&mut self.has_noted_wait, true) {
                return self.announce(Announced::WaitSeconds(wait.0), true);
            }
            let event = events::credential_refused(None, Refused::TooManyAttempts);
            return self.refuse(event, Announced::WaitSeconds(wait.0)).await;
        }
        self.has_noted_wait = false;
        let (kind, text) = match presented {
            Presented::Pin(text) => (CredentialKind::Pin, text),
            Presented::Card(text) => (CredentialKind::Card, text),
            Presented::Badge(text) => (CredentialKind::Badge, text),
        };
        let holder = match self.gallery.credential_holder(kind, text, UtcInstant::now()).await {
            Ok(Some(holder)) => holder,
            Ok(None) => {
                self.limiter.wrong(Instant::now());
                let event = events::credential_refused(None, Refused::CredentialInvalid);
                return self.refuse(event, Announced::CredentialInvalid).await;
            }
            Err(error) => {
                tracing::error!(error = error.fault().reason.as_str(), "a credential could not be looked up");
                return self.announce(Announced::NotNow, true);
            }
        };
        let found = match Refused::of(holder.state) {
            None => self.person(holder.person).await.ok_or(Refused::Left),
            Some(reason) => Err(reason),
        };
        match found {
            Ok(person) => {
                self.limiter.right(person.id, Instant::now());
                self.holder(&person, holder.credential).await
            }
            Err(reason) => {
                self.limiter.wrong(Instant::now());
                let event = events::credential_refused(Some(holder.person), reason);
                self.refuse(event, Announced::CredentialInvalid).await
            }
        }
    }

    async fn holder(&mut self, person: &Person, credential: CredentialId) -> Announced {
        match self.rules.may_pass(person).await {
            Ok(pass) => {
                if let Some(recognition) = &self.recognition {
                    recognition.passed(person.id);
                }
                let event = events::credential_used(person.id, credential, self.rules.direction());
                self.let_in(person, event, pass).await
            }
            Err(reason) => {
                self.refuse(events::credential_refused(Some(person.id), reason), announced(reason)).await
            }
        }
    }

    /// The event, then the lock, then light, tone and screen.
    async fn let_in(&mut self, person: &Person, event: Kind, pass: Pass) -> Announced {
        let logged = match self.log.append_patiently(event, LOG_PATIENCE).await {
            Ok(logged) => logged,
            Err(error) => {
                let error = error.fault().reason.as_str();
                tracing::error!(error, "nobody is let in whom the log does not take");
                return self.announce(Announced::UseAnother, false);
            }
        };
        counters::logged(&logged);
        if let Some(door) = &self.door {
            let opener = match pass {
                Pass::Ordinary => Opener::Credential,
                Pass::Exempt => Opener::Exempt,
            };
            match door.open(opener) {
                Ok(()) => {
                    counters::opening(pass);
                    door.signal(Signal::Welcome);
                }
                Err(error) => tracing::error!(%error, "somebody who may pass could not be let in"),
            }
        }
        let first_name = first_name(&person.fields.display_name, self.given_name).to_owned();
        let welcome = Announced::Welcome { first_name, is_leaving: self.rules.is_way_out() };
        self.announce(welcome, matches!(logged, Logged::Committed(_)))
    }

    async fn refuse_face(&mut self, verdict: &Verdict, reason: Refused, announced: Announced) -> Announced {
        let person = match verdict.outcome {
            Outcome::Recognised(person) => Some(person),
            _ => verdict.refused,
        };
        self.refuse(events::face_refused(person, reason, verdict), announced).await
    }

    /// Light, tone and screen do not wait for the log.
    async fn refuse(&mut self, event: Kind, announced: Announced) -> Announced {
        if let Some(door) = &self.door {
            door.signal(Signal::UseAnother);
        }
        self.announce(announced.clone(), true);
        self.note(event).await;
        announced
    }

    async fn note(&self, event: Kind) {
        match self.log.append_patiently(event, LOG_PATIENCE).await {
            Ok(logged) => counters::logged(&logged),
            Err(error) => tracing::error!(
                error = error.fault().reason.as_str(),
                "the log did not take an event of the door"
            ),
        }
    }

    async fn door_event(&mut self, event: DoorEvent) {
        let (state, alarm) = match event {
            DoorEvent::Opened => ("OPENED", None),
            DoorEvent::Closed => {
                self.alarms.set("DOOR_HELD_OPEN", false).await;
                self.alarms.set("DOOR_FORCED", false).await;
                ("CLOSED", None)
            }
            DoorEvent::HeldOpen => ("HELD_OPEN", Some("DOOR_HELD_OPEN")),
            DoorEvent::Forced => ("FORCED", Some("DOOR_FORCED")),
            DoorEvent::ExitPressed => ("EXIT_PRESSED", None),
            DoorEvent::FireOn => ("FIRE", None),
            DoorEvent::FireOff => ("FIRE_OVER", None),
            DoorEvent::Fault => return self.alarms.set("DOOR_FAULT", true).await,
            DoorEvent::FaultOver => return self.alarms.set("DOOR_FAULT", false).await,
        };
        self.note(events::door_changed(state, "")).await;
        if let Some(alarm) = alarm {
            self.alarms.set(alarm, true).await;
        }
    }

    async fn between(&self, verdict: &Verdict) -> Announced {
        let Some((a, b)) = verdict.between else { return Announced::UseAnother };
        match (self.person(a).await, self.person(b).await) {
            (Some(a), Some(b)) => {
                let name =
                    |person: &Person| first_name(&person.fields.display_name, self.given_name).to_owned();
                Announced::Between(name(&a), name(&b))
            }
            _ => Announced::UseAnother,
        }
    }

    async fn person(&self, person: PersonId) -> Option<Person> {
        match self.gallery.person(person, UtcInstant::now()).await {
            Ok(person) => Some(person),
            Err(error) => {
                tracing::warn!(error = error.fault().reason.as_str(), "a person could not be looked up");
                None
            }
        }
    }

    fn announce(&self, what: Announced, is_logged: bool) -> Announced {
        self.announcements.send_modify(|latest| {
            let number = latest.as_ref().map_or(0, |latest| latest.number) + 1;
            *latest = Some(Announcement { number, at: UtcInstant::now(), what: what.clone(), is_logged });
        });
        what
    }
}

fn announced(reason: Refused) -> Announced {
    match reason {
        Refused::Lockdown => Announced::LockedDown,
        _ => Announced::NotNow,
    }
}
