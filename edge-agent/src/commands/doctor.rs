//! `edge-agent doctor`: looks at the machine and says what keeps a terminal from working, and what to do about it.
//!
//! It changes nothing. Beside a running terminal it does not get at the camera and the door's lines, and says so.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use rollcall_program::doctor::{self, Finding, State};
use rollcall_terminals::Machine;
use rollcall_vision::decode::decode;
use rollcall_vision::{FaceReader, Models, QualityLimits};

use super::bench::FRAME;
use crate::camera::inspect as cameras;
use crate::config::{Config, DATA_FOLDER};
use crate::door::config::{DoorConfig, Driver, Fail};
use crate::door::inspect as pins;

/// The embedding that the networks as shipped make of the face on [`FRAME`], little-endian f32.
const EMBEDDING: &[u8] = include_bytes!("doctor/embedding.f32");

/// The smallest face that the expected embedding was made with.
const FACE_MIN_PX: u32 = 40;

/// Results on another processor differ by rounding alone.
const AGREEMENT_MIN: f32 = 0.9999;

/// Fewer frames a second make people wait.
const FRAME_RATE_LOW: f64 = 8.0;

/// Options of `edge-agent doctor`.
#[derive(clap::Args)]
pub struct Args {
    /// The configuration that the terminal runs with
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data folder of the terminal [default: as configured, else /var/lib/rollcall]
    #[arg(long, value_name = "DIR", env = "ROLLCALL_DATA")]
    data: Option<PathBuf>,
}

/// Status 0 when nothing is wrong.
pub fn run(models: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let config = args.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
    let data = args.data.clone().or_else(|| config.data_folder.clone()).unwrap_or_else(|| DATA_FOLDER.into());
    let groups = [
        recognition(models, &config),
        camera(&config),
        door(&config),
        vec![doctor::clock(), doctor::disk(&data), wear(&data), heat()],
    ];
    Ok(doctor::tell(groups.into_iter().flatten()))
}

/// Every device, then the one that is configured, for two seconds.
fn camera(config: &Config) -> Vec<Finding> {
    const WHAT: &str = "camera";
    let nodes = cameras::nodes(&config.camera.wanted()).into_iter().map(|(path, node)| match node {
        Ok(node) => {
            let formats: Vec<String> = node.offers.iter().map(offer_said).collect();
            let formats =
                if formats.is_empty() { String::new() } else { format!("; {}", formats.join(", ")) };
            let said = format!(
                "{} {} on {}: {}{formats}",
                path.display(),
                node.name,
                node.bus,
                node.usability.advice()
            );
            Finding::new("device", State::Well, said)
        }
        Err(error) => Finding::new("device", State::Look, error.to_string()),
    });
    let mut findings: Vec<Finding> = nodes.collect();
    let measured = config.camera.settings().map_err(|error| error.to_string());
    let measured =
        measured.and_then(|settings| cameras::measure(settings).map_err(|error| error.to_string()));
    findings.push(match measured {
        Ok(None) => {
            Finding::new(WHAT, State::Look, "none is configured: people come in by badge, PIN or card")
        }
        Ok(Some(seen)) => {
            let agreed = seen.agreed_rate.map_or(String::new(), |rate| format!(" of {rate:.1} agreed"));
            let said = format!(
                "{}, {}: {:.1} frames a second{agreed}, {} unusable",
                seen.name, seen.format, seen.rate, seen.unusable
            );
            let is_slow = seen.rate < FRAME_RATE_LOW || seen.unusable > 0;
            let hint =
                if is_slow { "; more light, another cable or USB port, or a smaller picture" } else { "" };
            Finding::new(WHAT, if is_slow { State::Look } else { State::Well }, said + hint)
        }
        Err(problem) => Finding::new(WHAT, State::Wrong, problem),
    });
    findings
}

/// "MJPG 640x480 1280x720"
fn offer_said(offer: &cameras::Offer) -> String {
    let size = |size: &cameras::OfferedSize| format!(" {}x{}", size.width.end(), size.height.end());
    let sizes: String = offer.sizes.iter().take(8).map(size).collect();
    let others = if offer.sizes.len() > 8 { " ..." } else { "" };
    let use_of_it = if offer.format.is_none() { " (not decoded here)" } else { "" };
    format!("{}{sizes}{others}{use_of_it}", offer.code)
}

fn door(config: &Config) -> Vec<Finding> {
    const WHAT: &str = "door";
    let chips = pins::chips();
    let chips = if chips.is_empty() { "no GPIO chip".to_owned() } else { chips.join(", ") };
    let mut findings = vec![Finding::new("GPIO", State::Well, chips)];
    match config.door.driver {
        Driver::None => findings.push(Finding::new(WHAT, State::Look, "none is configured: attendance only")),
        driver => {
            let said = format!("driver {driver:?}; {}", lock_said(&config.door));
            findings.push(Finding::new(WHAT, State::Well, said));
        }
    }
    findings.extend(pins::lines(&config.door).into_iter().map(|found| match found.problem {
        None => Finding::new("line", State::Well, found.what + " is there and free"),
        Some(problem) => Finding::new("line", State::Wrong, format!("{}: {problem}", found.what)),
    }));
    findings
}

fn lock_said(door: &DoorConfig) -> &'static str {
    match (door.has_lock(), door.fail) {
        (false, _) => "no lock",
        (true, Some(Fail::Safe)) => "fails safe: without power or program the door is open",
        (true, _) => "fails secure: without power or program the door is locked",
    }
}

/// The whole chain on a bundled picture.
fn recognition(folder: &Path, config: &Config) -> Vec<Finding> {
    let models = Models::open(folder).and_then(|models| Ok((FaceReader::load(&models)?, models)));
    let (networks, models) = match models {
        Ok(loaded) => loaded,
        Err(error) => return vec![Finding::new("networks", State::Wrong, error.to_string())],
    };
    let loaded = Finding::new("networks", State::Well, format!("{}, every hash is right", folder.display()));
    let pictures = match config.liveness.passes_pictures(&models) {
        false => Finding::new(
            "liveness",
            State::Well,
            "photographs are asked to turn their head, or go to a network",
        ),
        true => Finding::new(
            "liveness",
            State::Look,
            "a good photograph of somebody is taken for them; see deploy/LIVENESS.md, [liveness] policy",
        ),
    };
    vec![loaded, self_test(networks), pictures]
}

fn self_test(mut reader: FaceReader) -> Finding {
    const WHAT: &str = "recognition";
    let started = Instant::now();
    let wrong = |said: String| Finding::new(WHAT, State::Wrong, said);
    let image = match decode(FRAME) {
        Ok(image) => image,
        Err(error) => return wrong(format!("the bundled picture cannot be read: {error}")),
    };
    let faces = match reader.detect(&image, FACE_MIN_PX, &mut |_| {}) {
        Ok(faces) => faces,
        Err(error) => return wrong(error.to_string()),
    };
    let seen = faces.first().and_then(|face| reader.look(&image, face));
    let Some((aligned, quality)) = seen.filter(|_| faces.len() == 1) else {
        return wrong(format!("{} faces were found on the bundled picture, not its one", faces.len()));
    };
    if let Some(issue) = quality.issues(&QualityLimits::ENROL).first() {
        return wrong(format!("the bundled picture's face is called {issue}"));
    }
    match reader.embed(&aligned) {
        Ok(embedding) => {
            let milliseconds = started.elapsed().as_millis();
            let agreement = cosine(embedding.values(), EMBEDDING);
            let said =
                format!("one face read in {milliseconds} ms, cosine to what it should be {agreement:.6}");
            let state = if agreement >= AGREEMENT_MIN { State::Well } else { State::Look };
            let hint =
                if state == State::Look { "; right only if these are networks of your own" } else { "" };
            Finding::new(WHAT, state, said + hint)
        }
        Err(error) => wrong(error.to_string()),
    }
}

/// 0 for vectors of different lengths.
fn cosine(values: &[f32], expected: &[u8]) -> f32 {
    let (expected, rest) = expected.as_chunks::<4>();
    if !rest.is_empty() || expected.len() != values.len() {
        return 0.0;
    }
    values.iter().zip(expected).map(|(value, bytes)| value * f32::from_le_bytes(*bytes)).sum()
}

/// What a running terminal writes: a card lives for some thousand times its size.
fn wear(data: &Path) -> Finding {
    const WHAT: &str = "card wear";
    match written(data) {
        None => Finding::new(WHAT, State::Well, "not known: no terminal runs on this data folder"),
        Some((bytes, seconds)) => {
            let a_day = bytes as f64 / seconds.max(1.0) * 86_400.0 / f64::from(1 << 20);
            let said = format!(
                "the running terminal has written {:.1} MiB in {:.1} hours, which is {a_day:.1} MiB a day",
                bytes as f64 / f64::from(1 << 20),
                seconds / 3_600.0
            );
            Finding::new(WHAT, State::Well, said)
        }
    }
}

/// Bytes that the program on this data folder has caused to be written, and the seconds since its start.
fn written(data: &Path) -> Option<(u64, f64)> {
    let holder = std::fs::read_to_string(data.join("lock")).ok()?;
    let process = Path::new("/proc").join(holder.split_ascii_whitespace().nth(1)?);
    let counters = std::fs::read_to_string(process.join("io")).ok()?;
    let bytes = counters.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.parse().ok()?;
    let stat = std::fs::read_to_string(process.join("stat")).ok()?;
    // The name of the program is in brackets and may hold anything; the start is the 20th field after it (proc(5)).
    let started: u64 = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()?;
    let since_boot = std::fs::read_to_string("/proc/uptime").ok()?;
    let since_boot: f64 = since_boot.split_ascii_whitespace().next()?.parse().ok()?;
    let a_second = rustix::param::clock_ticks_per_second() as f64;
    Some((bytes, since_boot - started as f64 / a_second))
}

/// How warm the processor is, and whether a Raspberry Pi has slowed down for heat or a weak supply.
fn heat() -> Finding {
    const WHAT: &str = "heat, power";
    let warm = Machine::read(Path::new("/")).temperature_celsius;
    let warm = warm.map_or("no temperature is told".to_owned(), |warm| format!("{warm:.0} degrees Celsius"));
    let throttled = std::fs::read_to_string("/sys/devices/platform/soc/soc:firmware/get_throttled");
    let bits =
        throttled.ok().and_then(|text| u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok());
    match bits.map(throttling) {
        None => Finding::new(WHAT, State::Well, warm),
        Some(words) if words.is_empty() => Finding::new(WHAT, State::Well, warm + ", never throttled"),
        Some(words) => Finding::new(WHAT, State::Look, format!("{warm}; {}", words.join("; "))),
    }
}

/// What the bits of the firmware's `get_throttled` say, those since boot included (Raspberry Pi documentation, vcgencmd).
fn throttling(bits: u32) -> Vec<&'static str> {
    const MEANINGS: [(u32, &str); 4] = [
        (1 << 16 | 1, "the supply's voltage was too low: use the official supply and a short cable"),
        (1 << 17 | 1 << 1, "the processor's clock was capped"),
        (1 << 18 | 1 << 2, "the processor was throttled: give it a heat sink and air"),
        (1 << 19 | 1 << 3, "the soft temperature limit was reached"),
    ];
    MEANINGS.into_iter().filter(|(mask, _)| bits & mask != 0).map(|(_, words)| words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_firmware_says_is_put_in_words() {
        assert!(throttling(0).is_empty());
        assert_eq!(throttling(0x50005).len(), 2);
        assert_eq!(throttling(0xf0000).len(), 4);
    }
}
