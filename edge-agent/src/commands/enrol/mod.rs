//! `edge-agent enrol`: offers the photographs of a folder or ZIP to a running program, each with its verdict; or guides
//! one person before its camera.
//!
//! People who are not known are made. No template is made without consent: `--consent-form` records, for people about
//! whom nobody has said anything yet, that consent was given on that form, because the operator says so; a refusal or
//! a withdrawal that is on record stays.
//!
//! A run that was interrupted is started again: verdicts that are on record are not asked for again, and the list that
//! it prints is complete. When the program restarts meanwhile, the run waits for it.

mod camera;
mod people;

use std::collections::HashMap;
use std::io::{self, BufWriter};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use rollcall_core::{Reason, limits};
use rollcall_gallery::bulk::{Batch, BatchPerson, PersonKey, Picture};
use rollcall_proto::v1;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tonic::Status;

use super::{Progress, runtime};
use crate::client::{self, Client, patiently, refused};
use people::{Offered, People};

/// Options of `edge-agent enrol`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder or ZIP of photographs: EXTERNALID.jpg, EXTERNALID_2.jpg, or a folder for each person
    #[arg(value_name = "FOLDER|ZIP", required_unless_present = "camera", conflicts_with = "camera")]
    batch: Option<PathBuf>,
    /// Enrol one person before the camera of the terminal: guided, in some ten seconds
    #[arg(long, requires = "name")]
    camera: bool,
    /// Who stands before the camera; made when nobody has this name or external id
    #[arg(long, value_name = "NAME", requires = "camera")]
    name: Option<String>,
    /// Their external id, by which they are found when they are known
    #[arg(long, value_name = "ID", requires = "camera")]
    external_id: Option<String>,
    /// Do not ask whether consent was given on the form
    #[arg(long, requires_all = ["camera", "consent_form"])]
    yes: bool,
    /// Who is on them: columns picture, external_id or name, and groups (separated by ;)
    #[arg(long, value_name = "FILE", conflicts_with = "camera")]
    csv: Option<PathBuf>,
    /// Groups that everybody in it belongs to, separated by commas; made when they are not there
    #[arg(long, value_delimiter = ',', value_name = "GROUP,...")]
    groups: Vec<String>,
    /// Record that consent was given on this form, for everybody about whom nothing is on record
    #[arg(long, value_name = "FORM")]
    consent_form: Option<String>,
    /// Who gave it
    #[arg(long, value_enum, default_value_t = Giver::Person, requires = "consent_form")]
    consent_by: Giver,
    /// Enrol although a face looks like somebody else's
    #[arg(long)]
    accept_look_alikes: bool,
    /// Judge the pictures and change nothing; people who are not known are only named
    #[arg(long, conflicts_with = "camera")]
    dry_run: bool,
    /// Print one JSON object a picture
    #[arg(long, conflicts_with = "camera")]
    json: bool,
    #[command(flatten)]
    client: client::Connection,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Giver {
    Person,
    Guardian,
}

impl From<Giver> for v1::consent::Giver {
    fn from(giver: Giver) -> Self {
        match giver {
            Giver::Person => Self::Person,
            Giver::Guardian => Self::Guardian,
        }
    }
}

/// What became of one picture.
#[derive(Serialize)]
struct Line<'a> {
    picture: &'a str,
    person: String,
    /// `people/ID`; empty when there is none.
    name: &'a str,
    /// Of the contract without VERDICT_, or the REASON for which it could not be judged.
    verdict: String,
    explanation: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    looks_like: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    looks_like_score: Option<f32>,
    /// The verdict is of an earlier run.
    earlier: bool,
}

impl Line<'_> {
    fn is_good(&self) -> bool {
        self.verdict == "ENROLLED" || self.earlier
    }
}

/// Status 0 only when every picture was enrolled, now or before, or had its verdict before, and nothing was left out.
/// At the camera: when enough templates were made.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Some(batch) = &args.batch else {
        let good = runtime()?.block_on(camera::enrol(args))?;
        return Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    };
    let batch = Batch::open(batch, args.csv.as_deref())?;
    for problem in batch.problems() {
        eprintln!("edge-agent: left out: {problem}");
    }
    let good = runtime()?.block_on(enrol(args, &batch))?;
    Ok(if good && batch.problems().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn enrol(args: &Args, batch: &Batch) -> anyhow::Result<bool> {
    let client = Client::connect(&args.client).await?;
    let planned: HashMap<&PersonKey, &BatchPerson> =
        batch.people().iter().map(|person| (&person.key, person)).collect();
    let mut people = People::new(&client, args).await?;
    let progress = Progress::new("pictures", batch.len());
    let mut out = BufWriter::new(io::stdout().lock());
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut good = true;
    let mut current: Option<(&PersonKey, Result<Offered, Status>)> = None;
    for picture in batch.pictures() {
        let key = picture.person_key();
        if current.as_ref().is_none_or(|(person, _)| *person != key) {
            current = Some((key, people.offered(planned[key]).await));
        }
        let Some((_, person)) = &current else { continue };
        let line = match person {
            Ok(person) => offer(&client, args, &picture, person).await?,
            Err(status) => unjudged(&picture, "", status)?,
        };
        good &= line.is_good();
        *counts.entry(line.verdict.clone()).or_default() += 1;
        print(&mut out, &line, args.json)?;
        progress.step_beside_lines();
    }
    drop(progress);
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort();
    let counts: Vec<String> = counts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
    eprintln!("{} pictures of {} people: {}", batch.len(), batch.people().len(), counts.join(", "));
    Ok(good)
}

/// Offers one picture, unless its verdict is on record.
async fn offer<'a>(
    client: &Client,
    args: &Args,
    picture: &Picture<'a>,
    person: &'a Offered,
) -> anyhow::Result<Line<'a>> {
    let bytes = match picture.bytes() {
        Ok(bytes) => bytes,
        Err(error) => {
            let reason = error.fault().reason.as_str().to_owned();
            return Ok(line(picture, &person.name, reason, error.to_string()));
        }
    };
    if person.name.is_empty() {
        let explanation = "would be made, and then asked".to_owned();
        return Ok(line(picture, "", "NOT_YET_KNOWN".to_owned(), explanation));
    }
    let sha256 = hex::encode(Sha256::digest(&bytes));
    if let Some(enrolment) = person.verdicts.get(&sha256) {
        return Ok(judged(picture, person, enrolment, true));
    }
    let request = v1::EnrolPictureRequest {
        person: person.name.clone(),
        picture: bytes.into(),
        validate_only: args.dry_run,
        accept_look_alike: args.accept_look_alikes,
    };
    match patiently(async || client.gallery().enrol_picture(request.clone()).await).await {
        Ok(answer) => {
            let enrolment = answer.into_inner().enrolment.context("an answer without a verdict")?;
            Ok(judged(picture, person, &enrolment, false))
        }
        Err(status) => unjudged(picture, &person.name, &status),
    }
}

/// A picture with its verdict.
fn judged<'a>(
    picture: &Picture<'a>,
    person: &'a Offered,
    enrolment: &v1::Enrolment,
    earlier: bool,
) -> Line<'a> {
    let verdict = v1::Verdict::try_from(enrolment.verdict).unwrap_or_default().as_str_name();
    let verdict = verdict.trim_start_matches("VERDICT_").to_owned();
    let looks_like = (!enrolment.looks_like.is_empty()).then(|| enrolment.looks_like.clone());
    Line {
        looks_like,
        looks_like_score: enrolment.looks_like_score,
        earlier,
        ..line(picture, &person.name, verdict, enrolment.explanation.clone())
    }
}

/// A picture that could not be judged for a reason of its own; any other reason ends the run.
fn unjudged<'a>(picture: &Picture<'a>, name: &'a str, status: &Status) -> anyhow::Result<Line<'a>> {
    const ITS_OWN: [Reason; 7] = [
        Reason::AlreadyExists,
        Reason::ConsentMissing,
        Reason::FieldInvalid,
        Reason::LimitReached,
        Reason::NotFound,
        Reason::PersonErased,
        Reason::PictureUnreadable,
    ];
    let reason = rollcall_proto::reason(status).unwrap_or_default();
    if !ITS_OWN.iter().any(|own| own.as_str() == reason) {
        return Err(refused(status.clone()));
    }
    Ok(line(picture, name, reason, status.message().to_owned()))
}

fn line<'a>(picture: &Picture<'a>, name: &'a str, verdict: String, explanation: String) -> Line<'a> {
    Line {
        picture: picture.member(),
        person: picture.person_key().to_string(),
        name,
        verdict,
        explanation,
        looks_like: None,
        looks_like_score: None,
        earlier: false,
    }
}

fn print(out: &mut impl io::Write, line: &Line<'_>, json: bool) -> anyhow::Result<()> {
    if json {
        serde_json::to_writer(&mut *out, line)?;
        writeln!(out)?;
    } else {
        let earlier = if line.earlier { " (earlier)" } else { "" };
        let explanation = if line.explanation.is_empty() || line.verdict == "ENROLLED" {
            String::new()
        } else {
            format!(": {}", line.explanation)
        };
        writeln!(out, "{}: {}: {}{earlier}{explanation}", line.picture, line.person, line.verdict)?;
    }
    // A run that is killed has printed what it did.
    out.flush()?;
    Ok(())
}

/// The size of a page of verdicts on record.
const PAGE_SIZE: i32 = limits::PAGE_SIZE as i32;
