//! Whether a face is good enough to learn from or to judge by, in units that can be told to a person.

use crate::geometry::Landmarks;
use crate::image::RgbImage;

/// What was measured of one face.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// Distance between the eyes in pixels of the picture.
    pub inter_ocular_px: f32,
    /// Standard deviation of the Laplacian over the aligned face, in grey levels: about 4 for a face out of focus or
    /// enlarged from few pixels, 8 to 25 for a sharp one.
    pub sharpness: f32,
    /// Turn of the head to the viewer's right (positive) or left in degrees, about: from how far the nose lies from
    /// the middle between the eyes, taking it to stand out by half the distance between the eyes.
    pub yaw_deg: f32,
    /// Tilt of the head: angle of the eye line in degrees, positive when the right eye of the picture is lower.
    pub roll_deg: f32,
    /// Where the nose stands between the line of the eyes (0) and that of the mouth (1): about 0.5, less when
    /// looking up, more when looking down.
    pub nose_height: f32,
    /// Mean brightness of the aligned face, 0 to 255.
    pub brightness: f32,
    /// Standard deviation of its brightness, in grey levels.
    pub contrast: f32,
}

/// The least that is good enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QualityLimits {
    /// Smallest distance between the eyes in pixels.
    pub inter_ocular_min_px: f32,
    /// Smallest sharpness in grey levels.
    pub sharpness_min: f32,
    /// Largest turn in degrees, either way.
    pub yaw_max_deg: f32,
    /// Largest tilt in degrees, either way.
    pub roll_max_deg: f32,
    /// Range of the nose's height between eyes and mouth.
    pub nose_height: (f32, f32),
    /// Range of brightness.
    pub brightness: (f32, f32),
    /// Smallest contrast in grey levels.
    pub contrast_min: f32,
}

impl QualityLimits {
    /// For a template, which is compared with for years: a sharp frontal face.
    pub const ENROL: Self = Self {
        inter_ocular_min_px: 30.0,
        sharpness_min: 5.0,
        yaw_max_deg: 25.0,
        roll_max_deg: 25.0,
        nose_height: (0.3, 0.75),
        brightness: (50.0, 215.0),
        contrast_min: 15.0,
    };
    /// For a probe: the next frame comes soon, so what says little is left out.
    pub const RECOGNISE: Self = Self {
        inter_ocular_min_px: 18.0,
        sharpness_min: 3.0,
        yaw_max_deg: 40.0,
        roll_max_deg: 40.0,
        nose_height: (0.2, 0.85),
        brightness: (30.0, 230.0),
        contrast_min: 10.0,
    };
}

/// Why a face is not good enough.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum QualityIssue {
    /// Too few pixels.
    #[error("too small: {px:.0} px between the eyes, {min:.0} needed; come closer")]
    Small {
        /// Distance between the eyes.
        px: f32,
        /// What is needed.
        min: f32,
    },
    /// Out of focus, moved, or enlarged.
    #[error("blurred: sharpness {value:.1}, {min:.1} needed; hold still, clean the lens")]
    Blurred {
        /// Sharpness found.
        value: f32,
        /// What is needed.
        min: f32,
    },
    /// Looking to the side.
    #[error("turned by about {deg:.0} degrees, at most {max:.0}; look at the camera")]
    Turned {
        /// Turn found.
        deg: f32,
        /// The most that is accepted.
        max: f32,
    },
    /// Head on the shoulder, or camera askew.
    #[error("tilted by {deg:.0} degrees, at most {max:.0}; hold the head straight")]
    Tilted {
        /// Tilt found.
        deg: f32,
        /// The most that is accepted.
        max: f32,
    },
    /// Looking up or down.
    #[error("looking up or down (nose at {height:.2} between eyes and mouth); look at the camera")]
    Nodding {
        /// Height of the nose found.
        height: f32,
    },
    /// Too little light.
    #[error("too dark: brightness {value:.0} of 255, {min:.0} needed; more light on the face")]
    Dark {
        /// Brightness found.
        value: f32,
        /// What is needed.
        min: f32,
    },
    /// Too much light.
    #[error("too bright: brightness {value:.0} of 255, at most {max:.0}; less light on the face")]
    Bright {
        /// Brightness found.
        value: f32,
        /// The most that is accepted.
        max: f32,
    },
    /// Fog, glare, a dirty lens.
    #[error("flat: contrast {value:.0} grey levels, {min:.0} needed; avoid light from behind")]
    Flat {
        /// Contrast found.
        value: f32,
        /// What is needed.
        min: f32,
    },
}

impl Quality {
    /// Measures the face at `landmarks`, whose aligned cut-out is `aligned`.
    pub fn measure(landmarks: &Landmarks, aligned: &RgbImage) -> Self {
        let [left_eye, right_eye, nose, left_mouth, right_mouth] = landmarks.points;
        let between = |a: [f32; 2], b: [f32; 2]| [(a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0];
        let inter_ocular_px = landmarks.inter_ocular_px().max(f32::MIN_POSITIVE);
        let along =
            [(right_eye[0] - left_eye[0]) / inter_ocular_px, (right_eye[1] - left_eye[1]) / inter_ocular_px];
        // Coordinates from the middle of the eyes, in inter-ocular widths: along the eye line, and down from it.
        let eyes = between(left_eye, right_eye);
        let seen = |p: [f32; 2]| {
            let (x, y) = (p[0] - eyes[0], p[1] - eyes[1]);
            [(x * along[0] + y * along[1]) / inter_ocular_px, (y * along[0] - x * along[1]) / inter_ocular_px]
        };
        let (nose, mouth) = (seen(nose), seen(between(left_mouth, right_mouth)));
        let (brightness, contrast, sharpness) = light(aligned);
        Self {
            inter_ocular_px,
            sharpness,
            yaw_deg: (nose[0] / 0.5).atan().to_degrees(),
            roll_deg: along[1].atan2(along[0]).to_degrees(),
            nose_height: nose[1] / mouth[1].max(f32::MIN_POSITIVE),
            brightness,
            contrast,
        }
    }

    /// Everything in which it falls short of `limits`.
    pub fn issues(&self, limits: &QualityLimits) -> Vec<QualityIssue> {
        let Self {
            inter_ocular_px: px,
            sharpness,
            yaw_deg,
            roll_deg,
            nose_height: height,
            brightness,
            contrast,
        } = *self;
        let (darkest, brightest) = limits.brightness;
        let (lowest, highest) = limits.nose_height;
        let found = [
            (px < limits.inter_ocular_min_px)
                .then_some(QualityIssue::Small { px, min: limits.inter_ocular_min_px }),
            (sharpness < limits.sharpness_min)
                .then_some(QualityIssue::Blurred { value: sharpness, min: limits.sharpness_min }),
            (yaw_deg.abs() > limits.yaw_max_deg)
                .then_some(QualityIssue::Turned { deg: yaw_deg.abs(), max: limits.yaw_max_deg }),
            (roll_deg.abs() > limits.roll_max_deg)
                .then_some(QualityIssue::Tilted { deg: roll_deg.abs(), max: limits.roll_max_deg }),
            (!(lowest..=highest).contains(&height)).then_some(QualityIssue::Nodding { height }),
            (brightness < darkest).then_some(QualityIssue::Dark { value: brightness, min: darkest }),
            (brightness > brightest).then_some(QualityIssue::Bright { value: brightness, max: brightest }),
            (contrast < limits.contrast_min)
                .then_some(QualityIssue::Flat { value: contrast, min: limits.contrast_min }),
        ];
        found.into_iter().flatten().collect()
    }
}

/// Mean and standard deviation of the brightness (ITU-R BT.601 luma), and that of its Laplacian.
fn light(face: &RgbImage) -> (f32, f32, f32) {
    let (width, height) = (face.width(), face.height());
    let luma =
        |p: &[u8]| (77 * u32::from(p[0]) + 150 * u32::from(p[1]) + 29 * u32::from(p[2])) as f32 / 256.0;
    let grey: Vec<f32> = face.data().chunks_exact(3).map(luma).collect();
    let laplacian = (1..height.saturating_sub(1)).flat_map(|y| {
        let grey = &grey;
        (1..width - 1).map(move |x| {
            let at = y * width + x;
            grey[at - 1] + grey[at + 1] + grey[at - width] + grey[at + width] - 4.0 * grey[at]
        })
    });
    let (brightness, contrast) = mean_and_deviation(grey.iter().copied());
    let (_, sharpness) = mean_and_deviation(laplacian);
    (brightness, contrast, sharpness)
}

fn mean_and_deviation(values: impl Iterator<Item = f32>) -> (f32, f32) {
    let (mut count, mut sum, mut squares) = (0.0f64, 0.0f64, 0.0f64);
    for v in values.map(f64::from) {
        (count, sum, squares) = (count + 1.0, sum + v, squares + v * v);
    }
    let mean = sum / count.max(1.0);
    (mean as f32, (squares / count.max(1.0) - mean * mean).max(0.0).sqrt() as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn landmarks(points: [[f32; 2]; 5]) -> Landmarks {
        Landmarks { points }
    }

    const FRONTAL: [[f32; 2]; 5] = [[40.0, 50.0], [80.0, 50.0], [60.0, 75.0], [45.0, 98.0], [75.0, 98.0]];

    fn patterned(low: u8, high: u8) -> RgbImage {
        let pixels =
            (0..112 * 112).flat_map(|i| [if (i / 4 + i / 448) % 2 == 0 { low } else { high }; 3]).collect();
        RgbImage::new(112, 112, pixels).unwrap()
    }

    #[test]
    fn a_sharp_frontal_face_in_good_light_has_no_issue() {
        let quality = Quality::measure(&landmarks(FRONTAL), &patterned(90, 160));
        assert_eq!(quality.issues(&QualityLimits::ENROL), []);
        assert_eq!(quality.inter_ocular_px, 40.0);
        assert_eq!(quality.yaw_deg, 0.0);
    }

    #[test]
    fn pose_does_not_depend_on_the_tilt_of_the_head() {
        let (sin, cos) = 0.3f32.sin_cos();
        let turned = FRONTAL.map(|[x, y]| [cos * x - sin * y, sin * x + cos * y]);
        let quality = Quality::measure(&landmarks(turned), &patterned(90, 160));
        assert!((quality.roll_deg - 0.3f32.to_degrees()).abs() < 0.01);
        assert!(quality.yaw_deg.abs() < 0.01);
        assert!((quality.nose_height - 25.0 / 48.0).abs() < 1e-4);
    }

    #[test]
    fn each_shortcoming_is_named() {
        let issue = |points, face: &RgbImage| {
            Quality::measure(&landmarks(points), face).issues(&QualityLimits::ENROL)
        };
        let good = patterned(90, 160);
        let with_nose = |nose| [FRONTAL[0], FRONTAL[1], nose, FRONTAL[3], FRONTAL[4]];
        let small = FRONTAL.map(|p| p.map(|v| v / 2.0));
        let tilted = FRONTAL.map(|[x, y]| [x - y, x + y]);
        assert!(matches!(issue(small, &good)[..], [QualityIssue::Small { .. }]));
        assert!(matches!(issue(with_nose([80.0, 75.0]), &good)[..], [QualityIssue::Turned { .. }]));
        assert!(matches!(issue(tilted, &good)[..], [QualityIssue::Tilted { .. }]));
        assert!(matches!(issue(with_nose([60.0, 52.0]), &good)[..], [QualityIssue::Nodding { .. }]));
        assert!(matches!(issue(FRONTAL, &patterned(0, 60))[..], [QualityIssue::Dark { .. }]));
        assert!(matches!(issue(FRONTAL, &patterned(200, 250))[..], [QualityIssue::Bright { .. }]));
        assert!(matches!(issue(FRONTAL, &patterned(120, 140))[..], [QualityIssue::Flat { .. }]));
        assert!(matches!(
            issue(FRONTAL, &patterned(128, 128))[..],
            [QualityIssue::Blurred { .. }, QualityIssue::Flat { .. }]
        ));
    }
}
