//! What a full gallery costs: 20,000 people with 5 sealed templates each in a SQLite file.
//!
//! `cargo bench -p rollcall-gallery --features testing --bench faces` prints how long it takes to open and load, the memory of the process,
//! how long a decision takes, and how long the thresholds take to solve. The templates are synthetic: those of one
//! person have a cosine of about 0.75, those of two people 0 with a standard deviation of about 0.14. Nothing is
//! asserted; the numbers are of the machine that it runs on.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that cannot go on has nothing to print")]

use std::path::Path;
use std::time::Instant;

use rollcall_core::{SiteZone, TerminalId, UtcInstant};
use rollcall_gallery::{FaceOptions, Gallery, GalleryOptions, Key, Recogniser, testing};
use rollcall_store::{Db, SqliteOptions, Writes};
use rollcall_vision::{Embedding, Models, Quality};

const PEOPLE: usize = 20_000;
const TEMPLATES: usize = 5;
const PROBES: usize = 200;

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let models = Models::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models")).unwrap();
    let now = UtcInstant::now();
    println!("{PEOPLE} people x {TEMPLATES} templates");
    let mut faces = Faces(0x9e37_79b9_7f4a_7c15);
    let centres: Vec<Vec<f32>> = (0..PEOPLE).map(|_| faces.identity()).collect();
    {
        let gallery = open(folder.path(), now).await;
        let begun = Instant::now();
        let everybody = centres.iter().map(|centre| (0..TEMPLATES).map(|_| faces.template(centre)).collect());
        testing::fill(&gallery, &models, everybody.collect(), now).await;
        println!("sealed and stored in {:.1} s", begun.elapsed().as_secs_f64());
    }
    let file = std::fs::metadata(folder.path().join("gallery.db")).unwrap().len();
    println!("gallery.db has {:.1} MiB", file as f64 / f64::from(1 << 20));
    let before = resident_mib();
    let begun = Instant::now();
    let gallery = open(folder.path(), now).await;
    println!("opened in {:.2} s", begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    let options = FaceOptions {
        models: Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models"),
        fpir_target: 0.001,
        keep_pictures: false,
        threads: 1,
    };
    let recogniser = gallery.load_faces(options).await.unwrap();
    println!("networks, templates and thresholds loaded in {:.2} s", begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    let thresholds = recogniser.calibrate().await.unwrap();
    println!("thresholds solved in {:.2} s: {thresholds:?}", begun.elapsed().as_secs_f64());
    decide(&recogniser, &mut faces, &centres, now);
    println!("resident: {before:.0} MiB before it was opened, {:.0} MiB after", resident_mib());
}

async fn open(folder: &Path, now: UtcInstant) -> Gallery {
    let migrations = [rollcall_store::requests::MIGRATIONS, Gallery::migrations()];
    let options = SqliteOptions { secure_delete: true };
    let db = Db::open_sqlite(&folder.join("gallery.db"), options, &migrations).await.unwrap();
    let options = GalleryOptions {
        db,
        writes: Writes::new(),
        key: Key::new([7; 32]),
        zone: SiteZone::utc(),
        erasures: folder.join("erasures"),
        terminal: Some(TerminalId::from_bytes([9; 16])),
    };
    Gallery::open(options, now).await.unwrap()
}

fn decide(recogniser: &Recogniser, faces: &mut Faces, centres: &[Vec<f32>], now: UtcInstant) {
    let quality = Quality {
        inter_ocular_px: 60.0,
        sharpness: 12.0,
        yaw_deg: 0.0,
        roll_deg: 0.0,
        nose_height: 0.5,
        brightness: 120.0,
        contrast: 50.0,
    };
    for (who, known) in [("enrolled", true), ("strangers", false)] {
        let mut times = Vec::new();
        let mut recognised = 0;
        for n in 0..PROBES {
            let stranger = faces.identity();
            let centre = if known { &centres[n * centres.len() / PROBES] } else { &stranger };
            let probe = faces.template(centre);
            let begun = Instant::now();
            let decision = recogniser.decide(&probe, quality, 1, now).unwrap();
            times.push(begun.elapsed().as_secs_f64() * 1e3);
            recognised += usize::from(decision.trace.template.is_some());
        }
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        println!(
            "decision, {who}: median {:.2} ms, 99 % {:.2} ms; {recognised} of {PROBES} recognised",
            at(0.5),
            at(0.99)
        );
    }
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1_024.0
}

/// Made-up faces, the same each time.
struct Faces(u64);

impl Faces {
    /// A direction with a mean that all share, so that two differ as two people do.
    fn identity(&mut self) -> Vec<f32> {
        (0..128).map(|n| self.normal() * if n < 50 { 1.6 } else { 0.3 }).collect()
    }

    fn template(&mut self, centre: &[f32]) -> Embedding {
        let values = centre.iter().map(|value| value + 0.62 * self.normal()).collect();
        Embedding::normalised(values).unwrap()
    }

    /// A normal number: the sum of twelve uniform ones (xorshift64*).
    fn normal(&mut self) -> f32 {
        let mut sum = -6.0;
        for _ in 0..12 {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            sum += (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40) as f32 / (1u32 << 24) as f32;
        }
        sum
    }
}
