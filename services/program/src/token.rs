//! The command `token` of both programs: tokens for scripts.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use rollcall_core::UtcInstant;
use rollcall_proto::v1;

use crate::client::{self, Client, refused};
use crate::shell::runtime;

/// What to do with tokens.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Make a token; its secret is printed once
    Create(Create),
    /// List tokens, newest first, without their secrets
    List(List),
    /// End a token
    Revoke(Revoke),
}

/// Options of `token create`.
#[derive(clap::Args)]
pub struct Create {
    /// What it is for
    #[arg(long)]
    name: String,
    /// What it may do at most: admin, office, teacher or viewer
    #[arg(long, value_enum)]
    role: Role,
    /// What it may do, separated by commas: gallery.read, gallery.write, recognise, attendance.read,
    /// attendance.write, terminals.read, terminals.control, accounts.manage, health.read
    #[arg(long, required = true, value_delimiter = ',', value_name = "SCOPE,...")]
    scopes: Vec<String>,
    /// How long it is good for: a number and s, m, h, d or w; at most two years
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = lifetime)]
    expires: Duration,
    /// Write the secret to this file, for its owner alone, instead of printing it; there must be none
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    client: client::Connection,
}

/// Options of `token list`.
#[derive(clap::Args)]
pub struct List {
    #[command(flatten)]
    client: client::Connection,
}

/// Options of `token revoke`.
#[derive(clap::Args)]
pub struct Revoke {
    /// The token's name, tokens/ID, as `token list` prints it
    token: String,
    #[command(flatten)]
    client: client::Connection,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Role {
    Admin,
    Office,
    Teacher,
    Viewer,
}

impl From<Role> for v1::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Admin => Self::Admin,
            Role::Office => Self::Office,
            Role::Teacher => Self::Teacher,
            Role::Viewer => Self::Viewer,
        }
    }
}

/// Runs the command.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = runtime()?;
    match command {
        Command::Create(args) => runtime.block_on(create(args))?,
        Command::List(args) => runtime.block_on(list(&args))?,
        Command::Revoke(args) => runtime.block_on(revoke(args))?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(args: Create) -> anyhow::Result<()> {
    let client = Client::connect(&args.client).await?;
    // Before the token is made, so that its secret has a place.
    let file = args.out.as_deref().map(new_private_file).transpose()?;
    let expire = UtcInstant::now().after(args.expires);
    let token = v1::Token {
        display_name: args.name,
        role: v1::Role::from(args.role).into(),
        scopes: args.scopes,
        expire_time: Some(timestamp(expire)),
        ..v1::Token::default()
    };
    let request = v1::CreateTokenRequest { token: Some(token), request_id: String::new() };
    let made = match client.accounts().create_token(request).await {
        Ok(made) => made.into_inner(),
        Err(status) => {
            if let Some(out) = &args.out {
                let _ = std::fs::remove_file(out);
            }
            return Err(refused(status));
        }
    };
    let token = made.token.unwrap_or_default();
    match file {
        Some(mut file) => writeln!(file, "{}", made.secret).context("cannot write the secret")?,
        None => println!("{}", made.secret),
    }
    eprintln!("{} made; it ends on {}", token.name, shown(token.expire_time));
    Ok(())
}

fn new_private_file(path: &std::path::Path) -> anyhow::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.with_context(|| format!("cannot make {}", path.display()))
}

async fn list(args: &List) -> anyhow::Result<()> {
    let client = Client::connect(&args.client).await?;
    let mut page_token = String::new();
    loop {
        let request = v1::ListTokensRequest { page_size: 0, page_token };
        let page = client.accounts().list_tokens(request).await.map_err(refused)?.into_inner();
        for token in page.tokens {
            let role = v1::Role::try_from(token.role).unwrap_or_default().as_str_name();
            let state = match token.revoke_time {
                Some(_) => format!("revoked {}", shown(token.revoke_time)),
                None => format!("until {}", shown(token.expire_time)),
            };
            let role = role.trim_start_matches("ROLE_").to_lowercase();
            println!("{}  {role}  {state}  {}  {}", token.name, token.scopes.join(","), token.display_name);
        }
        if page.next_page_token.is_empty() {
            return Ok(());
        }
        page_token = page.next_page_token;
    }
}

async fn revoke(args: Revoke) -> anyhow::Result<()> {
    let client = Client::connect(&args.client).await?;
    let request = v1::RevokeTokenRequest { name: args.token };
    let token = client.accounts().revoke_token(request).await.map_err(refused)?.into_inner();
    eprintln!("{} ended", token.name);
    Ok(())
}

fn timestamp(instant: UtcInstant) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: instant.micros().div_euclid(1_000_000), nanos: 0 }
}

fn shown(time: Option<prost_types::Timestamp>) -> String {
    let seconds = time.unwrap_or_default().seconds;
    UtcInstant::from_micros(seconds.saturating_mul(1_000_000)).to_string()
}

/// "90d": a whole number and its unit.
fn lifetime(text: &str) -> Result<Duration, String> {
    let units = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400), ('w', 7 * 86_400)];
    let parsed = units.into_iter().find_map(|(unit, seconds)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(seconds)
    });
    parsed
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs)
        .ok_or_else(|| format!("\"{text}\" is no time; write a number and s, m, h, d or w, for example 90d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_have_a_number_and_a_unit() {
        assert_eq!(lifetime("90d"), Ok(Duration::from_secs(90 * 86_400)));
        assert_eq!(lifetime("5s"), Ok(Duration::from_secs(5)));
        for wrong in
            ["", "d", "90", "0d", "-1d", "1.5h", "1y", "99999999999999999999d", "18446744073709551615w"]
        {
            assert!(lifetime(wrong).is_err(), "{wrong}");
        }
    }
}
