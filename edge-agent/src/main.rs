//! `edge-agent`: the program at the door. So far its commands that work on files: finding faces, naming people, and
//! measuring how well and how fast that goes.

mod annotate;
mod commands;
mod picture;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use commands::detect;

/// Finds faces and tells whose they are, offline.
#[derive(Parser)]
#[command(version, max_term_width = 110)]
struct Cli {
    /// Folder with manifest.toml and the networks [default: the models folder beside or above the program]
    #[arg(long, global = true, value_name = "DIR", env = "ROLLCALL_MODELS")]
    models: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find the faces in pictures: boxes, landmarks, quality, embeddings
    Detect(detect::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = commands::models_folder(cli.models).and_then(|models| match cli.command {
        Command::Detect(args) => detect::run(&models, &args),
    });
    match done {
        Ok(code) => code,
        // Whoever reads our output has gone, for example `| head`: nothing is wrong.
        Err(error) if commands::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("edge-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}
