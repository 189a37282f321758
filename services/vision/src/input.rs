//! How a picture's bytes go into a network: size, order of the channels, range. Getting one of these wrong costs
//! accuracy without an error, so they are stated in the manifest and applied in one place.

use serde::Deserialize;

/// What a network takes: pictures of this shape, each byte as (byte - mean) * scale.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Name of the input in the file.
    pub name: String,
    /// N, channels, height, width; a letter where any size will do.
    pub shape: [Side; 4],
    /// Order of the channels.
    pub colour: Colour,
    /// Subtracted from each byte.
    pub mean: f32,
    /// Then multiplied with.
    pub scale: f32,
}

/// One side of a shape.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Side {
    /// Always so many.
    Fixed(usize),
    /// Any number, with a name.
    Open(String),
}

/// Order of a picture's channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Colour {
    /// Red first.
    #[serde(rename = "RGB")]
    Rgb,
    /// Blue first.
    #[serde(rename = "BGR")]
    Bgr,
}

impl Input {
    /// Brings RGB bytes to the values that the network takes, into `values`.
    pub fn fill(&self, rgb: &[u8], values: &mut Vec<f32>) {
        let value = |byte: u8| (f32::from(byte) - self.mean) * self.scale;
        values.clear();
        match self.colour {
            Colour::Rgb => values.extend(rgb.iter().map(|&b| value(b))),
            Colour::Bgr => {
                values.extend(rgb.as_chunks::<3>().0.iter().flat_map(|&[r, g, b]| [b, g, r].map(value)))
            }
        }
    }
}
