//! A picture in the making: light in red, green and blue, 0 black to 1 white, brighter ones allowed until the sensor
//! clips them.

use super::{HEIGHT, WIDTH};

/// See the module.
#[derive(Clone)]
pub struct Canvas {
    /// Row by row.
    pub pixels: Vec<[f32; 3]>,
}

/// A part of the canvas: pixels from `x0` to before `x1`, `y0` to before `y1`.
#[derive(Clone, Copy)]
pub struct Part {
    /// Left.
    pub x0: usize,
    /// Top.
    pub y0: usize,
    /// Right, not in it.
    pub x1: usize,
    /// Bottom, not in it.
    pub y1: usize,
}

impl Part {
    /// What of this rectangle lies on the canvas.
    pub fn clipped(left: f32, top: f32, right: f32, bottom: f32) -> Self {
        let within = |value: f32, most: usize| value.max(0.0).min(most as f32) as usize;
        Self {
            x0: within(left.floor(), WIDTH),
            y0: within(top.floor(), HEIGHT),
            x1: within(right.ceil(), WIDTH),
            y1: within(bottom.ceil(), HEIGHT),
        }
    }
}

impl Canvas {
    /// A room: a plain wall that is lit from above, and the floor.
    pub fn room() -> Self {
        let mut pixels = Vec::with_capacity(WIDTH * HEIGHT);
        for y in 0..HEIGHT {
            let down = y as f32 / HEIGHT as f32;
            for x in 0..WIDTH {
                let across = x as f32 / WIDTH as f32 - 0.4;
                let light = 0.62 - 0.2 * down - 0.25 * across * across;
                pixels.push(if down > 0.93 {
                    [light * 0.6, light * 0.5, light * 0.42]
                } else {
                    [light, light * 0.98, light * 0.93]
                });
            }
        }
        Self { pixels }
    }

    /// The same light everywhere.
    pub fn plain(light: [f32; 3]) -> Self {
        Self { pixels: vec![light; WIDTH * HEIGHT] }
    }

    /// Paints over a part: `paint` gives a point's light and how much it covers, 0 to 1, or nothing.
    pub fn paint(&mut self, part: Part, mut paint: impl FnMut(f32, f32) -> Option<([f32; 3], f32)>) {
        for y in part.y0..part.y1 {
            for x in part.x0..part.x1 {
                if let Some((light, cover)) = paint(x as f32, y as f32) {
                    self.cover(x, y, light, cover);
                }
            }
        }
    }

    /// Paints one pixel.
    pub fn cover(&mut self, x: usize, y: usize, light: [f32; 3], cover: f32) {
        let pixel = &mut self.pixels[y * WIDTH + x];
        for (under, over) in pixel.iter_mut().zip(light) {
            *under += (over - *under) * cover;
        }
    }
}
