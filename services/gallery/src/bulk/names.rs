//! What the name of a file in a batch says: whether it may be opened, whether it is a picture, and whose.

use super::PersonKey;

/// What a name says of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Picture,
    Archive,
    Other,
    /// What systems leave behind; nobody misses it.
    Ignored,
    /// Leads elsewhere, or means something else to another system.
    Unsafe,
}

pub(super) fn kind(name: &str) -> Kind {
    let parts = || name.split('/');
    let odd = |part: &str| part.is_empty() || part == "." || part == "..";
    if name.contains(['\\', '\0', ':']) || parts().any(odd) {
        return Kind::Unsafe;
    }
    if parts().any(|part| part.starts_with('.') || part == "__MACOSX") {
        return Kind::Ignored;
    }
    let file = file(name).to_ascii_lowercase();
    if ["thumbs.db", "desktop.ini"].contains(&file.as_str()) {
        return Kind::Ignored;
    }
    match file.rsplit_once('.').map(|(_, ending)| ending) {
        Some("jpg" | "jpeg" | "png" | "webp") => Kind::Picture,
        Some("zip" | "7z" | "rar" | "tar" | "gz" | "tgz" | "xz" | "bz2" | "zst") => Kind::Archive,
        _ => Kind::Other,
    }
}

/// The last part.
pub(super) fn file(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(_, file)| file)
}

/// Bytes of the folder that lies around everything, slash included: that of `school/1042/a.jpg` where all names begin
/// with `school/`. 0 when there is none, or when pictures lie in it: then it is a person's.
pub(super) fn root<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    let mut common: Option<&str> = None;
    for name in names {
        match name.split_once('/') {
            Some((folder, rest)) if rest.contains('/') && common.is_none_or(|common| common == folder) => {
                common = Some(folder);
            }
            _ => return 0,
        }
    }
    common.map_or(0, |folder| folder.len() + 1)
}

/// Whose picture it is, by its name below the root.
pub(super) fn person(name: &str) -> Option<PersonKey> {
    if let Some((folder, _)) = name.split_once('/') {
        return key(folder).map(PersonKey::ExternalIdOrName);
    }
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let numbered = stem.rsplit_once('_').filter(|(_, number)| {
        (1..=2).contains(&number.len()) && number.bytes().all(|digit| digit.is_ascii_digit())
    });
    key(numbered.map_or(stem, |(id, _)| id)).map(PersonKey::ExternalId)
}

fn key(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
