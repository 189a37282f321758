//! Faults 83 to 85: bad pictures cost no memory. One test in one process, so that nothing else allocates.

#[path = "../src/decode/pictures.rs"]
mod pictures;

use peak_alloc::PeakAlloc;
use pictures::*;
use rollcall_vision::decode::decode;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Bytes allocated at the peak of a decode, beyond those of the file itself; and whether there was a picture.
fn cost(bytes: &[u8]) -> (usize, bool) {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let decoded = decode(bytes).is_ok();
    (ALLOCATOR.peak_usage() - before, decoded)
}

#[test]
fn f083_f084_f085_no_bad_picture_costs_64_mib() {
    let padded = |bytes: &[u8]| [bytes, &vec![0; 50 << 20]].concat();
    let icc = segment(0xe2, &[b"ICC_PROFILE\0\x01\x01".as_slice(), &[0; 65_000]].concat());
    let bomb = [b"II*\0\x08\0\0\0\xff\xff".as_slice(), &[0xff; 60_000]].concat();
    let xmp = segment(0xe1, &[b"http://ns.adobe.com/xmp/extension/\0".as_slice(), &[0xff; 60_000]].concat());
    let inner = webp_chunk(b"VP8 ", b"\x30\x01\x00\x9d\x01\x2a\xff\x3f\xff\x3f");
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", vec![]),
        ("text", b"dear reader".repeat(1_000)),
        ("random", (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()),
        ("JPEG header of 65535 x 65535", jpeg_claiming(0xc0, 65_535, 65_535, &[0x22, 0x11, 0x11])),
        ("progressive JPEG header of 65535 x 65535", jpeg_claiming(0xc2, 65_535, 65_535, &[0x11; 3])),
        ("JPEG of 0 x 0", jpeg_claiming(0xc0, 0, 0, &[0x11; 3])),
        ("JPEG header at the limits and no data", jpeg_claiming(0xc0, 5_000, 5_000, &[0x11; 3])),
        ("PNG of 30000 x 30000 zeros", png_claiming(30_000, 30_000)),
        ("PNG of 1 x 60000", png_claiming(1, 60_000)),
        ("PNG of 0 x 0", png_claiming(0, 0)),
        ("progressive JPEG of 10,000 scans", jpeg_with_scans(4_000, 4_000, 10_000)),
        ("GIF", b"GIF89a\xff\xff\xff\xff".to_vec()),
        ("SVG", b"<svg xmlns='http://www.w3.org/2000/svg' width='99999' height='99999'/>".to_vec()),
        ("HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic".to_vec()),
        ("PDF", b"%PDF-1.7\n".to_vec()),
        ("JPEG and 50 MiB more", padded(&jpeg(640, 480))),
        ("PNG and 50 MiB more", padded(&png(640, 480))),
        ("WebP and 50 MiB more", padded(&webp(640, 480))),
        (
            "JPEG of 33 MB of comments",
            jpeg_after_start(&jpeg(64, 48), &segment(0xfe, &[0; 65_000]).repeat(520)),
        ),
        ("JPEG with 26 MB of ICC profile", jpeg_after_start(&jpeg(64, 48), &icc.repeat(400))),
        ("JPEG with an EXIF bomb", jpeg_after_start(&jpeg(64, 48), &exif_segment(&bomb))),
        ("JPEG with 24 MB of XMP", jpeg_after_start(&jpeg(64, 48), &xmp.repeat(400))),
        ("PNG with an ICC bomb", png_after_header(&png(64, 48), &icc_bomb())),
        ("PNG with 20 MB of EXIF", png_after_header(&png(64, 48), &png_chunk(b"eXIf", &[7; 20 << 20]))),
        ("PNG with 4 MiB of EXIF", png_after_header(&png(64, 48), &png_chunk(b"eXIf", &[7; 4 << 20]))),
        ("animated WebP", webp_animated(640, 480, 100)),
        ("WebP of 16383 x 16383 in a small canvas", webp_file(&[webp_header(0, 64, 64), inner])),
    ];
    for (what, bytes) in cases {
        let (bytes_at_peak, decoded) = cost(&bytes);
        println!("{what}: {} KiB, {}", bytes_at_peak >> 10, if decoded { "decoded" } else { "refused" });
        assert!(bytes_at_peak < 64 << 20, "{what}: {bytes_at_peak} bytes");
    }

    let mut at_most = 0;
    for whole in
        [jpeg(1_200, 900), jpeg_with(1_200, 900, |encoder| encoder.set_progressive(true)), png(640, 480)]
    {
        for cut in (0..whole.len()).step_by(100) {
            let (bytes_at_peak, decoded) = cost(&whole[..cut]);
            assert!(!decoded, "cut at {cut}");
            at_most = at_most.max(bytes_at_peak);
        }
    }
    println!("cut at every 100 bytes: {at_most} bytes at most");
    assert!(at_most < 64 << 10);
    a_large_png_costs_its_pixels_and_a_few_rows();
}

/// An iCCP chunk that inflates to 64 MiB.
fn icc_bomb() -> Vec<u8> {
    let zeros = png_of(
        &vec![0; 4_096 * 16_384],
        4_096,
        16_384,
        png::ColorType::Grayscale,
        png::BitDepth::Eight,
        |_| {},
    );
    let start = zeros.windows(4).position(|window| window == b"IDAT").map_or(0, |at| at + 4);
    png_chunk(b"iCCP", &[b"x\0\0".as_slice(), &zeros[start..zeros.len() - 16]].concat())
}

/// A good one, for comparison: the decoder must not hold 16-bit or RGBA copies.
fn a_large_png_costs_its_pixels_and_a_few_rows() {
    let (width, height) = (4_000, 3_000);
    let deep = vec![0x55; width * height * 8];
    let bytes = png_of(&deep, 4_000, 3_000, png::ColorType::Rgba, png::BitDepth::Sixteen, |_| {});
    let rgb = width * height * 3;
    let (bytes_at_peak, decoded) = cost(&bytes);
    println!(
        "PNG of {width} x {height}, 16-bit RGBA: {} KiB for {} KiB of RGB",
        bytes_at_peak >> 10,
        rgb >> 10
    );
    assert!(decoded && bytes_at_peak < rgb + (2 << 20));
}
