//! `models/manifest.toml`: which networks there are, what each takes and gives, and the hash of its file.
//!
//! A file is read whole, its SHA-256 is compared with the manifest's, and only then is it parsed: whatever else a
//! file may hold, it is never looked at unless it is the file that the manifest means. The manifest itself is
//! trusted as the program's own configuration.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rollcall_core::limits;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::align::Template;
use crate::calibration::ScoreDistribution;
use crate::detect::Detector;
use crate::embed::Embedder;
use crate::input::{Input, Side};
use crate::liveness::Liveness;
use crate::net::{Network, NetworkError};

/// A folder of networks with its manifest.
#[derive(Debug)]
pub struct Models {
    folder: PathBuf,
    manifest: Manifest,
}

/// The manifest as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    schema: u32,
    #[serde(rename = "network")]
    networks: Vec<Entry>,
}

/// One network of the manifest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What it is called in errors and in templates.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Version of the weights.
    pub version: String,
    /// Name of the file beside the manifest.
    pub file: String,
    /// SHA-256 of that file, 64 hexadecimal digits.
    pub sha256: String,
    /// Under which licence the weights are had.
    pub licence: String,
    /// Where they come from.
    pub origin: String,
    /// Path of the model card beside the manifest.
    pub card: String,
    /// What it takes.
    pub input: Input,
    /// What it gives.
    pub outputs: Vec<OutputShape>,
    /// Values in an embedding, for [`Role::Embedding`].
    pub embedding_length: Option<usize>,
    /// Where the landmarks belong in an aligned face, for [`Role::Embedding`].
    pub alignment: Option<Template>,
    /// By how much the face's box is enlarged to be cut out, for [`Role::Liveness`].
    pub enlarge: Option<f32>,
    /// Measured scores of different people and of the same, for [`Role::Embedding`]; what thresholds are solved from.
    #[serde(default)]
    pub scores: Vec<ScoreDistribution>,
}

/// What a network is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// First stage of the detector.
    DetectorPropose,
    /// Second stage of the detector.
    DetectorRefine,
    /// Last stage of the detector.
    DetectorOutput,
    /// Faces to embeddings.
    Embedding,
    /// Whether a face is a live one. Optional; its score is the mean over all networks with this role.
    Liveness,
}

/// What a network gives.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputShape {
    /// Name of the output in the file.
    pub name: String,
    /// N, values, and for maps height and width.
    pub shape: Vec<Side>,
}

/// Why a network is not used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The manifest cannot be read or contradicts itself.
    #[error("the manifest {path} is not usable: {why}; install the models folder again", path = .path.display())]
    Manifest {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The file cannot be read.
    #[error(
        "the network {name} cannot be read from {path} (sha256 {wanted} expected): {source}; put the file there",
        path = .path.display()
    )]
    Unreadable {
        /// Name in the manifest.
        name: String,
        /// Which file.
        path: PathBuf,
        /// The hash that the manifest gives.
        wanted: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file is another one than the manifest means.
    #[error(
        "the network {name} in {path} is not the expected file: sha256 {found} found, {wanted} expected; \
         put the right file there or correct its manifest entry",
        path = .path.display()
    )]
    Hash {
        /// Name in the manifest.
        name: String,
        /// Which file.
        path: PathBuf,
        /// The hash of what is there.
        found: String,
        /// The hash that the manifest gives.
        wanted: String,
    },
    /// The right file, which cannot be run.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

impl Models {
    /// Reads `manifest.toml` in `folder`.
    ///
    /// # Errors
    /// [`ModelError::Manifest`] when it is missing, damaged, of another schema, or lacks a role.
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join("manifest.toml");
        let fail = |why: String| ModelError::Manifest { path: path.clone(), why };
        let bytes = read_limited(&path, limits::MANIFEST_SIZE_BYTES).map_err(|e| fail(e.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|e| fail(e.to_string()))?;
        let manifest: Manifest = toml::from_str(&text).map_err(|e| fail(e.to_string()))?;
        if manifest.schema != 1 {
            return Err(fail(format!("its schema is {}, this program knows schema 1", manifest.schema)));
        }
        for entry in &manifest.networks {
            let digits = entry.sha256.len() == 64
                && entry.sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            let plain =
                Path::new(&entry.file).components().eq([std::path::Component::Normal(entry.file.as_ref())]);
            if !digits || !plain {
                return Err(fail(format!(
                    "{} has no plain file name or no sha256 in small letters",
                    entry.name
                )));
            }
        }
        let models = Self { folder: folder.to_owned(), manifest };
        for role in [Role::DetectorPropose, Role::DetectorRefine, Role::DetectorOutput, Role::Embedding] {
            models.sole(role)?;
        }
        Ok(models)
    }

    /// All networks, in the order of the manifest.
    pub fn entries(&self) -> &[Entry] {
        &self.manifest.networks
    }

    /// The entry of the embedding network.
    ///
    /// # Errors
    /// [`ModelError::Manifest`] when there is not exactly one.
    pub fn embedding(&self) -> Result<&Entry, ModelError> {
        self.sole(Role::Embedding)
    }

    /// The detector.
    ///
    /// # Errors
    /// When one of its files is missing, is another file than the manifest's, or is not a network.
    pub fn detector(&self) -> Result<Detector, ModelError> {
        let network = |role| self.load(self.sole(role)?);
        let (propose, refine) = (network(Role::DetectorPropose)?, network(Role::DetectorRefine)?);
        Ok(Detector::new(propose, refine, network(Role::DetectorOutput)?))
    }

    /// The embedding network.
    ///
    /// # Errors
    /// As [`Models::detector`].
    pub fn embedder(&self) -> Result<Embedder, ModelError> {
        let entry = self.embedding()?;
        let (Some(length), [output]) = (entry.embedding_length, entry.outputs.as_slice()) else {
            return Err(self.invalid(format!("{} needs an embedding_length and one output", entry.name)));
        };
        Ok(Embedder::new(self.load(entry)?, entry.input.clone(), output.name.clone(), length))
    }

    /// Where the landmarks belong in an aligned face.
    ///
    /// # Errors
    /// [`ModelError::Manifest`] when the embedding network has none.
    pub fn template(&self) -> Result<Template, ModelError> {
        let entry = self.embedding()?;
        entry.alignment.ok_or_else(|| self.invalid(format!("{} needs an alignment", entry.name)))
    }

    /// The liveness networks, when the site has put some in: without them nothing is ever called live.
    ///
    /// # Errors
    /// As [`Models::detector`].
    pub fn liveness(&self) -> Result<Option<Liveness>, ModelError> {
        let mut networks = Vec::new();
        for entry in self.manifest.networks.iter().filter(|e| e.role == Role::Liveness) {
            let (Some(enlarge), [output]) = (entry.enlarge, entry.outputs.as_slice()) else {
                return Err(self.invalid(format!("{} needs an enlarge and one output", entry.name)));
            };
            networks.push((self.load(entry)?, entry.input.clone(), output.name.clone(), enlarge));
        }
        Ok(Liveness::new(networks))
    }

    /// The network of `entry`, read only after its hash is checked.
    ///
    /// # Errors
    /// As [`Models::detector`].
    pub fn load(&self, entry: &Entry) -> Result<Network, ModelError> {
        Ok(Network::from_onnx(&entry.name, &self.read(entry)?)?)
    }

    /// The bytes of the file of `entry`, after its hash is checked.
    ///
    /// # Errors
    /// [`ModelError::Unreadable`] and [`ModelError::Hash`].
    pub fn read(&self, entry: &Entry) -> Result<Vec<u8>, ModelError> {
        let (name, path) = (entry.name.clone(), self.folder.join(&entry.file));
        let wanted = entry.sha256.clone();
        let bytes = match read_limited(&path, limits::NETWORK_FILE_SIZE_BYTES) {
            Ok(bytes) => bytes,
            Err(source) => return Err(ModelError::Unreadable { name, path, wanted, source }),
        };
        let found: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        if found == wanted { Ok(bytes) } else { Err(ModelError::Hash { name, path, found, wanted }) }
    }

    fn sole(&self, role: Role) -> Result<&Entry, ModelError> {
        let mut entries = self.manifest.networks.iter().filter(|e| e.role == role);
        match (entries.next(), entries.next()) {
            (Some(entry), None) => Ok(entry),
            (None, _) => Err(self.invalid(format!("no network has the role {role:?}"))),
            (Some(_), Some(_)) => Err(self.invalid(format!("more than one network has the role {role:?}"))),
        }
    }

    fn invalid(&self, why: String) -> ModelError {
        ModelError::Manifest { path: self.folder.join("manifest.toml"), why }
    }
}

/// A regular file of at most `limit` bytes.
fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("it has more than {limit} bytes")));
    }
    Ok(bytes)
}
