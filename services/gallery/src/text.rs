//! Text that people write: what is let in, and how it is compared.

use rollcall_core::limits;
use unicode_normalization::UnicodeNormalization as _;

use crate::GalleryError;

/// The text as it is compared and sorted: compatibility forms made one (NFKC), capitals made small, letter by letter,
/// so that the beginning of a text folds to the beginning of its folded form.
pub(crate) fn folded(text: &str) -> String {
    let small = text.nfkc().flat_map(char::to_lowercase).map(|c| if c == 'ς' { 'σ' } else { c });
    small.nfkc().collect()
}

/// The folded text as a key to sort by: of a length that a page token can hold.
pub(crate) fn sort_key(text: &str) -> String {
    folded(text).chars().take(limits::PERSON_NAME_CHARS).collect()
}

/// The first text, by its bytes, that comes after every text which begins with `prefix`.
pub(crate) fn after_prefix(prefix: &str) -> String {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            last => char::from_u32(u32::from(last) + 1),
        };
        if let Some(next) = next {
            chars.push(next);
            return chars.into_iter().collect();
        }
    }
    // Longer than any sort key of the last character.
    char::MAX.to_string().repeat(limits::PERSON_NAME_CHARS + 1)
}

/// A text of one line, as it was written: not empty, not all blank, no control characters, at most `chars_max`.
///
/// Marks that change the direction of writing are let in, for names need them: whoever shows a name beside other text
/// isolates it (Unicode annex 9, section 2.7; in HTML `<bdi>`).
pub(crate) fn line(field: &'static str, text: &str, chars_max: usize) -> Result<String, GalleryError> {
    if text.chars().all(char::is_whitespace) {
        return Err(GalleryError::invalid(field, "is empty"));
    }
    optional_line(field, text, chars_max)
}

/// The same, and it may be empty.
pub(crate) fn optional_line(
    field: &'static str,
    text: &str,
    chars_max: usize,
) -> Result<String, GalleryError> {
    if text.len() > chars_max * 4 || text.chars().count() > chars_max {
        return Err(GalleryError::invalid(field, format!("has more than {chars_max} characters")));
    }
    if text.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        return Err(GalleryError::invalid(field, "has control characters or more than one line"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn capitals_and_ways_to_write_a_letter_are_one() {
        for (one, other) in [
            ("Linh", "LINH"),
            ("Nguye\u{302}\u{303}n", "NGUYỄN"),
            ("ΟΔΟΣ", "οδος"),
            ("ﬁona", "FIONA"),
            ("Ａｌｉ", "ali"),
            ("Привет", "ПРИВЕТ"),
        ] {
            assert_eq!(folded(one), folded(other));
        }
        assert_ne!(folded("Nguyen"), folded("Nguyễn"));
    }

    #[test]
    fn one_line_of_text_is_let_in_as_it_is() {
        for good in [
            "a",
            " a ",
            "=cmd|' /C calc'!A0",
            "+1",
            "'; drop table gallery_person; --",
            "\u{202e}abc",
            "😀",
            "O’Brien",
        ] {
            assert_eq!(line("f", good, 200).ok().as_deref(), Some(good));
        }
        assert!(line("f", &"漢".repeat(200), 200).is_ok());
    }

    #[test]
    fn nothing_control_characters_and_floods_are_refused() {
        for bad in [
            "",
            " ",
            "\u{3000}",
            "a\nb",
            "a\r",
            "\0",
            "a\tb",
            "\u{1b}[31m",
            "\u{85}",
            "\u{2028}",
            &"a".repeat(201),
        ] {
            assert!(line("f", bad, 200).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_range_of_texts_is_exactly_those_that_begin_so(prefix in "\\PC{1,4}", text in "\\PC{0,8}") {
            let inside = *text >= *prefix && *text < *after_prefix(&prefix);
            prop_assert_eq!(inside, text.starts_with(&prefix));
        }

        #[test]
        fn a_range_holds_what_begins_so(prefix in "[a\u{d7ff}\u{10ffff}]{1,4}", rest in "[a\u{10ffff}]{0,4}") {
            let text = format!("{prefix}{rest}");
            prop_assert!(*text >= *prefix && *text < *after_prefix(&prefix));
        }

        #[test]
        fn folding_twice_is_folding_once(text in "\\PC{0,20}") {
            let once = folded(&text);
            prop_assert_eq!(folded(&once), once);
        }
    }
}
