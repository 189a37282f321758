//! `edge-agent enrol --camera`: one person, guided before the camera of a terminal.
//!
//! Consent comes first: the question is asked before anything is made or looked at, and what is on record counts more
//! than what is said here.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use anyhow::{Context as _, bail, ensure};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rollcall_gallery::bulk::{BatchPerson, PersonKey};
use rollcall_proto::v1;
use rollcall_proto::v1::EnrolmentPrompt as Prompt;

use super::Args;
use super::people::People;
use crate::client::{Client, patiently, refused};

/// With so many templates a person is recognised well.
const TEMPLATES_ENOUGH: i32 = 3;

/// Whether at least so many templates were made.
pub(super) async fn enrol(args: &Args) -> anyhow::Result<bool> {
    let name = args.name.as_deref().context("say whom: --name \"Linh Nguyen\"")?;
    let consent = Consent::asked(args, name)?;
    let client = Client::connect(&args.client).await?;
    let terminal = terminal(&client).await?;
    let mut people = People::new(&client, args).await?;
    let planned = planned(args, name);
    if consent == Consent::OnRecord && people.find(&planned.key).await.map_err(refused)?.is_none() {
        bail!("nobody is enrolled without consent, and {name} is new: say on which form with --consent-form");
    }
    let person = people.offered(&planned).await.map_err(refused)?.name;
    let request = v1::EnrolAtCameraRequest { terminal, person, accept_look_alike: args.accept_look_alikes };
    let mut told = client.terminals().enrol_at_camera(request).await.map_err(refused)?.into_inner();
    let mut shown = Shown::new();
    let made = loop {
        let progress = told.message().await.map_err(refused)?.context("it ended without a result")?;
        shown.show(&progress)?;
        if let Some(made) = progress.templates_made {
            break made;
        }
    };
    drop(shown);
    eprintln!("{name}: {made} templates were made");
    Ok(made >= TEMPLATES_ENOUGH)
}

/// Where consent comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Consent {
    /// Whoever runs the command says that it was given.
    Stated,
    /// Only what is on record counts.
    OnRecord,
}

impl Consent {
    fn asked(args: &Args, name: &str) -> anyhow::Result<Self> {
        let Some(form) = &args.consent_form else { return Ok(Self::OnRecord) };
        if args.yes {
            return Ok(Self::Stated);
        }
        ensure!(
            io::stdin().is_terminal(),
            "whether {name} has agreed cannot be asked here; say --yes if consent was given on this form"
        );
        eprint!("Has {name}, or who may for them, agreed on \"{form}\" that their face is used here? [y/N] ");
        io::stderr().flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(Self::Stated),
            _ => bail!("nobody is enrolled without consent; nothing was changed"),
        }
    }
}

fn planned(args: &Args, name: &str) -> BatchPerson {
    let key = match &args.external_id {
        Some(id) => PersonKey::ExternalId(id.clone()),
        None => PersonKey::Name(name.to_owned()),
    };
    BatchPerson { key, display_name: Some(name.to_owned()), groups: Vec::new(), picture_count: 0 }
}

/// The terminal that is spoken to.
async fn terminal(client: &Client) -> anyhow::Result<String> {
    let listed =
        patiently(async || client.terminals().list_terminals(v1::ListTerminalsRequest::default()).await);
    let terminals = listed.await.map_err(refused)?.into_inner().terminals;
    match &terminals[..] {
        [terminal] => Ok(terminal.name.clone()),
        _ => bail!("there are {} terminals; run this command on the one with the camera", terminals.len()),
    }
}

/// What is asked and how far it is: one line on a terminal, and elsewhere a line whenever something new is asked.
struct Shown {
    bar: Option<ProgressBar>,
    asked: Option<Prompt>,
}

impl Shown {
    fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(100), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("[{bar:20}] {prefix} {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { bar, asked: None }
    }

    fn show(&mut self, progress: &v1::EnrolmentProgress) -> anyhow::Result<()> {
        let asked = progress.prompt();
        let count = format!("{} of {}", progress.pictures_enrolled, progress.pictures_wanted);
        if let Some(bar) = &self.bar {
            bar.set_position((progress.quality.clamp(0.0, 1.0) * 100.0) as u64);
            bar.set_prefix(count.clone());
            bar.set_message(words(asked));
        } else if self.asked != Some(asked) {
            eprintln!("{count}: {}", words(asked));
        }
        self.asked = Some(asked);
        let Some(enrolment) = &progress.enrolment else { return Ok(()) };
        let verdict = enrolment.verdict().as_str_name().trim_start_matches("VERDICT_");
        let is_good = enrolment.verdict() == v1::Verdict::Enrolled;
        let line = if is_good { verdict.to_owned() } else { format!("{verdict}: {}", enrolment.explanation) };
        let print = || writeln!(io::stdout(), "picture: {line}");
        match &self.bar {
            Some(bar) => bar.suspend(print)?,
            None => print()?,
        }
        Ok(())
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// For whoever sits at the terminal and tells the person.
fn words(asked: Prompt) -> &'static str {
    match asked {
        Prompt::Unspecified => "",
        Prompt::ComeHere => "come before the camera",
        Prompt::LookStraight => "look straight at the camera",
        Prompt::TurnALittleLeft => "turn the head a little to the left",
        Prompt::TurnALittleRight => "turn the head a little to the right",
        Prompt::TurnBackALittle => "turn back a little",
        Prompt::ChinUp => "chin up a little",
        Prompt::ChinDown => "chin down a little",
        Prompt::ComeCloser => "come a little closer",
        Prompt::MoveToTheMiddle => "move to the middle of the picture",
        Prompt::MoreLight => "more light on the face",
        Prompt::LessLight => "less light on the face",
        Prompt::HoldStill => "hold still",
        Prompt::OnePersonOnly => "one person at a time",
        Prompt::Done => "done",
    }
}
