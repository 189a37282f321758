//! What tests/hardware.sh puts round the program inside its virtual machine.
//!
//! - `peripherals camera DEVICE FILE FPS` writes a scene's JPEGs into a v4l2loopback device, again and again.
//! - `peripherals reader` is a USB card reader: it says which device it is, and types each line of its input.
//! - `peripherals card URL DATA NAME CARD` gives somebody a card.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use evdev::uinput::VirtualDevice;
use evdev::{AttributeSet, KeyCode, KeyEvent};
use rollcall_proto::v1;
use rollcall_tests::Client;
use rollcall_vision::decode::{MjpegSplitter, decode};
use v4l::video::Output as _;
use v4l::{Device, Format, FourCC};

const USAGE: &str = "usage: peripherals camera DEVICE FILE FPS | reader | \
                     card URL DATA NAME CARD";

/// Between two keys that a reader types.
const KEY: Duration = Duration::from_millis(5);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["camera", device, file, fps] => show(device, file, fps.parse().expect(USAGE)),
        ["reader"] => type_cards(),
        ["card", url, data, name, card] => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(give_card(url, data, name, card));
        }
        _ => panic!("{USAGE}"),
    }
}

/// A frame is written when it is due, whoever reads it.
fn show(device: &str, file: &str, fps: f64) {
    let mut scene = MjpegSplitter::default();
    scene.push(&std::fs::read(file).unwrap());
    let mut frames = Vec::new();
    while let Some(frame) = scene.next_frame() {
        frames.push(frame.to_vec());
    }
    frames.extend(scene.rest().map(<[u8]>::to_vec));
    let picture = decode(&frames[0]).unwrap();
    let mut device = Device::with_path(device).unwrap();
    let side = |pixels: usize| u32::try_from(pixels).unwrap();
    let format = Format::new(side(picture.width()), side(picture.height()), FourCC::new(b"MJPG"));
    let set = device.set_format(&format).unwrap();
    assert_eq!(set.fourcc, format.fourcc, "it takes no JPEGs");
    let start = Instant::now();
    for (number, frame) in frames.iter().cycle().enumerate() {
        device.write_all(frame).unwrap();
        let due = start + Duration::from_secs_f64((number + 1) as f64 / fps);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

fn type_cards() {
    const DIGITS: [KeyCode; 10] = [
        KeyCode::KEY_0,
        KeyCode::KEY_1,
        KeyCode::KEY_2,
        KeyCode::KEY_3,
        KeyCode::KEY_4,
        KeyCode::KEY_5,
        KeyCode::KEY_6,
        KeyCode::KEY_7,
        KeyCode::KEY_8,
        KeyCode::KEY_9,
    ];
    let keys: AttributeSet<KeyCode> = DIGITS.into_iter().chain([KeyCode::KEY_ENTER]).collect();
    let builder = VirtualDevice::builder().unwrap().name("Rollcall test card reader");
    let mut reader = builder.with_keys(&keys).unwrap().build().unwrap();
    let path = reader.enumerate_dev_nodes_blocking().unwrap().next().unwrap().unwrap();
    println!("{}", path.display());
    for line in std::io::stdin().lock().lines() {
        let digits: Vec<KeyCode> = line
            .unwrap()
            .chars()
            .map(|digit| DIGITS[digit.to_digit(10).expect("cards here are digits") as usize])
            .collect();
        for key in digits.into_iter().chain([KeyCode::KEY_ENTER]) {
            for value in [1, 0] {
                reader.emit(&[*KeyEvent::new(key, value)]).unwrap();
                std::thread::sleep(KEY);
            }
        }
    }
}

async fn give_card(url: &str, data: &str, name: &str, card: &str) {
    let data = Path::new(data);
    let token = std::fs::read_to_string(data.join("admin.token")).unwrap();
    let mut client = Client::connect(url, &std::fs::read(data.join("ca.pem")).unwrap(), token.trim()).await;
    let request = v1::ListPeopleRequest { query: name.to_owned(), ..Default::default() };
    let people = client.gallery.list_people(request).await.unwrap().into_inner().people;
    let person = people.first().expect("that person");
    let request = v1::CreateCredentialRequest {
        person: person.name.clone(),
        kind: v1::CredentialKind::Card.into(),
        value: card.to_owned(),
        request_id: String::new(),
    };
    client.gallery.create_credential(request).await.unwrap();
}
