//! What a file is, by its first bytes. Names and extensions are not asked.

use super::error::{Lookalike, PictureFormat};

const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Bytes in which text, `<svg` and `%PDF` are looked for.
const HEAD_SIZE_BYTES: usize = 1_024;

/// The format to read, or what it looks like instead.
pub(super) fn of(bytes: &[u8]) -> Result<PictureFormat, Lookalike> {
    if bytes.starts_with(b"\xff\xd8\xff") {
        return Ok(PictureFormat::Jpeg);
    }
    if bytes.starts_with(PNG_SIGNATURE) {
        return Ok(PictureFormat::Png);
    }
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        return Ok(PictureFormat::WebP);
    }
    Err(lookalike(bytes))
}

fn lookalike(bytes: &[u8]) -> Lookalike {
    let head = &bytes[..bytes.len().min(HEAD_SIZE_BYTES)];
    const SIGNATURES: &[(&[u8], Lookalike)] = &[
        (b"GIF8", Lookalike::Gif),
        (b"II*\0", Lookalike::Tiff),
        (b"MM\0*", Lookalike::Tiff),
        (b"\xff\x0a", Lookalike::JpegXl),
        (b"\0\0\0\x0cJXL ", Lookalike::JpegXl),
        (b"\0\0\0\x0cjP  ", Lookalike::Jpeg2000),
        (b"\xff\x4f\xff\x51", Lookalike::Jpeg2000),
        (b"8BPS", Lookalike::Photoshop),
        (b"\x1aE\xdf\xa3", Lookalike::Video),
        (b"PK\x03\x04", Lookalike::Zip),
    ];
    for (signature, kind) in SIGNATURES {
        if head.starts_with(signature) {
            return *kind;
        }
    }
    if head.starts_with(b"RIFF") && head.get(8..12) == Some(b"AVI ") {
        return Lookalike::Video;
    }
    if head.get(4..8) == Some(b"ftyp") {
        return match head.get(8..12) {
            Some(b"avif" | b"avis") => Lookalike::Avif,
            Some(b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1") => {
                Lookalike::Heic
            }
            _ => Lookalike::Video,
        };
    }
    // Two letters are not much; the four reserved bytes of a bitmap header are zero.
    if head.starts_with(b"BM") && head.get(6..10) == Some(&[0; 4]) {
        return Lookalike::Bmp;
    }
    // Readers accept a PDF whose header is anywhere in the first 1,024 bytes (ISO 32000-1, implementation note 13).
    if contains(head, b"%PDF-") {
        return Lookalike::Pdf;
    }
    text(head)
}

fn text(head: &[u8]) -> Lookalike {
    let lower = head.to_ascii_lowercase();
    if contains(&lower, b"<svg") {
        return Lookalike::Svg;
    }
    if contains(&lower, b"<html") || contains(&lower, b"<!doctype html") {
        return Lookalike::Html;
    }
    // The head may end inside a character, hence the valid part only.
    let valid = match std::str::from_utf8(head) {
        Ok(_) => head.len(),
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => 0,
    };
    let printable =
        head[..valid].iter().all(|byte| *byte >= b' ' || matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c));
    if valid > 0 && printable { Lookalike::Text } else { Lookalike::Unknown }
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_file_is_told_by_its_first_bytes() {
        let cases: &[(&[u8], Result<PictureFormat, Lookalike>)] = &[
            (b"\xff\xd8\xff\xe0", Ok(PictureFormat::Jpeg)),
            (b"\x89PNG\r\n\x1a\n\0\0", Ok(PictureFormat::Png)),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Ok(PictureFormat::WebP)),
            (b"RIFF\x10\0\0\0AVI LIST", Err(Lookalike::Video)),
            (b"RIFF\x10\0\0\0WAVEfmt ", Err(Lookalike::Unknown)),
            (b"GIF89a\x01\0\x01\0", Err(Lookalike::Gif)),
            (b"BM\x36\0\0\0\0\0\0\0\x36", Err(Lookalike::Bmp)),
            (b"BMW is a make of car.", Err(Lookalike::Text)),
            (b"II*\0\x08\0\0\0", Err(Lookalike::Tiff)),
            (b"MM\0*\0\0\0\x08", Err(Lookalike::Tiff)),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", Err(Lookalike::Heic)),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", Err(Lookalike::Heic)),
            (b"\0\0\0\x1cftypavif\0\0\0\0avif", Err(Lookalike::Avif)),
            (b"\0\0\0\x18ftypisom\0\0\x02\0isom", Err(Lookalike::Video)),
            (b"\0\0\0\x14ftypqt  \0\0\0\0", Err(Lookalike::Video)),
            (b"\x1aE\xdf\xa3\x9fB\x86", Err(Lookalike::Video)),
            (b"\xff\x0a\xfa\x1f", Err(Lookalike::JpegXl)),
            (b"\0\0\0\x0cJXL \r\n\x87\n", Err(Lookalike::JpegXl)),
            (b"\0\0\0\x0cjP  \r\n\x87\n", Err(Lookalike::Jpeg2000)),
            (b"8BPS\0\x01", Err(Lookalike::Photoshop)),
            (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", Err(Lookalike::Pdf)),
            (b"\xef\xbb\xbf\n%PDF-1.4", Err(Lookalike::Pdf)),
            (b"<?xml version=\"1.0\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\">", Err(Lookalike::Svg)),
            (b"<!DOCTYPE html><title>404</title>", Err(Lookalike::Html)),
            (b"PK\x03\x04\x14\0", Err(Lookalike::Zip)),
            ("Grüße, Jürgen\n".as_bytes(), Err(Lookalike::Text)),
            (b"\x00\x01\x02\x03", Err(Lookalike::Unknown)),
            (b"\xff\xd8", Err(Lookalike::Unknown)),
        ];
        for (bytes, kind) in cases {
            assert_eq!(of(bytes), *kind, "{}", bytes.escape_ascii());
        }
    }
}
