//! Which terminal this is.
//!
//! The id is made once, at the first start, and kept in the database. Beside it stands what the machine is known by,
//! so that a card that was put into another machine is noticed.

use std::path::Path;

use rollcall_core::TerminalId;
use sha2::{Digest as _, Sha256};

/// Who this terminal is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its id, for ever.
    pub terminal: TerminalId,
    /// What this machine is known by: see [`hardware_id`].
    pub hardware: String,
    /// The data were made on another machine: the card was moved or copied.
    pub moved: bool,
}

/// Where a machine says which one it is, best first. A Raspberry Pi has its serial number in the device tree, a PC a
/// UUID in its firmware (readable by root alone); any Linux has an id of its installation.
const SOURCES: &[&str] = &[
    "proc/device-tree/serial-number",
    "sys/class/dmi/id/product_uuid",
    "sys/class/dmi/id/product_serial",
    "etc/machine-id",
];

/// Texts that firmware gives to every machine alike.
const PLACEHOLDERS: &[&str] =
    &["", "none", "not specified", "to be filled by o.e.m.", "system serial number", "0"];

/// What this machine is known by, 64 hex digits; empty when it says nothing. A hash, as machine-id(5) asks for: the
/// serial number itself is nobody's business.
pub fn hardware_id() -> String {
    hardware_id_under(Path::new("/"))
}

fn hardware_id_under(root: &Path) -> String {
    let said = SOURCES.iter().find_map(|source| {
        let text = std::fs::read(root.join(source)).ok()?;
        let text =
            String::from_utf8_lossy(&text).trim_matches(|c: char| c == '\0' || c.is_whitespace()).to_owned();
        (!PLACEHOLDERS.contains(&text.to_lowercase().as_str())).then_some(text)
    });
    let hash = |text: String| hex::encode(Sha256::digest(format!("rollcall terminal\0{text}")));
    said.map(hash).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_machine_is_known_by_its_serial_number_before_its_installation() {
        let pi = machine(&[("proc/device-tree/serial-number", "10000000abcd\0"), ("etc/machine-id", "1\n")]);
        let reinstalled =
            machine(&[("proc/device-tree/serial-number", "10000000abcd"), ("etc/machine-id", "2\n")]);
        let id = hardware_id_under(pi.path());
        assert_eq!(id.len(), 64);
        assert_eq!(id, hardware_id_under(reinstalled.path()));
        assert!(!id.contains("abcd"), "the number itself is not told");
    }

    #[test]
    fn what_firmware_says_of_every_machine_says_nothing() {
        let pc = machine(&[
            ("sys/class/dmi/id/product_serial", "To Be Filled By O.E.M.\n"),
            ("etc/machine-id", "1\n"),
        ]);
        let same = machine(&[("etc/machine-id", "1")]);
        assert_eq!(hardware_id_under(pc.path()), hardware_id_under(same.path()));
        assert_eq!(hardware_id_under(machine(&[]).path()), "");
    }
}
