//! `edge-agent`: the program at the door, and its commands.

mod annotate;
mod camera;
mod commands;
mod config;
mod databases;
mod door;
mod enrolment;
mod entrance;
mod hub;
mod kiosk;
mod picture;
mod readers;
mod recognition;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rollcall_program::shell::{self, models_folder};
use rollcall_program::{client, folder, key, log, token};

use commands::{
    backup, bench, detect, doctor, door as door_commands, enrol, evaluate, events, identify, join, restore,
    verify_log,
};

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
    /// Be a terminal: recognise people, open the door, keep the log, serve the screen and gRPC
    Run(run::Args),
    /// Enrol the photographs of a folder or ZIP, or somebody before the camera, at a running program
    Enrol(enrol::Args),
    /// Show the events of a running program as they come
    Events(events::Args),
    /// Make one file of all that a site has, while the program runs
    Backup(backup::Args),
    /// Make a data folder from a backup
    Restore(restore::Args),
    /// Check that every event of the log is what was written
    VerifyLog(verify_log::Args),
    /// Make a running terminal belong to a hub: by digits that a human compares, or by a token of the hub
    Join(join::JoinArgs),
    /// Make a running terminal stand alone again
    Leave(join::LeaveArgs),
    /// Make, list and end tokens for scripts
    #[command(subcommand)]
    Token(token::Command),
    /// Look at camera, door, networks, clock and disk, and say what keeps a terminal from working
    Doctor(doctor::Args),
    /// Put the lock into the state that it falls to without power, and end; for systemd's ExecStopPost
    DoorSafe(door_commands::SafeArgs),
    /// Try the door by hand: open it, see its inputs
    DoorTry(door_commands::TryArgs),
    /// Keep the lock for the program at the other end of standard input
    #[command(name = door::SUPERVISOR, hide = true)]
    DoorSupervisor,
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
    let models = || models_folder(cli.models.clone());
    let done = match cli.command {
        Command::Run(args) => run::run(cli.models.clone(), args),
        Command::Enrol(args) => enrol::run(&args),
        Command::Events(args) => events::run(&args),
        Command::Backup(args) => backup::run(&args),
        Command::Restore(args) => restore::run(&args),
        Command::VerifyLog(args) => verify_log::run(&args),
        Command::Join(args) => join::join(&args),
        Command::Leave(args) => join::leave(&args),
        Command::Token(command) => token::run(command),
        Command::Doctor(args) => models().and_then(|models| doctor::run(&models, &args)),
        Command::DoorSafe(args) => door_commands::make_safe(&args),
        Command::DoorTry(args) => door_commands::try_out(&args),
        Command::DoorSupervisor => Ok(door::supervisor::run()),
        Command::Detect(args) => models().and_then(|models| detect::run(&models, &args)),
        Command::Identify(args) => models().and_then(|models| identify::run(&models, &args)),
        Command::Evaluate(command) => models().and_then(|models| evaluate::run(&models, &command)),
        Command::Bench(args) => models().and_then(|models| bench::run(&models, &args)),
    };
    shell::ended("edge-agent", done)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn options_do_not_contradict_each_other() {
        super::Cli::command().debug_assert();
    }
}
