//! The camera: draws a moment and does to it what lens, exposure and sensor do.

use qrcode::{Color, EcLevel, QrCode};
use rollcall_vision::RgbImage;

use super::canvas::Canvas;
use super::draw::{self, Actor};
use super::people::People;
use super::texture::Texture;
use super::{HEIGHT, WIDTH};

/// Standard deviation of the sensor's noise, in grey levels.
const NOISE: f32 = 2.0;

/// Pixels of a module of the QR code, before it is drawn.
const MODULE_PX: usize = 8;
/// Modules of white about it (ISO/IEC 18004: four).
const QUIET: usize = 4;

/// What is before the camera at one time.
pub struct Moment {
    /// From the farthest to the nearest.
    pub actors: Vec<Actor>,
    /// What is behind them.
    pub behind: Behind,
    /// How bright the sensor makes it: 1 is right.
    pub exposure: f32,
    /// How much of a frame's time the shutter is open, 0 to 1: what moves is smeared over it. Nothing is at 0.
    pub shutter: f32,
}

/// See [`Moment`].
#[derive(Clone, Copy)]
pub enum Behind {
    /// A room.
    Room,
    /// A hand on the lens.
    Hand,
}

/// See the module.
pub struct Camera {
    people: People,
    badge: Texture,
    room: Canvas,
    noise: Noise,
}

impl Camera {
    /// One with this noise, and a badge of this text.
    pub fn new(seed: u64, badge: &str) -> Self {
        Self { people: People::read(), badge: qr(badge), room: Canvas::room(), noise: Noise::new(seed) }
    }

    /// Takes a frame at a time, when so many seconds lie between frames.
    pub fn take(&mut self, moment: impl Fn(f32) -> Moment, at: f32, between: f32) -> RgbImage {
        let shutter = moment(at).shutter;
        let parts = if shutter > 0.0 { 12 } else { 1 };
        let mut sum = Canvas::plain([0.0; 3]);
        for part in 0..parts {
            let canvas = self.draw(&moment(at + shutter * between * part as f32 / parts as f32));
            for (sum, light) in sum.pixels.iter_mut().zip(&canvas.pixels) {
                for (sum, light) in sum.iter_mut().zip(light) {
                    *sum += light / parts as f32;
                }
            }
        }
        self.expose(&sum)
    }

    fn draw(&self, moment: &Moment) -> Canvas {
        let mut canvas = match moment.behind {
            Behind::Room => self.room.clone(),
            Behind::Hand => Canvas::plain([0.36, 0.17, 0.12]),
        };
        for actor in &moment.actors {
            draw::draw(&mut canvas, &self.people, &self.badge, actor);
        }
        for light in canvas.pixels.as_flattened_mut() {
            *light *= moment.exposure;
        }
        canvas
    }

    fn expose(&mut self, canvas: &Canvas) -> RgbImage {
        let data = canvas.pixels.as_flattened().chunks(WIDTH * 3).flat_map(|row| {
            let noise = self.noise.row(row.len());
            row.iter()
                .zip(noise)
                .map(|(light, noise)| (light * 255.0 + noise).round().clamp(0.0, 255.0) as u8)
        });
        RgbImage::new(WIDTH, HEIGHT, data.collect()).expect("three bytes a pixel")
    }
}

/// A white card with the QR code of a text.
fn qr(text: &str) -> Texture {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).expect("a badge's text fits a QR code");
    let (modules, colours) = (code.width(), code.to_colors());
    let side = (modules + 2 * QUIET) * MODULE_PX;
    let light = |x: usize, y: usize| {
        let module = |at: usize| (at / MODULE_PX).checked_sub(QUIET).filter(|at| *at < modules);
        match (module(x), module(y)) {
            (Some(x), Some(y)) if colours[y * modules + x] == Color::Dark => 25,
            _ => 225,
        }
    };
    let data = (0..side).flat_map(|y| (0..side).flat_map(move |x| [light(x, y); 3]));
    Texture::new(&RgbImage::new(side, side, data.collect()).expect("three bytes a pixel"))
}

/// Noise of a normal distribution: a table of it, read from another place for each row.
struct Noise {
    table: Vec<f32>,
    state: u64,
}

impl Noise {
    const LENGTH: usize = 1 << 14;

    fn new(seed: u64) -> Self {
        let mut noise = Self { table: Vec::new(), state: seed };
        // The sum of twelve even ones is close to a normal one of variance 1.
        let mut even = || (noise.next() >> 40) as f32 / (1u64 << 24) as f32;
        noise.table =
            (0..Self::LENGTH).map(|_| NOISE * ((0..12).map(|_| even()).sum::<f32>() - 6.0)).collect();
        noise
    }

    /// SplitMix64 (Steele, Lea and Flood, 2014).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn row(&mut self, length: usize) -> Vec<f32> {
        let start = self.next() as usize % (Self::LENGTH - length);
        self.table[start..start + length].to_vec()
    }
}
