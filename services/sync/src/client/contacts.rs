//! `hub.contact`: what was said to the hub and not answered, and for how long nothing was heard from it.
//!
//! One JSON object, replaced whole and synced before it counts. A file that cannot be read is an error: with another
//! number this device would look like a copy of itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rollcall_attendance::Reading;
use rollcall_core::{Fault, Reason};
use rollcall_store::replace_file;
use serde::{Deserialize, Serialize};

use crate::contact::{Contacts, Pending};
use crate::forget::Silence;

const FILE: &str = "hub.contact";
/// Between two counts of the time without the hub.
const COUNT: Duration = Duration::from_secs(3_600);

/// See the module.
pub(super) struct ContactFile {
    path: PathBuf,
    contacts: Contacts,
    silence: Option<Silence>,
    forget_after: Duration,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    contact: u64,
    pending: Option<(u64, String)>,
    silence: Option<StoredSilence>,
    forget_after_s: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredSilence {
    powered_s: u64,
    boot_id: String,
    boottime_us: i64,
    answered_us: Option<i64>,
}

/// Removes it: the terminal has left its hub, and the next one counts anew.
///
/// # Errors
/// A folder that cannot be written.
pub fn forget(folder: &Path) -> Result<(), Fault> {
    let path = folder.join(FILE);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(unreadable(&path, &error)),
        _ => Ok(()),
    }
}

impl ContactFile {
    /// Reads it; a terminal that has never called has none.
    pub(super) fn open(folder: &Path) -> Result<Self, Fault> {
        let path = folder.join(FILE);
        let nothing = Self {
            path: path.clone(),
            contacts: Contacts::default(),
            silence: None,
            forget_after: Duration::ZERO,
        };
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(nothing),
            Err(error) => return Err(unreadable(&path, &error)),
        };
        let stored: Stored = serde_json::from_slice(&text).map_err(|error| unreadable(&path, &error))?;
        let pending = match stored.pending {
            None => None,
            Some((contact, nonce)) => {
                Some(Pending { contact, nonce: id(&nonce).ok_or_else(|| unreadable(&path, &"a nonce"))? })
            }
        };
        let silence = match stored.silence {
            None => None,
            Some(silence) => {
                let boot_id = id(&silence.boot_id).ok_or_else(|| unreadable(&path, &"a boot id"))?;
                let powered = Duration::from_secs(silence.powered_s);
                Some(Silence::stored(powered, boot_id, silence.boottime_us, silence.answered_us))
            }
        };
        let contacts = Contacts { contact: stored.contact, pending };
        Ok(Self { contacts, silence, forget_after: Duration::from_secs(stored.forget_after_s), ..nothing })
    }

    /// What to say next, stored before it is said.
    pub(super) fn call(&mut self) -> Result<Pending, Fault> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce)
            .map_err(|_| Fault::new(Reason::Internal, "the system gives no random bytes"))?;
        let known = self.contacts;
        let pending = self.contacts.call(nonce);
        if self.contacts != known {
            self.store()?;
        }
        Ok(pending)
    }

    /// The hub has answered.
    pub(super) fn answered(&mut self, contact: u64, now: &Reading) -> Result<(), Fault> {
        self.contacts.answered(contact);
        self.silence = Some(Silence::from(now));
        self.store()
    }

    /// Counts the time, when an hour has passed: more often would wear the card.
    pub(super) fn count(&mut self, now: &Reading) -> Result<(), Fault> {
        let counted = self.silence.map(|silence| (silence.counted(now), silence.powered()));
        match counted {
            Some((counted, before)) if counted.powered() >= before + COUNT => {
                self.silence = Some(counted);
                self.store()
            }
            _ => Ok(()),
        }
    }

    /// From now on so long a silence ends with the gallery forgotten.
    pub(super) fn set_forget_after(&mut self, forget_after: Duration) -> Result<(), Fault> {
        if self.forget_after != forget_after {
            self.forget_after = forget_after;
            self.store()?;
        }
        Ok(())
    }

    /// Whether the gallery is to be forgotten.
    pub(super) fn is_forgotten(&self, now: &Reading) -> bool {
        self.silence.is_some_and(|silence| silence.is_over(now, self.forget_after))
    }

    fn store(&self) -> Result<(), Fault> {
        let silence = self.silence.map(|silence| StoredSilence {
            powered_s: silence.powered().as_secs(),
            boot_id: hex::encode(silence.boot_id()),
            boottime_us: silence.boottime_us(),
            answered_us: silence.answered_us(),
        });
        let stored = Stored {
            contact: self.contacts.contact,
            pending: self.contacts.pending.map(|pending| (pending.contact, hex::encode(pending.nonce))),
            silence,
            forget_after_s: self.forget_after.as_secs(),
        };
        let text = serde_json::to_vec(&stored).map_err(|error| unreadable(&self.path, &error))?;
        replace_file(&self.path, &text).map_err(|error| error.fault())
    }
}

fn id(text: &str) -> Option<[u8; 16]> {
    let mut id = [0; 16];
    hex::decode_to_slice(text, &mut id).ok().map(|()| id)
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Fault {
    let words = format!(
        "{} cannot be used: {error}; restore it, or remove it and adopt this terminal anew",
        path.display()
    );
    Fault::new(Reason::DataDamaged, words)
}
