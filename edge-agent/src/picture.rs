//! Picture files from disk.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rollcall_core::limits;
use rollcall_vision::RgbImage;
use rollcall_vision::decode::{DecodeError, decode};
use rustix::fs::OFlags;

/// Why a picture file gives no picture.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// Not a regular file.
    #[error("it is {0}, not a file; name a JPEG, PNG or WebP file")]
    NotAFile(&'static str),
    /// Larger than [`limits::PICTURE_FILE_SIZE_BYTES`].
    #[error("the file has {0} bytes, at most {max} are read; save it smaller", max = limits::PICTURE_FILE_SIZE_BYTES)]
    TooLarge(u64),
    /// The system refused.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Not a picture that can be shown.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Reads and decodes the picture at `path`.
///
/// # Errors
/// When it is not a regular file, too large, unreadable, or no sound picture.
pub fn read_picture(path: &Path) -> Result<RgbImage, PictureError> {
    Ok(decode(&read_file(path)?)?)
}

/// The bytes of the regular file at `path`. Never waits, whatever is there.
pub fn read_file(path: &Path) -> Result<Vec<u8>, PictureError> {
    // Without NONBLOCK, opening a FIFO that nobody writes to would wait for ever.
    let flags = OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(PictureError::NotAFile("a folder"));
    }
    if !metadata.is_file() {
        return Err(PictureError::NotAFile("a pipe or device"));
    }
    let limit = limits::PICTURE_FILE_SIZE_BYTES;
    if metadata.len() > limit {
        return Err(PictureError::TooLarge(metadata.len()));
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize + 1);
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(PictureError::TooLarge(bytes.len() as u64));
    }
    Ok(bytes)
}
