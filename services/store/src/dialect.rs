//! Every difference between the two engines that a service meets, and what to write so that there is none.
//!
//! Schemas are written in SQLite's spelling and translated by [`schema`]:
//!
//! | SQLite | PostgreSQL | |
//! | --- | --- | --- |
//! | `INTEGER` | `BIGINT` | every number, instant (microseconds) and yes or no (0, 1) |
//! | `REAL` | `DOUBLE PRECISION` | NaN becomes NULL in SQLite: never store one |
//! | `TEXT` | `TEXT COLLATE "C"` | so that both sort by bytes; no NUL characters, PostgreSQL refuses them |
//! | `BLOB` | `BYTEA` | ids, hashes |
//! | `STRICT`, `WITHOUT ROWID` | nothing | say `STRICT` always: without it SQLite stores anything anywhere |
//!
//! The same on both, as tried: `$1` placeholders, `on conflict (..) do update set x = excluded.x` (an
//! `insert .. select` with it needs a `where`, or SQLite takes `on` for a join), `returning`, `check`, foreign keys with
//! `on delete`, partial indexes, `coalesce`, `||`, window functions, recursive `with`, row values `(a, b) > ($1, $2)`,
//! `limit $1`, `length` and `lower` (ASCII only on both, thanks to the collation).
//!
//! Not the same, so not written as it first comes to mind:
//!
//! - `select .. for update`: PostgreSQL alone. [`for_update`] adds it; SQLite has one writer and needs none.
//! - `like` folds ASCII case in SQLite only: write `lower(x) like lower($1)`.
//! - NULL sorts first in SQLite and last in PostgreSQL: write `nulls first` or `nulls last`.
//! - `sum` and `avg` of `INTEGER` are NUMERIC in PostgreSQL: write `cast(sum(x) as BIGINT)`.
//! - `cast(x as INTEGER)` has 32 bits in PostgreSQL: write `BIGINT`, which SQLite understands.
//! - A condition is no value in PostgreSQL and a number is no condition: `where flag = 1`, `case when .. then 1 else 0 end`.
//! - `max(a, b)` of two values is `greatest` there: write `case`.
//! - `x'00'` is a bit string there, `json`, dates, `random()`, `rowid`, `ifnull`, `insert or replace`, `glob`: don't.
//! - `INTEGER PRIMARY KEY` numbers rows by itself in SQLite only: always give the key.
//! - A failed statement ends a PostgreSQL transaction: an insert that may meet its own like says `on conflict`, and
//!   compares what was there.
//! - PostgreSQL infers the type of a bare parameter: `coalesce($1, x)` is fine, `select $1` is TEXT; write
//!   `cast($1 as BIGINT)`.

use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use crate::{Engine, Tx};

/// A `select` whose rows nobody else changes until this transaction ends.
pub fn for_update(tx: &Tx, select: &'static str) -> SqlStr {
    match tx.engine() {
        Engine::Sqlite => select.into_sql_str(),
        Engine::Postgres => AssertSqlSafe(format!("{select} for update")).into_sql_str(),
    }
}

/// Statements that make a schema, in the spelling of the engine. A type is translated where a column is defined: after
/// a name that follows `(`, `,`, `add` or `column`. Strings, quoted names and comments stay as they are.
pub fn schema(engine: Engine, sql: &str) -> String {
    if engine == Engine::Sqlite {
        return sql.to_owned();
    }
    let mut out = String::with_capacity(sql.len() + sql.len() / 4);
    let mut before: [&str; 2] = ["", ""];
    let mut depth = 0_usize;
    let mut rest = sql;
    while !rest.is_empty() {
        let (token, after) = rest.split_at(token_length(rest));
        rest = after;
        if is_blank(token) {
            out.push_str(token);
            continue;
        }
        match token {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            _ => {}
        }
        let option =
            depth == 0 && (is_table_option(token) || token == "," && is_table_option(next_word(rest)));
        if !option {
            out.push_str(column_type(before, token).unwrap_or(token));
        }
        before = [before[1], token];
    }
    out
}

/// What PostgreSQL calls the type `token` that comes after the two `before`; `None` when it is no type there, or has
/// the same name.
fn column_type(before: [&str; 2], token: &str) -> Option<&'static str> {
    const OPENERS: [&str; 4] = ["(", ",", "add", "column"];
    const TYPES: [(&str, &str); 4] = [
        ("INTEGER", "BIGINT"),
        ("REAL", "DOUBLE PRECISION"),
        ("TEXT", "TEXT COLLATE \"C\""),
        ("BLOB", "BYTEA"),
    ];
    let [opener, name] = before;
    let is_name = !name.eq_ignore_ascii_case("column") && name.starts_with(|c| is_word_char(c) || c == '"');
    if !is_name || OPENERS.iter().all(|known| !known.eq_ignore_ascii_case(opener)) {
        return None;
    }
    TYPES.iter().find(|(ours, _)| ours.eq_ignore_ascii_case(token)).map(|(_, theirs)| *theirs)
}

fn is_table_option(token: &str) -> bool {
    ["STRICT", "WITHOUT", "ROWID"].iter().any(|option| option.eq_ignore_ascii_case(token))
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// White space or a comment.
fn is_blank(token: &str) -> bool {
    token.starts_with(char::is_whitespace) || token.starts_with("--") || token.starts_with("/*")
}

/// The first token that is not blank.
fn next_word(mut sql: &str) -> &str {
    loop {
        let (token, after) = sql.split_at(token_length(sql));
        if token.is_empty() || !is_blank(token) {
            return token;
        }
        sql = after;
    }
}

/// Bytes of the first token: white space, a comment, a string, a quoted name, a word, or one character.
fn token_length(sql: &str) -> usize {
    let Some(first) = sql.chars().next() else { return 0 };
    let to_end_of = |end: &str, skip: usize| {
        sql.get(skip..).and_then(|rest| rest.find(end)).map_or(sql.len(), |at| skip + at + end.len())
    };
    let run = |belongs: fn(char) -> bool| sql.find(|c| !belongs(c)).unwrap_or(sql.len());
    match first {
        _ if sql.starts_with("--") => to_end_of("\n", 2),
        _ if sql.starts_with("/*") => to_end_of("*/", 2),
        // A doubled quote inside is two strings in a row to us, which is the same.
        '\'' => to_end_of("'", 1),
        '"' => to_end_of("\"", 1),
        c if c.is_whitespace() => run(char::is_whitespace),
        c if is_word_char(c) => run(is_word_char),
        c => c.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postgres(sql: &str) -> String {
        schema(Engine::Postgres, sql)
    }

    #[test]
    fn types_and_table_options_are_translated() {
        assert_eq!(
            postgres(
                "create table t (id BLOB primary key, text text not null, n integer, x REAL) STRICT, WITHOUT ROWID;"
            ),
            "create table t (id BYTEA primary key, text TEXT COLLATE \"C\" not null, n BIGINT, x DOUBLE PRECISION)   ;"
        );
        assert_eq!(postgres("alter table t add column blob BLOB"), "alter table t add column blob BYTEA");
        assert_eq!(
            postgres("alter table t add \"real\" REAL"),
            "alter table t add \"real\" DOUBLE PRECISION"
        );
    }

    #[test]
    fn what_is_no_type_stays() {
        for same in [
            "insert into t (a, b) values ('a TEXT, b INTEGER) STRICT', 2), ('it''s, x BLOB', 3)",
            "-- (a INTEGER)\ncreate index text on t (blob, text)",
            "/* (a INTEGER) */ update t set text = cast(n as TEXT) where real > 1 and integer in (a, b)",
            "create table u (strict BIGINT, without BYTEA, check (strict in (0, 1)))",
            "(\"a TEXT\" BYTEA)",
            "",
            "'unclosed",
        ] {
            assert_eq!(postgres(same), same);
        }
    }

    #[test]
    fn sqlite_gets_what_was_written() {
        let sql = "create table t (id BLOB) STRICT";
        assert_eq!(schema(Engine::Sqlite, sql), sql);
    }
}
