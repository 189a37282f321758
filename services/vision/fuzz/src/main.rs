//! Writes the seeds of all targets into corpus/.

#[path = "../../src/decode/pictures.rs"]
mod pictures;

use std::path::Path;

use jpeg_encoder::SamplingFactor;
use pictures::*;

fn main() -> std::io::Result<()> {
    let grey = vec![128; 16 * 16];
    let cmyk = [10, 20, 30, 40].repeat(16 * 16);
    let mut jpegs = vec![
        jpeg(16, 16),
        jpeg_with(24, 17, |encoder| encoder.set_sampling_factor(SamplingFactor::F_2_2)),
        jpeg_with(24, 17, |encoder| encoder.set_sampling_factor(SamplingFactor::F_2_1)),
        jpeg_with(17, 24, |encoder| encoder.set_sampling_factor(SamplingFactor::F_1_2)),
        jpeg_with(24, 24, |encoder| encoder.set_restart_interval(2)),
        jpeg_with(24, 24, |encoder| encoder.set_progressive(true)),
        jpeg_with(24, 24, |encoder| {
            encoder.set_progressive(true);
            encoder.set_sampling_factor(SamplingFactor::F_2_2);
            encoder.set_restart_interval(1);
        }),
        jpeg_of(&grey, 16, 16, jpeg_encoder::ColorType::Luma, |_| {}),
        jpeg_of(&cmyk, 16, 16, jpeg_encoder::ColorType::Cmyk, |_| {}),
        jpeg_of(&cmyk, 16, 16, jpeg_encoder::ColorType::CmykAsYcck, |_| {}),
        jpeg_without_tables(&jpeg(16, 16)),
        jpeg_with_scans(16, 16, 8),
        jpeg_of_planes(16, 16, [0x21, 0x12, 0x11]),
        jpeg_after_start(&jpeg(16, 16), &exif_segment(&exif(6, true))),
    ];
    let padded = {
        let mut bytes = jpeg_with(24, 24, |encoder| encoder.set_restart_interval(2));
        let at = markers_in_scan(&bytes)[1];
        bytes.splice(at..at, [0; 4]);
        bytes
    };
    jpegs.push(padded);
    let pngs = vec![
        png(16, 16),
        png_interlaced(13, 17),
        png_of(&[9; 16 * 16 * 8], 16, 16, png::ColorType::Rgba, png::BitDepth::Sixteen, |_| {}),
        png_of(&[9; 16 * 2], 16, 16, png::ColorType::Grayscale, png::BitDepth::One, |_| {}),
        png_of(&[0x01; 16 * 8], 16, 16, png::ColorType::Indexed, png::BitDepth::Four, |encoder| {
            encoder.set_palette(vec![1, 2, 3, 4, 5, 6]);
            encoder.set_trns(vec![9]);
        }),
        png_after_header(&png(16, 16), &png_chunk(b"eXIf", &exif(8, false))),
    ];
    let rgba = [200, 100, 50, 90].repeat(16 * 16);
    let picture = webp(16, 16)[12..].to_vec();
    let webps = vec![
        webp(16, 16),
        webp_of(&rgba, 16, 16, image_webp::ColorType::Rgba8),
        webp_of(&grey, 16, 16, image_webp::ColorType::L8),
        webp_file(&[webp_header(0x08, 16, 16), picture, webp_chunk(b"EXIF", &exif(3, true))]),
        webp_animated(16, 16, 2),
        LOSSY_WEBP.to_vec(),
        LOSSY_WEBP_WITH_ALPHA.to_vec(),
    ];
    let frames: Vec<Vec<u8>> = (1..4_u8)
        .map(|format| [vec![format, 0, 13, 0, 13, 0, 0, 0], vec![100; 13 * 14 * 2]].concat())
        .chain(jpegs.iter().map(|jpeg| [&[0, 0, 16, 0, 16, 0, 0, 0], jpeg.as_slice()].concat()))
        .collect();
    let streams = vec![jpegs.concat(), [&jpegs[0][..200], &jpegs[1]].concat()];
    for (target, seeds) in [
        ("decode_jpeg", jpegs),
        ("decode_png", pngs),
        ("decode_webp", webps),
        ("decode_frame", frames),
        ("mjpeg_stream", streams),
    ] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        std::fs::create_dir_all(&folder)?;
        for (number, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}
