//! Points and boxes in pixels of a picture: x to the right, y down, (0, 0) the centre of the first pixel.

/// A rectangle from (`x0`, `y0`) to (`x1`, `y1`). A detected one may reach outside the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect {
    /// Left.
    pub x0: f32,
    /// Top.
    pub y0: f32,
    /// Right.
    pub x1: f32,
    /// Bottom.
    pub y1: f32,
}

impl Rect {
    /// Width in pixels, negative for a box turned inside out.
    pub fn width(&self) -> f32 {
        self.x1 - self.x0
    }

    /// Height in pixels, negative for a box turned inside out.
    pub fn height(&self) -> f32 {
        self.y1 - self.y0
    }

    /// Area in square pixels.
    pub fn area(&self) -> f32 {
        self.width() * self.height()
    }

    /// Intersection over union, 0 to 1.
    pub fn iou(&self, other: &Rect) -> f32 {
        let width = (self.x1.min(other.x1) - self.x0.max(other.x0)).max(0.0);
        let height = (self.y1.min(other.y1) - self.y0.max(other.y0)).max(0.0);
        let shared = width * height;
        if shared > 0.0 { shared / (self.area() + other.area() - shared) } else { 0.0 }
    }

    /// The square of the same centre and the longer side.
    pub(crate) fn squared(&self) -> Rect {
        let (w, h) = (self.width(), self.height());
        let side = w.max(h);
        let (x0, y0) = (self.x0 + w * 0.5 - side * 0.5, self.y0 + h * 0.5 - side * 0.5);
        Rect { x0, y0, x1: x0 + side, y1: y0 + side }
    }
}

/// Five points of a face as the viewer sees them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Landmarks {
    /// Left eye, right eye, nose tip, left and right corner of the mouth; each x, y.
    pub points: [[f32; 2]; 5],
}

impl Landmarks {
    /// From the middle of one eye to that of the other, in pixels.
    pub fn inter_ocular_px(&self) -> f32 {
        let [[x0, y0], [x1, y1], ..] = self.points;
        (x1 - x0).hypot(y1 - y0)
    }
}

/// A face found in a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Face {
    /// Where, about from the hairline to the chin.
    pub bounds: Rect,
    /// The detector's last stage's probability that it is one, 0.7 to 1.
    pub score: f32,
    /// Where its points are.
    pub landmarks: Landmarks,
}

/// The face that a portrait is of: the largest area minus twice the squared distance of its centre from the
/// picture's centre, as facenet-pytorch's `center_weighted_size` has it.
pub fn face_meant(faces: &[Face], width: usize, height: usize) -> Option<&Face> {
    let weight = |face: &Face| {
        let Rect { x0, y0, x1, y1 } = face.bounds;
        let (dx, dy) = ((x0 + x1 - width as f32) / 2.0, (y0 + y1 - height as f32) / 2.0);
        face.bounds.area() - 2.0 * (dx * dx + dy * dy)
    };
    faces.iter().max_by(|a, b| weight(a).total_cmp(&weight(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_is_the_shared_part_of_the_whole() {
        let a = Rect { x0: 0.0, y0: 0.0, x1: 2.0, y1: 2.0 };
        let b = Rect { x0: 1.0, y0: 0.0, x1: 3.0, y1: 2.0 };
        assert!((a.iou(&b) - 1.0 / 3.0).abs() < 1e-6);
        assert_eq!(a.iou(&Rect { x0: 2.0, y0: 2.0, x1: 3.0, y1: 3.0 }), 0.0);
    }

    #[test]
    fn the_face_meant_is_near_the_middle_unless_another_is_much_larger() {
        let face = |x0: f32, side: f32| {
            let bounds = Rect { x0, y0: 0.0, x1: x0 + side, y1: side };
            Face { bounds, score: 1.0, landmarks: Landmarks { points: [[0.0; 2]; 5] } }
        };
        let (middle, edge) = (face(40.0, 20.0), face(0.0, 25.0));
        assert_eq!(face_meant(&[edge, middle], 100, 20), Some(&middle));
        assert_eq!(face_meant(&[face(0.0, 90.0), middle], 100, 90), Some(&face(0.0, 90.0)));
        assert_eq!(face_meant(&[], 1, 1), None);
    }
}
