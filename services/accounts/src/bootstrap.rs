//! The first administrator: a token in the file `admin.token` of the data folder. Whoever can read that folder is the
//! administrator of the site.
//!
//! The file is one line, the token and a newline, readable by its owner alone. It is made when it is not there, when
//! its token does not count any more, and when that ends within 30 days; the token that was made for this folder before
//! is withdrawn then. So whoever has lost it deletes the file and starts the program again. Several programs over one
//! database have a folder each, which `folder.id` tells apart: 32 hex digits and a newline.
//!
//! A crash between the database and the file leaves a file whose token is withdrawn, or none: the next start makes it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rollcall_core::UtcInstant;
use rollcall_store::{read_private, replace_file};
use zeroize::Zeroizing;

use crate::token::FolderId;
use crate::{Accounts, AccountsError};

const FILE: &str = "admin.token";
const ID_FILE: &str = "folder.id";
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
        let made = self.create_folder_token(folder_id(folder)?, now).await?;
        let text = made.secret.unwrap_or_default();
        replace_file(&path, Zeroizing::new(format!("{}\n", &*text)).as_bytes())?;
        tracing::info!(token = %made.token.id, file = %path.display(), "made an administrator's token");
        Ok(path)
    }
}

/// Which folder this is, made up when it was not said yet.
fn folder_id(folder: &Path) -> Result<FolderId, AccountsError> {
    let path = folder.join(ID_FILE);
    if let Some(text) = read(&path)?
        && let Some(id) = FolderId::parse(&text)
    {
        return Ok(id);
    }
    let id = FolderId::generate()?;
    replace_file(&path, format!("{id}\n").as_bytes())?;
    Ok(id)
}

fn read(path: &Path) -> Result<Option<Zeroizing<String>>, AccountsError> {
    if path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(None);
    }
    let bytes = read_private(path, FILE_SIZE_BYTES)?;
    // What is no text is no token.
    let text = str::from_utf8(&bytes).unwrap_or_default();
    Ok(Some(Zeroizing::new(text.trim_end().to_owned())))
}
