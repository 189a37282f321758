//! The bytes of a backup.
//!
//! A ustar file with regular files only, in this order: `manifest.json`; the files that it lists; `manifest.sha256`,
//! the manifest's hash as sha256sum writes it; 1,024 zeros. Every header is the one that [`header`] makes: mode 0600,
//! owner 0, the time of the manifest. With a passphrase the whole is in the age format.
//!
//! Reading takes these bytes and no others: each header is compared with the only right one, each file with its hash,
//! the padding with zeros, and after the end nothing may follow. So a changed byte anywhere is found, and a link, a
//! device, a path, a file too many or too large is a difference before anything is written for it. Nothing is written
//! but files that the manifest lists, under names without a slash. A torn file ends too early.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use age::scrypt::{Identity, Recipient};
use age::secrecy::SecretString;
use age::stream::StreamWriter;
use age::{DecryptError, Decryptor, Encryptor};
use rollcall_core::limits;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};

use super::{FORMAT, Manifest, is_plain_name};
use crate::StoreError;
use crate::folder::{create_private, file_error};

pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const MANIFEST_HASH: &str = "manifest.sha256";

/// How an age file begins.
const AGE: &[u8] = b"age-encryption.org/v1\n";

const BLOCK: usize = 512;

/// Blocks of zeros at the end of a tar file.
const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

const BUFFER: usize = 256 << 10;

/// The only header that a file of this name and size has.
fn header(name: &str, size_bytes: u64, mtime_s: u64) -> io::Result<Header> {
    let mut header = Header::new_ustar();
    header.set_path(name)?;
    header.set_entry_type(EntryType::Regular);
    header.set_size(size_bytes);
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(mtime_s);
    header.set_cksum();
    Ok(header)
}

/// Zeros after so many bytes, up to a whole block.
fn padding(size_bytes: u64) -> usize {
    let over = usize::try_from(size_bytes % BLOCK as u64).unwrap_or(0);
    (BLOCK - over) % BLOCK
}

fn mtime_s(manifest: &Manifest) -> u64 {
    u64::try_from(manifest.made_at_us / 1_000_000).unwrap_or(0)
}

fn hash_line(manifest: &[u8]) -> String {
    format!("{}  {MANIFEST}\n", hex::encode(Sha256::digest(manifest)))
}

/// Size and hash of a file.
pub(super) fn measure(path: &Path) -> Result<(u64, String), StoreError> {
    let mut hashing = Hashing { out: io::sink(), hash: Sha256::new() };
    let measured = File::open(path).and_then(|mut file| io::copy(&mut file, &mut hashing));
    let size_bytes = measured.map_err(|source| file_error("read", path, source))?;
    Ok((size_bytes, hex::encode(hashing.hash.finalize())))
}

/// Writes the backup of the files in `folder` to `file`, called `path`, and syncs it.
pub(super) fn write(
    file: File,
    path: &Path,
    passphrase: Option<SecretString>,
    manifest: &Manifest,
    folder: &Path,
) -> Result<(), StoreError> {
    let written = || -> io::Result<()> {
        let mut sink = Sink::new(file, passphrase)?;
        let listed = serde_json::to_vec_pretty(manifest)?;
        let mtime_s = mtime_s(manifest);
        write_entry(&mut sink, MANIFEST, listed.len() as u64, mtime_s, &mut listed.as_slice())?;
        for one in &manifest.files {
            let mut copy = File::open(folder.join(&one.name))?;
            write_entry(&mut sink, &one.name, one.size_bytes, mtime_s, &mut copy)?;
        }
        let hash = hash_line(&listed);
        write_entry(&mut sink, MANIFEST_HASH, hash.len() as u64, mtime_s, &mut hash.as_bytes())?;
        sink.write_all(&END)?;
        let file = sink.finish()?;
        file.sync_all()?;
        // So that it is read back from the disk and not from memory; a wish, not a need.
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        Ok(())
    };
    written().map_err(|source| file_error("write the backup", path, source))
}

fn write_entry(
    sink: &mut Sink,
    name: &str,
    size_bytes: u64,
    mtime_s: u64,
    content: &mut dyn Read,
) -> io::Result<()> {
    sink.write_all(header(name, size_bytes, mtime_s)?.as_bytes())?;
    if io::copy(&mut content.take(size_bytes), sink)? != size_bytes {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a copy became shorter"));
    }
    sink.write_all(&END[..padding(size_bytes)])
}

/// Where a backup goes.
enum Sink {
    Plain(BufWriter<File>),
    Encrypted(Box<StreamWriter<BufWriter<File>>>),
}

impl Sink {
    fn new(file: File, passphrase: Option<SecretString>) -> io::Result<Self> {
        let file = BufWriter::with_capacity(BUFFER, file);
        let Some(passphrase) = passphrase else { return Ok(Self::Plain(file)) };
        let mut recipient = Recipient::new(passphrase);
        recipient.set_work_factor(limits::BACKUP_SCRYPT_LOG2);
        let encryptor = Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient));
        let encryptor = encryptor.map_err(io::Error::other)?;
        Ok(Self::Encrypted(Box::new(encryptor.wrap_output(file)?)))
    }

    fn finish(self) -> io::Result<File> {
        let buffer = match self {
            Self::Plain(buffer) => buffer,
            Self::Encrypted(writer) => writer.finish()?,
        };
        buffer.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(writer) => writer.write(bytes),
            Self::Encrypted(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(writer) => writer.flush(),
            Self::Encrypted(writer) => writer.flush(),
        }
    }
}

/// What a backup says is in it. Nothing else of it is looked at.
pub(super) fn manifest(path: &Path, passphrase: Option<SecretString>) -> Result<Manifest, StoreError> {
    let mut source = Source { input: open(path, passphrase)?, path };
    Ok(source.manifest()?.0)
}

/// Checks a backup and puts its files into `into`, an empty folder. After an error what is there is worth nothing.
pub(super) fn unpack(
    path: &Path,
    passphrase: Option<SecretString>,
    into: &Path,
) -> Result<Manifest, StoreError> {
    let mut source = Source { input: open(path, passphrase)?, path };
    let (manifest, listed, mtime_s) = source.manifest()?;
    if self::mtime_s(&manifest) != mtime_s {
        return Err(source.damaged("the time of its manifest is not the time in it"));
    }
    for file in &manifest.files {
        source.check_header(&file.name, file.size_bytes, mtime_s)?;
        let target = into.join(&file.name);
        let mut writer = Hashing { out: create_private(&target)?, hash: Sha256::new() };
        source.content(file.size_bytes, &mut writer, &target)?;
        if hex::encode(writer.hash.finalize()) != file.sha256 {
            return Err(source.damaged(format!("\"{}\" in it was changed", file.name)));
        }
    }
    let expected = hash_line(&listed);
    source.check_header(MANIFEST_HASH, expected.len() as u64, mtime_s)?;
    let mut found = Vec::new();
    source.content(expected.len() as u64, &mut found, Path::new(MANIFEST_HASH))?;
    if found != expected.as_bytes() {
        return Err(source.damaged("its manifest was changed"));
    }
    source.check_end()?;
    Ok(manifest)
}

/// A backup file as a tar stream.
fn open(path: &Path, passphrase: Option<SecretString>) -> Result<Box<dyn Read>, StoreError> {
    let wrong = |problem| StoreError::BackupPassphrase { file: path.to_owned(), problem };
    let damaged = |problem: String| StoreError::BackupDamaged { file: path.to_owned(), problem };
    let file = File::open(path).map_err(|source| file_error("open the backup", path, source))?;
    let mut start = Vec::with_capacity(AGE.len());
    let read = (&file).take(AGE.len() as u64).read_to_end(&mut start);
    read.and_then(|_| io::Seek::rewind(&mut &file))
        .map_err(|source| file_error("read the backup", path, source))?;
    let file = BufReader::with_capacity(BUFFER, file);
    let passphrase = match (start == AGE, passphrase) {
        (false, None) => return Ok(Box::new(file)),
        (false, Some(_)) => {
            return Err(wrong("was given, but the file is not encrypted; if that is right, leave it away"));
        }
        (true, None) => return Err(wrong("is needed: the file is encrypted")),
        (true, Some(passphrase)) => passphrase,
    };
    let mut identity = Identity::new(passphrase);
    identity.set_max_work_factor(limits::BACKUP_SCRYPT_LOG2_MAX);
    let decryptor = Decryptor::new_buffered(file).map_err(|error| damaged(error.to_string()))?;
    match decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity)) {
        Ok(reader) => Ok(Box::new(reader)),
        Err(DecryptError::ExcessiveWork { required, .. }) => Err(damaged(format!(
            "its passphrase takes 2^{required} steps to check, which no backup of ours does"
        ))),
        Err(_) => Err(wrong("is wrong, or the beginning of the file is damaged")),
    }
}

/// The stream that is unpacked.
struct Source<'a> {
    input: Box<dyn Read>,
    path: &'a Path,
}

impl Source<'_> {
    fn damaged(&self, problem: impl Into<String>) -> StoreError {
        StoreError::BackupDamaged { file: self.path.to_owned(), problem: problem.into() }
    }

    fn read_failed(&self, error: &io::Error) -> StoreError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged("it ends too early"),
            _ => self.damaged(format!("it cannot be read: {error}")),
        }
    }

    fn block(&mut self) -> Result<[u8; BLOCK], StoreError> {
        let mut block = [0; BLOCK];
        self.input.read_exact(&mut block).map_err(|error| self.read_failed(&error))?;
        Ok(block)
    }

    /// The first file: what it says, its bytes, and the time that every header has.
    fn manifest(&mut self) -> Result<(Manifest, Vec<u8>, u64), StoreError> {
        let first = self.block()?;
        let (size_bytes, mtime_s) = self.check_first(&first)?;
        let mut listed = Vec::new();
        self.content(size_bytes, &mut listed, Path::new(MANIFEST))?;
        Ok((self.parse_manifest(&listed)?, listed, mtime_s))
    }

    /// The manifest's header tells its size and the time that all others have, and must be ours otherwise.
    fn check_first(&self, found: &[u8; BLOCK]) -> Result<(u64, u64), StoreError> {
        let theirs = Header::from_byte_slice(found);
        let (Ok(size_bytes), Ok(mtime_s)) = (theirs.entry_size(), theirs.mtime()) else {
            return Err(self.damaged("it is no backup of this program"));
        };
        let expected = header(MANIFEST, size_bytes, mtime_s);
        if !expected.is_ok_and(|expected| expected.as_bytes() == found) {
            return Err(self.damaged("it is no backup of this program, or its first bytes were changed"));
        }
        if size_bytes > limits::BACKUP_MANIFEST_SIZE_BYTES {
            return Err(self.damaged(format!("its manifest would have {size_bytes} bytes")));
        }
        Ok((size_bytes, mtime_s))
    }

    fn parse_manifest(&self, listed: &[u8]) -> Result<Manifest, StoreError> {
        /// What every format has.
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let unreadable = |error| self.damaged(format!("its manifest cannot be read: {error}"));
        let Format { format } = serde_json::from_slice(listed).map_err(unreadable)?;
        if format > FORMAT {
            return Err(StoreError::BackupNewer {
                file: self.path.to_owned(),
                what: format!("format {format}, this program reads {FORMAT}"),
            });
        }
        let manifest: Manifest = serde_json::from_slice(listed).map_err(unreadable)?;
        if manifest.files.len() > limits::BACKUP_FILES {
            return Err(self.damaged(format!("it lists {} files", manifest.files.len())));
        }
        for (position, file) in manifest.files.iter().enumerate() {
            if !is_plain_name(&file.name) {
                return Err(self.damaged(format!("it lists a file {}", shown(file.name.as_bytes()))));
            }
            if manifest.files.iter().take(position).any(|earlier| earlier.name == file.name) {
                return Err(self.damaged(format!("it lists {} twice", shown(file.name.as_bytes()))));
            }
        }
        Ok(manifest)
    }

    /// The next header must be that of this file.
    fn check_header(&mut self, name: &str, size_bytes: u64, mtime_s: u64) -> Result<(), StoreError> {
        let found = self.block()?;
        let expected = header(name, size_bytes, mtime_s);
        if expected.is_ok_and(|expected| expected.as_bytes() == &found) {
            return Ok(());
        }
        let theirs = Header::from_byte_slice(&found);
        let what = match theirs.entry_type() {
            EntryType::Regular => "a file",
            EntryType::Symlink | EntryType::Link => "a link",
            EntryType::Block | EntryType::Char | EntryType::Fifo => "a device",
            EntryType::Directory => "a folder",
            _ => "something",
        };
        Err(self.damaged(format!(
            "where its manifest lists the file \"{name}\" of {size_bytes} bytes it has {what} {} of {} bytes",
            shown(&theirs.path_bytes()),
            theirs.entry_size().unwrap_or(0),
        )))
    }

    /// Copies so many bytes to `out`, called `target`, and checks the zeros after them.
    fn content(&mut self, size_bytes: u64, out: &mut dyn Write, target: &Path) -> Result<(), StoreError> {
        let mut buffer = vec![0; BUFFER];
        let mut left = size_bytes;
        while left > 0 {
            let length = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let chunk = &mut buffer[..length];
            self.input.read_exact(chunk).map_err(|error| self.read_failed(&error))?;
            out.write_all(chunk).map_err(|source| file_error("write", target, source))?;
            left -= length as u64;
        }
        let zeros = &mut buffer[..padding(size_bytes)];
        self.input.read_exact(zeros).map_err(|error| self.read_failed(&error))?;
        if zeros.iter().any(|b| *b != 0) {
            return Err(self.damaged("it has bytes between its files"));
        }
        Ok(())
    }

    /// Zeros, and then nothing; reading on to the end also checks that an encrypted file is whole.
    fn check_end(&mut self) -> Result<(), StoreError> {
        let mut rest = Vec::new();
        let read = (&mut self.input).take(END.len() as u64 + 1).read_to_end(&mut rest);
        read.map_err(|error| self.read_failed(&error))?;
        match rest.len() {
            _ if rest == END => Ok(()),
            length if length < END.len() => Err(self.damaged("it ends too early")),
            _ => Err(self.damaged("it has more than its manifest lists")),
        }
    }
}

/// A name as a message may have it.
fn shown(name: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(name).chars().take(80).collect::<String>())
}

/// Hashes what is written.
struct Hashing<W> {
    out: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
