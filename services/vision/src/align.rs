//! Brings a face to the pose that embedding networks are trained on.

use crate::geometry::Landmarks;
use crate::image::RgbImage;

/// Side of an aligned face in pixels.
pub const ALIGNED_SIDE_PX: usize = 112;

/// Where the five landmarks belong in an aligned face, as the manifest of the network says.
pub type Template = [[f32; 2]; 5];

/// Cuts out the face at `landmarks`, turned, scaled and shifted so that they fall on `template` as well as a
/// similarity can bring them there (least squares, without reflection: Umeyama, IEEE PAMI 1991). Bilinear; black
/// where the picture ends. [`ALIGNED_SIDE_PX`] on each side.
///
/// None when the landmarks are one point, or not numbers.
pub fn align(image: &RgbImage, landmarks: &Landmarks, template: &Template) -> Option<RgbImage> {
    let [a, b, tx, ty] = similarity(template, &landmarks.points)?;
    let side = ALIGNED_SIDE_PX;
    let mut data = Vec::with_capacity(side * side * 3);
    for v in 0..side {
        for u in 0..side {
            let (u, v) = (u as f32, v as f32);
            data.extend(sample(image, a * u - b * v + tx, b * u + a * v + ty));
        }
    }
    RgbImage::new(side, side, data)
}

/// The `[a, b, tx, ty]` that bring `from` nearest to `to` by x' = a x - b y + tx, y' = b x + a y + ty.
///
/// Solved for the way back, template to picture: the inverse of a least-squares fit is not the fit of the inverse,
/// so the forward fit is found first and then inverted, which is what the reference does.
fn similarity(template: &Template, points: &[[f32; 2]; 5]) -> Option<[f32; 4]> {
    let mean = |p: &[[f32; 2]; 5], i: usize| p.iter().map(|q| f64::from(q[i])).sum::<f64>() / 5.0;
    let (px, py, qx, qy) = (mean(points, 0), mean(points, 1), mean(template, 0), mean(template, 1));
    let (mut spread, mut cos, mut sin) = (0.0, 0.0, 0.0);
    for (p, q) in points.iter().zip(template) {
        let (x, y) = (f64::from(p[0]) - px, f64::from(p[1]) - py);
        let (u, v) = (f64::from(q[0]) - qx, f64::from(q[1]) - qy);
        spread += x * x + y * y;
        cos += x * u + y * v;
        sin += x * v - y * u;
    }
    let (cos, sin) = (cos / spread, sin / spread);
    let scale = cos * cos + sin * sin;
    if !scale.is_finite() || scale < 1e-12 {
        return None;
    }
    let (a, b) = (cos / scale, -sin / scale);
    Some([a, b, px - (a * qx - b * qy), py - (b * qx + a * qy)].map(|v| v as f32))
}

/// The picture's colour at (`x`, `y`), between pixels; black outside.
pub(crate) fn sample(image: &RgbImage, x: f32, y: f32) -> [u8; 3] {
    let (left, top) = (x.floor(), y.floor());
    let (fx, fy) = (x - left, y - top);
    let (left, top) = (left as i64, top as i64);
    let mut sum = [0.0f32; 3];
    for (dy, wy) in [(0, 1.0 - fy), (1, fy)] {
        for (dx, wx) in [(0, 1.0 - fx), (1, fx)] {
            if let (Ok(x), Ok(y)) = (usize::try_from(left + dx), usize::try_from(top + dy))
                && x < image.width()
                && y < image.height()
            {
                let pixel = &image.row(y)[x * 3..][..3];
                (0..3).for_each(|c| sum[c] += wx * wy * f32::from(pixel[c]));
            }
        }
    }
    sum.map(|v| (v + 0.5) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: Template =
        [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]];

    fn gradient() -> RgbImage {
        let pixels = (0..200 * 200).flat_map(|i| [(i % 200) as u8, (i / 200) as u8, 7]).collect();
        RgbImage::new(200, 200, pixels).unwrap()
    }

    #[test]
    fn a_face_already_in_pose_is_cut_out_as_it_is() {
        let moved = TEMPLATE.map(|[x, y]| [x + 10.0, y + 20.0]);
        let aligned = align(&gradient(), &Landmarks { points: moved }, &TEMPLATE).unwrap();
        for (at, pixel) in aligned.data().chunks_exact(3).enumerate() {
            let want = [at % 112 + 10, at / 112 + 20, 7];
            let near = pixel.iter().zip(want).all(|(&got, want)| (i32::from(got) - want as i32).abs() <= 1);
            assert!(near, "pixel {at}: {pixel:?}, not {want:?}");
        }
    }

    #[test]
    fn turning_and_scaling_are_undone() {
        let (sin, cos) = (0.4f32.sin() * 1.3, 0.4f32.cos() * 1.3);
        let turned = TEMPLATE.map(|[x, y]| [cos * x - sin * y + 60.0, sin * x + cos * y - 10.0]);
        let aligned = align(&gradient(), &Landmarks { points: turned }, &TEMPLATE).unwrap();
        let (x, y) = (56.0, 40.0);
        let want = [cos * x - sin * y + 60.0, sin * x + cos * y - 10.0];
        let got = &aligned.row(40)[56 * 3..][..2];
        assert!(got.iter().zip(want).all(|(&g, w)| (f32::from(g) - w).abs() <= 1.0), "{got:?}, not {want:?}");
    }

    #[test]
    fn beyond_the_picture_it_is_black() {
        let far = TEMPLATE.map(|[x, y]| [x - 400.0, y]);
        let aligned = align(&gradient(), &Landmarks { points: far }, &TEMPLATE).unwrap();
        assert!(aligned.data().iter().all(|&v| v == 0));
    }

    #[test]
    fn landmarks_without_extent_or_number_are_refused() {
        let same = Landmarks { points: [[5.0, 5.0]; 5] };
        let nan = Landmarks { points: [[f32::NAN, 5.0]; 5] };
        assert_eq!(align(&gradient(), &same, &TEMPLATE), None);
        assert_eq!(align(&gradient(), &nan, &TEMPLATE), None);
    }
}
