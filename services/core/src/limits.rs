//! Every maximum of the product, each with the reason for its value.
//!
//! A limit is checked where data enters (a file, a frame, a request), before memory is taken for it.

/// Bytes of one picture file. A 25-megapixel camera JPEG at top quality is about 15 MiB, a PNG about 30.
pub const PICTURE_FILE_SIZE_BYTES: u64 = 32 << 20;

/// Pixels of one picture: a 24-megapixel single-lens reflex (6000 x 4000) passes. Decoded RGB is then at most 72 MiB.
pub const PICTURE_PIXELS: u64 = 25_000_000;

/// Longest side of a picture in pixels: panoramas pass, decoder bombs such as 1 x 60000 do not.
pub const PICTURE_SIDE_PX: u32 = 12_000;

/// Shortest side of a picture in pixels: the first detector stage looks at cells of 12 pixels.
pub const PICTURE_SIDE_MIN_PX: u32 = 12;

/// Scans of one JPEG. Encoders write 10 or fewer; each further scan costs a pass over all coefficients,
/// which is how a small file burns minutes of processor time.
pub const JPEG_SCANS: u32 = 64;

/// Pixels of one JPEG times its scans: 16 scans of the largest picture. An empty scan costs a pass all the same.
pub const JPEG_SCAN_PIXELS: u64 = 16 * PICTURE_PIXELS;

/// Segments of one JPEG. A photo has 10 to 40; one with a 30 MiB profile would have 480. libjpeg-turbo takes time for
/// each, not memory.
pub const JPEG_SEGMENTS: u32 = 1_024;

/// Bytes that may lie between compressed JPEG data and the marker after it. Webcams that leave any are reported with
/// 1 to 10 (libjpeg-turbo issue 157, Motion issue 65); corrupt data leaves hundreds.
pub const JPEG_PADDING_SIZE_BYTES: u32 = 16;

/// Restart intervals of a JPEG with such bytes, each then decoded on its own: 8,160 are one for each MCU of 1080p.
pub const JPEG_RESTARTS: u32 = 16_384;

/// Bytes of all Huffman and quantisation tables of one JPEG. Baseline has 0.7 KiB; a progressive one with new tables
/// for each of 64 scans about 70. Each table costs a decoder far more time than its bytes.
pub const JPEG_TABLES_SIZE_BYTES: u64 = 256 << 10;

/// Bytes of the EXIF block of one PNG. In a JPEG it has at most 64 KiB; maker notes and previews can be larger.
pub const PICTURE_METADATA_SIZE_BYTES: u64 = 4 << 20;

/// Bytes of one camera frame as it arrives: 4K MJPEG at high quality is about 4 MiB, raw 4K YUYV 16 MiB.
pub const FRAME_SIZE_BYTES: usize = 32 << 20;

/// Faces reported of one picture, the largest first. A crowd beyond this is not a door.
pub const FACES_PER_PICTURE: usize = 1_000;

/// Candidates that one cascade stage passes to the next. Group photographs with hundreds of faces need some
/// thousands; noise that fires everywhere must not take memory and minutes.
pub const CANDIDATES_PER_STAGE: usize = 10_000;

/// Bytes of one network file. The largest shipped is 4 MB; a full ResNet-100 ArcFace is 261 MB.
pub const NETWORK_FILE_SIZE_BYTES: u64 = 300 << 20;

/// Bytes of `models/manifest.toml`.
pub const MANIFEST_SIZE_BYTES: u64 = 1 << 20;

/// Values in one embedding. ArcFace networks have 128 to 512.
pub const EMBEDDING_LENGTH: usize = 1_024;

/// Templates in one gallery index: 20,000 people with 5 each, the stated scale of one terminal.
pub const GALLERY_TEMPLATES: usize = 100_000;

/// Pairs of people, or people like one, in one answer about look-alikes; the most alike are kept. Somebody reads
/// them; a threshold set too low makes half a square of the gallery, gigabytes.
pub const LOOK_ALIKES: usize = 10_000;

/// Pairs of people whose scores calibrate the threshold: 2,000 people with everybody else, about a second on a
/// Raspberry Pi 4. Larger galleries are sampled.
pub const CALIBRATION_PAIRS: usize = 4_000_000;

/// Templates of one person: more than 5 change the mean of a face little, and a child's are renewed over the years.
pub const TEMPLATES_PER_PERSON: usize = 20;

/// Files in a batch of photographs for enrolment, as a folder or ZIP: one for each template of a full gallery.
pub const BATCH_MEMBERS: usize = 100_000;

/// Bytes of all photographs of a batch, unpacked: 20,000 of 3 MiB. Read one by one, so it limits time, not memory.
pub const BATCH_SIZE_BYTES: u64 = 64 << 30;

/// Bytes of the name of a file in a batch. File systems allow 255 a part.
pub const BATCH_NAME_SIZE_BYTES: usize = 1_024;

/// Folders within folders of a batch: class, person, and one around it all.
pub const BATCH_DEPTH: usize = 3;

/// Bytes of the CSV that says who is on the photographs of a batch: 160 a row.
pub const BATCH_CSV_SIZE_BYTES: u64 = 16 << 20;

/// Threads that read faces for callers. A Raspberry Pi 4 has four cores, and the camera's own thread needs one.
pub const INFERENCE_THREADS: usize = 2;

/// Pictures that wait for such a thread, of at most 8 MiB each; more are refused, so that who is told to wait does not
/// wait for ever.
pub const INFERENCE_QUEUE: usize = 16;

/// Faces of one picture that are compared with the gallery, the largest first: 5 ms each on a PC, 50 on a Raspberry Pi 4.
pub const FACES_IDENTIFIED: usize = 100;

/// Bytes of lossless data in one WebP: a photograph of half a megapixel. 20 bytes of it can ask the decoder for a table
/// of 4 KiB (image-webp 0.2.4 does not count them), so these are worth 205 MiB, which a Raspberry Pi still has.
pub const WEBP_LOSSLESS_SIZE_BYTES: u64 = 1 << 20;

/// Things on a page of a list when the caller does not say.
pub const PAGE_SIZE_DEFAULT: usize = 100;

/// Things on a page of a list: a page of people with ten groups each stays under 1 MiB.
pub const PAGE_SIZE: usize = 1_000;

/// Bytes of a page token or cursor. The longest key is a display name of 200 characters and an id.
pub const PAGE_TOKEN_SIZE_BYTES: usize = 2_048;

/// Bytes of a picture in a request: a 12-megapixel photograph of a phone is 3 to 6 MiB.
pub const REQUEST_PICTURE_SIZE_BYTES: usize = 8 << 20;

/// Bytes of one event's record. The longest, a recognition with its trace, has some 400.
pub const EVENT_SIZE_BYTES: usize = 16 << 10;

/// Connections that read one SQLite file: more than the cores of a Raspberry Pi 4 gain nothing.
pub const DATABASE_READERS: u32 = 4;

/// Connections of one process to PostgreSQL, whose default is 100 for all processes.
pub const DATABASE_CONNECTIONS: u32 = 16;

/// Milliseconds to wait for a free connection or for another's lock: a caller that waits longer has given up.
pub const DATABASE_PATIENCE_MS: u64 = 5_000;

/// Milliseconds that PostgreSQL keeps a transaction in which nothing is asked: a program that hangs must not hold rows.
pub const DATABASE_IDLE_MS: u64 = 60_000;

/// Connections to the gRPC server at once: 100 terminals with two each, and scripts. Each takes some 300 KiB at most
/// before somebody has been recognised on it.
pub const CONNECTIONS: usize = 256;

/// Connections from one address (of IPv6: one /64) at once, so that nobody alone takes them all.
pub const CONNECTIONS_PER_ADDRESS: usize = 16;

/// Milliseconds for a TLS handshake: three packets each way, over a bad mobile network.
pub const HANDSHAKE_MS: u64 = 5_000;

/// Milliseconds between two tries to accept when there are no file descriptors left: without a pause a busy loop.
pub const ACCEPT_PAUSE_MS: u64 = 100;

/// Milliseconds that a connection may live without a call.
pub const CONNECTION_IDLE_MS: u64 = 5 * 60_000;

/// Milliseconds that a connection may live: then it is asked to be opened again, so that no certificate is believed for
/// ever, and load balancers can spread anew.
pub const CONNECTION_LIFETIME_MS: u64 = 4 * 3_600_000;

/// Milliseconds from the request to close a connection to its end by force: the longest call and its answer.
pub const CONNECTION_GRACE_MS: u64 = 60_000;

/// Calls at once on one connection.
pub const STREAMS_PER_CONNECTION: u32 = 64;

/// Bytes of the headers of one call, counted as HTTP/2 does: a token has 68, a trace header 60.
pub const HEADER_LIST_SIZE_BYTES: u32 = 16 << 10;

/// Calls that a client may have begun and reset before they were looked at (CVE-2023-44487, rapid reset); one more and
/// the connection is closed.
pub const RESET_STREAMS: usize = 20;

/// Bytes of one call that a client may send before they are read: two frames in flight for each that is read.
pub const STREAM_WINDOW_SIZE_BYTES: u32 = 64 << 10;

/// The same of all calls of a connection. 256 connections that nobody reads hold 64 MiB.
pub const CONNECTION_WINDOW_SIZE_BYTES: u32 = 256 << 10;

/// Bytes of one message of a request, where the call has no limit of its own. The largest, a person with 50 groups, has
/// some 5 KiB. Small, because a message of two bytes times a hundred thousand costs far more memory than its bytes.
pub const REQUEST_SIZE_BYTES: usize = 64 << 10;

/// Bytes of one chunk of an upload, and of the events of one push (the contract says 512 KiB of data).
pub const REQUEST_CHUNK_SIZE_BYTES: usize = (512 << 10) + REQUEST_SIZE_BYTES;

/// Bytes of one message of an answer: what clients accept by default, in every language.
pub const ANSWER_SIZE_BYTES: usize = 4 << 20;

/// Milliseconds for a call that has one answer, its request included. A client may ask for less.
pub const CALL_MS: u64 = 30_000;

/// Milliseconds for a call whose request is a stream: a school's photographs over wireless LAN.
pub const UPLOAD_MS: u64 = 30 * 60_000;

/// Milliseconds that a call whose answer is a stream may be open; the client asks again from where it was.
pub const STREAM_LIFETIME_MS: u64 = 3_600_000;

/// Milliseconds in which a client must take [`ANSWER_PIECE_SIZE_BYTES`] of an answer, and in which the next message of
/// an upload must come: 500 bytes a second. Slower is nobody who reads.
pub const STREAM_STALL_MS: u64 = 30_000;

/// Bytes of an answer that are handed to a connection at once, so that a slow reader holds no more than these.
pub const ANSWER_PIECE_SIZE_BYTES: usize = 16 << 10;

/// Addresses whose wrong credentials are counted at once; beyond that the one that failed longest ago is forgotten.
pub const THROTTLED_ADDRESSES: usize = 4_096;

/// Wrong credentials from one address that are answered as such; further ones, one in [`WRONG_CREDENTIALS_PAUSE_MS`].
pub const WRONG_CREDENTIALS: u32 = 10;

/// See [`WRONG_CREDENTIALS`]: 10 guesses a minute.
pub const WRONG_CREDENTIALS_PAUSE_MS: u64 = 6_000;

/// Calls without credentials, those that adopt terminals, that one address makes at once: ten terminals behind one
/// router, each of which asks once a second.
pub const STRANGER_CALLS: u32 = 120;

/// See [`STRANGER_CALLS`]: then ten a second.
pub const STRANGER_CALLS_PAUSE_MS: u64 = 100;

/// Wrong secrets of adoption tokens from one address at once. Nobody types a secret of 128 bits; a few come from tokens
/// that were pasted badly.
pub const SECRET_GUESSES: u32 = 5;

/// See [`SECRET_GUESSES`]: 5 a minute.
pub const SECRET_GUESSES_PAUSE_MS: u64 = 12_000;

/// Terminals that ask to be adopted at once: a school's new doors on one morning.
pub const ADOPTION_REQUESTS: i64 = 100;

/// Of these, from one address: several terminals behind one router. Nobody alone takes all places.
pub const ADOPTION_REQUESTS_PER_ADDRESS: i64 = 16;

/// Adoption tokens that are in force at once: one for each door that is set up within 15 minutes.
pub const ADOPTION_TOKENS: i64 = 100;

/// Characters of an adoption token's text after its first word: sixteen addresses of some 60 characters.
pub const ADOPTION_TOKEN_CHARS: usize = 2_048;

/// Characters of what a terminal that asks to be adopted says of its machine and its software: a hash in hex has 64.
pub const APPLICANT_TEXT_CHARS: usize = 100;

/// Addresses of hubs on this network that are looked at: a site has one hub; more are mistakes or mischief.
pub const NEARBY_HUBS: usize = 16;

/// Bytes of a certificate signing request. One with a key on P-384 has some 300.
pub const CSR_SIZE_BYTES: usize = 4 << 10;

/// Characters of a value from a client in the log: enough to find it again.
pub const LOGGED_CHARS: usize = 100;

/// Characters of one value in a line of the log: an error of a database with its statement.
pub const LOG_VALUE_CHARS: usize = 4_096;

/// Accounts of a site: a large school's teachers twice over.
pub const ACCOUNTS: usize = 1_000;

/// Tokens of a site that are in force.
pub const TOKENS: usize = 1_000;

/// Characters of a login, and of the name of a token.
pub const LOGIN_CHARS: usize = 100;

/// Characters of the name of somebody with an account.
pub const DISPLAY_NAME_CHARS: usize = 200;

/// Characters of the shortest password (NIST SP 800-63B asks for 8; no second factor asks for more).
pub const PASSWORD_CHARS_MIN: usize = 12;

/// Characters of the longest password: a sentence fits, and hashing it takes no longer.
pub const PASSWORD_CHARS: usize = 200;

/// Passwords hashed at once: each takes 19 MiB and a tenth of a second of a Raspberry Pi 4.
pub const PASSWORDS_AT_ONCE: usize = 2;

/// Hours that a token lasts: two years.
pub const TOKEN_LIFETIME_HOURS: u64 = 2 * 365 * 24;

/// Milliseconds that a token which was found good is not looked up again. Withdrawn in this process, it ends at once.
pub const TOKEN_CACHE_MS: u64 = 2_000;

/// Tokens that are remembered so.
pub const TOKEN_CACHE: usize = 1_024;

/// Characters of a door's name: one line on its screen.
pub const TERMINAL_NAME_CHARS: usize = 100;

/// Groups whose people one terminal may match: more than the classes of a school that meet behind one door.
pub const TERMINAL_GROUPS: usize = 100;

/// The false positive identification rate that a site may accept. A thousandth of a percent asks more of the network
/// than was measured; above a tenth a face decides nothing.
pub const FPIR_TARGET: std::ops::RangeInclusive<f64> = 0.000_01..=0.1;

/// The rate that is accepted when nothing says otherwise: one stranger in a thousand.
pub const FPIR_TARGET_DEFAULT: f64 = 0.001;

/// Bytes of a configuration file. The example with every key and its explanation has 4 KiB.
pub const CONFIG_SIZE_BYTES: u64 = 64 << 10;

/// Names and addresses of one machine in its certificate, beside those that it finds itself.
pub const CERTIFICATE_NAMES: usize = 32;

/// Bytes that are read of a data folder's lock file: a pid and a program's name.
pub const LOCK_FILE_SIZE_BYTES: u64 = 256;

/// Files in one backup: two databases, some keys and settings.
pub const BACKUP_FILES: usize = 64;

/// Bytes of the name of a file in a backup: it fits into one tar header.
pub const BACKUP_NAME_BYTES: usize = 64;

/// Bytes of a backup's manifest: 64 files with 100 migrations each take some 300 KiB.
pub const BACKUP_MANIFEST_SIZE_BYTES: u64 = 1 << 20;

/// Rows that are copied at once from one engine to the other: 200 of 40 columns are a quarter of the parameters that
/// SQLite takes.
pub const BACKUP_ROWS: usize = 200;

/// Bytes of rows that are copied at once, after the row that goes beyond: a sealed picture may have megabytes.
pub const BACKUP_ROWS_SIZE_BYTES: usize = 1 << 20;

/// Characters of a new backup's passphrase, at least. A guess costs a tenth of a second and 128 MiB, and an attacker has
/// the file for ever.
pub const BACKUP_PASSPHRASE_CHARS_MIN: usize = 12;

/// log2 of the scrypt work for a backup's passphrase: 128 MiB, which a Raspberry Pi 4 has beside the running program.
pub const BACKUP_SCRYPT_LOG2: u8 = 17;

/// log2 of the scrypt work that is done for a backup's file: age's own programs ask for 18, 256 MiB; a hostile file
/// could ask for all memory there is.
pub const BACKUP_SCRYPT_LOG2_MAX: u8 = 18;

/// Days for which a creation answers the same to the same request id. Scripts retry for minutes, and may be repeated by
/// hand after a weekend.
pub const REQUEST_ID_DAYS: u64 = 7;

/// Changes of the gallery that are kept for watchers: a school of 20,000 that changes everybody four times a month
/// keeps a year. A change takes some 50 bytes.
pub const GALLERY_CHANGES: i64 = 1_000_000;
/// Characters of a period's name: it stands in a table's column.
pub const PERIOD_NAME_CHARS: usize = 100;

/// Minutes before a session's start from which on an arrival counts to it. An afternoon that counts from the morning's
/// arrival needs six hours; more than twelve would take in the day before.
pub const SESSION_EARLY_MINUTES: u32 = 12 * 60;

/// Terminals that one period names: a site has at most so many.
pub const PERIOD_TERMINALS: usize = 100;

/// Periods of the timetable, ended ones included: 100 classes with 30 lessons a week for three years.
pub const PERIODS: usize = 10_000;

/// Days of one report: a school year with its holidays.
pub const REPORT_DAYS: i32 = 400;

/// Bytes of one piece of an export, and pieces made before the client has taken the first: gRPC keeps messages whole.
pub const EXPORT_PIECE_SIZE_BYTES: usize = 64 << 10;

/// Pieces of an export that wait for their client: a slow one holds up its export and no memory.
pub const EXPORT_PIECES: usize = 4;

/// Rows of a spreadsheet: Excel ends at 1,048,576.
pub const SPREADSHEET_ROWS: usize = 1_000_000;

/// Characters of a reason or note: some paragraphs.
pub const NOTE_CHARS: usize = 1_000;

/// Calls that wait for the log's writer; one more waits for a place. Each commit takes all that wait.
pub const LOG_QUEUE: usize = 256;

/// Events of one commit of the log: at 16 KiB each 1 MiB, some tenths of a second on a slow card.
pub const LOG_BATCH_EVENTS: usize = 64;

/// Events kept in memory while the disk is full: an hour of one event a second. At 400 bytes each 1.5 MiB.
pub const LOG_KEPT_EVENTS: usize = 4_096;

/// Milliseconds between tries to write what is kept in memory.
pub const LOG_RETRY_MS: u64 = 1_000;

/// Bytes of the file that is given up when the disk is full, so that the log goes on: 30,000 events.
pub const LOG_BALLAST_SIZE_BYTES: u64 = 16 << 20;

/// Events between two syncs of the file that tells a log which was rolled back.
pub const LOG_HEAD_SYNC_EVENTS: i64 = 64;

/// Logs of one terminal. Each is offered to the hub at every contact.
pub const LOGS: usize = 16;

/// Events of one push: some 200 KiB of recognitions, a second on a slow card.
pub const PUSH_EVENTS: usize = 500;

/// Bytes of the events of one push.
pub const PUSH_SIZE_BYTES: usize = 512 << 10;

/// Days that events have lain at a hub without backups before a terminal may delete them: whoever looks after it has
/// noticed by then that its disk is broken.
pub const PRUNE_WITHOUT_BACKUP_DAYS: u64 = 30;

/// Hours between two notes at a hub of how far a log was: they are for rules that count days.
pub const ARRIVAL_HOURS: u64 = 24;

/// Logs of one terminal at its hub. A terminal has [`LOGS`]; it begins one whenever its card was restored or moved, once a
/// week for twenty years.
pub const RECEIVED_LOGS: usize = 1_000;

/// People whom a terminal knew by another id than the hub does: some schools that merge.
pub const ALIASES: usize = 100_000;

/// Damaged log files that are kept to be looked at; the oldest goes.
pub const LOG_DAMAGED_COPIES: usize = 4;

/// Bytes of a log that is read whole at each start: some seconds on a Raspberry Pi 4. Of a larger one the newest
/// [`LOG_TAIL_EVENTS`] are read.
pub const LOG_CHECK_AT_START_SIZE_BYTES: u64 = 128 << 20;

/// Newest events that are checked at each start.
pub const LOG_TAIL_EVENTS: i64 = 4_096;

/// Seconds between two anchors in the log while the wall clock is right: a crystal that is off by 100 ppm is 0.4 s out by then.
pub const CLOCK_ANCHOR_SECONDS: i64 = 3_600;

/// Clients that watch events at once. A school has a dashboard and a few scripts.
pub const EVENT_WATCHERS: usize = 64;

/// Events in one message to a watcher.
pub const WATCH_PAGE: usize = 100;

/// Milliseconds after which a watcher looks for events of another process without being told.
pub const WATCH_POLL_MS: u64 = 1_000;

/// Seconds without an event after which a watcher is told that the connection lives: proxies cut silent ones at 60.
pub const WATCH_HEARTBEAT_SECONDS: u64 = 15;

/// Seconds that a watcher may take to read one message.
pub const WATCH_SEND_PATIENCE_SECONDS: u64 = 30;

/// Events that one page of a filtered list looks through: some tenths of a second on a Raspberry Pi 4.
pub const EVENT_SCAN: i64 = 50_000;

/// Days that an event recorded by hand may lie back: a month's registers are done then.
pub const RECORD_BACK_DAYS: u64 = 31;

/// Characters of a person's name. The longest in use have some 100; a line on a screen has fewer.
pub const PERSON_NAME_CHARS: usize = 200;

/// Characters of the id that a person has in another system.
pub const EXTERNAL_ID_CHARS: usize = 100;

/// Characters of a group's name.
pub const GROUP_NAME_CHARS: usize = 100;

/// Characters of the texts on a line of the consent ledger: a form with its version, whose word it is.
pub const CONSENT_TEXT_CHARS: usize = 100;

/// People in one gallery: five times the stated scale, so that a whole district's file can be imported.
pub const GALLERY_PEOPLE: usize = 100_000;

/// Groups in one gallery: classes, teams and clubs of a district.
pub const GALLERY_GROUPS: usize = 10_000;

/// Groups of one person: a class, a dozen courses, a few clubs.
pub const PERSON_GROUPS: usize = 50;

/// Lines in one person's consent ledger: both parents, twice a year, for a school life, and mistakes.
pub const CONSENT_LINES: usize = 1_000;

/// Credentials of one person, ended ones included: a lost badge a term for a school life.
pub const PERSON_CREDENTIALS: usize = 100;

/// Bytes of one person as terminals have it: 20 templates of 512 values, and what a hub needs to restore the person.
pub const GALLERY_ROW_SIZE_BYTES: usize = 64 << 10;

/// Bytes of such a row that templates take: those of 20 with 512 values.
pub const GALLERY_ROW_TEMPLATES_SIZE_BYTES: usize = 44 << 10;

/// Other people whom a row asks a larger margin from: those with the most reports.
pub const GALLERY_ROW_PAIRS: usize = 100;

/// Bytes of rows in one message, half of what a message may have: opening and encoding them keeps a thread for a
/// millisecond.
pub const GALLERY_CHUNK_SIZE_BYTES: usize = 256 << 10;

/// Changes that a terminal is sent one by one; when it lacks more it is sent all people anew, which is then less work.
pub const GALLERY_DELTA_CHANGES: usize = 2_000;

/// Bytes of rows that a terminal takes in at once, in memory: those of as many changes of people with 10 templates.
pub const GALLERY_DELTA_SIZE_BYTES: usize = 16 << 20;

/// Snapshots that a hub sends at once; who comes later waits for one to end. Each is in memory, sealed: 70 MB for 20,000
/// people with 5 templates each.
pub const GALLERY_SNAPSHOTS: usize = 2;

/// Sets of groups whose hash is remembered at a hub, as many as terminals: a change then costs each set one look.
pub const GALLERY_SCOPES: usize = 100;

/// Lines of the erasure ledger in one message: 90 bytes each.
pub const LEDGER_LINES: usize = 5_000;

/// People whom terminals had before they were adopted, and nobody has decided on: some terminals' worth.
pub const PROPOSALS: usize = 100_000;

/// Watchers of the gallery's changes at once: each reads the database whenever something changes.
pub const GALLERY_WATCHERS: usize = 64;

/// Bytes of a CSV file of people: 100,000 rows of 600 bytes.
pub const IMPORT_SIZE_BYTES: usize = 64 << 20;

/// Bytes of such a file in one message.
pub const IMPORT_CHUNK_SIZE_BYTES: usize = 512 << 10;

/// Rows of a CSV file of people, as many as people in a gallery.
pub const IMPORT_ROWS: usize = 100_000;

/// Rows with a mistake that an answer names: who has more has the wrong file.
pub const IMPORT_MISTAKES: usize = 100;
/// Registers that close in one go: some hundred lines each, committed one by one; the rest a minute later.
pub const CLOSINGS_AT_ONCE: usize = 100;

/// Days for which a register closes by itself once every terminal has reported. A terminal that is silent for longer
/// is a matter for people, and so are registers that wait for it.
pub const CLOSING_DAYS: i64 = 35;

/// Exports that run at once: each reads the database as fast as it can.
pub const EXPORTS: usize = 4;

/// Bytes below which a disk is called low: a day of a busy door's events, and a backup of a small site.
pub const DISK_FREE_LOW_BYTES: u64 = 256 << 20;

/// Frames of one face that are kept until it is decided: one second at 15 a second.
pub const EVIDENCE_FRAMES: usize = 16;

/// Faces that are followed at once: a crowd before the door. Further ones wait until one has gone.
pub const PASSAGES: usize = 64;

/// Passages that are remembered by time and place after their end, so that a track that breaks is no new passage.
pub const PASSAGES_REMEMBERED: usize = 64;

/// People whose faces are held off at once: five minutes at two a second. With more the oldest is let go.
pub const HELD_OFF: usize = 600;

/// People whose failed attempts are counted at once. With more the oldest is let go.
pub const FAILED_PEOPLE: usize = 1_000;
/// Milliseconds that the lock is released for one opening: less and nobody gets through, more and others do too.
pub const LOCK_OPEN_MS: std::ops::RangeInclusive<u64> = 500..=30_000;

/// Milliseconds that the lock is released in one go, however often it is asked to open. Fire and people who press the
/// exit button go before it.
pub const LOCK_RELEASED_MAX_MS: u64 = 30_000;

/// Milliseconds after which an order to open is too old to be obeyed: whoever it was for has seen nothing happen.
pub const LOCK_ORDER_AGE_MS: u64 = 1_000;

/// Seconds that a door may stand open before it is an alarm.
pub const DOOR_HELD_OPEN_SECONDS: std::ops::RangeInclusive<u64> = 5..=3_600;

/// Bytes of one message between the door and the process that keeps its lock; its configuration is the longest.
pub const DOOR_MESSAGE_BYTES: usize = 16 << 10;

/// Bytes of reports that wait for a program that does not read them; further ones are dropped, the lock goes first.
pub const DOOR_REPORTS_BYTES: usize = 64 << 10;

/// Orders to the door's thread that wait. It takes them within milliseconds.
pub const DOOR_ORDERS: usize = 64;

/// Events of the door that wait to be logged; further ones are dropped and counted, the door's thread never waits.
pub const DOOR_EVENTS: usize = 256;

/// Milliseconds between two attempts to start the process that keeps the lock: from the first, doubling, to the second.
pub const DOOR_RESTART_MS: std::ops::RangeInclusive<u64> = 250..=10_000;

/// Bytes of the text file that stands for the inputs of a recorded door.
pub const DOOR_INPUTS_BYTES: u64 = 4 << 10;

/// Characters of the name of a GPIO line or chip: the kernel's have 31.
pub const PIN_NAME_CHARS: usize = 64;
/// Rules of one door that say when people pass: some for staff, cleaners, clubs and each year, and who needs more means
/// groups. Each is looked at for everybody who comes.
pub const ACCESS_RULES: usize = 32;
/// Sides of a camera's picture in pixels: from what a detector can use to 4K.
pub const CAMERA_SIDE_PX: std::ops::RangeInclusive<u32> = 48..=4_096;

/// Frames a second of a camera. Slower than one a second, a person is past before three agree.
pub const CAMERA_RATE: std::ops::RangeInclusive<f64> = 1.0..=120.0;

/// Words of a camera's command line.
pub const CAMERA_ARGUMENTS: usize = 100;

/// Milliseconds that one wait for a frame lasts: how late the camera's thread notices that it is to stop.
pub const CAMERA_POLL_MS: u64 = 250;

/// Milliseconds without a good frame after which a camera counts as lost. With a wait for a frame it is less than the
/// two seconds in which the screen says so, and more than a frame a second takes.
pub const CAMERA_SILENCE_MS: u64 = 1_500;

/// Milliseconds that a camera may take to its first good frame before it is opened anew: a camera module's program
/// loads and sets its exposure in two or three seconds.
pub const CAMERA_START_MS: u64 = 6_000;

/// Milliseconds before a lost camera is opened again, at first; twice as long after each failure.
pub const CAMERA_RETRY_MS: u64 = 250;

/// See [`CAMERA_RETRY_MS`], at most: somebody who plugs a camera in sees a picture before they look for the mistake.
pub const CAMERA_RETRY_MAX_MS: u64 = 4_000;

/// Milliseconds that a camera must work before the next failure is retried as fast as the first.
pub const CAMERA_STEADY_MS: u64 = 10_000;

/// Frames that wait in a driver and are passed over for the newest: drivers have 2 to 32 buffers.
pub const CAMERA_BACKLOG: u64 = 32;

/// Milliseconds from the request that a camera's program should end to its end by force.
pub const CAMERA_COMMAND_GRACE_MS: u64 = 1_000;

/// Lines of what a camera's program wrote to its standard error that are told when it fails.
pub const CAMERA_COMMAND_LINES: usize = 3;

/// Bytes of one such line.
pub const CAMERA_COMMAND_LINE_SIZE_BYTES: usize = 300;

/// Bytes that are read of a file or a program at once.
pub const CAMERA_PIECE_SIZE_BYTES: usize = 64 << 10;

/// Pictures of a scene in a folder: an hour and three quarters at 15 a second.
pub const CAMERA_PICTURES: usize = 100_000;

/// Devices `/dev/video*` that are looked at. A Raspberry Pi 5 has 36 without any camera.
pub const CAMERA_NODES: usize = 256;

/// Formats, sizes of one format, and rates of one size that are read of a device.
pub const CAMERA_OFFERS: usize = 100;

/// Pictures a second that are searched for QR codes: a badge that is held up is read within a quarter of a second, and a
/// Raspberry Pi 4 keeps its cores for faces.
pub const BADGE_PICTURES_A_SECOND: u32 = 4;

/// Pixels of the longer side of a picture that is searched for QR codes; a larger one is made smaller by whole steps.
pub const BADGE_PICTURE_PIXELS: usize = 1_280;

/// QR codes of one picture that are read, and badges that are remembered as held up: somebody shows one.
pub const BADGES_AT_ONCE: usize = 8;

/// Modules of the side of a QR code that is read: version 10. A badge's 47 characters fit version 6 at the highest error
/// correction.
pub const BADGE_MODULES: usize = 57;

/// Milliseconds that a badge must be gone before it counts again: a hand that trembles shows it once.
pub const BADGE_GONE_MS: u64 = 3_000;

/// Credentials shown at the door that wait to be looked at: people show them one by one.
pub const PRESENTED: usize = 8;

/// Milliseconds without a key after which what a card reader typed is complete; readers type a key in some 10.
pub const CARD_PAUSE_MS: u64 = 200;

/// Characters of a card, as credentials have them.
pub const CARD_CHARS: std::ops::RangeInclusive<usize> = 4..=64;

/// Milliseconds before a card reader is opened again, at first; doubled with each try.
pub const CARD_RETRY_MS: u64 = 500;

/// The same at most: whoever plugs it in again waits so long.
pub const CARD_RETRY_MS_MAX: u64 = 8_000;

/// Wrong credentials at the door within a minute that make it wait.
pub const DOOR_WRONG_A_MINUTE: usize = 5;

/// Wrong credentials at the door within an hour after which each further one makes it wait the longest.
pub const DOOR_WRONG_AN_HOUR: usize = 12;

/// Seconds that the door takes no credentials: the first, second and each further time within an hour.
pub const DOOR_WAIT_SECONDS: [u64; 3] = [30, 120, 600];

/// People whose right credentials within an hour are remembered, so that each forgives one wrong one: a school's rush.
pub const DOOR_FORGIVERS: usize = 2_000;
/// Seconds that the screen at the door shows what became of a passage: long enough to be read, over before the next.
pub const KIOSK_ANNOUNCEMENT_SECONDS: u64 = 4;

/// Milliseconds between two states of the screen at the door: ten a second follow a face, more only warm the processor.
pub const KIOSK_STATE_INTERVAL_MS: u64 = 100;

/// Seconds after which a screen without news is told that the connection lives; it says "starting" after eight.
pub const KIOSK_HEARTBEAT_SECONDS: u64 = 2;

/// Rings on the screen's picture: more faces at once are no queue at a door.
pub const KIOSK_RINGS: usize = 16;

/// Screens of one door at once: the one at the door, one of whoever looks after it, and what a reload leaves behind.
pub const KIOSK_VIEWERS: usize = 4;

/// Connections to the screen's server: a browser opens six.
pub const KIOSK_CONNECTIONS: usize = 32;

/// Bytes of a request's head, and of its body: a PIN.
pub const KIOSK_HEAD_SIZE_BYTES: usize = 16 << 10;

/// See [`KIOSK_HEAD_SIZE_BYTES`].
pub const KIOSK_BODY_SIZE_BYTES: usize = 256;

/// Seconds for the head or the body of a request from the same machine, and for it to read what was sent.
pub const KIOSK_REQUEST_PATIENCE_SECONDS: u64 = 5;

/// Seconds of one connection; the page makes another at once. So nothing that a browser forgot stays for ever.
pub const KIOSK_CONNECTION_SECONDS: u64 = 600;

/// Milliseconds that a request for a picture waits for the next one.
pub const KIOSK_PICTURE_WAIT_MS: u64 = 1_000;

/// Milliseconds after which a picture is not shown any more: it would be taken for what is before the camera.
pub const KIOSK_PICTURE_AGE_MS: u64 = 2_000;

/// Digits of a PIN that are passed on; whether they are a PIN is for others to say.
pub const KIOSK_PIN_DIGITS: std::ops::RangeInclusive<usize> = 4..=12;

/// Seconds for the answer to a PIN.
pub const KIOSK_PIN_PATIENCE_SECONDS: u64 = 5;

/// What was done on the screen and waits for the entrance; the next is refused.
pub const KIOSK_COMMANDS: usize = 8;

/// Milliseconds that a person at a door waits for the disk: half of the time in which a door should open. Then it opens
/// and the event follows.
pub const LOG_PATIENCE_MS: u64 = 250;

/// Badges and cards that wait for the desk. Nobody presents more in the time of one.
pub const PRESENTED_WAITING: usize = 8;

/// Faces before one door that are followed at once, the largest: more than can be told apart at a door, and at 0.6 ms each
/// on a PC a third of the time for a frame on a Raspberry Pi 4.
pub const FACES_FOLLOWED: usize = 8;

/// Faces of one search that are looked at at all, the largest: those that are followed, and newcomers in their place.
pub const FACES_LOOKED_AT: usize = 64;

/// People who came in by other means between two frames and are told to the recognition.
pub const PASSED_WAITING: usize = 16;

/// Verdicts that wait to be acted on: a crowd of faces all decided at once. One that is older than a second opens nothing.
pub const VERDICTS_WAITING: usize = 16;

/// Milliseconds in which the thread that recognises goes round, else the watchdog ends the program: a frame of a crowd
/// takes half a second on a Raspberry Pi 4.
pub const RECOGNITION_TURN_MS: u64 = 10_000;

/// What an enrolment at the camera has not looked at yet: the newest frame and the one before. More would be old.
pub const GLIMPSES_WAITING: usize = 2;

/// Pictures that an enrolment at the camera asks for: three from ahead, one from each side. A quarter of what a person may
/// have, so that they can be enrolled again.
pub const ENROLMENT_PICTURES: usize = 5;

/// Seconds of an enrolment at the camera, three times what it takes: nobody passes by face meanwhile.
pub const ENROLMENT_SECONDS: u64 = 30;

/// Seconds after which nobody is expected any more who has not come before the camera.
pub const ENROLMENT_ARRIVAL_SECONDS: u64 = 15;

/// Pictures refused by the gallery that end an enrolment at the camera: as many as are wanted.
pub const ENROLMENT_REFUSALS: usize = 5;

/// Forks of a terminal's contacts within a day that mean two devices and not one that came back with an older state.
pub const CONTACT_FORKS_A_DAY: usize = 2;

/// Characters of what tells one board from another, and of the name of a program with its version.
pub const HELLO_TEXT_CHARS: usize = 200;

/// Networks that one terminal runs: the two of a migration, and a liveness network for each.
pub const HELLO_MODELS: usize = 8;

/// Answers to pushes of one log, one after the other, that bring it no further, before the terminal opens anew: a hub that
/// was restored meanwhile costs one.
pub const PUSH_STALLS: u32 = 3;

/// Lines of the erasure ledger in one answer, 3.2 MiB: every erasure of a district in ten years. More come by asking again.
pub const LEDGER_LINES_PER_ANSWER: usize = 40_000;

/// Seconds that a hub's clock may be apart from that of most terminals which know the time: more than any network delays
/// and less than a register minds.
pub const CLOCK_APART_SECONDS: i64 = 300;

/// Hours for which a terminal's word on the time counts: it is carried on by the hub's time since boot, which drifts some
/// seconds a day.
pub const CLOCK_WITNESS_HOURS: i64 = 24;

/// Milliseconds from a question to the hub's answer within which the answer's time is of use: the error is half of it.
pub const CLOCK_ROUND_TRIP_MS: i64 = 10_000;

/// Days by which one answer may raise the earliest time that a terminal believes: a device that lay in a cupboard for two
/// years catches up in two contacts, and a hub that is ten years ahead locks nobody out in one.
pub const CLOCK_FLOOR_STEP_DAYS: u64 = 400;

/// Terminals of one hub: a hub on SQLite is made for a hundred, a district on PostgreSQL has some hundreds. Each writes
/// a row a minute.
pub const FLEET_TERMINALS: i64 = 1_000;

/// Characters of what a terminal says its machine is known by: a hash in hex.
pub const HARDWARE_ID_CHARS: usize = 64;

/// Characters of a version of a terminal's software.
pub const SOFTWARE_CHARS: usize = 100;

/// Characters of a host and port: a name of the DNS has at most 253.
pub const ADDRESS_CHARS: usize = 260;

/// Bytes of the random number of one contact; terminals send 16.
pub const CONTACT_NONCE_SIZE_BYTES: usize = 32;

/// Contacts with an older state that a hub remembers of a terminal, the newest: two within a day say that it was cloned,
/// and more say nothing else.
pub const CONTACT_FORKS: usize = 16;

/// Machines that a hub remembers of a terminal, the first: two say that it was cloned.
pub const CONTACT_MACHINES: usize = 8;

/// Bytes of what a terminal says of itself. With [`STATUS_ALARMS`] it has some 3 KiB.
pub const STATUS_SIZE_BYTES: usize = 16 << 10;

/// Alarms of one terminal that are not over: it knows some twenty kinds.
pub const STATUS_ALARMS: usize = 64;

/// Milliseconds without a word after which a terminal counts as not heard from: it speaks each minute.
pub const FLEET_SILENCE_MS: u64 = 5 * 60_000;

/// Milliseconds for which a terminal's word on the time counts: it is given each minute, and a clock that is set anew
/// makes what was compared with it worthless.
pub const FLEET_CLOCK_MS: u64 = 10 * 60_000;

/// Milliseconds that a terminal has to do what it is asked for at once, and whoever asked waits: then they have gone.
pub const COMMAND_PATIENCE_MS: u64 = 5_000;

/// Commands to one terminal that nobody has taken. More are somebody who hammers a button.
pub const COMMANDS_WAITING: usize = 16;

/// Milliseconds for which commands are kept, so that a late answer finds its own. They open nothing any more.
pub const COMMAND_KEPT_MS: u64 = 3_600_000;

/// Milliseconds between two looks of a hub's process at what another process of it has changed: a door that is opened
/// through another process opens so much later.
pub const FLEET_POLL_MS: u64 = 200;

/// Authorities whose certificates count at once: one, and the one that takes over from it.
pub const AUTHORITIES: usize = 4;

/// Bytes of one authority's certificate. Ours have some 500.
pub const AUTHORITY_SIZE_BYTES: usize = 8 << 10;

/// Addresses at which a hub is reached: a balancer, and what each of its processes is reached by.
pub const HUB_ADDRESSES: usize = 16;

/// Daily backups that a hub keeps. Two at least: an event goes from a terminal only once two backups have it.
pub const BACKUPS_DAILY: std::ops::RangeInclusive<u32> = 2..=366;

/// Weekly backups that a hub keeps beside them: none, up to five years.
pub const BACKUPS_WEEKLY: std::ops::RangeInclusive<u32> = 0..=260;

/// Days after which a terminal that hears nothing of its hub forgets the gallery: 0 is never. Schools close for ten weeks.
pub const FORGET_AFTER_DAYS: std::ops::RangeInclusive<u32> = 0..=365;

/// Bytes of a message between a hub and a terminal: rows or events of 512 KiB, and what is around them.
pub const SYNC_MESSAGE_SIZE_BYTES: usize = 4 << 20;

/// Rounds of an exchange of ledgers: each brings up to 5,000 lines, more than a district erases in a century.
pub const LEDGER_ROUNDS: usize = 100;

/// Events that a terminal keeps although they are at the hub and in its backups, some 25 MB: it answers questions about the
/// last weeks, and a hub that lost everything has them back from it.
pub const LOG_RETAINED_EVENTS: u64 = 50_000;

/// Events that are deleted at once: deleting each by itself would wear the card.
pub const LOG_PRUNED_AT_ONCE: u64 = 5_000;

/// People who are proposed in one transaction.
pub const PROPOSALS_AT_ONCE: usize = 100;
