//! What [`decode`] promises, through its public face. Numbers are entries of the fault list.

use std::time::{Duration, Instant};

use jpeg_encoder::SamplingFactor;
use proptest::prelude::*;

use super::pictures::*;
use super::*;

/// Mean difference of samples.
fn difference(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
}

/// Decoded, and close to [`rgb`]: JPEG at quality 95 changes these smooth pictures by less than 2 levels.
#[track_caller]
fn assert_shows_rgb(bytes: &[u8], width: usize, height: usize, what: &str) {
    let picture = decode(bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!((picture.width(), picture.height()), (width, height), "{what}");
    let difference = difference(picture.data(), &rgb(width, height));
    assert!(difference < 2.0, "{what}: {difference}");
}

#[track_caller]
fn refusal(bytes: &[u8]) -> DecodeError {
    decode(bytes).err().unwrap()
}

#[track_caller]
fn assert_too_large(bytes: &[u8], expected: Measure) {
    match refusal(bytes) {
        DecodeError::TooLarge { measure, value, max, .. } if measure == expected => assert!(value > max),
        other => panic!("expected too large by {expected}: {other}"),
    }
}

fn one_of_each_format() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("baseline JPEG", jpeg(96, 64)),
        ("progressive JPEG", jpeg_with(96, 64, |encoder| encoder.set_progressive(true))),
        ("PNG", png(96, 64)),
        ("interlaced PNG", png_interlaced(96, 64)),
        ("lossless WebP", webp(96, 64)),
        ("lossy WebP", LOSSY_WEBP.to_vec()),
        ("lossy WebP with alpha", LOSSY_WEBP_WITH_ALPHA.to_vec()),
    ]
}

#[test]
fn f083_sizes_beyond_the_limits_are_refused_from_the_header() {
    assert_too_large(&jpeg_claiming(0xc0, 65_535, 65_535, &[0x11; 3]), Measure::Width);
    assert_too_large(&jpeg_claiming(0xc2, 1_000, 65_535, &[0x11; 3]), Measure::Height);
    assert_too_large(&jpeg_claiming(0xc0, 12_000, 12_000, &[0x22, 0x11, 0x11]), Measure::Pixels);
    assert_too_large(&png_claiming(30_000, 30_000), Measure::Width);
    assert_too_large(&png_claiming(12_000, 2_084), Measure::Pixels);
    assert_too_large(
        &webp_file(&[webp_header(0, 16_384, 16_384), webp_chunk(b"VP8L", b"\x2f\xff\xff\xff\x0f")]),
        Measure::Width,
    );
}

#[test]
fn f083_pictures_too_thin_or_without_pixels_are_refused() {
    for bytes in [
        png_claiming(1, 60_000),
        png_claiming(0, 0),
        png(11, 64),
        jpeg(64, 11),
        jpeg_claiming(0xc0, 0, 0, &[0x11]),
        webp(11, 11),
    ] {
        assert!(matches!(refusal(&bytes), DecodeError::TooSmall { min: 12, .. }), "{}", refusal(&bytes));
    }
    assert!(decode(&png(12, 12)).is_ok());
}

#[test]
fn f083_a_webp_whose_picture_is_larger_than_its_canvas_is_refused_from_the_header() {
    let inner = webp_chunk(b"VP8 ", b"\x30\x01\x00\x9d\x01\x2a\xff\x3f\xff\x3f");
    assert_too_large(&webp_file(&[webp_header(0, 64, 64), inner]), Measure::Width);
    let picture = webp(64, 64)[12..].to_vec();
    assert!(matches!(refusal(&webp_file(&[webp_header(0, 65, 64), picture])), DecodeError::Damaged { .. }));
}

#[test]
fn f084_a_progressive_jpeg_of_10_000_scans_is_refused_at_once() {
    let bytes = jpeg_with_scans(2_000, 2_000, 10_000);
    let begun = Instant::now();
    assert_too_large(&bytes, Measure::Scans);
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
}

#[test]
fn f084_scans_are_limited_more_tightly_for_large_pictures() {
    assert_too_large(&jpeg_with_scans(5_000, 5_000, 17), Measure::ScanPixels);
    decode(&jpeg_with_scans(64, 64, 64)).unwrap();
    assert_too_large(&jpeg_with_scans(64, 64, 65), Measure::Scans);
}

#[test]
fn f083_a_few_bytes_that_claim_to_be_many_pixels_are_refused() {
    for bytes in [
        jpeg_claiming(0xc0, 5_000, 5_000, &[0x22, 0x11, 0x11]),
        jpeg_claiming(0xc0, 5_000, 5_000, &[0x11]),
        jpeg_claiming(0xc2, 5_000, 5_000, &[0x11; 3]),
    ] {
        assert!(refusal(&bytes).to_string().contains("most of its picture data is missing"));
    }
}

#[test]
fn f084_a_jpeg_of_countless_tables_or_segments_is_refused() {
    let tables =
        [segment(0xc4, &[[vec![0], vec![0; 16]].concat().as_slice(); 3_000].concat())].concat().repeat(6);
    assert_too_large(&jpeg_after_start(&jpeg(16, 16), &tables), Measure::TablesSizeBytes);
    let xmp = segment(0xe1, &[b"http://ns.adobe.com/xmp/extension/\0".as_slice(), &[b'0'; 41]].concat());
    assert_too_large(&jpeg_after_start(&jpeg(16, 16), &xmp.repeat(2_000)), Measure::Segments);
}

#[test]
fn f084_animated_webp_is_refused_by_name() {
    let animated = webp_animated(64, 64, 100);
    assert!(matches!(refusal(&animated), DecodeError::Unsupported { variant: Variant::AnimatedWebP }));
}

#[test]
fn f084_other_files_are_refused_by_what_they_are_whatever_their_name() {
    for (bytes, words) in [
        (b"GIF89a\x40\0\x40\0".as_slice(), "a GIF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "an HEIC photo"),
        (b"%PDF-1.7", "a PDF document"),
        (b"dear reader", "a text file"),
    ] {
        let text = refusal(bytes).to_string();
        assert!(text.contains(words) && text.contains("save it as JPEG, PNG or WebP"), "{text}");
    }
    assert!(matches!(refusal(b""), DecodeError::Empty));
}

#[test]
fn f085_rare_kinds_of_jpeg_are_refused_by_name() {
    use Variant::*;
    let deep = {
        let mut bytes = jpeg_claiming(0xc1, 64, 64, &[0x11]);
        bytes[6] = 12;
        bytes
    };
    for (bytes, expected) in [
        (jpeg_claiming(0xc3, 64, 64, &[0x11]), LosslessJpeg),
        (jpeg_claiming(0xf7, 64, 64, &[0x11]), LosslessJpeg),
        (jpeg_claiming(0xc5, 64, 64, &[0x11]), HierarchicalJpeg),
        (jpeg_claiming(0xc9, 64, 64, &[0x11]), ArithmeticJpeg),
        (jpeg_claiming(0xca, 64, 64, &[0x11]), ArithmeticJpeg),
        (jpeg_claiming(0xc0, 64, 0, &[0x11]), LateHeightJpeg),
        (jpeg_claiming(0xc0, 64, 64, &[0x11; 2]), JpegComponents),
        (jpeg_claiming(0xc0, 64, 64, &[0x31, 0x21, 0x11]), JpegSampling),
        (jpeg_claiming(0xc0, 64, 64, &[0x01, 0x11, 0x11]), JpegSampling),
        (jpeg_claiming(0xc0, 64, 64, &[0x81, 0x11, 0x11]), JpegSampling),
        (deep, DeepJpeg),
    ] {
        match refusal(&bytes) {
            DecodeError::Unsupported { variant } => assert_eq!(variant, expected),
            other => panic!("{expected:?}: {other}"),
        }
    }
}

#[test]
fn f085_every_jpeg_that_is_not_refused_decodes_right() {
    use SamplingFactor::*;
    for (width, height) in [(64, 48), (37, 29), (16, 16), (13, 17), (130, 12), (12, 130)] {
        for sampling in [F_1_1, F_2_1, F_1_2, F_2_2] {
            for (progressive, restart) in [(false, 0), (false, 3), (true, 0), (true, 3)] {
                let bytes = jpeg_with(width, height, |encoder| {
                    encoder.set_sampling_factor(sampling);
                    encoder.set_chroma_subsampling_method(jpeg_encoder::ChromaSubsamplingMethod::Average);
                    encoder.set_progressive(progressive);
                    if restart > 0 {
                        encoder.set_restart_interval(restart);
                    }
                });
                let what = format!("{width}x{height} {:x} {progressive} {restart}", sampling as u8);
                // Coarse colours change steep small pictures more.
                let picture = decode(&bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
                let difference = difference(picture.data(), &rgb(width.into(), height.into()));
                assert!(difference < 4.0, "{what}: {difference}");
            }
        }
    }
}

#[test]
fn f085_grey_jpeg_becomes_rgb() {
    let grey: Vec<u8> = rgb(64, 48).chunks_exact(3).map(|pixel| pixel[0]).collect();
    for progressive in [false, true] {
        for sampling in [SamplingFactor::F_1_1, SamplingFactor::F_2_2] {
            let bytes = jpeg_of(&grey, 64, 48, jpeg_encoder::ColorType::Luma, |encoder| {
                encoder.set_progressive(progressive);
                encoder.set_sampling_factor(sampling);
            });
            let picture = decode(&bytes).unwrap();
            let expected: Vec<u8> = grey.iter().flat_map(|grey| [*grey; 3]).collect();
            assert!(difference(picture.data(), &expected) < 2.0);
        }
    }
}

/// Values of Pillow 13.0 with libjpeg-turbo 3.2. Exact: the networks were measured with these pixels, and the vector
/// code of libjpeg-turbo gives the same bits as its C code.
#[test]
fn f085_jpeg_pixels_are_those_of_libjpeg_turbo() {
    let noise: Vec<u8> = (0..13 * 17 * 3).map(|n| (n * 37 % 251) as u8).collect();
    let bytes = jpeg_of(&noise, 13, 17, jpeg_encoder::ColorType::Rgb, |encoder| {
        encoder.set_sampling_factor(SamplingFactor::F_2_2);
    });
    let picture = decode(&bytes).unwrap();
    let at = |x: usize, y: usize| &picture.row(y)[x * 3..x * 3 + 3];
    assert_eq!(
        [at(0, 0), at(6, 8), at(7, 8), at(12, 0), at(12, 16)],
        [[0, 37, 81], [166, 203, 195], [21, 61, 97], [71, 114, 148], [88, 109, 100]]
    );
    assert_eq!(picture.data().iter().map(|value| u32::from(*value)).sum::<u32>(), 83_777);
}

#[test]
fn f085_a_jpeg_with_a_scan_for_each_colour_equals_one_with_one_scan() {
    for sampling in [SamplingFactor::F_1_1, SamplingFactor::F_2_1, SamplingFactor::F_2_2] {
        let jpeg = |optimized| {
            jpeg_with(61, 45, |encoder| {
                encoder.set_sampling_factor(sampling);
                encoder.set_optimized_huffman_tables(optimized);
            })
        };
        assert!(decode(&jpeg(true)).unwrap() == decode(&jpeg(false)).unwrap());
    }
}

#[test]
fn f085_a_jpeg_with_any_sampling_factors_that_divide_one_another_decodes_right() {
    for sampling in [
        [0x11, 0x22, 0x11],
        [0x11, 0x11, 0x22],
        [0x31, 0x11, 0x11],
        [0x33, 0x11, 0x13],
        [0x44, 0x22, 0x11],
        [0x21, 0x12, 0x22],
        [0x22, 0x22, 0x22],
    ] {
        let picture = decode(&jpeg_of_planes(96, 96, sampling)).unwrap();
        let difference = difference(picture.data(), &rgb(96, 96));
        assert!(difference < 4.0, "{sampling:x?}: {difference}");
    }
}

#[test]
fn f085_a_jpeg_that_lacks_a_colour_or_has_one_twice_is_refused() {
    let whole = jpeg_of_planes(64, 48, [0x11; 3]);
    assert!(decode(&whole).is_ok());
    let scans: Vec<usize> =
        whole.windows(2).enumerate().filter(|(_, pair)| pair == b"\xff\xda").map(|(at, _)| at).collect();
    let lacking = [&whole[..scans[1]], &whole[scans[2]..]].concat();
    assert!(refusal(&lacking).to_string().contains("a colour is missing"));
    let twice = [&whole[..scans[2]], &whole[scans[1]..]].concat();
    assert!(refusal(&twice).to_string().contains("comes twice"));
    let refined_only = {
        let mut bytes = jpeg_with_scans(64, 64, 2);
        let at = scan_at(&bytes) - 3;
        bytes[at + 2] = 0x10;
        bytes
    };
    assert!(refusal(&refined_only).to_string().contains("a colour is missing"));
}

#[test]
fn f085_cmyk_and_ycck_jpeg_become_the_rgb_that_viewers_show() {
    // Ink 0 is white; this encoder takes inks and stores them inverted, as Photoshop does.
    let black = 40;
    let cmyk: Vec<u8> = rgb(64, 48).chunks_exact(3).flat_map(|ink| [ink[0], ink[1], ink[2], black]).collect();
    let expected: Vec<u8> =
        rgb(64, 48).iter().map(|ink| (u32::from(255 - ink) * u32::from(255 - black) / 255) as u8).collect();
    for colours in [jpeg_encoder::ColorType::Cmyk, jpeg_encoder::ColorType::CmykAsYcck] {
        for progressive in [false, true] {
            let bytes = jpeg_of(&cmyk, 64, 48, colours, |encoder| encoder.set_progressive(progressive));
            let picture = decode(&bytes).unwrap();
            assert!(difference(picture.data(), &expected) < 2.0, "{}", difference(picture.data(), &expected));
        }
    }
}

#[test]
fn f085_png_of_every_colour_type_and_depth_becomes_rgb() {
    use ::png::{BitDepth, ColorType};
    let wide = rgb(64, 48);
    let deep: Vec<u8> = wide.iter().flat_map(|sample| [*sample, 77]).collect();
    assert_eq!(decode(&png_of(&wide, 64, 48, ColorType::Rgb, BitDepth::Eight, |_| {})).unwrap().data(), wide);
    assert_eq!(
        decode(&png_of(&deep, 64, 48, ColorType::Rgb, BitDepth::Sixteen, |_| {})).unwrap().data(),
        wide
    );

    let opaque: Vec<u8> =
        wide.chunks_exact(3).flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 255]).collect();
    assert_eq!(
        decode(&png_of(&opaque, 64, 48, ColorType::Rgba, BitDepth::Eight, |_| {})).unwrap().data(),
        wide
    );

    for (depth, top) in [(BitDepth::One, 1), (BitDepth::Two, 3), (BitDepth::Four, 15), (BitDepth::Eight, 255)]
    {
        // Two rows of equal bits, the second value being the brightest.
        let bytes = 64 * depth as usize / 8;
        let rows = [vec![0; bytes * 24], vec![0xff; bytes * 24]].concat();
        let grey = decode(&png_of(&rows, 64, 48, ColorType::Grayscale, depth, |_| {})).unwrap();
        assert_eq!((grey.row(0)[0], grey.row(47)[191]), (0, 255));
        let palette = decode(&png_of(&rows, 64, 48, ColorType::Indexed, depth, |encoder| {
            let mut colours = vec![[1, 2, 3]; 256.min(top + 1)];
            colours[top] = [200, 100, 50];
            encoder.set_palette(colours.concat());
        }))
        .unwrap();
        assert_eq!(
            (&palette.row(0)[..3], &palette.row(47)[..3]),
            ([1, 2, 3].as_slice(), [200, 100, 50].as_slice())
        );
    }
}

#[test]
fn f085_an_interlaced_png_equals_a_plain_one() {
    for (width, height) in [(12, 12), (13, 17), (64, 48), (33, 12)] {
        let interlaced = decode(&png_interlaced(width, height)).unwrap();
        assert_eq!(interlaced.data(), rgb(width, height), "{width}x{height}");
    }
}

#[test]
fn transparency_is_laid_over_white() {
    let rgba = [[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 50, 128]].concat().repeat(48);
    let expected = [[200, 100, 50], [255, 255, 255], [227, 177, 152]].concat().repeat(48);
    for bytes in [
        png_of(&rgba, 12, 12, ::png::ColorType::Rgba, ::png::BitDepth::Eight, |_| {}),
        webp_of(&rgba, 12, 12, image_webp::ColorType::Rgba8),
    ] {
        assert_eq!(decode(&bytes).unwrap().data(), expected);
    }
    let grey = [[10, 255], [10, 0]].concat().repeat(72);
    let bytes = png_of(&grey, 12, 12, ::png::ColorType::GrayscaleAlpha, ::png::BitDepth::Eight, |_| {});
    assert_eq!(decode(&bytes).unwrap().data()[..6], [10, 10, 10, 255, 255, 255]);

    let lossy = decode(LOSSY_WEBP_WITH_ALPHA).unwrap();
    assert_eq!(lossy.row(3)[12 * 3..], [255; 12]);
    assert!(difference(&lossy.row(3)[..3], &[200, 100, 50]) < 5.0);
}

#[test]
fn f085_webp_lossy_and_lossless_become_rgb() {
    assert_eq!(decode(&webp(64, 48)).unwrap().data(), rgb(64, 48));
    let lossy = decode(LOSSY_WEBP).unwrap();
    assert!(difference(lossy.data(), &[200, 100, 50].repeat(256)) < 5.0);
}

#[test]
fn f085_the_exif_orientation_is_honoured_in_all_three_formats() {
    let exif = exif(6, true);
    let jpeg = jpeg_after_start(&jpeg(64, 48), &exif_segment(&exif));
    let png = png_after_header(&png(64, 48), &png_chunk(b"eXIf", &exif));
    let webp =
        webp_file(&[webp_header(0x08, 64, 48), webp(64, 48)[12..].to_vec(), webp_chunk(b"EXIF", &exif)]);
    for bytes in [jpeg, png, webp] {
        let picture = decode(&bytes).unwrap();
        assert_eq!((picture.width(), picture.height()), (48, 64));
        // Stored, red grows to the right: turned clockwise, downwards.
        assert!(picture.row(0)[0] < 10 && picture.row(63)[0] > 245);
    }
}

#[test]
fn f085_damaged_or_huge_metadata_never_refuses_a_good_picture() {
    let bomb = [b"II*\0\x08\0\0\0\xff\xff".as_slice(), &[0xff; 60_000]].concat();
    let icc = segment(0xe2, &[b"ICC_PROFILE\0\x01\x01".as_slice(), &[0; 65_000]].concat());
    let jpeg = jpeg(64, 48);
    assert_shows_rgb(&jpeg_after_start(&jpeg, &exif_segment(&bomb)), 64, 48, "EXIF bomb in a JPEG");
    assert_shows_rgb(&jpeg_after_start(&jpeg, &icc.repeat(400)), 64, 48, "26 MB of ICC profile in a JPEG");

    let profile = png_chunk(b"iCCP", &[b"x\0\0".as_slice(), &[7; 20 << 20]].concat());
    let text = png_chunk(b"zTXt", &[b"x\0\0".as_slice(), &[7; 5 << 20]].concat());
    for chunk in [profile, text, png_chunk(b"eXIf", &bomb)] {
        assert_shows_rgb(&png_after_header(&png(64, 48), &chunk), 64, 48, "metadata in a PNG");
    }
    let exif = png_chunk(b"eXIf", &[0; 5 << 20]);
    assert_too_large(&png_after_header(&png(64, 48), &exif), Measure::MetadataSizeBytes);

    let parts = [webp_header(0x28, 64, 48), webp_chunk(b"ICCP", &[7; 20 << 20]), webp(64, 48)[12..].to_vec()];
    let webp = webp_file(&[parts.concat(), webp_chunk(b"EXIF", &bomb)]);
    assert_shows_rgb(&webp, 64, 48, "metadata in a WebP");
}

#[test]
fn f085_a_thumbnail_inside_a_jpeg_is_not_taken_for_the_picture() {
    let thumbnail = segment(0xe1, &[b"Exif\0\0".as_slice(), &exif(1, true), &jpeg(16, 16)].concat());
    let bytes = jpeg_after_start(&jpeg(64, 48), &thumbnail);
    assert_shows_rgb(&bytes, 64, 48, "with a thumbnail");
    assert!(matches!(refusal(&bytes[..bytes.len() - 2]), DecodeError::Truncated { .. }));
}

#[test]
fn f085_a_picture_cut_off_anywhere_is_refused() {
    for (name, bytes) in one_of_each_format() {
        assert!(decode(&bytes).is_ok(), "{name}: {}", refusal(&bytes));
        for cut in 12..bytes.len() {
            match refusal(&bytes[..cut]) {
                DecodeError::Truncated { size_bytes, .. } => assert_eq!(size_bytes, cut),
                other => panic!("{name} cut at {cut}: {other}"),
            }
        }
        for cut in 0..12 {
            assert!(decode(&bytes[..cut]).is_err(), "{name} cut at {cut}");
        }
    }
    let large = jpeg(1_200, 900);
    for cut in (100..large.len()).step_by(100) {
        assert!(matches!(refusal(&large[..cut]), DecodeError::Truncated { .. }), "cut at {cut}");
    }
}

#[test]
fn f085_bytes_after_the_picture_are_ignored() {
    for (name, mut bytes) in one_of_each_format() {
        let alone = decode(&bytes).unwrap();
        bytes.resize(bytes.len() + (50 << 20), 0xa5);
        assert!(decode(&bytes).unwrap() == alone, "{name}");
    }
}

#[test]
fn f085_a_picture_of_more_bytes_than_allowed_is_refused() {
    let comments = segment(0xfe, &[b' '; 65_000]).repeat(600);
    assert_too_large(&jpeg_after_start(&jpeg(64, 48), &comments), Measure::SizeBytes);
    let chunk = png_chunk(b"zzZz", &[0; 33 << 20]);
    assert_too_large(&png_after_header(&png(64, 48), &chunk), Measure::SizeBytes);
}

#[test]
fn f085_a_png_with_a_wrong_check_sum_is_refused() {
    let mut bytes = png(64, 48);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    assert!(matches!(refusal(&bytes), DecodeError::Codec { format: PictureFormat::Png, .. }));
}

#[test]
fn f085_a_png_palette_of_impossible_length_is_refused() {
    let rows = [0; 64 * 48];
    let good = png_of(&rows, 64, 48, ::png::ColorType::Indexed, ::png::BitDepth::Eight, |encoder| {
        encoder.set_palette([1, 2, 3].as_slice());
    });
    assert!(decode(&good).is_ok());
    let palette = png_chunk(b"PLTE", &[1, 2, 3]);
    let at = good.windows(palette.len()).position(|window| window == palette).unwrap();
    for length in [0, 1, 2, 4, 769, 771] {
        let chunk = png_chunk(b"PLTE", &vec![1; length]);
        let bytes = [&good[..at], &chunk, &good[at + palette.len()..]].concat();
        assert!(matches!(refusal(&bytes), DecodeError::Damaged { .. }), "{length}");
    }
}

#[test]
fn of_an_animated_png_the_still_picture_is_read() {
    let still = rgb(64, 48);
    let bytes = {
        let mut bytes = Vec::new();
        let mut encoder = ::png::Encoder::new(&mut bytes, 64, 48);
        encoder.set_color(::png::ColorType::Rgb);
        encoder.set_animated(2, 0).unwrap();
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&still).unwrap();
        writer.write_image_data(&[0; 64 * 48 * 3]).unwrap();
        writer.finish().unwrap();
        bytes
    };
    assert_eq!(decode(&bytes).unwrap().data(), still);
}

#[test]
fn lossless_webp_data_longer_than_its_pixels_is_refused() {
    let mut picture = webp(64, 48)[20..].to_vec();
    picture.resize(64 * 48 * 4 + (16 << 10) + 1, 0);
    assert_too_large(&webp_file(&[webp_chunk(b"VP8L", &picture)]), Measure::LosslessSizeBytes);
}

#[test]
fn lossless_webp_data_of_more_bytes_than_allowed_is_refused() {
    let mut picture = webp(1_000, 1_000)[20..].to_vec();
    picture.resize((limits::WEBP_LOSSLESS_SIZE_BYTES + 1) as usize, 0);
    assert_too_large(&webp_file(&[webp_chunk(b"VP8L", &picture)]), Measure::LosslessSizeBytes);
}

#[test]
fn a_jpeg_without_huffman_tables_is_read_with_the_standard_ones() {
    for sampling in [SamplingFactor::F_1_1, SamplingFactor::F_2_1, SamplingFactor::F_2_2] {
        let bytes = jpeg_with(64, 48, |encoder| encoder.set_sampling_factor(sampling));
        assert!(decode(&jpeg_without_tables(&bytes)).unwrap() == decode(&bytes).unwrap());
    }
    let progressive = jpeg_with_scans(64, 64, 2);
    assert!(matches!(refusal(&jpeg_without_tables(&progressive)), DecodeError::Codec { .. }));
}

#[test]
fn f085_wrong_spectrum_limits_in_a_sequential_scan_are_corrected() {
    for good in [jpeg(64, 48), jpeg_with(64, 48, |encoder| encoder.set_optimized_huffman_tables(true))] {
        let mut odd = good.clone();
        let at = scan_at(&good);
        odd[at - 3..at].copy_from_slice(&[0, 0, 0]);
        assert!(decode(&odd).unwrap() == decode(&good).unwrap());
    }
}

fn jpeg_with_restarts(width: u16, height: u16, sampling: SamplingFactor) -> Vec<u8> {
    jpeg_with(width, height, |encoder| {
        encoder.set_sampling_factor(sampling);
        encoder.set_restart_interval(3);
    })
}

fn inserted(bytes: &[u8], at: usize, more: &[u8]) -> Vec<u8> {
    [&bytes[..at], more, &bytes[at..]].concat()
}

#[test]
fn f085_a_few_bytes_behind_the_data_of_a_picture_are_ignored() {
    let progressive = jpeg_with(64, 48, |encoder| encoder.set_progressive(true));
    for good in [jpeg(64, 48), progressive, jpeg_with_restarts(64, 48, SamplingFactor::F_2_2)] {
        let end = good.len() - 2;
        for padding in
            [&[0; 1], b"\xa5".repeat(10).as_slice(), &[0; 16], &[0xff; 500], b"\xff\0\x7f", &[0x55; 16]]
        {
            assert!(
                decode(&inserted(&good, end, padding)).unwrap() == decode(&good).unwrap(),
                "{padding:x?}"
            );
        }
        for padding in [&[0; 40], b"\x35".repeat(1_000).as_slice()] {
            assert!(matches!(refusal(&inserted(&good, end, padding)), DecodeError::Codec { .. }));
        }
    }
}

#[test]
fn f085_a_few_bytes_before_restart_markers_are_ignored_as_webcams_leave_them() {
    for sampling in [SamplingFactor::F_1_1, SamplingFactor::F_2_1, SamplingFactor::F_2_2] {
        let good = jpeg_with_restarts(133, 61, sampling);
        let whole = decode(&good).unwrap();
        let markers = markers_in_scan(&good);
        for padding in [[0; 1].as_slice(), &[0x12; 10], &[0; 16]] {
            for at in &markers {
                assert!(decode(&inserted(&good, *at, padding)).unwrap() == whole);
            }
            let everywhere =
                markers.iter().rev().fold(good.clone(), |bytes, at| inserted(&bytes, *at, padding));
            assert!(decode(&everywhere).unwrap() == whole);
        }
        assert!(decode(&inserted(&good, markers[0], &[0; 17])).is_err());
    }
    let grey = jpeg_of(&[77; 61 * 45], 61, 45, jpeg_encoder::ColorType::Luma, |encoder| {
        encoder.set_restart_interval(5);
        encoder.set_sampling_factor(SamplingFactor::F_2_2);
    });
    assert!(decode(&inserted(&grey, markers_in_scan(&grey)[2], &[9; 4])).unwrap() == decode(&grey).unwrap());
}

#[test]
fn f085_padding_before_a_restart_marker_hides_no_damage_behind_it() {
    let good = jpeg_with_restarts(133, 61, SamplingFactor::F_2_2);
    let markers = markers_in_scan(&good);
    let (first, second, last) = (markers[1], markers[2], markers[markers.len() - 2]);
    let damaged = [
        ("an interval is missing", [&good[..first], &good[second..]].concat()),
        ("an interval comes twice", [&good[..second], &good[first..]].concat()),
        ("the last interval is missing", [&good[..last], b"\xff\xd9"].concat()),
        ("an interval is shorter", [&good[..second - 20], &good[second..]].concat()),
        ("an interval is longer", inserted(&good, second, &[0x35; 40])),
    ];
    for (what, bytes) in damaged {
        assert!(decode(&bytes).is_err(), "{what}");
        assert!(decode(&inserted(&bytes, markers[0], &[0; 4])).is_err(), "{what}, behind padding");
    }
}

#[test]
fn f085_a_jpeg_that_lost_bytes_in_the_middle_or_ends_as_another_is_refused() {
    let sides = (160, 120);
    let first = jpeg(sides.0, sides.1);
    let second = jpeg_of(
        &rgb(160, 120).iter().map(|v| 255 - v / 2).collect::<Vec<_>>(),
        160,
        120,
        jpeg_encoder::ColorType::Rgb,
        |_| {},
    );
    let (start, end) = (scan_at(&first), first.len() - 2);
    for at in (start + 50..end - 600).step_by(37) {
        for lost in [64, 512] {
            assert!(decode(&[&first[..at], &first[at + lost..]].concat()).is_err(), "{lost} bytes at {at}");
        }
        let zeros = [&first[..at], &[0; 512], &first[at + 512..]].concat();
        assert!(decode(&zeros).is_err(), "zeros at {at}");
        if at < second.len() {
            assert!(decode(&[&first[..at], &second[at..]].concat()).is_err(), "two frames joined at {at}");
        }
    }
}

#[test]
fn every_refusal_says_what_to_do_next() {
    for bytes in [
        b"".to_vec(),
        b"%PDF-1.7".to_vec(),
        png_claiming(30_000, 30_000),
        png_claiming(1, 1),
        jpeg(64, 48)[..300].to_vec(),
        jpeg_claiming(0xc0, 64, 64, &[0x11; 3]),
        jpeg_claiming(0xc9, 64, 64, &[0x11; 3]),
        jpeg_with_scans(5_000, 5_000, 17),
        b"\xff\xd8\xff\xd9".to_vec(),
    ] {
        let text = refusal(&bytes).to_string();
        let remedies = ["copy it again", "save", "choose another", "use the original"];
        assert!(remedies.iter().any(|remedy| text.contains(remedy)), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn f085_random_bytes_behind_any_signature_never_panic(
        signature in prop::sample::select(vec![
            b"".to_vec(),
            b"\xff\xd8\xff".to_vec(),
            b"\x89PNG\r\n\x1a\n".to_vec(),
            b"RIFF\x80\0\0\0WEBPVP8 ".to_vec(),
            b"RIFF\x80\0\0\0WEBPVP8L".to_vec(),
            frame_header(0xc0, 64, 64, &[0x22, 0x11, 0x11]),
        ]),
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let _ = decode(&[signature, bytes].concat());
    }

    #[test]
    fn f085_a_picture_with_any_few_bytes_changed_is_right_or_refused(
        which in 0..7_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let (_, mut bytes) = one_of_each_format().swap_remove(which);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(picture) = decode(&bytes) {
            prop_assert_eq!(picture.data().len(), picture.width() * picture.height() * 3);
        }
    }
}
