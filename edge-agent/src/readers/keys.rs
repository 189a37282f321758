//! From the keys that a card reader types to the text of a card. Pure: keys and times in, text out.
//!
//! Readers are keyboards with the layout of the United States, whatever the machine's is. A card ends with Enter, Tab or
//! a pause. What is shorter or longer than a card can be is dropped whole, and so is one with a key that types nothing.

use std::time::{Duration, Instant};

use evdev::KeyCode;
use rollcall_core::limits;

const PAUSE: Duration = Duration::from_millis(limits::CARD_PAUSE_MS);

/// What is typed without and with shift.
const LAYOUT: &[(KeyCode, char, char)] = &[
    (KeyCode::KEY_1, '1', '!'),
    (KeyCode::KEY_2, '2', '@'),
    (KeyCode::KEY_3, '3', '#'),
    (KeyCode::KEY_4, '4', '$'),
    (KeyCode::KEY_5, '5', '%'),
    (KeyCode::KEY_6, '6', '^'),
    (KeyCode::KEY_7, '7', '&'),
    (KeyCode::KEY_8, '8', '*'),
    (KeyCode::KEY_9, '9', '('),
    (KeyCode::KEY_0, '0', ')'),
    (KeyCode::KEY_KP0, '0', '0'),
    (KeyCode::KEY_KP1, '1', '1'),
    (KeyCode::KEY_KP2, '2', '2'),
    (KeyCode::KEY_KP3, '3', '3'),
    (KeyCode::KEY_KP4, '4', '4'),
    (KeyCode::KEY_KP5, '5', '5'),
    (KeyCode::KEY_KP6, '6', '6'),
    (KeyCode::KEY_KP7, '7', '7'),
    (KeyCode::KEY_KP8, '8', '8'),
    (KeyCode::KEY_KP9, '9', '9'),
    (KeyCode::KEY_A, 'a', 'A'),
    (KeyCode::KEY_B, 'b', 'B'),
    (KeyCode::KEY_C, 'c', 'C'),
    (KeyCode::KEY_D, 'd', 'D'),
    (KeyCode::KEY_E, 'e', 'E'),
    (KeyCode::KEY_F, 'f', 'F'),
    (KeyCode::KEY_G, 'g', 'G'),
    (KeyCode::KEY_H, 'h', 'H'),
    (KeyCode::KEY_I, 'i', 'I'),
    (KeyCode::KEY_J, 'j', 'J'),
    (KeyCode::KEY_K, 'k', 'K'),
    (KeyCode::KEY_L, 'l', 'L'),
    (KeyCode::KEY_M, 'm', 'M'),
    (KeyCode::KEY_N, 'n', 'N'),
    (KeyCode::KEY_O, 'o', 'O'),
    (KeyCode::KEY_P, 'p', 'P'),
    (KeyCode::KEY_Q, 'q', 'Q'),
    (KeyCode::KEY_R, 'r', 'R'),
    (KeyCode::KEY_S, 's', 'S'),
    (KeyCode::KEY_T, 't', 'T'),
    (KeyCode::KEY_U, 'u', 'U'),
    (KeyCode::KEY_V, 'v', 'V'),
    (KeyCode::KEY_W, 'w', 'W'),
    (KeyCode::KEY_X, 'x', 'X'),
    (KeyCode::KEY_Y, 'y', 'Y'),
    (KeyCode::KEY_Z, 'z', 'Z'),
    (KeyCode::KEY_MINUS, '-', '_'),
    (KeyCode::KEY_EQUAL, '=', '+'),
    (KeyCode::KEY_LEFTBRACE, '[', '{'),
    (KeyCode::KEY_RIGHTBRACE, ']', '}'),
    (KeyCode::KEY_BACKSLASH, '\\', '|'),
    (KeyCode::KEY_SEMICOLON, ';', ':'),
    (KeyCode::KEY_APOSTROPHE, '\'', '"'),
    (KeyCode::KEY_GRAVE, '`', '~'),
    (KeyCode::KEY_COMMA, ',', '<'),
    (KeyCode::KEY_DOT, '.', '>'),
    (KeyCode::KEY_SLASH, '/', '?'),
    (KeyCode::KEY_SPACE, ' ', ' '),
];

/// A card on its way.
#[derive(Default)]
pub(super) struct Keys {
    text: String,
    left_shift: bool,
    right_shift: bool,
    /// It is no card.
    is_spoilt: bool,
    /// When the last key was pressed.
    last: Option<Instant>,
}

impl Keys {
    /// A key went down (1), up (0) or is held (2). Gives the card that it ends.
    pub(super) fn key(&mut self, key: KeyCode, value: i32, now: Instant) -> Option<String> {
        match (key, value) {
            (KeyCode::KEY_LEFTSHIFT, _) => self.left_shift = value != 0,
            (KeyCode::KEY_RIGHTSHIFT, _) => self.right_shift = value != 0,
            (KeyCode::KEY_ENTER | KeyCode::KEY_KPENTER | KeyCode::KEY_TAB, 1) => return self.end(),
            (_, 1) => {
                let before = self.pause(now);
                self.last = Some(now);
                self.add(key);
                return before;
            }
            _ => {}
        }
        None
    }

    /// The card that ended because no key came for long enough.
    pub(super) fn pause(&mut self, now: Instant) -> Option<String> {
        let is_over = self.ends().is_some_and(|end| now >= end);
        is_over.then(|| self.end()).flatten()
    }

    /// When it ends if no key comes.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.last.map(|last| last + PAUSE)
    }

    fn add(&mut self, key: KeyCode) {
        let shift = self.left_shift || self.right_shift;
        let typed = LAYOUT.iter().find(|(known, ..)| *known == key);
        match typed {
            Some((_, plain, shifted)) if self.text.len() < *limits::CARD_CHARS.end() => {
                self.text.push(if shift { *shifted } else { *plain });
            }
            _ => self.is_spoilt = true,
        }
    }

    fn end(&mut self) -> Option<String> {
        self.last = None;
        let text = std::mem::take(&mut self.text);
        let text = text.trim();
        let is_card = !std::mem::take(&mut self.is_spoilt) && limits::CARD_CHARS.contains(&text.len());
        is_card.then(|| text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The keys that type a text, each pressed and released, and the shift round them.
    fn typed(text: &str) -> Vec<(KeyCode, i32)> {
        let mut keys = Vec::new();
        for wanted in text.chars() {
            let found = LAYOUT.iter().find(|(_, plain, shifted)| [*plain, *shifted].contains(&wanted));
            let Some((key, plain, _)) = found else { panic!("{wanted:?} has no key") };
            let press = [(*key, 1), (*key, 0)];
            if *plain == wanted {
                keys.extend(press);
            } else {
                keys.push((KeyCode::KEY_LEFTSHIFT, 1));
                keys.extend(press);
                keys.push((KeyCode::KEY_LEFTSHIFT, 0));
            }
        }
        keys
    }

    fn read(keys: &mut Keys, text: &str, now: Instant) -> Vec<String> {
        typed(text).into_iter().filter_map(|(key, value)| keys.key(key, value, now)).collect()
    }

    #[test]
    fn a_card_ends_with_enter() {
        let (mut keys, now) = (Keys::default(), Instant::now());
        for text in ["0004711234", "04:A2:24:1B", ";1234567?", "Ab 12"] {
            assert!(read(&mut keys, text, now).is_empty());
            assert_eq!(keys.key(KeyCode::KEY_ENTER, 1, now).as_deref(), Some(text));
            assert_eq!(keys.key(KeyCode::KEY_ENTER, 0, now), None);
            assert_eq!(keys.key(KeyCode::KEY_ENTER, 1, now), None, "an empty line is no card");
        }
    }

    #[test]
    fn a_card_ends_with_a_pause() {
        let (mut keys, now) = (Keys::default(), Instant::now());
        assert_eq!(keys.ends(), None);
        read(&mut keys, "12345678", now);
        let later = now + Duration::from_millis(199);
        assert_eq!(keys.pause(later), None);
        assert_eq!(keys.ends(), Some(now + PAUSE));
        assert_eq!(keys.pause(now + PAUSE).as_deref(), Some("12345678"));
        assert_eq!(keys.pause(now + PAUSE), None);
        read(&mut keys, "1111", now);
        assert_eq!(read(&mut keys, "2222", now + PAUSE), ["1111"], "the next card ends it too");
    }

    #[test]
    fn what_is_no_card_is_dropped_whole() {
        let (mut keys, now) = (Keys::default(), Instant::now());
        for text in ["123", "", "  1 ", &"9".repeat(65)] {
            read(&mut keys, text, now);
            assert_eq!(keys.key(KeyCode::KEY_ENTER, 1, now), None, "{text:?}");
        }
        read(&mut keys, "12345", now);
        keys.key(KeyCode::KEY_F1, 1, now);
        assert_eq!(keys.key(KeyCode::KEY_ENTER, 1, now), None);
        read(&mut keys, &"9".repeat(64), now);
        assert_eq!(keys.key(KeyCode::KEY_ENTER, 1, now), Some("9".repeat(64)));
    }

    #[test]
    fn a_held_key_types_once() {
        let (mut keys, now) = (Keys::default(), Instant::now());
        read(&mut keys, "123", now);
        keys.key(KeyCode::KEY_4, 1, now);
        keys.key(KeyCode::KEY_4, 2, now);
        keys.key(KeyCode::KEY_4, 0, now);
        assert_eq!(keys.key(KeyCode::KEY_KPENTER, 1, now).as_deref(), Some("1234"));
    }

    proptest! {
        #[test]
        fn whatever_is_typed_only_cards_come_out(
            typed in proptest::collection::vec((0_u16..300, 0_i32..3, 0_u64..300), 0..400),
        ) {
            let (mut keys, mut now) = (Keys::default(), Instant::now());
            for (key, value, pause) in typed {
                now += Duration::from_millis(pause);
                if let Some(card) = keys.key(KeyCode(key), value, now) {
                    prop_assert!(limits::CARD_CHARS.contains(&card.chars().count()));
                    prop_assert!(card.trim() == card && card.is_ascii());
                }
            }
        }
    }
}
