//! `hub terminal`: takes terminals in, lists them, ends the trust in one. What the running hub does, over its API.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use rollcall_program::client::{Client, Connection, refused};
use rollcall_program::shell::runtime;
use rollcall_proto::v1;

/// What to do with terminals.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List them: those that are adopted, and those that ask, with their digits
    List(List),
    /// Take in the terminal whose screen shows these digits
    Adopt(Adopt),
    /// Make a token with which one terminal joins without anybody at its screen, within 15 minutes
    Token(Token),
    /// End the trust in a terminal: it is told nothing more
    Revoke(Revoke),
}

/// Options of `hub terminal list`.
#[derive(clap::Args)]
pub struct List {
    #[command(flatten)]
    client: Connection,
}

/// Options of `hub terminal adopt`.
#[derive(clap::Args)]
pub struct Adopt {
    /// The six digits on its screen
    digits: String,
    /// The door's name [default: as the terminal calls itself]
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    client: Connection,
}

/// Options of `hub terminal token`.
#[derive(clap::Args)]
pub struct Token {
    /// The door's name [default: as the terminal calls itself]
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    client: Connection,
}

/// Options of `hub terminal revoke`.
#[derive(clap::Args)]
pub struct Revoke {
    /// Its name, terminals/ID, as `terminal list` prints it
    terminal: String,
    #[command(flatten)]
    client: Connection,
}

/// Runs the command.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = runtime()?;
    match command {
        Command::List(args) => runtime.block_on(list(&args))?,
        Command::Adopt(args) => runtime.block_on(adopt(args))?,
        Command::Token(args) => runtime.block_on(token(args))?,
        Command::Revoke(args) => runtime.block_on(revoke(args))?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(args: &List) -> anyhow::Result<()> {
    let mut hub = Client::connect(&args.client).await?.terminals();
    let mut page_token = String::new();
    loop {
        let request = v1::ListTerminalsRequest { page_token, ..Default::default() };
        let page = hub.list_terminals(request).await.map_err(refused)?.into_inner();
        for terminal in page.terminals {
            let state = if terminal.revoke_time.is_some() { "revoked" } else { "adopted" };
            println!("{state}  {}  {}  {}", terminal.name, terminal.display_name, terminal.software);
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    for asking in asking(&mut hub).await? {
        let v1::AdoptionRequest { terminal, digits, address, display_name, people, events, .. } = asking;
        println!(
            "asks     {terminal}  {display_name}  digits {digits}  from {address}  with {people} people, {events} events"
        );
    }
    Ok(())
}

type Hub = rollcall_program::client::Terminals;

async fn asking(hub: &mut Hub) -> anyhow::Result<Vec<v1::AdoptionRequest>> {
    let listed = hub.list_adoption_requests(v1::ListAdoptionRequestsRequest {}).await;
    Ok(listed.map_err(refused)?.into_inner().requests)
}

async fn adopt(args: Adopt) -> anyhow::Result<()> {
    let digits: String = args.digits.chars().filter(|c| !c.is_whitespace()).collect();
    let mut hub = Client::connect(&args.client).await?.terminals();
    let mut asking = asking(&mut hub).await?.into_iter().filter(|one| one.digits == digits);
    let terminal = asking.next().with_context(|| {
        format!("no terminal asks with the digits {digits}: look at its screen again, and have it ask again")
    })?;
    if asking.next().is_some() {
        bail!("two terminals ask with these digits: have one of them ask again");
    }
    let request = v1::AdoptTerminalRequest {
        terminal: terminal.terminal,
        display_name: args.name.unwrap_or_default(),
        digits,
    };
    let adopted = hub.adopt_terminal(request).await.map_err(refused)?.into_inner();
    println!("adopted  {}  {}", adopted.name, adopted.display_name);
    Ok(())
}

async fn token(args: Token) -> anyhow::Result<()> {
    let mut hub = Client::connect(&args.client).await?.terminals();
    let request = v1::CreateAdoptionTokenRequest { display_name: args.name.unwrap_or_default() };
    println!("{}", hub.create_adoption_token(request).await.map_err(refused)?.into_inner().token);
    Ok(())
}

async fn revoke(args: Revoke) -> anyhow::Result<()> {
    let mut hub = Client::connect(&args.client).await?.terminals();
    let request = v1::RevokeTerminalRequest { name: args.terminal };
    let revoked = hub.revoke_terminal(request).await.map_err(refused)?.into_inner();
    println!("revoked  {}  {}", revoked.name, revoked.display_name);
    Ok(())
}
