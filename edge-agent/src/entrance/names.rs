//! What somebody is called at the door.

use serde::Deserialize;

/// Where the given name stands in a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GivenName {
    /// "Linh Nguyen"
    #[default]
    First,
    /// "Nguyễn Thị Linh"
    Last,
}

/// The given name in a name as the person writes it. After a comma it always stands first: "Nguyen, Linh Thi".
pub fn first_name(display_name: &str, given: GivenName) -> &str {
    let (name, given) = match display_name.split_once(',') {
        Some((_, rest)) if !rest.trim().is_empty() => (rest, GivenName::First),
        _ => (display_name, given),
    };
    let mut words = name.split_whitespace();
    let word = match given {
        GivenName::First => words.next(),
        GivenName::Last => words.next_back(),
    };
    word.unwrap_or(display_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_given_name_is_found_where_it_is_written() {
        for (name, given, expected) in [
            ("Linh Nguyen", GivenName::First, "Linh"),
            ("Nguyễn Thị Linh", GivenName::Last, "Linh"),
            ("Nguyen, Linh Thi", GivenName::Last, "Linh"),
            ("Nguyen, Linh Thi", GivenName::First, "Linh"),
            ("  Plato ", GivenName::Last, "Plato"),
            ("Jean-Luc Picard", GivenName::First, "Jean-Luc"),
            ("Smith,", GivenName::First, "Smith,"),
        ] {
            assert_eq!(first_name(name, given), expected, "{name}");
        }
    }
}
