//! `edge-agent join` and `edge-agent leave`: a running terminal comes to belong to a hub, or stands alone again.

use std::io::{Read as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use rollcall_core::limits;
use rollcall_proto::v1::{JoinHubProgress, JoinHubRequest, JoinHubState, LeaveHubRequest};
use rollcall_terminals::adoption::spaced;

use super::runtime;
use crate::client::{Client, Connection, refused};

/// Options of `edge-agent join`.
#[derive(clap::Args)]
pub struct JoinArgs {
    /// The hub, HOST or HOST:PORT [default: the one that announces itself on this network]
    #[arg(value_name = "ADDRESS", conflicts_with = "adoption_token")]
    address: Option<String>,
    /// The adoption token that the hub made, so that nobody has to compare digits; - reads it from standard input
    #[arg(long = "token", value_name = "TEXT")]
    adoption_token: Option<String>,
    #[command(flatten)]
    client: Connection,
}

/// Options of `edge-agent leave`.
#[derive(clap::Args)]
pub struct LeaveArgs {
    #[command(flatten)]
    client: Connection,
}

/// Asks, says what is to be done, and ends when the terminal belongs to the hub.
pub fn join(args: &JoinArgs) -> anyhow::Result<ExitCode> {
    let token = match args.adoption_token.as_deref() {
        Some("-") => from_input()?,
        token => token.unwrap_or_default().to_owned(),
    };
    let request = JoinHubRequest { address: args.address.clone().unwrap_or_default(), token };
    runtime()?.block_on(async {
        let client = Client::connect(&args.client).await?;
        let mut steps = client.terminals().join_hub(request).await.map_err(refused)?.into_inner();
        while let Some(step) = steps.message().await.map_err(refused)? {
            if say(&step)? {
                return Ok(ExitCode::SUCCESS);
            }
        }
        bail!("the terminal stopped asking; join again")
    })
}

/// Makes the terminal stand alone.
pub fn leave(args: &LeaveArgs) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(async {
        let client = Client::connect(&args.client).await?;
        client.terminals().leave_hub(LeaveHubRequest {}).await.map_err(refused)?;
        println!("this terminal stands alone");
        Ok(ExitCode::SUCCESS)
    })
}

/// Prints a step, and returns whether it is the last.
fn say(step: &JoinHubProgress) -> anyhow::Result<bool> {
    let mut out = std::io::stdout().lock();
    match step.state() {
        JoinHubState::Searching => writeln!(out, "looking for a hub on this network")?,
        JoinHubState::Waiting => {
            let digits = spaced(&step.digits);
            writeln!(
                out,
                "digits {digits}\ncompare them with those that the hub {} shows, and accept there",
                step.address
            )?;
        }
        JoinHubState::Adopted => writeln!(out, "adopted by {}", step.address)?,
        JoinHubState::Refused => {
            bail!(
                "the hub {} has forgotten the request: nobody accepted it in time; join again",
                step.address
            )
        }
        JoinHubState::Unspecified => {}
    }
    out.flush()?;
    Ok(step.state() == JoinHubState::Adopted)
}

fn from_input() -> anyhow::Result<String> {
    let mut text = String::new();
    let most = u64::try_from(limits::ADOPTION_TOKEN_CHARS).unwrap_or(u64::MAX);
    std::io::stdin().lock().take(most).read_to_string(&mut text).context("standard input")?;
    Ok(text.trim().to_owned())
}
