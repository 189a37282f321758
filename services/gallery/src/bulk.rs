//! Many photographs at once: a folder or a ZIP, and who is on each, told by a CSV or by the file names.
//!
//! A [`Batch`] is a plan: it knows every person and picture and everything that is wrong with the list before the first
//! picture is read, and it reads one picture at a time. It knows nothing of a gallery; whoever has one, or a connection
//! to one, looks the people up and offers the pictures. Offering a picture again is free (the verdict ledger answers),
//! so a run that was interrupted is simply started again.
//!
//! Without a CSV the names tell: `1042.jpg` and `1042_2.jpg` are of the person with the external id 1042 (an underscore
//! and one or two digits number the pictures); `1042/any.jpg` or `Linh Nguyen/any.jpg` of the person with that external
//! id or, where nobody has it, that display name. One folder around everything is ignored. With a CSV its rows tell:
//! `picture` (path in the batch, or the file's name where only one has it), `external_id` or `name`, and, if wished,
//! `groups`, separated by `;`.
//!
//! Promises: nothing outside the folder or ZIP is opened: names with `..`, absolute ones, with backslash, colon or NUL,
//! links and devices are refused; sizes are checked as declared and again as read; archives inside are not opened;
//! nothing is written to disk.

mod folder;
mod names;
mod rows;
mod zip_file;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};

use rollcall_core::{Fault, Reason, limits};

use folder::Folder;
use names::Kind;
use zip_file::ZipFile;

/// Who a picture is of, as the batch has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PersonKey {
    /// The person with this external id.
    ExternalId(String),
    /// The person with this display name.
    Name(String),
    /// The person with this external id, or else with this display name: the name of a folder.
    ExternalIdOrName(String),
}

impl fmt::Display for PersonKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::ExternalId(key) | Self::Name(key) | Self::ExternalIdOrName(key)) = self;
        f.write_str(key)
    }
}

/// Somebody of whom the batch has pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchPerson {
    /// Who.
    pub key: PersonKey,
    /// How to call them when they are new, as the CSV has it; `None` without.
    pub display_name: Option<String>,
    /// Groups by display name, as the CSV has them; none without a CSV.
    pub groups: Vec<String>,
    /// How many pictures.
    pub picture_count: usize,
}

/// Something that the plan leaves out, or that contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line of the CSV, from 1 (the heading); `None` when it is about the folder or ZIP.
    pub row: Option<u64>,
    /// The file meant, shortened to what can be shown.
    pub member: String,
    /// What is wrong.
    pub kind: ProblemKind,
}

/// What is wrong with a row or a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProblemKind {
    /// Its name would lead out of the folder or ZIP.
    #[error("its name is no plain path inside the batch; rename it")]
    UnsafeName,
    /// A symbolic link, a device, a pipe.
    #[error("it is no regular file, and links are not followed; put the picture itself there")]
    NotAFile,
    /// Its name has no ending of a picture.
    #[error("it is not named as a picture (.jpg, .jpeg, .png, .webp)")]
    NotAPicture,
    /// An archive in the batch.
    #[error("archives inside are not opened; unpack it beside the pictures")]
    Archive,
    /// Needs a password, or a way of packing that is not read.
    #[error("it is encrypted or packed in a rare way; pack it as an ordinary ZIP (deflate)")]
    Packed,
    /// Larger than a picture may be.
    #[error("it has {size_bytes} bytes, a picture may have {max}; save it smaller", max = limits::REQUEST_PICTURE_SIZE_BYTES)]
    TooLarge {
        /// As declared.
        size_bytes: u64,
    },
    /// Its name does not say whose it is.
    #[error(
        "its name does not say whose it is; name it EXTERNALID.jpg, put it in a folder for the person, or give a CSV"
    )]
    NobodyNamed,
    /// No row of the CSV is about it.
    #[error("no row of the CSV is about it")]
    NoRow,
    /// A row without picture or person.
    #[error("the row lacks a {0}")]
    Lacks(&'static str),
    /// A row about a file that is not there.
    #[error("there is no such picture in the batch")]
    Missing,
    /// Several files have this name.
    #[error("several pictures have this name; give the path from the top of the batch")]
    Unclear,
    /// Two rows about one picture name different people.
    #[error("row {earlier} says that it is of somebody else")]
    TwoPeople {
        /// The other row.
        earlier: u64,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row {
            Some(row) => write!(f, "row {row} ({}): {}", self.member, self.kind),
            None => write!(f, "{}: {}", self.member, self.kind),
        }
    }
}

/// Why there is no batch, or a picture of it cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BulkError {
    /// The folder, ZIP, CSV or picture cannot be read.
    #[error("{} cannot be read: {source}", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Neither a folder nor a ZIP.
    #[error("{} is neither a folder nor a ZIP; give one of these", .path.display())]
    NotABatch {
        /// What was given.
        path: PathBuf,
    },
    /// The ZIP contradicts itself.
    #[error("the ZIP {} is damaged or made to deceive ({why}); pack it again", .path.display())]
    Zip {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// More than a batch may have.
    #[error("{} has {value} {what}, at most {max} are read; split it", .path.display())]
    TooLarge {
        /// The folder, ZIP or CSV.
        path: PathBuf,
        /// What is counted.
        what: &'static str,
        /// How many.
        value: u64,
        /// How many there may be.
        max: u64,
    },
    /// The CSV cannot be read as one.
    #[error("the CSV {}, row {row}: {why}", .path.display())]
    Csv {
        /// Which.
        path: PathBuf,
        /// Line, from 1.
        row: u64,
        /// What is wrong with it.
        why: String,
    },
    /// A picture is not what the list of the ZIP says of it.
    #[error("{member} is larger than the ZIP says or does not fit its checksum; pack it again")]
    Deceives {
        /// Which.
        member: String,
    },
}

impl BulkError {
    /// What a caller is told.
    pub fn fault(&self) -> Fault {
        let reason = match self {
            Self::TooLarge { .. } => Reason::LimitReached,
            _ => Reason::FieldInvalid,
        };
        Fault::new(reason, self)
    }
}

/// Photographs and whose they are.
pub struct Batch {
    source: Source,
    people: Vec<BatchPerson>,
    /// Person (index) and member (index), people in order, each one's pictures by name.
    pictures: Vec<(usize, usize)>,
    problems: Vec<Problem>,
}

enum Source {
    Folder(Folder),
    Zip(ZipFile),
}

/// One photograph of the batch; its bytes are not read yet.
#[derive(Clone, Copy)]
pub struct Picture<'a> {
    batch: &'a Batch,
    person: usize,
    member: usize,
}

/// A file of the batch before it is known whose it is.
struct Member {
    /// Parts separated by `/`, no part special.
    name: String,
    size_bytes: u64,
}

impl Batch {
    /// Reads the list of pictures of the folder or ZIP at `path`, and who is on them from `csv` or from their names.
    /// What is wrong with single rows or files is in [`Batch::problems`]; the rest can be enrolled.
    ///
    /// # Errors
    /// When one of them cannot be read at all, or is over a limit.
    pub fn open(path: &Path, csv: Option<&Path>) -> Result<Self, BulkError> {
        let mut problems = Vec::new();
        let is_folder = std::fs::metadata(path).map_err(|source| unreadable(path, source))?.is_dir();
        let source = match is_folder {
            true => Source::Folder(Folder::list(path, &mut problems)?),
            false => Source::Zip(ZipFile::list(path, &mut problems)?),
        };
        check_total(path, source.members())?;
        let plan = match csv {
            Some(csv) => by_rows(&rows::read(csv)?, source.members(), &mut problems),
            None => by_names(source.members(), &mut problems),
        };
        let mut people: BTreeMap<PersonKey, Gathered> = BTreeMap::new();
        for (member, planned) in plan {
            let person = people.entry(planned.key).or_default();
            person.display_name = person.display_name.take().or(planned.display_name);
            person.groups.extend(planned.groups);
            person.members.push(member);
        }
        let mut batch = Self { source, people: Vec::new(), pictures: Vec::new(), problems };
        for (person, (key, gathered)) in people.into_iter().enumerate() {
            let Gathered { display_name, groups, mut members } = gathered;
            members.sort_by(|a, b| batch.source.members()[*a].name.cmp(&batch.source.members()[*b].name));
            let groups = groups.into_iter().collect();
            batch.people.push(BatchPerson { key, display_name, groups, picture_count: members.len() });
            batch.pictures.extend(members.into_iter().map(|member| (person, member)));
        }
        Ok(batch)
    }

    /// Everybody of whom there is a picture, in order of their keys.
    pub fn people(&self) -> &[BatchPerson] {
        &self.people
    }

    /// How many pictures.
    pub fn len(&self) -> usize {
        self.pictures.len()
    }

    /// Whether there is nothing to enrol.
    pub fn is_empty(&self) -> bool {
        self.pictures.is_empty()
    }

    /// The pictures, person after person. The order is the same each time.
    pub fn pictures(&self) -> impl ExactSizeIterator<Item = Picture<'_>> {
        self.pictures.iter().map(|&(person, member)| Picture { batch: self, person, member })
    }

    /// Rows and files that the plan leaves out, and why.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl<'a> Picture<'a> {
    /// Who it is of.
    pub fn person_key(&self) -> &'a PersonKey {
        &self.batch.people[self.person].key
    }

    /// Its path in the batch.
    pub fn member(&self) -> &'a str {
        &self.batch.source.members()[self.member].name
    }

    /// Reads it: at most [`limits::REQUEST_PICTURE_SIZE_BYTES`].
    ///
    /// # Errors
    /// When it cannot be read, is not what it was said to be, or is larger.
    pub fn bytes(&self) -> Result<Vec<u8>, BulkError> {
        match &self.batch.source {
            Source::Folder(folder) => folder.read(self.member),
            Source::Zip(zip) => zip.read(self.member),
        }
    }
}

impl Source {
    fn members(&self) -> &[Member] {
        match self {
            Self::Folder(folder) => folder.members(),
            Self::Zip(zip) => zip.members(),
        }
    }
}

/// What all rows about a person say, and their members by index.
#[derive(Default)]
struct Gathered {
    display_name: Option<String>,
    groups: BTreeSet<String>,
    members: Vec<usize>,
}

/// Whose each member is (by index).
type Plan = BTreeMap<usize, Planned>;

/// Whose a member is, and what its row says of them.
struct Planned {
    key: PersonKey,
    display_name: Option<String>,
    groups: Vec<String>,
}

fn by_names(members: &[Member], problems: &mut Vec<Problem>) -> Plan {
    let root = names::root(members.iter().map(|member| member.name.as_str()));
    let mut plan = Plan::new();
    for (index, member) in members.iter().enumerate() {
        match names::person(&member.name[root..]) {
            Some(key) => drop(plan.insert(index, Planned { key, display_name: None, groups: Vec::new() })),
            None => problems.push(problem(&member.name, ProblemKind::NobodyNamed)),
        }
    }
    plan
}

fn by_rows(rows: &[rows::Row], members: &[Member], problems: &mut Vec<Problem>) -> Plan {
    let by_path: HashMap<&str, usize> = members.iter().map(|m| m.name.as_str()).zip(0..).collect();
    let mut by_file: HashMap<&str, Option<usize>> = HashMap::new();
    for (index, member) in members.iter().enumerate() {
        by_file.entry(names::file(&member.name)).and_modify(|one| *one = None).or_insert(Some(index));
    }
    let (mut plan, mut rows_of) = (Plan::new(), HashMap::new());
    for row in rows {
        let mut complain = |kind| {
            problems.push(Problem { row: Some(row.number), member: shown(&row.picture), kind });
        };
        let Some(key) = &row.person else {
            complain(ProblemKind::Lacks("person: external_id or name"));
            continue;
        };
        let path = row.picture.replace('\\', "/");
        let found =
            by_path.get(path.as_str()).copied().map(Some).or_else(|| by_file.get(path.as_str()).copied());
        let member = match found {
            _ if path.is_empty() => {
                complain(ProblemKind::Lacks("picture"));
                continue;
            }
            None => {
                complain(ProblemKind::Missing);
                continue;
            }
            Some(None) => {
                complain(ProblemKind::Unclear);
                continue;
            }
            Some(Some(member)) => member,
        };
        match plan.get(&member) {
            Some(other) if other.key != *key => {
                complain(ProblemKind::TwoPeople { earlier: rows_of[&member] })
            }
            _ => {
                rows_of.insert(member, row.number);
                let (display_name, groups) = (row.display_name.clone(), Vec::new());
                let planned =
                    plan.entry(member).or_insert(Planned { key: key.clone(), display_name, groups });
                planned.groups.extend_from_slice(&row.groups);
            }
        }
    }
    let left = members.iter().enumerate().filter(|(index, _)| !plan.contains_key(index));
    problems.extend(left.map(|(_, member)| problem(&member.name, ProblemKind::NoRow)));
    plan
}

/// Whether a file with this name is a member of the batch, and if not, whether anybody wants to know.
fn admit(name: &str, size_bytes: u64, problems: &mut Vec<Problem>) -> bool {
    let kind = match names::kind(name) {
        Kind::Ignored => return false,
        Kind::Unsafe => ProblemKind::UnsafeName,
        Kind::Archive => ProblemKind::Archive,
        Kind::Other => ProblemKind::NotAPicture,
        Kind::Picture if size_bytes > limits::REQUEST_PICTURE_SIZE_BYTES as u64 => {
            ProblemKind::TooLarge { size_bytes }
        }
        Kind::Picture => return true,
    };
    problems.push(problem(name, kind));
    false
}

fn check_total(path: &Path, members: &[Member]) -> Result<(), BulkError> {
    let value = members.iter().fold(0u64, |sum, member| sum.saturating_add(member.size_bytes));
    match value > limits::BATCH_SIZE_BYTES {
        true => Err(too_large(path, "bytes of pictures", value, limits::BATCH_SIZE_BYTES)),
        false => Ok(()),
    }
}

fn too_large(path: &Path, what: &'static str, value: u64, max: u64) -> BulkError {
    BulkError::TooLarge { path: path.to_owned(), what, value, max }
}

fn unreadable(path: &Path, source: std::io::Error) -> BulkError {
    BulkError::Unreadable { path: path.to_owned(), source }
}

fn problem(name: &str, kind: ProblemKind) -> Problem {
    Problem { row: None, member: shown(name), kind }
}

/// A name from outside as it may be shown: on one line, not for ever.
fn shown(name: &str) -> String {
    const SHOWN_CHARS: usize = 120;
    name.chars().take(SHOWN_CHARS).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests;
