//! `edge-agent evaluate`: accuracy over labelled pictures, each rate with its 95 % interval.

mod detect;
mod faces;
mod identify;
mod rates;
mod scores;
mod sets;
mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

/// What to measure.
#[derive(clap::Subcommand)]
pub enum Command {
    /// One picture with another: is it the same person? Over pairs.csv (subset,fold,same,image1,image2)
    Verify(Verify),
    /// Pictures with a gallery, strangers among them: who is it, if anybody? Over identification.csv
    /// (subset,role,person,enrol_index,image)
    Identify(Identify),
    /// Are the faces found, and their landmarks? Over detection/boxes.csv and detection/*_landmarks.csv
    Detect(Detect),
    /// The score distributions of identification.csv as [[network.scores]] of models/manifest.toml
    Scores(Scores),
}

/// Where the pictures are and how to answer.
#[derive(clap::Args)]
pub struct Common {
    /// Folder that the paths in the lists start from
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// Smallest face to look for, in pixels
    #[arg(long, value_name = "PX", default_value_t = 40, value_parser = clap::value_parser!(u32).range(12..=4000))]
    min_face: u32,
    /// Print one JSON object for each subset
    #[arg(long)]
    json: bool,
}

/// Options of `verify`.
#[derive(clap::Args)]
pub struct Verify {
    #[command(flatten)]
    common: Common,
    /// Only this subset of the list
    #[arg(long, value_name = "NAME")]
    subset: Option<String>,
}

/// Options of `identify`.
#[derive(clap::Args)]
pub struct Identify {
    #[command(flatten)]
    common: Common,
    /// Only this subset of the list
    #[arg(long, value_name = "NAME")]
    subset: Option<String>,
    /// Pictures enrolled of each person [default: all that the list has]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    enrol: Option<u32>,
    /// Share of strangers that may be let in, which the threshold is solved for
    #[arg(long, value_name = "RATE", default_value_t = 0.01)]
    fpir: f64,
}

/// Options of `detect`.
#[derive(clap::Args)]
pub struct Detect {
    #[command(flatten)]
    common: Common,
}

/// Options of `scores`.
#[derive(clap::Args)]
pub struct Scores {
    #[command(flatten)]
    common: Common,
    /// The subset of the list that is the population
    #[arg(long, value_name = "NAME")]
    subset: String,
    /// Pictures enrolled of each person
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    enrol: u32,
}

/// Runs the command.
pub fn run(models: &Path, command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Verify(args) => verify::run(models, args)?,
        Command::Identify(args) => identify::run(models, args)?,
        Command::Detect(args) => detect::run(models, args)?,
        Command::Scores(args) => scores::run(models, args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a report as JSON or as text.
fn print(common: &Common, report: &impl Serialize, text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let line = if common.json { serde_json::to_string(report)? } else { text.trim_end().to_owned() };
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
