//! Fields of a log line as text, so that a line is one event whatever is in it.
//!
//! tracing-subscriber's own text format writes what comes through `%` and what is in a message as it is: a line break in
//! it begins a line that looks like another event, and an escape sequence reaches the terminal (0.3.23). Its JSON format
//! needs none of this.

use std::fmt::{self, Write as _};

use rollcall_core::limits;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

/// For `tracing_subscriber::fmt().fmt_fields(..)`: values are escaped and cut at 4,096 characters.
pub fn log_fields() -> impl for<'writer> FormatFields<'writer> + Send + Sync + 'static {
    let field = |writer: &mut Writer<'_>, field: &tracing::field::Field, value: &dyn fmt::Debug| {
        if field.name() != "message" {
            write!(writer, "{}=", field.name())?;
        }
        write!(Line { writer, left: limits::LOG_VALUE_CHARS }, "{value:?}")
    };
    debug_fn(field).delimited(" ")
}

/// Takes text and lets through what stays on its line.
struct Line<'a, 'writer> {
    writer: &'a mut Writer<'writer>,
    left: usize,
}

impl fmt::Write for Line<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars() {
            match self.left {
                0 => return Ok(()),
                1 => self.writer.write_str("...")?,
                _ if char.is_control() || turns_text(char) => write!(self.writer, "{}", char.escape_debug())?,
                _ => self.writer.write_char(char)?,
            }
            self.left -= 1;
        }
        Ok(())
    }
}

/// Line separators, and characters that let text be read in another order than it is written (CVE-2021-42574).
fn turns_text(char: char) -> bool {
    matches!(char, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
