//! PostgreSQL databases that became files, and files that became PostgreSQL databases.
#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use rollcall_store::testing::postgres_url;
use rollcall_store::{
    Backup, DataFolder, Db, FactsFuture, Migration, StoreError, Tx, on, restore, restore_postgres,
};
use tempfile::TempDir;

/// Tables in an order that is not that of their names, with every type, and a row that a migration makes.
const KNOWN: &[&[Migration]] = &[&[
    Migration {
        name: "test/0001_parent",
        sql: "create table parent (id BLOB not null primary key, name TEXT, score REAL, n INTEGER) STRICT;
            create table head (one INTEGER not null primary key, n INTEGER not null) STRICT;
            insert into head (one, n) values (1, 0);",
    },
    Migration {
        name: "test/0002_child",
        sql: "create table child (
                id INTEGER not null primary key,
                parent BLOB references parent (id) on delete cascade
            ) STRICT;",
    },
]];

#[derive(Debug, PartialEq, sqlx::FromRow)]
struct ParentRow {
    id: Vec<u8>,
    name: Option<String>,
    score: Option<f64>,
    n: Option<i64>,
}

fn parents() -> Vec<ParentRow> {
    let row = |id: u8, name: Option<&str>, score, n| ParentRow {
        id: vec![id; 16],
        name: name.map(str::to_owned),
        score,
        n,
    };
    vec![
        row(1, Some("Zoë 🎓\n'quoted'"), Some(0.1), Some(i64::MIN)),
        row(2, Some(""), Some(-0.0), Some(i64::MAX)),
        row(3, None, None, None),
    ]
}

async fn fill(db: &Db) {
    let mut tx = db.write().await.unwrap();
    for row in parents() {
        on!(tx, connection => {
            sqlx::query("insert into parent (id, name, score, n) values ($1, $2, $3, $4)")
                .bind(row.id)
                .bind(row.name)
                .bind(row.score)
                .bind(row.n)
                .execute(connection)
                .await
                .map(|_| ())
        })
        .unwrap();
    }
    on!(tx, connection => {
        sqlx::query("update head set n = 7").execute(&mut *connection).await?;
        // More than are copied at once.
        for id in 1_i64..=450 {
            sqlx::query("insert into child (id, parent) values ($1, $2)")
                .bind(id)
                .bind(vec![u8::try_from(id % 3 + 1).unwrap(); 16])
                .execute(&mut *connection)
                .await?;
        }
        Ok(())
    })
    .unwrap();
    tx.commit().await.unwrap();
}

async fn assert_filled(db: &Db) {
    let mut tx = db.read().await.unwrap();
    let found: Vec<ParentRow> = on!(tx, connection => {
        sqlx::query_as("select id, name, score, n from parent order by id").fetch_all(connection).await
    })
    .unwrap();
    assert_eq!(found, parents());
    assert_eq!(facts(&mut tx).await.unwrap()["children"], "450");
    let n: i64 =
        on!(tx, connection => sqlx::query_scalar("select n from head").fetch_one(connection).await).unwrap();
    assert_eq!(n, 7, "the row that a migration has made is not there twice");
}

fn facts(tx: &mut Tx) -> FactsFuture<'_> {
    Box::pin(async {
        let children: i64 = on!(tx, connection => {
            sqlx::query_scalar("select count(*) from child").fetch_one(connection).await
        })?;
        Ok(BTreeMap::from([("children".to_owned(), children.to_string())]))
    })
}

/// A backup of a filled database, unpacked.
async fn backed_up() -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(&parent.path().join("data")).unwrap();
    let db = Db::connect_postgres(&postgres_url().await, KNOWN).await.unwrap();
    fill(&db).await;
    let out = parent.path().join("site.backup");
    let backup = Backup::new(&folder).postgres("all.db", &db, KNOWN, facts);
    let report = backup.write(&out, None).await.unwrap();
    assert_eq!(report.manifest.files[0].facts["children"], "450");
    let restored = parent.path().join("restored");
    restore(&out, None, &restored, KNOWN).await.unwrap();
    (parent, restored.join("all.db"))
}

#[tokio::test]
async fn a_database_comes_back_from_its_backup_as_it_was() {
    let (_parent, file) = backed_up().await;
    let url = postgres_url().await;
    restore_postgres(&file, &url, KNOWN).await.unwrap();
    assert_filled(&Db::connect_postgres(&url, KNOWN).await.unwrap()).await;
}

#[tokio::test]
async fn a_backup_of_an_older_program_is_brought_up_to_date_by_the_next_start() {
    let (_parent, file) = backed_up().await;
    let newer: &[&[Migration]] = &[
        KNOWN[0],
        &[Migration {
            name: "more/0001_more",
            sql: "create table more (id INTEGER not null primary key) STRICT",
        }],
    ];
    let url = postgres_url().await;
    restore_postgres(&file, &url, newer).await.unwrap();
    assert_filled(&Db::connect_postgres(&url, newer).await.unwrap()).await;
}

#[tokio::test]
async fn a_database_that_is_in_use_is_left_alone() {
    let (_parent, file) = backed_up().await;
    let url = postgres_url().await;
    let db = Db::connect_postgres(&url, KNOWN).await.unwrap();
    fill(&db).await;
    let refusal = restore_postgres(&file, &url, KNOWN).await.unwrap_err();
    assert!(matches!(refusal, StoreError::Occupied { .. }), "{refusal}");
    assert_filled(&db).await;
}

#[tokio::test]
async fn a_backup_of_a_newer_program_changes_nothing() {
    let (_parent, file) = backed_up().await;
    let older: &[&[Migration]] = &[&KNOWN[0][..1]];
    let url = postgres_url().await;
    let refusal = restore_postgres(&file, &url, older).await.unwrap_err();
    assert!(matches!(refusal, StoreError::Newer { .. }), "{refusal}");
    restore_postgres(&file, &url, KNOWN).await.expect("the database is still empty");
}
