//! The face that each picture of a list is of.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use rollcall_vision::{Embedding, Face, FaceReader, Models, face_meant};

use super::Common;
use crate::commands::Progress;
use crate::picture::read_picture;

/// What was found in the pictures of a list.
pub struct Faces {
    embeddings: HashMap<String, Embedding>,
    /// Pictures in which no face was found, in order.
    pub no_face: Vec<String>,
}

impl Faces {
    /// Reads each of `images` once.
    pub fn read<'a>(
        models: &Models,
        common: &Common,
        images: impl IntoIterator<Item = &'a str>,
    ) -> anyhow::Result<Self> {
        let images: BTreeSet<&str> = images.into_iter().collect();
        let images: Vec<&str> = images.into_iter().collect();
        let found = each(models, "reading faces", &images, |reader, image| {
            let picture = read_picture(&common.root.join(image))?;
            let faces = reader.detect(&picture, common.min_face, &mut |_| {})?;
            let meant = face_meant(&faces, picture.width(), picture.height());
            match meant.and_then(|face| reader.look(&picture, face)) {
                Some((aligned, _)) => Ok(Some(reader.embed(&aligned)?)),
                None => Ok(None),
            }
        })?;
        let (mut embeddings, mut no_face) = (HashMap::new(), Vec::new());
        for (image, embedding) in images.into_iter().zip(found) {
            match embedding {
                Some(embedding) => drop(embeddings.insert(image.to_owned(), embedding)),
                None => no_face.push(image.to_owned()),
            }
        }
        Ok(Self { embeddings, no_face })
    }

    /// The embedding of the face meant in `image`.
    pub fn of(&self, image: &str) -> Option<&Embedding> {
        self.embeddings.get(image)
    }
}

/// All faces of each of `images`.
pub fn detect_all(models: &Models, common: &Common, images: &[&str]) -> anyhow::Result<Vec<Vec<Face>>> {
    each(models, "finding faces", images, |reader, image| {
        let picture = read_picture(&common.root.join(image))?;
        Ok(reader.detect(&picture, common.min_face, &mut |_| {})?)
    })
}

/// Does `work` for each of `images`, on all processors; the results are in the order of `images` and do not depend
/// on how many there are.
fn each<T: Send>(
    models: &Models,
    what: &'static str,
    images: &[&str],
    work: impl Fn(&mut FaceReader, &Path) -> anyhow::Result<T> + Sync,
) -> anyhow::Result<Vec<T>> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let share = images.len().div_ceil(threads).max(1);
    let progress = Progress::new(what, images.len());
    let part = |images: &[&str], progress: &Progress| {
        let mut reader = FaceReader::load(models)?;
        let one = |image: &&str| {
            let path = Path::new(image);
            let result =
                work(&mut reader, path).map_err(|e| e.context(format!("cannot use {}", path.display())));
            progress.step();
            result
        };
        images.iter().map(one).collect::<anyhow::Result<Vec<T>>>()
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            images.chunks(share).map(|images| scope.spawn(|| part(images, &progress))).collect();
        let mut all = Vec::with_capacity(images.len());
        for worker in workers {
            match worker.join() {
                Ok(results) => all.extend(results?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(all)
    })
}
