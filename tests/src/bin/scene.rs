//! Writes moving scenes made from the demonstration's portraits, as MJPEG.
//!
//! `scene NAME FILE` writes one, `scene all FOLDER` each as NAME.mjpeg, `scene list` names them. Before them:
//! `--fps N`, `--seed N`, `--badge TEXT`.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::ExitCode;

use rollcall_tests::scene::{Film, Scene};

const USAGE: &str = "usage: scene [--fps N] [--seed N] [--badge TEXT] (NAME FILE | all FOLDER | list)";

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("scene: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<String>) -> Result<(), String> {
    let mut film = Film::default();
    let mut rest = &arguments[..];
    while let [option, value, after @ ..] = rest
        && option.starts_with("--")
    {
        match option.as_str() {
            "--fps" => film.fps = number(value, 1..=60)? as u32,
            "--seed" => film.seed = number(value, 0..=u64::MAX)?,
            "--badge" => film.badge.clone_from(value),
            _ => return Err(format!("no option {option}; {USAGE}")),
        }
        rest = after;
    }
    match rest {
        [list] if list == "list" => {
            Scene::ALL.into_iter().for_each(|scene| println!("{}", scene.name()));
            Ok(())
        }
        [all, folder] if all == "all" => {
            std::fs::create_dir_all(folder).map_err(|error| format!("{folder}: {error}"))?;
            let file = |scene: Scene| Path::new(folder).join(scene.name()).with_extension("mjpeg");
            Scene::ALL.into_iter().try_for_each(|scene| write(&film, scene, &file(scene)))
        }
        [name, file] => {
            let scene = Scene::named(name).ok_or(format!("no scene {name}; see: scene list"))?;
            write(&film, scene, Path::new(file))
        }
        _ => Err(USAGE.to_owned()),
    }
}

fn number(text: &str, range: std::ops::RangeInclusive<u64>) -> Result<u64, String> {
    let wrong = || format!("{text}: give {} to {}", range.start(), range.end());
    text.parse().ok().filter(|number| range.contains(number)).ok_or_else(wrong)
}

fn write(film: &Film, scene: Scene, path: &Path) -> Result<(), String> {
    let written = File::create(path).and_then(|file| {
        let mut file = BufWriter::new(file);
        film.write(scene, &mut file)?;
        file.flush()
    });
    written.map_err(|error| format!("{}: {error}", path.display()))
}
