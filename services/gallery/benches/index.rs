//! What matching one probe costs, beside a plain read of the same memory.
//!
//! `cargo bench -p rollcall-gallery` prints medians of interleaved rounds, in milliseconds of this thread's
//! processor time, so that other programs on the machine matter less. The galleries are synthetic, with the score
//! distributions of the shipped network: templates of one person have a cosine of about 0.75, those of two people
//! 0 with a standard deviation of about 0.14.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on has nothing to print")]

use std::hint::black_box;

use rollcall_core::PersonId;
use rollcall_gallery::Index;
use rollcall_vision::Embedding;
use rustix::time::{ClockId, clock_gettime};

const LENGTH: usize = 128;
const IDENTITIES: usize = 20_000;
const TEMPLATES: usize = 5;
const PROBES: usize = 8;
const ROUNDS: usize = 41;

fn main() {
    let mut faces = Faces::new();
    // Template i is of identity i modulo IDENTITIES, so that a gallery of any size has all the identities it can.
    let centres: Vec<_> = (0..IDENTITIES).map(|_| faces.identity()).collect();
    let templates: Vec<_> =
        (0..IDENTITIES * TEMPLATES).map(|i| faces.template(&centres[i % IDENTITIES])).collect();
    let probes: Vec<_> = (0..PROBES).map(|i| faces.template(&centres[i * 100])).collect();
    print_distributions(&templates);

    println!(
        "\none probe, ms of processor time, median of {ROUNDS} rounds over {PROBES} probes; each template"
    );
    println!("a person of its own; x: times a plain read of the f32 values; rescored: mean number of rows");
    println!(
        "{:>8} {:>4} {:>9} {:>9} {:>6} {:>9} {:>6} {:>9}",
        "people", "k", "read", "f32", "x", "search", "x", "rescored"
    );
    for people in [1_000, 10_000, 100_000] {
        let index = index(templates[..people].chunks(1));
        for count in [2, 10, 100] {
            search(&index, &probes, count);
        }
    }
    same_faces(&templates[0], &probes);
    drop(templates);
    whole_gallery(&mut faces, &centres, &probes);
}

fn search(index: &Index, probes: &[Embedding], count: usize) {
    let (mut read, mut plain, mut quick) = (Vec::new(), Vec::new(), Vec::new());
    let mut rescored = 0;
    for probe in probes.iter().cycle().take(ROUNDS) {
        read.push(milliseconds(|| index.read_references()).0);
        let (ms, every_row) = milliseconds(|| index.search_f32(probe, count).unwrap());
        plain.push(ms);
        let (ms, found) = milliseconds(|| index.search_counted(probe, count).unwrap());
        quick.push(ms);
        assert_eq!(found.candidates, every_row);
        rescored += found.rescored;
    }
    let (read, plain, quick) = (median(read), median(plain), median(quick));
    println!(
        "{:>8} {count:>4} {read:>9.4} {plain:>9.4} {:>6.2} {quick:>9.4} {:>6.2} {:>9.1}",
        index.len(),
        plain / read,
        quick / read,
        rescored as f64 / ROUNDS as f64,
    );
}

/// The worst case for skipping: every row has the same score, so every row must be read.
fn same_faces(template: &Embedding, probes: &[Embedding]) {
    println!("100,000 people with the same template:");
    search(&index((0..100_000).map(|_| std::slice::from_ref(template))), probes, 2);
}

fn whole_gallery(faces: &mut Faces, centres: &[Vec<f32>], probes: &[Embedding]) {
    println!("\n{IDENTITIES} people with {TEMPLATES} templates each:");
    let mut people = Vec::new();
    for centre in centres {
        people.push((0..TEMPLATES).map(|_| faces.template(centre)).collect::<Vec<_>>());
    }
    let (ms, index) = milliseconds(|| index(people.iter().map(Vec::as_slice)));
    println!("insert all           {ms:>9.1} ms");
    search(&index, probes, 2);
    for score_min in [0.5, 0.6, 0.7] {
        let (ms, pairs) = milliseconds(|| index.look_alikes(score_min));
        println!("look-alikes from {score_min} {ms:>9.1} ms, {} pairs", pairs.len());
    }
    let (mut count, mut sum) = (0, 0.0);
    let (ms, ()) = milliseconds(|| {
        index.for_each_cross_score(|_, _, scores| {
            count += scores.len();
            sum += scores[0];
        });
    });
    black_box(sum);
    println!("cross scores         {ms:>9.1} ms, {count} scores");
}

fn index<'a>(people: impl Iterator<Item = &'a [Embedding]>) -> Index {
    let mut index = Index::new(LENGTH).unwrap();
    for (i, templates) in people.enumerate() {
        index.insert(PersonId::from_bytes((i as u128).to_be_bytes()), templates).unwrap();
    }
    index
}

fn print_distributions(templates: &[Embedding]) {
    let genuine: Vec<f64> =
        (0..5_000).map(|i| templates[i].cosine(&templates[i + IDENTITIES]).into()).collect();
    let impostor: Vec<f64> = (0..5_000).map(|i| templates[i].cosine(&templates[i + 5_000]).into()).collect();
    for (name, scores) in [("genuine", genuine), ("impostor", impostor)] {
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        let variance = scores.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / scores.len() as f64;
        println!("{name}: mean {mean:.3}, standard deviation {:.3}", variance.sqrt());
    }
}

fn milliseconds<T>(run: impl FnOnce() -> T) -> (f64, T) {
    let now = || clock_gettime(ClockId::ThreadCPUTime);
    let start = now();
    let result = black_box(run());
    let end = now();
    ((end.tv_sec - start.tv_sec) as f64 * 1e3 + (end.tv_nsec - start.tv_nsec) as f64 / 1e6, result)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Draws embeddings from a space in which later directions matter less, turned so that no value stands out.
struct Faces {
    state: u64,
    spread: Vec<f32>,
    signs: Vec<f32>,
}

impl Faces {
    fn new() -> Self {
        // Cosines of such vectors have variance 1 / (2 * 25.5) = 0.14^2.
        let spread = (0..LENGTH).map(|i| (-(i as f32) / 25.5 / 2.0).exp()).collect();
        let mut faces = Self { state: 0x9E37_79B9_7F4A_7C15, spread, signs: Vec::new() };
        faces.signs = (0..LENGTH).map(|_| if faces.uniform() < 0.0 { -1.0 } else { 1.0 }).collect();
        faces
    }

    fn identity(&mut self) -> Vec<f32> {
        (0..LENGTH).map(|i| self.spread[i] * self.bell()).collect()
    }

    /// sqrt(0.75) of the identity and sqrt(0.25) of noise: two of them have a cosine of 0.75.
    fn template(&mut self, identity: &[f32]) -> Embedding {
        let noise = self.identity();
        let mixed = identity.iter().zip(&noise).map(|(i, n)| 0.75f32.sqrt() * i + 0.5 * n);
        let mut values: Vec<f32> = mixed.zip(&self.signs).map(|(v, sign)| v * sign).collect();
        // A Walsh-Hadamard transform: a rotation, but for the scale.
        let mut half = 1;
        while half < LENGTH {
            for start in (0..LENGTH).step_by(2 * half) {
                for i in start..start + half {
                    (values[i], values[i + half]) =
                        (values[i] + values[i + half], values[i] - values[i + half]);
                }
            }
            half *= 2;
        }
        Embedding::normalised(values).unwrap()
    }

    /// About normal: the sum of four uniform numbers.
    fn bell(&mut self) -> f32 {
        (0..4).map(|_| self.uniform()).sum()
    }

    /// -1 to 1, by xorshift64.
    fn uniform(&mut self) -> f32 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }
}
