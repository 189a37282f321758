//! Text that people write: what is let in, and how it is compared.

use unicode_normalization::UnicodeNormalization as _;

/// The text as it is compared and sorted: compatibility forms made one (NFKC), capitals made small, letter by letter,
/// so that the beginning of a text folds to the beginning of its folded form.
pub(crate) fn folded(text: &str) -> String {
    let small = text.nfkc().flat_map(char::to_lowercase).map(|c| if c == 'ς' { 'σ' } else { c });
    small.nfkc().collect()
}
