//! The running part of recognition: the networks, everybody's faces in memory, and the thresholds in force.
//!
//! Whoever decides (a call, the camera's thread) asks [`Recogniser::decide`], which reads memory alone. The faces follow
//! the database by [`Recogniser::catch_up`], the one way in which they change. The thresholds follow the faces, later:
//! [`Recogniser::calibrate`] solves them on a thread of its own from a copy.
//!
//! Locks are held for one search or one change, never across an await.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use rollcall_core::{PersonId, UtcInstant, limits};
use rollcall_store::Tx;
use rollcall_vision::{Embedding, Models, Quality};
use tokio::sync::oneshot;

use crate::decide::{self, Best, Comparison, Decision};
use crate::faces::{Faces, PersonFaces};
use crate::keys::Key;
use crate::recognise::{Inference, RecogniseError};
use crate::seal::{Place, Seal};
use crate::store::changes;
use crate::store::faces::{self as stored, Everybody, SealedPerson};
use crate::{Candidate, GalleryError, Thresholds};

/// The table of the templates: part of what each is sealed with.
pub(crate) const TEMPLATE_TABLE: &str = "gallery_template";
/// The same for kept pictures.
pub(crate) const PICTURE_TABLE: &str = "gallery_picture";

/// From so many changed people on everybody is read, which takes less time than asking for each.
const CHANGED_PEOPLE: usize = 2_000;

/// How faces are recognised.
#[derive(Clone, Debug)]
pub struct FaceOptions {
    /// The folder of the networks.
    pub models: PathBuf,
    /// The false positive identification rate that the site accepts: above 0, at most 0.5.
    pub fpir_target: f64,
    /// Whether the pictures that templates are made of are kept, sealed.
    pub keep_pictures: bool,
    /// Threads that read pictures.
    pub threads: usize,
}

/// The networks, the faces, the thresholds.
pub struct Recogniser {
    models: Models,
    /// SHA-256 of the embedding network.
    model_hash: [u8; 32],
    /// Its name and the first 12 hex digits of that.
    model: Arc<str>,
    length: usize,
    options: RwLock<FaceOptions>,
    seal: Seal,
    inference: Inference,
    faces: RwLock<Faces>,
    solved: RwLock<Solved>,
}

/// Thresholds, and what they were solved for.
struct Solved {
    revision: i64,
    thresholds: Arc<Thresholds>,
}

impl Recogniser {
    /// Loads the networks and starts the threads. Nobody is known yet; the thresholds are those of an empty gallery.
    pub(crate) fn load(options: FaceOptions, key: &Key) -> Result<Self, RecogniseError> {
        let models = Models::open(&options.models)?;
        let network = models.embedding()?;
        let mut model_hash = [0; 32];
        // The manifest was checked to have 64 digits.
        let _sound = hex::decode_to_slice(&network.sha256, &mut model_hash);
        let model = format!("{} {}", network.name, &network.sha256[..12]).into();
        let inference = Inference::start(&models, options.threads)?;
        let length = models.embedder()?.length();
        let faces = Faces::new(length)?;
        let nobody = faces.index().cross_scores();
        let thresholds = Thresholds::solve(network, options.fpir_target, 0, &nobody)?;
        Ok(Self {
            model_hash,
            model,
            length,
            options: RwLock::new(options),
            seal: Seal::new(key.bytes()),
            inference,
            faces: RwLock::new(faces),
            solved: RwLock::new(Solved { revision: -1, thresholds: Arc::new(thresholds) }),
            models,
        })
    }

    /// Whose face a probe is, at `now`. `frames` are those whose evidence was fused to it, 1 for a picture. Reads
    /// memory alone: `cargo bench -p rollcall-gallery --features testing --bench faces` says how long.
    ///
    /// # Errors
    /// When the probe is of another network.
    pub fn decide(
        &self,
        probe: &Embedding,
        quality: Quality,
        frames: usize,
        now: UtcInstant,
    ) -> Result<Decision, RecogniseError> {
        let threshold = self.thresholds().identify;
        let comparison = self.compare(probe, None, now)?;
        Ok(decide::decide(&comparison, threshold, quality, frames, &self.model))
    }

    /// Whether a probe is the one person's who can be matched at `now`: at the same rate of false matches, but of one
    /// comparison, so the threshold is lower. The person's own threshold counts here too.
    ///
    /// # Errors
    /// When the probe is of another network.
    pub fn verify(
        &self,
        person: PersonId,
        probe: &Embedding,
        quality: Quality,
        now: UtcInstant,
    ) -> Result<Decision, RecogniseError> {
        let threshold = self.thresholds().verify;
        let faces = self.faces();
        let score = faces.index().score(person, probe)?.filter(|_| faces.matches(person, now));
        let best = score.zip(faces.best_template(person, probe)?).map(|(score, template)| Best {
            candidate: Candidate { person, score },
            template,
            own_threshold: faces.own_threshold(person),
        });
        let comparison = Comparison { best, runner_up: None, gallery_size: usize::from(best.is_some()) };
        Ok(decide::decide(&comparison, threshold, quality, 1, &self.model))
    }

    /// The decision of a face that is not seen well enough to be compared.
    pub fn unusable(&self, quality: Option<Quality>, now: UtcInstant) -> Decision {
        decide::unusable(quality, self.faces().len(now), &self.model)
    }

    /// What a face scores with everybody who can be matched at `now`, `except` one.
    pub(crate) fn compare(
        &self,
        probe: &Embedding,
        except: Option<PersonId>,
        now: UtcInstant,
    ) -> Result<Comparison, RecogniseError> {
        Ok(self.faces().compare(probe, except, now)?)
    }

    /// The thresholds in force.
    pub fn thresholds(&self) -> Arc<Thresholds> {
        Arc::clone(&self.solved.read().unwrap_or_else(PoisonError::into_inner).thresholds)
    }

    /// The network: name and the first 12 hex digits of its hash.
    pub fn model(&self) -> &Arc<str> {
        &self.model
    }

    pub(crate) fn model_hash(&self) -> &[u8; 32] {
        &self.model_hash
    }

    /// Values of one embedding.
    pub(crate) fn embedding_length(&self) -> usize {
        self.length
    }

    pub(crate) fn options(&self) -> FaceOptions {
        self.options.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn seal(&self) -> &Seal {
        &self.seal
    }

    pub(crate) fn inference(&self) -> &Inference {
        &self.inference
    }

    /// The faces as they are now. Not to be held longer than a search takes.
    pub(crate) fn faces(&self) -> RwLockReadGuard<'_, Faces> {
        self.faces.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the faces are as new as `revision`.
    pub(crate) fn has_followed(&self, revision: i64) -> bool {
        self.faces().revision().is_some_and(|followed| followed >= revision)
    }

    /// Brings the faces up to what this transaction sees. A writer that has begun sees all that was committed.
    pub(crate) async fn catch_up(self: &Arc<Self>, tx: &mut Tx) -> Result<(), GalleryError> {
        let newest = changes::newest(tx).await?;
        let followed = self.faces().revision();
        if let Some(followed) = followed {
            if followed >= newest {
                return Ok(());
            }
            let changed = stored::changed_since(tx, followed).await?;
            if let Some(changed) = changed.filter(|changed| changed.len() <= CHANGED_PEOPLE) {
                let mut people = Vec::with_capacity(changed.len());
                for person in changed {
                    people.push(stored::of(tx, person, &self.model_hash).await?);
                }
                self.put(people, newest).await;
                return Ok(());
            }
        }
        self.load_everybody(tx, newest).await
    }

    async fn load_everybody(self: &Arc<Self>, tx: &mut Tx, revision: i64) -> Result<(), GalleryError> {
        let mut everybody = Everybody::begin(tx).await?;
        let mut people = Vec::new();
        let mut skipped = 0;
        while let Some(some) = everybody.next(tx, &self.model_hash).await? {
            let this = Arc::clone(self);
            let opened = off_runtime(move || this.open(some)).await?;
            skipped += opened.skipped;
            people.extend(opened.people);
        }
        let this = Arc::clone(self);
        let refused = off_runtime(move || {
            let mut faces = this.faces.write().unwrap_or_else(PoisonError::into_inner);
            if faces.revision().is_some_and(|followed| followed >= revision) {
                return 0;
            }
            faces.clear();
            faces.apply(people, revision)
        })
        .await?;
        report(skipped, refused);
        Ok(())
    }

    async fn put(self: &Arc<Self>, people: Vec<SealedPerson>, revision: i64) {
        let opened = self.open(people);
        let refused =
            self.faces.write().unwrap_or_else(PoisonError::into_inner).apply(opened.people, revision);
        report(opened.skipped, refused);
    }

    /// Opens templates; those that do not open, or are no embedding, are counted and left out.
    fn open(&self, people: Vec<SealedPerson>) -> Opened {
        let mut opened = Opened { people: Vec::with_capacity(people.len()), skipped: 0 };
        for sealed in people {
            let mut templates = Vec::with_capacity(sealed.templates.len());
            for (template, bytes) in &sealed.templates {
                let place = self.place(TEMPLATE_TABLE, sealed.person, template.as_bytes());
                match self.seal.open_embedding(place, bytes, self.length) {
                    Ok(embedding) => templates.push((*template, embedding)),
                    Err(_) => opened.skipped += 1,
                }
            }
            opened.people.push(PersonFaces {
                person: sealed.person,
                until: sealed.until,
                templates,
                own_threshold: sealed.reports.iter().map(|report| report.threshold).reduce(f32::max),
                taken_for_them: sealed.reports.iter().filter_map(|report| report.actual).collect(),
            });
        }
        opened
    }

    /// Where something of this network and person is sealed.
    pub(crate) fn place<'a>(&'a self, table: &'static str, person: PersonId, row: &'a [u8]) -> Place<'a> {
        Place { table, person, row, model: &self.model_hash }
    }

    /// Whether the faces have changed since the thresholds were solved.
    pub(crate) fn is_calibration_old(&self) -> bool {
        let solved = self.solved.read().unwrap_or_else(PoisonError::into_inner).revision;
        self.faces().revision().is_some_and(|followed| followed > solved)
    }

    /// From now on another rate of strangers is accepted, and pictures are kept or not. The thresholds are solved anew
    /// before this returns; pictures that were kept stay until their template goes.
    ///
    /// # Errors
    /// When there is no threshold for this rate; the former stays in force.
    pub async fn set(self: &Arc<Self>, fpir_target: f64, keep_pictures: bool) -> Result<(), RecogniseError> {
        let former = self.options();
        self.set_options(FaceOptions { fpir_target, keep_pictures, ..former.clone() });
        if let Err(error) = self.calibrate().await {
            self.set_options(former);
            return Err(error);
        }
        Ok(())
    }

    fn set_options(&self, options: FaceOptions) {
        *self.options.write().unwrap_or_else(PoisonError::into_inner) = options;
    }

    /// Solves the thresholds for the faces as they are now, on a thread of its own, and puts them in force unless
    /// newer ones are.
    ///
    /// # Errors
    /// When they cannot be solved; those in force stay.
    pub async fn calibrate(self: &Arc<Self>) -> Result<Arc<Thresholds>, RecogniseError> {
        let (answer, answered) = oneshot::channel();
        let this = Arc::clone(self);
        std::thread::Builder::new().name("calibrate".into()).spawn(move || {
            let _gone = answer.send(this.solve());
        })?;
        answered.await.unwrap_or(Err(RecogniseError::Panicked))
    }

    fn solve(&self) -> Result<Arc<Thresholds>, RecogniseError> {
        let (scores, templates, revision) = {
            let faces = self.faces();
            (faces.index().cross_scores(), faces.index().template_count(), faces.revision().unwrap_or(-1))
        };
        let network = self.models.embedding()?;
        let solved = Thresholds::solve(network, self.options().fpir_target, templates, &scores)?;
        let mut in_force = self.solved.write().unwrap_or_else(PoisonError::into_inner);
        if revision >= in_force.revision {
            *in_force = Solved { revision, thresholds: Arc::new(solved) };
        }
        Ok(Arc::clone(&in_force.thresholds))
    }
}

struct Opened {
    people: Vec<PersonFaces>,
    /// Templates that were left out.
    skipped: usize,
}

fn report(skipped: usize, refused: usize) {
    if skipped > 0 {
        tracing::warn!(skipped, "stored templates do not open or are no embeddings; they are left out");
    }
    if refused > 0 {
        tracing::warn!(
            refused,
            limit = limits::GALLERY_TEMPLATES,
            "people whose templates contradict each other or are too many are left out"
        );
    }
}

/// Runs what takes milliseconds where no other task waits for it.
pub(crate) async fn off_runtime<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RecogniseError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| RecogniseError::Panicked)
}
