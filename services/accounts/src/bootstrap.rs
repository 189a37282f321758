//! The first administrator: a token in the file `admin.token` of the data folder. Whoever can read that folder is the
//! administrator of the site.
//!
//! The file is one line, the token and a newline, readable by its owner alone. It is made when it is not there, when
//! its token does not count any more, and when that ends within 30 days; the token before it is withdrawn then. So
//! whoever has lost it deletes the file and starts the program again.
//!
//! A crash between the database and the file leaves a file whose token is withdrawn, or none: the next start makes it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rollcall_core::UtcInstant;
use zeroize::Zeroizing;

use crate::{Accounts, AccountsError};

const FILE: &str = "admin.token";
const PART: &str = "admin.token.part";
const RENEWED_BEFORE: Duration = Duration::from_secs(30 * 24 * 3_600);
/// More than a token and a newline.
const FILE_SIZE_BYTES: u64 = 128;

impl Accounts {
    /// Sees to it that `folder` holds the token of an administrator, and returns where.
    ///
    /// # Errors
    /// When the file cannot be read or written, or the database.
    pub async fn bootstrap(&self, folder: &Path, now: UtcInstant) -> Result<PathBuf, AccountsError> {
        let path = folder.join(FILE);
        if let Some(text) = read(&path)? {
            match self.authenticate_token(&text, now).await {
                Ok(standing) if standing.expire.is_some_and(|end| end > now.after(RENEWED_BEFORE)) => {
                    return Ok(path);
                }
                Ok(_)
                | Err(
                    AccountsError::TokenUnknown
                    | AccountsError::TokenExpired { .. }
                    | AccountsError::TokenRevoked,
                ) => {}
                Err(error) => return Err(error),
            }
        }
        let (token, text) = self.create_folder_token(now).await?;
        write(folder, &text)?;
        tracing::info!(token = %token.id, file = %path.display(), "made an administrator's token");
        Ok(path)
    }
}

fn read(path: &Path) -> Result<Option<Zeroizing<String>>, AccountsError> {
    let mut text = Zeroizing::new(String::new());
    let read = File::open(path).and_then(|file| file.take(FILE_SIZE_BYTES).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(Some(Zeroizing::new(text.trim_end().to_owned()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // Not text: no token.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Some(Zeroizing::default())),
        Err(source) => Err(failed("read", path, source)),
    }
}

/// Writes the file whole or not at all.
fn write(folder: &Path, text: &str) -> Result<(), AccountsError> {
    let (part, path) = (folder.join(PART), folder.join(FILE));
    let put = || -> io::Result<()> {
        match std::fs::remove_file(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
        file.write_all(format!("{text}\n").as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&part, &path)?;
        File::open(folder)?.sync_all()
    };
    put().map_err(|source| failed("write", &path, source))
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> AccountsError {
    AccountsError::File { doing, path: path.display().to_string(), source }
}
