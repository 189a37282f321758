//! `hub`: the program on the PC: collects the logs of a site's terminals and gives them the gallery.

mod backups;
mod commands;
mod config;
mod databases;
mod place;
mod restored;
mod run;
mod store;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rollcall_program::{shell, token};

use commands::{backup, doctor, restore, rotate_ca, terminal, verify_log};

/// Collects the logs of a site's terminals and gives them the gallery.
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
    /// Be a hub: keep people and logs, serve gRPC
    Run(run::Args),
    /// Print a configuration with every key and its default
    Config,
    /// Make one file of all that the hub has, while it runs
    Backup(backup::Args),
    /// Make a hub from a backup
    Restore(restore::Args),
    /// Check that every event of every log is what was written
    VerifyLog(verify_log::Args),
    /// Have another certificate authority take over from the site's
    RotateCa(rotate_ca::Args),
    /// List, adopt and revoke terminals
    #[command(subcommand)]
    Terminal(terminal::Command),
    /// Make, list and end tokens for scripts
    #[command(subcommand)]
    Token(token::Command),
    /// Look at databases, keys, networks, clock, disk and backups, and say what keeps a hub from working
    Doctor(doctor::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Run(args) => run::run(cli.models, args),
        Command::Config => commands::print_example(),
        Command::Backup(args) => backup::run(&args),
        Command::Restore(args) => restore::run(&args),
        Command::VerifyLog(args) => verify_log::run(&args),
        Command::RotateCa(args) => rotate_ca::run(&args),
        Command::Terminal(command) => terminal::run(command),
        Command::Token(command) => token::run(command),
        Command::Doctor(args) => doctor::run(cli.models, &args),
    };
    shell::ended("hub", done)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn options_do_not_contradict_each_other() {
        super::Cli::command().debug_assert();
    }
}
