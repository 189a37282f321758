//! Whether a face is a live one, by networks that a site may put in. None are shipped, and without one there is no
//! score: absence is never reported as "live".
//!
//! The contract is that of MiniFASNet (Silent-Face-Anti-Spoofing): for each network the face's box is enlarged
//! about its centre, shifted back into the picture, brought to the network's size, fed as the manifest says, and
//! of its three probabilities the second is "live". The score is the mean over the networks.

use crate::geometry::Rect;
use crate::image::RgbImage;
use crate::input::{Input, Side};
use crate::net::{Network, NetworkError};

/// One or more liveness networks.
#[derive(Debug)]
pub struct Liveness {
    networks: Vec<(Network, Input, String, f32)>,
    values: Vec<f32>,
}

impl Liveness {
    /// Takes networks, each with its input, its output and by how much the box is enlarged. None without any.
    pub(crate) fn new(networks: Vec<(Network, Input, String, f32)>) -> Option<Self> {
        (!networks.is_empty()).then(|| Self { networks, values: Vec::new() })
    }

    /// Probability that the face at `bounds` is live, 0 to 1.
    ///
    /// # Errors
    /// [`NetworkError::Misfit`] when a network does not fit its manifest entry.
    pub fn score(&mut self, image: &RgbImage, bounds: &Rect) -> Result<f32, NetworkError> {
        let mut sum = 0.0;
        for (network, input, output, enlarge) in &mut self.networks {
            let [.., Side::Fixed(height), Side::Fixed(width)] = input.shape else {
                let why = "its input has no fixed height and width".into();
                return Err(NetworkError::Misfit { name: network.name().into(), why });
            };
            let cut = cut_out(image, bounds, *enlarge, width, height);
            input.fill(&cut, &mut self.values);
            network.run(1, height, width, &self.values)?;
            sum += network.output(output, 3)?.cell(0)[1];
        }
        Ok(sum / self.networks.len() as f32)
    }
}

/// The box enlarged by `enlarge`, or by as much as the picture allows, shifted inside, as `width` x `height` RGB
/// bytes, bilinear with pixel centres aligned.
fn cut_out(image: &RgbImage, bounds: &Rect, enlarge: f32, width: usize, height: usize) -> Vec<u8> {
    let (right, bottom) = ((image.width() - 1) as f32, (image.height() - 1) as f32);
    let (w, h) = (bounds.width().max(1.0), bounds.height().max(1.0));
    let scale = enlarge.min(bottom / h).min(right / w);
    let start = |centre: f32, side: f32, last: f32| (centre - side / 2.0).min(last - side).max(0.0).floor();
    let (cw, ch) = (w * scale, h * scale);
    let (x0, y0) =
        (start((bounds.x0 + bounds.x1) / 2.0, cw, right), start((bounds.y0 + bounds.y1) / 2.0, ch, bottom));
    let (step_x, step_y) = ((cw.floor() + 1.0) / width as f32, (ch.floor() + 1.0) / height as f32);
    let mut out = Vec::with_capacity(width * height * 3);
    for v in 0..height {
        for u in 0..width {
            let x = (x0 + (u as f32 + 0.5) * step_x - 0.5).clamp(0.0, right);
            let y = (y0 + (v as f32 + 0.5) * step_y - 0.5).clamp(0.0, bottom);
            out.extend(crate::align::sample(image, x, y));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red says the column, green the row.
    fn gradient() -> RgbImage {
        let pixels = (0..100 * 200).flat_map(|i| [(i % 200) as u8, (i / 200) as u8, 0]).collect();
        RgbImage::new(200, 100, pixels).unwrap()
    }

    /// Columns and rows of the first and the last pixel of a cut of 20 x 20.
    fn corners(bounds: Rect, enlarge: f32) -> [[u8; 2]; 2] {
        let cut = cut_out(&gradient(), &bounds, enlarge, 20, 20);
        [[cut[0], cut[1]], [cut[cut.len() - 3], cut[cut.len() - 2]]]
    }

    #[test]
    fn the_window_is_the_box_enlarged_about_its_centre() {
        let bounds = Rect { x0: 90.0, y0: 40.0, x1: 110.0, y1: 60.0 };
        assert_eq!(corners(bounds, 2.0), [[81, 31], [119, 69]]);
    }

    #[test]
    fn a_window_over_the_edge_is_shifted_inside() {
        let bounds = Rect { x0: 0.0, y0: 0.0, x1: 20.0, y1: 20.0 };
        assert_eq!(corners(bounds, 2.0), [[1, 1], [39, 39]]);
        let bounds = Rect { x0: 180.0, y0: 80.0, x1: 200.0, y1: 100.0 };
        assert_eq!(corners(bounds, 2.0), [[160, 60], [198, 98]]);
    }

    #[test]
    fn a_window_larger_than_the_picture_shrinks_to_fit() {
        let bounds = Rect { x0: 60.0, y0: 10.0, x1: 140.0, y1: 90.0 };
        let [[left, top], [right, bottom]] = corners(bounds, 4.0);
        assert!(top <= 2 && bottom >= 97, "all rows: {top} to {bottom}");
        assert!(
            (50..=53).contains(&left) && (147..=150).contains(&right),
            "as many columns: {left} to {right}"
        );
    }
}
