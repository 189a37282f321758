//! `gallery.key`: the secret that templates, pictures and credentials are encrypted with.
//!
//! On disk it is 32 bytes; or, on a device that has a secret of its own in one-time-programmable memory, those bytes
//! sealed with that secret, 72 of them, so that a stolen card cannot be read elsewhere. A plain key is sealed at the first
//! start on such a device, also after a restore: encrypted backups hold the key as it is, so that another device can take
//! over from one that is broken.
//!
//! The device's secret is what `rpi-otp-private-key` of Raspberry Pi OS tells. Whoever is root on the running device can
//! ask it too.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;
use rollcall_gallery::{KEY_SIZE_BYTES, Key, SEALED_KEY_SIZE_BYTES};
use rollcall_store::{DataFolder, read_private, replace_file};

use crate::folder;

const TOOL: &str = "rpi-otp-private-key";

/// Whether there is something already that is encrypted with the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealed {
    /// A new gallery: the key is made with it.
    Nothing,
    /// A gallery that cannot be read without its key.
    Gallery,
}

impl Sealed {
    /// Of a gallery in a file of the data folder.
    pub fn in_folder(data: &DataFolder) -> Self {
        if data.file(folder::GALLERY).exists() { Self::Gallery } else { Self::Nothing }
    }
}

/// The key of the gallery in this folder: made for a new gallery alone, and sealed where the device can.
///
/// # Errors
/// A key that is missing, damaged, exposed or another device's.
pub fn open(data: &DataFolder, sealed: Sealed) -> anyhow::Result<Key> {
    let path = data.file(folder::GALLERY_KEY);
    let device = device_secret()?;
    if path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        anyhow::ensure!(
            sealed == Sealed::Nothing,
            "{} is missing, and the gallery cannot be read without it: put it there again from where it is kept",
            path.display(),
        );
        let key = Key::generate()?;
        store(&path, &key, device.as_ref())?;
        return Ok(key);
    }
    let (key, form) = read(&path, device.as_ref())?;
    if form == Form::Plain && device.is_some() {
        store(&path, &key, device.as_ref())?;
        tracing::info!("the gallery's key is sealed with this device's secret from now on");
    }
    Ok(key)
}

/// The key in the folder of a program that may be running, for an encrypted backup.
///
/// # Errors
/// As [`open`].
pub fn of_another(data: &DataFolder) -> anyhow::Result<Key> {
    Ok(read(&data.file(folder::GALLERY_KEY), device_secret()?.as_ref())?.0)
}

/// How a key lies on the disk.
#[derive(PartialEq)]
enum Form {
    Plain,
    Sealed,
}

fn read(path: &Path, device: Option<&Key>) -> anyhow::Result<(Key, Form)> {
    let bytes = read_private(path, SEALED_KEY_SIZE_BYTES as u64)?;
    if let Ok(plain) = <[u8; KEY_SIZE_BYTES]>::try_from(bytes.as_slice()) {
        return Ok((Key::new(plain), Form::Plain));
    }
    let shown = path.display();
    anyhow::ensure!(bytes.len() == SEALED_KEY_SIZE_BYTES, "{shown} is no key: put the right file there");
    let device = device.with_context(|| {
        format!("{shown} is sealed for a device with a secret, and {TOOL} tells none here: {ELSEWHERE}")
    })?;
    let key = Key::opened_on(device, &bytes);
    Ok((key.with_context(|| format!("{shown} is sealed for another device: {ELSEWHERE}"))?, Form::Sealed))
}

const ELSEWHERE: &str = "restore an encrypted backup on this one";

fn store(path: &Path, key: &Key, device: Option<&Key>) -> anyhow::Result<()> {
    match device {
        Some(device) => replace_file(path, &key.sealed_for(device)?)?,
        None => replace_file(path, key.bytes())?,
    }
    Ok(())
}

/// The secret of this device, where its owner has set one.
fn device_secret() -> anyhow::Result<Option<Key>> {
    let ask = |check: &[&str]| Command::new(TOOL).args(check).stdin(Stdio::null()).output();
    match ask(&["-c"]) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Ok(none) if !none.status.success() => return Ok(None),
        checked => checked.context(TOOL)?,
    };
    let told = ask(&[]).context(TOOL)?;
    let mut secret = [0; KEY_SIZE_BYTES];
    let digits = std::str::from_utf8(&told.stdout).unwrap_or_default().trim();
    hex::decode_to_slice(digits, &mut secret).ok().with_context(|| {
        format!("{TOOL} told something else than 64 hex digits: run it to see what is wrong with the device's secret")
    })?;
    Ok(Some(Key::new(secret)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn what_is_no_key_is_refused_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::open(&folder.path().join("data")).unwrap();
        let path = data.file(folder::GALLERY_KEY);
        for length in [0, KEY_SIZE_BYTES - 1, KEY_SIZE_BYTES + 1, SEALED_KEY_SIZE_BYTES + 1] {
            let bytes = vec![7; length];
            replace_file(&path, &bytes).unwrap();
            open(&data, Sealed::Nothing).unwrap_err();
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        }
    }

    #[test]
    fn f078_a_link_that_leads_nowhere_is_no_key_and_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::open(&folder.path().join("data")).unwrap();
        let path = data.file(folder::GALLERY_KEY);
        std::os::unix::fs::symlink("nowhere", &path).unwrap();
        assert!(open(&data, Sealed::Nothing).unwrap_err().to_string().contains("symbolic link"));
        assert!(path.is_symlink());
    }
}
