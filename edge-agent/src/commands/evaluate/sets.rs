//! The lists of labelled pictures.

use std::path::Path;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A line of pairs.csv.
#[derive(Debug, Deserialize)]
pub struct Pair {
    pub subset: String,
    pub fold: u32,
    pub same: Same,
    pub image1: String,
    pub image2: String,
}

/// Whether both pictures of a pair show one person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Same {
    /// They do.
    #[serde(rename = "1")]
    Yes,
    /// They do not.
    #[serde(rename = "0")]
    No,
}

/// A line of identification.csv.
#[derive(Debug, Deserialize)]
pub struct Sample {
    pub subset: String,
    pub role: Role,
    pub person: String,
    /// Which of the person's pictures to enrol, from 1.
    pub enrol_index: Option<u32>,
    pub image: String,
}

/// What a picture of identification.csv is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// To be enrolled.
    Gallery,
    /// Of somebody who is enrolled.
    Probe,
    /// Of somebody who is not.
    Unknown,
}

/// A line of boxes.csv.
#[derive(Debug, Deserialize)]
pub struct LabelledBox {
    pub image: String,
    pub x1: f32,
    pub y1: f32,
    pub x2: f32,
    pub y2: f32,
    pub label: String,
}

/// A line of a landmark list.
#[derive(Debug, Deserialize)]
pub struct LabelledLandmarks {
    pub image: String,
    pub x1: f32,
    pub y1: f32,
    pub x2: f32,
    pub y2: f32,
    pub left_eye_x: f32,
    pub left_eye_y: f32,
    pub right_eye_x: f32,
    pub right_eye_y: f32,
    pub nose_x: f32,
    pub nose_y: f32,
    pub left_mouth_x: f32,
    pub left_mouth_y: f32,
    pub right_mouth_x: f32,
    pub right_mouth_y: f32,
    #[serde(default)]
    pub source_split: String,
}

/// All lines of the list `name` in `root`.
pub fn read<T: DeserializeOwned>(root: &Path, name: &str) -> anyhow::Result<Vec<T>> {
    let path = root.join(name);
    let mut reader =
        csv::Reader::from_path(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines = reader.deserialize().collect::<Result<Vec<T>, _>>();
    let lines = lines.with_context(|| format!("{} is not such a list", path.display()))?;
    if lines.is_empty() {
        bail!("{} has no lines", path.display());
    }
    Ok(lines)
}

/// The subsets of `lines` in their order, or only the one that was asked for.
pub fn subsets<T>(lines: &[T], of: fn(&T) -> &str, asked: Option<&str>) -> anyhow::Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for name in lines.iter().map(of) {
        if !names.iter().any(|n| n == name) {
            names.push(name.to_owned());
        }
    }
    match asked {
        None => Ok(names),
        Some(name) if names.iter().any(|n| n == name) => Ok(vec![name.to_owned()]),
        Some(name) => bail!("there is no subset {name}, only {}", names.join(", ")),
    }
}
