//! `edge-agent`: the program at the door, and its commands.

mod annotate;
mod client;
mod commands;
mod config;
mod folder;
mod log;
mod picture;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use commands::{bench, detect, evaluate, identify};

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
    /// Say who is in pictures, or that nobody known is
    Identify(identify::Args),
    /// Measure accuracy over labelled pictures
    #[command(subcommand)]
    Evaluate(evaluate::Command),
    /// Measure speed and memory
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = commands::models_folder(cli.models).and_then(|models| match cli.command {
        Command::Detect(args) => detect::run(&models, &args),
        Command::Identify(args) => identify::run(&models, &args),
        Command::Evaluate(command) => evaluate::run(&models, &command),
        Command::Bench(args) => bench::run(&models, &args),
    });
    match done {
        Ok(code) => code,
        // Whoever reads our output has gone, for example `| head`: nothing is wrong.
        Err(error) if commands::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("edge-agent: {}", commands::told(&error));
            ExitCode::FAILURE
        }
    }
}
