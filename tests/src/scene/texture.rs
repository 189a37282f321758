//! A picture that is drawn smaller, turned or bent: its halves, quarters and so on are kept, so that drawing it small
//! does not shimmer.

use rollcall_vision::RgbImage;

/// A picture with its smaller copies.
pub struct Texture {
    levels: Vec<Level>,
}

struct Level {
    width: usize,
    height: usize,
    pixels: Vec<[f32; 3]>,
}

impl Texture {
    /// Of a picture.
    pub fn new(picture: &RgbImage) -> Self {
        let pixels = picture.data().chunks_exact(3).map(|rgb| [0, 1, 2].map(|at| f32::from(rgb[at]) / 255.0));
        let mut level = Level { width: picture.width(), height: picture.height(), pixels: pixels.collect() };
        let mut levels = Vec::new();
        while level.width >= 4 && level.height >= 4 {
            let half = level.halved();
            levels.push(std::mem::replace(&mut level, half));
        }
        levels.push(level);
        Self { levels }
    }

    /// Of the picture, in pixels.
    pub fn width(&self) -> usize {
        self.levels[0].width
    }

    /// The light at a point in pixels of the picture, drawn so that one pixel drawn is `step` pixels of the picture;
    /// nothing outside of it.
    pub fn at(&self, x: f32, y: f32, step: f32) -> Option<[f32; 3]> {
        let halvings = step.max(1.0).log2();
        let (finer, part) = (halvings as usize, halvings.fract());
        let last = self.levels.len() - 1;
        let fine = self.levels[finer.min(last)].at(x, y, finer.min(last))?;
        let coarse = self.levels[(finer + 1).min(last)].at(x, y, (finer + 1).min(last))?;
        Some([0, 1, 2].map(|at| fine[at] + (coarse[at] - fine[at]) * part))
    }
}

impl Level {
    fn halved(&self) -> Self {
        let (width, height) = (self.width / 2, self.height / 2);
        let mut pixels = Vec::with_capacity(width * height);
        for y in 0..height {
            for x in 0..width {
                let four = [(0, 0), (1, 0), (0, 1), (1, 1)]
                    .map(|(dx, dy)| self.pixels[(2 * y + dy) * self.width + 2 * x + dx]);
                pixels.push([0, 1, 2].map(|at| four.iter().map(|light| light[at]).sum::<f32>() / 4.0));
            }
        }
        Self { width, height, pixels }
    }

    /// Between the four pixels about a point of the whole picture, of which this is the copy halved `halvings` times.
    fn at(&self, x: f32, y: f32, halvings: usize) -> Option<[f32; 3]> {
        let scale = 1.0 / (1u32 << halvings) as f32;
        let (x, y) = ((x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5);
        let (right, bottom) = (self.width as f32 - 0.5, self.height as f32 - 0.5);
        if !(x >= -0.5 && y >= -0.5 && x <= right && y <= bottom) {
            return None;
        }
        let (x, y) = (x.clamp(0.0, right - 0.5), y.clamp(0.0, bottom - 0.5));
        let (left, top) = (x as usize, y as usize);
        let (beside, below) = ((left + 1).min(self.width - 1), (top + 1).min(self.height - 1));
        let (fx, fy) = (x.fract(), y.fract());
        let pixel = |x: usize, y: usize| self.pixels[y * self.width + x];
        let (a, b, c, d) = (pixel(left, top), pixel(beside, top), pixel(left, below), pixel(beside, below));
        Some([0, 1, 2].map(|at| {
            let upper = a[at] + (b[at] - a[at]) * fx;
            let lower = c[at] + (d[at] - c[at]) * fx;
            upper + (lower - upper) * fy
        }))
    }
}
