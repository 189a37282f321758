//! Where a reader of events is: a place in one feed.
//!
//! A feed is the order in which one database stored events. As text a cursor is the base64url of the feed's 16 bytes and
//! the position's 8 (big-endian). A database that lost events begins a new feed, so that a position which is given out
//! a second time is never taken for the first.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::AttendanceError;

/// Which feed.
pub type FeedId = [u8; 16];

/// A feed as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feed {
    /// Which.
    pub feed_id: FeedId,
    /// Position of the newest event; 0 before the first.
    pub position: i64,
    /// Events up to this position were deleted here.
    pub pruned_through: i64,
}

impl Feed {
    /// The cursor after the event at `position`.
    pub fn cursor(&self, position: i64) -> String {
        URL_SAFE_NO_PAD.encode([&self.feed_id[..], &position.to_be_bytes()].concat())
    }

    /// The position in a cursor; the empty one is before all that is kept.
    ///
    /// # Errors
    /// When the text is no cursor, of another feed, ahead of this one, or its events were deleted.
    pub fn position_of(&self, cursor: &str) -> Result<i64, AttendanceError> {
        if cursor.is_empty() {
            return Ok(self.pruned_through);
        }
        let malformed = || AttendanceError::Field {
            field: "cursor",
            problem: "is not one that this service gave; begin again without one".to_owned(),
        };
        // 24 bytes are 32 characters; a longer text is not decoded.
        let bytes = if cursor.len() == 32 { URL_SAFE_NO_PAD.decode(cursor).ok() } else { None };
        let bytes: [u8; 24] = bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(malformed)?;
        let (feed_id, position) = bytes.split_at(16);
        let position = position.try_into().map(i64::from_be_bytes).map_err(|_| malformed())?;
        if feed_id != self.feed_id || position > self.position {
            return Err(AttendanceError::CursorAhead);
        }
        if position < 0 {
            return Err(malformed());
        }
        if position < self.pruned_through {
            return Err(AttendanceError::CursorExpired { begins: self.cursor(self.pruned_through) });
        }
        Ok(position)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use rollcall_core::Reason;

    use super::*;

    const FEED: Feed = Feed { feed_id: [7; 16], position: 50, pruned_through: 10 };

    fn refused(cursor: &str) -> Reason {
        FEED.position_of(cursor).unwrap_err().fault().reason
    }

    #[test]
    fn a_cursor_reads_back_as_its_position() {
        for position in [10, 11, 50] {
            assert_eq!(FEED.position_of(&FEED.cursor(position)).unwrap(), position);
        }
        assert_eq!(FEED.position_of("").unwrap(), 10, "all that is kept");
    }

    #[test]
    fn a_cursor_of_another_feed_or_of_later_than_now_is_ahead() {
        let other = Feed { feed_id: [8; 16], ..FEED };
        assert_eq!(refused(&other.cursor(20)), Reason::CursorAhead);
        assert_eq!(refused(&FEED.cursor(51)), Reason::CursorAhead);
        assert_eq!(refused(&FEED.cursor(i64::MAX)), Reason::CursorAhead);
    }

    #[test]
    fn a_cursor_before_what_is_kept_says_where_to_begin() {
        let fault = FEED.position_of(&FEED.cursor(9)).unwrap_err().fault();
        assert_eq!(fault.reason, Reason::CursorExpired);
        assert_eq!(fault.metadata, [("cursor", FEED.cursor(10))]);
    }

    #[test]
    fn garbage_is_no_cursor() {
        for garbage in ["x", "now?", &"A".repeat(31), &"A".repeat(33), &"*".repeat(32), &"A".repeat(1 << 20)]
        {
            assert_eq!(refused(garbage), Reason::FieldInvalid);
        }
        assert_eq!(refused(&FEED.cursor(-1)), Reason::FieldInvalid);
    }
}
