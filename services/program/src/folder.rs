//! Names of files in the data folder that more than one part of the program knows.

/// The event log.
pub const LOG: &str = "log.db";
/// People, consent and templates.
pub const GALLERY: &str = "gallery.db";
/// Accounts, timetable, notes and settings.
pub const SITE: &str = "site.db";
/// The key that templates, pictures and credentials are encrypted with.
pub const GALLERY_KEY: &str = "gallery.key";
/// The certificate of this program's own authority.
pub const CA: &str = "ca.pem";
/// Its key.
pub const CA_KEY: &str = "ca.key";
/// The administrator's token.
pub const ADMIN_TOKEN: &str = "admin.token";
/// Where the running program can be reached from this machine: one line, https://HOST:PORT.
pub const ADDRESS: &str = "address";
/// Who was erased. In no backup, so that a restored one does not bring them back.
pub const ERASURES: &str = "erasures.ledger";
