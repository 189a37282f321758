//! Faults 83 to 85: bad pictures cost no memory, good ones what the decode module says.
//!
//! Rust's allocator tells exactly what Rust asks for, and nothing of libjpeg-turbo, which is C. Resident memory has
//! both, and less than what was asked for when it is never touched. The larger of the two counts. Each test runs
//! in a process of its own, where nothing else allocates and freed memory goes back to the system.
#![allow(clippy::unwrap_used)]

#[path = "../src/decode/pictures.rs"]
mod pictures;

use std::process::Command;

use peak_alloc::PeakAlloc;
use pictures::*;
use rollcall_vision::decode::decode;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Kernel counters of resident pages are exact to 64 pages a processor; the C allocator keeps 128 KiB.
const RESIDENT_NOISE_SIZE_BYTES: usize = 2 << 20;

/// With a threshold that is set, glibc does not raise it when large blocks are freed, and unmaps them all.
const ALONE: (&str, &str) = ("MALLOC_MMAP_THRESHOLD_", "65536");

/// Runs the test in a process of its own.
fn alone(name: &str, test: impl FnOnce()) {
    if std::env::var(ALONE.0).is_ok_and(|value| value == ALONE.1) {
        return test();
    }
    let program = std::env::current_exe().unwrap();
    let child = Command::new(program).args([name, "--exact", "--nocapture"]).env(ALONE.0, ALONE.1).output();
    let child = child.unwrap();
    let words = [child.stdout, child.stderr].concat();
    print!("{}", String::from_utf8_lossy(&words));
    assert!(child.status.success());
}

/// What a decode took at its peak, beyond the file itself.
struct Cost {
    allocated: usize,
    resident: usize,
    decoded: bool,
}

impl Cost {
    fn size_bytes(&self) -> usize {
        self.allocated.max(self.resident)
    }
}

fn cost(bytes: &[u8]) -> Cost {
    // proc(5): 5 resets VmHWM to the resident size.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let resident_before = resident_size_bytes("VmRSS:");
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let decoded = decode(bytes).is_ok();
    let allocated = ALLOCATOR.peak_usage() - before;
    let resident = resident_size_bytes("VmHWM:").saturating_sub(resident_before);
    Cost { allocated, resident, decoded }
}

fn resident_size_bytes(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[test]
fn f083_f084_f085_no_bad_picture_costs_64_mib() {
    alone("f083_f084_f085_no_bad_picture_costs_64_mib", bad_pictures);
}

fn bad_pictures() {
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
        ("JPEG of 33 MB with many scans", jpeg_with_scans(64, 64, 1 << 21)),
        ("JPEG torn in the middle", torn(&jpeg(1_200, 900))),
        ("progressive JPEG torn in the middle", torn(&progressive(1_200, 900))),
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
        let Cost { allocated, resident, decoded } = cost(&bytes);
        let outcome = if decoded { "decoded" } else { "refused" };
        println!("{what}: {} KiB allocated, {} resident, {outcome}", allocated >> 10, resident >> 10);
        assert!(allocated.max(resident) < 64 << 20, "{what}");
    }

    let (mut allocated_max, mut resident_max) = (0, 0);
    for whole in [jpeg(1_200, 900), progressive(1_200, 900), png(640, 480)] {
        for cut in (0..whole.len()).step_by(100) {
            let Cost { allocated, resident, decoded } = cost(&whole[..cut]);
            assert!(!decoded, "cut at {cut}");
            allocated_max = allocated_max.max(allocated);
            resident_max = resident_max.max(resident);
        }
    }
    println!("cut at every 100 bytes: {allocated_max} bytes allocated at most, {resident_max} resident");
    assert!(allocated_max < 64 << 10 && resident_max < RESIDENT_NOISE_SIZE_BYTES);
}

fn progressive(width: u16, height: u16) -> Vec<u8> {
    jpeg_with(width, height, |encoder| encoder.set_progressive(true))
}

/// Without a tenth of its bytes, but with its end.
fn torn(jpeg: &[u8]) -> Vec<u8> {
    [&jpeg[..jpeg.len() / 2], &jpeg[jpeg.len() * 6 / 10..]].concat()
}

#[test]
fn a_large_picture_costs_the_bytes_a_pixel_that_are_documented_and_a_few_rows() {
    alone("a_large_picture_costs_the_bytes_a_pixel_that_are_documented_and_a_few_rows", large_pictures);
}

fn large_pictures() {
    let (width, height) = (2_000, 1_500);
    let pixels = usize::from(width) * usize::from(height);
    let inks = [10, 90, 200, 40].repeat(pixels);
    let cmyk = |progressive| {
        jpeg_of(&inks, width, height, jpeg_encoder::ColorType::Cmyk, |encoder| {
            encoder.set_progressive(progressive);
        })
    };
    let deep = vec![0x55; pixels * 8];
    let png =
        png_of(&deep, width.into(), height.into(), png::ColorType::Rgba, png::BitDepth::Sixteen, |_| {});
    let split = jpeg_with(width, height, |encoder| encoder.set_optimized_huffman_tables(true));
    let turned = jpeg_after_start(&jpeg(width, height), &exif_segment(&exif(6, true)));
    let icc = segment(0xe2, &[b"ICC_PROFILE\0\x01\x01".as_slice(), &[0; 65_000]].concat()).repeat(100);
    let profiled = jpeg_after_start(&jpeg(width, height), &icc);
    let size_bytes = profiled.len();
    for (what, bytes, expected) in [
        ("PNG of 16-bit RGBA", png, 3 * pixels),
        ("JPEG", jpeg(width, height), 3 * pixels),
        ("JPEG turned a quarter", turned, 6 * pixels),
        ("progressive JPEG", progressive(width, height), 9 * pixels),
        ("JPEG with one scan for each colour", split, 9 * pixels),
        ("CMYK JPEG", cmyk(false), 4 * pixels),
        ("progressive CMYK JPEG", cmyk(true), 12 * pixels),
        ("JPEG with a colour profile", profiled, 3 * pixels + size_bytes),
    ] {
        let cost = cost(&bytes);
        println!(
            "{what} of {width} x {height}: {} KiB allocated, {} resident, {} expected",
            cost.allocated >> 10,
            cost.resident >> 10,
            expected >> 10
        );
        assert!(cost.decoded && cost.size_bytes() < expected + RESIDENT_NOISE_SIZE_BYTES, "{what}");
        assert!(
            cost.size_bytes() + RESIDENT_NOISE_SIZE_BYTES > expected,
            "{what}: the documentation says more"
        );
    }
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
