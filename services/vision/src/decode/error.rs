//! Why a picture or a frame was refused, in words for the person who chose it.

use std::fmt;

/// Refusal of a picture file or of a camera frame.
///
/// Everything but [`Codec`](Self::Codec) is found in the headers, before memory is taken for pixels.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No bytes at all.
    #[error("the picture file is empty: copy it again, or choose another one")]
    Empty,
    /// Some other kind of file, whatever its name says.
    #[error("this is {found}, not a picture that can be read: save it as JPEG, PNG or WebP")]
    NotAPicture {
        /// What the content looks like.
        found: Lookalike,
    },
    /// Beyond a limit of [`rollcall_core::limits`].
    #[error("the {format} is too large: {measure} {value}, at most {max} allowed: {}", .measure.remedy())]
    TooLarge {
        /// The format of the file or frame.
        format: PictureFormat,
        /// What was measured.
        measure: Measure,
        /// What the picture claims or has.
        value: u64,
        /// What is allowed.
        max: u64,
    },
    /// Too few pixels for a face, or none.
    #[error(
        "the {format} is too small: {width} x {height} pixels, at least {min} x {min} needed: \
         use the original picture instead of a thumbnail"
    )]
    TooSmall {
        /// The format of the file or frame.
        format: PictureFormat,
        /// Columns claimed.
        width: u32,
        /// Rows claimed.
        height: u32,
        /// The shortest side allowed, in pixels.
        min: u32,
    },
    /// The file ends before the picture does.
    #[error("the {format} is cut off after {size_bytes} bytes: copy it again from where it came")]
    Truncated {
        /// The format of the file or frame.
        format: PictureFormat,
        /// Bytes that are there.
        size_bytes: usize,
    },
    /// The structure of the file contradicts itself.
    #[error("the {format} is damaged: {what}: copy it again, or open and save it in a picture editor")]
    Damaged {
        /// The format of the file or frame.
        format: PictureFormat,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The library that reads the pixels gave up.
    #[error("the {format} is damaged: {source}: copy it again, or open and save it in a picture editor")]
    Codec {
        /// The format of the file or frame.
        format: PictureFormat,
        /// The words of the library.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A sound file of a rare kind.
    #[error("{variant} cannot be read: open it in a picture editor and save it as an ordinary JPEG or PNG")]
    Unsupported {
        /// The rare kind.
        variant: Variant,
    },
    /// A raw frame with fewer bytes than its layout needs.
    #[error(
        "the {format} frame of {width} x {height} pixels has {got} bytes and needs {expected}: \
         drop it; if every frame is so, set the camera format again"
    )]
    WrongFrameLength {
        /// The format of the frame.
        format: PictureFormat,
        /// Columns of the layout.
        width: u32,
        /// Rows of the layout.
        height: u32,
        /// Bytes that the layout needs.
        expected: u64,
        /// Bytes that came.
        got: usize,
    },
    /// Rows that would overlap.
    #[error(
        "the {format} frame of {width} columns has rows of {stride_bytes} bytes and needs {min_bytes}: \
         set the camera format again"
    )]
    WrongStride {
        /// The format of the frame.
        format: PictureFormat,
        /// Columns of the layout.
        width: u32,
        /// Bytes per row that the layout states.
        stride_bytes: u32,
        /// Bytes per row that it needs at least.
        min_bytes: u32,
    },
    /// A compressed frame of another size than the camera agreed to.
    #[error(
        "the camera sent a frame of {got_width} x {got_height} pixels and was set to {width} x {height}: \
         set the camera format again"
    )]
    WrongFrameSize {
        /// Columns of the layout.
        width: u32,
        /// Rows of the layout.
        height: u32,
        /// Columns of the frame.
        got_width: u32,
        /// Rows of the frame.
        got_height: u32,
    },
}

impl DecodeError {
    pub(super) fn damaged(format: PictureFormat, what: &'static str) -> Self {
        Self::Damaged { format, what }
    }

    pub(super) fn codec(
        format: PictureFormat,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self::Codec { format, source: Box::new(source) }
    }
}

/// Formats that are read, of files and of camera frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PictureFormat {
    /// A JPEG file or an MJPEG frame.
    Jpeg,
    /// A PNG file.
    Png,
    /// A WebP file.
    WebP,
    /// A packed 4:2:2 frame.
    Yuyv,
    /// A 4:2:0 frame in two planes.
    Nv12,
    /// A 4:2:0 frame in three planes.
    Yuv420,
}

impl fmt::Display for PictureFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::WebP => "WebP",
            Self::Yuyv => "YUYV",
            Self::Nv12 => "NV12",
            Self::Yuv420 => "YUV420",
        })
    }
}

/// What [`DecodeError::TooLarge`] counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Bytes of the file or frame.
    SizeBytes,
    /// Columns.
    Width,
    /// Rows.
    Height,
    /// Columns times rows.
    Pixels,
    /// Passes over the picture that a JPEG makes.
    Scans,
    /// Passes times pixels: the work of a JPEG.
    ScanPixels,
    /// Segments of a JPEG.
    Segments,
    /// Bytes of the Huffman and quantisation tables of a JPEG.
    TablesSizeBytes,
    /// Bytes of EXIF in a PNG.
    MetadataSizeBytes,
    /// Bytes of lossless data in a WebP, which must not exceed the pixels themselves.
    LosslessSizeBytes,
}

impl Measure {
    fn remedy(self) -> &'static str {
        match self {
            Self::SizeBytes | Self::Width | Self::Height | Self::Pixels => "save a smaller copy",
            _ => "open it in a picture editor and save it as an ordinary JPEG",
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SizeBytes => "size in bytes",
            Self::Width => "width in pixels",
            Self::Height => "height in pixels",
            Self::Pixels => "number of pixels",
            Self::Scans => "number of scans",
            Self::ScanPixels => "pixels in all scans together",
            Self::Segments => "number of segments",
            Self::TablesSizeBytes => "tables in bytes",
            Self::MetadataSizeBytes => "EXIF in bytes",
            Self::LosslessSizeBytes => "lossless data in bytes",
        })
    }
}

/// Kinds of JPEG and WebP that exist and are not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// JPEG with arithmetic coding instead of Huffman codes.
    ArithmeticJpeg,
    /// Lossless JPEG and JPEG-LS, as medical devices write them.
    LosslessJpeg,
    /// Hierarchical JPEG.
    HierarchicalJpeg,
    /// JPEG with 12 or 16 bits a sample.
    DeepJpeg,
    /// JPEG that states its height after the pixels (DNL).
    LateHeightJpeg,
    /// JPEG with neither 1, 3 nor 4 components.
    JpegComponents,
    /// JPEG with sampling factors that do not divide one another.
    JpegSampling,
    /// WebP with more than one frame.
    AnimatedWebP,
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ArithmeticJpeg => "a JPEG with arithmetic coding",
            Self::LosslessJpeg => "a lossless JPEG",
            Self::HierarchicalJpeg => "a hierarchical JPEG",
            Self::DeepJpeg => "a JPEG with more than 8 bits per colour",
            Self::LateHeightJpeg => "a JPEG that does not state its height",
            Self::JpegComponents => "a JPEG with an unusual number of colour channels",
            Self::JpegSampling => "a JPEG with unusual colour sampling",
            Self::AnimatedWebP => "an animated WebP",
        })
    }
}

/// What a file that is no JPEG, PNG or WebP looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookalike {
    /// GIF.
    Gif,
    /// Windows bitmap.
    Bmp,
    /// TIFF, and camera raw formats built on it.
    Tiff,
    /// HEIC or HEIF, the default of iPhones.
    Heic,
    /// AVIF.
    Avif,
    /// JPEG XL.
    JpegXl,
    /// JPEG 2000.
    Jpeg2000,
    /// Photoshop document.
    Photoshop,
    /// Scalable vector graphics.
    Svg,
    /// PDF.
    Pdf,
    /// Web page.
    Html,
    /// Any other text.
    Text,
    /// MP4, MOV, AVI, Matroska or WebM.
    Video,
    /// ZIP, which includes Office documents.
    Zip,
    /// None of these.
    Unknown,
}

impl fmt::Display for Lookalike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gif => "a GIF",
            Self::Bmp => "a Windows bitmap",
            Self::Tiff => "a TIFF or camera raw file",
            Self::Heic => "an HEIC photo",
            Self::Avif => "an AVIF picture",
            Self::JpegXl => "a JPEG XL picture",
            Self::Jpeg2000 => "a JPEG 2000 picture",
            Self::Photoshop => "a Photoshop document",
            Self::Svg => "an SVG drawing",
            Self::Pdf => "a PDF document",
            Self::Html => "a web page",
            Self::Text => "a text file",
            Self::Video => "a video",
            Self::Zip => "a ZIP archive or Office document",
            Self::Unknown => "a file of an unknown kind",
        })
    }
}
