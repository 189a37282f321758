//! What both engines must do alike.
#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use std::future::Future;
use std::task::Poll;
use std::time::Duration;

use rollcall_store::{
    Db, Engine, Migration, StoreError, Tx, Writes, both_engines, check_integrity, checkpoint, dialect, on,
    vacuum,
};
use sqlx::{Connection as _, PgConnection};

const MIGRATIONS: &[Migration] = &[
    Migration {
        name: "test/0001_values",
        sql: "create table value (
            id BLOB not null primary key,
            whole INTEGER,
            real REAL,
            text TEXT unique,
            bytes BLOB,
            flag INTEGER not null default 0 check (flag in (0, 1))
        ) STRICT, WITHOUT ROWID",
    },
    Migration {
        name: "test/0002_counter",
        sql: "create table counter (one INTEGER not null primary key, n INTEGER not null) STRICT;
            insert into counter (one, n) values (1, 0)",
    },
];

#[derive(Debug, PartialEq, sqlx::FromRow)]
struct ValueRow {
    id: Vec<u8>,
    whole: Option<i64>,
    real: Option<f64>,
    text: Option<String>,
    bytes: Option<Vec<u8>>,
    flag: i64,
}

async fn insert(tx: &mut Tx, row: &ValueRow) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("insert into value (id, whole, real, text, bytes, flag) values ($1, $2, $3, $4, $5, $6)")
            .bind(&row.id)
            .bind(row.whole)
            .bind(row.real)
            .bind(row.text.as_deref())
            .bind(row.bytes.as_deref())
            .bind(row.flag)
            .execute(connection)
            .await
            .map(|done| done.rows_affected())
    })?;
    Ok(())
}

async fn values(tx: &mut Tx) -> Result<Vec<ValueRow>, StoreError> {
    on!(tx, connection => sqlx::query_as("select * from value order by text, id").fetch_all(connection).await)
}

fn named(id: u8, text: &str) -> ValueRow {
    ValueRow { id: vec![id], whole: None, real: None, text: Some(text.into()), bytes: None, flag: 0 }
}

async fn counter(tx: &mut Tx) -> i64 {
    on!(tx, connection => sqlx::query_scalar("select n from counter").fetch_one(connection).await).unwrap()
}

both_engines! {
    migrations = &[MIGRATIONS];

    async fn values_come_back_as_they_went(db: Db) {
        let rows = [
            ValueRow {
                id: vec![0],
                whole: Some(i64::MIN),
                real: Some(f64::MIN_POSITIVE),
                text: Some("aé漢😀'\"\\".into()),
                bytes: Some(vec![0, 255, 39]),
                flag: 1,
            },
            ValueRow { id: vec![1], whole: Some(i64::MAX), real: Some(-0.1), text: Some("b".into()), bytes: Some(vec![]), flag: 0 },
            ValueRow { id: vec![2], whole: Some(0), real: Some(3.0), text: Some("c".into()), bytes: None, flag: 0 },
        ];
        let mut tx = db.write().await.unwrap();
        for row in &rows {
            insert(&mut tx, row).await.unwrap();
        }
        tx.commit().await.unwrap();
        assert_eq!(values(&mut db.read().await.unwrap()).await.unwrap(), rows);
    }

    async fn text_sorts_by_its_bytes(db: Db) {
        let mut texts = ["a", "B", "b", "A", "Z", "z", "é", "e", "_", "-", "ab", "a b", "漢", "😀", "ﬁ", "10", "9", ""];
        let mut tx = db.write().await.unwrap();
        for (id, text) in (0..).zip(texts) {
            insert(&mut tx, &named(id, text)).await.unwrap();
        }
        let sorted: Vec<String> = values(&mut tx).await.unwrap().into_iter().filter_map(|row| row.text).collect();
        texts.sort_unstable();
        assert_eq!(sorted, texts);
    }

    async fn a_read_sees_one_moment(db: Db) {
        let mut read = db.read().await.unwrap();
        assert_eq!(values(&mut read).await.unwrap(), []);
        let mut write = db.write().await.unwrap();
        insert(&mut write, &named(1, "late")).await.unwrap();
        write.commit().await.unwrap();
        assert_eq!(values(&mut read).await.unwrap(), []);
        assert_eq!(values(&mut db.read().await.unwrap()).await.unwrap().len(), 1);
    }

    async fn a_read_cannot_write(db: Db) {
        let mut tx = db.read().await.unwrap();
        let refused = insert(&mut tx, &named(1, "x")).await;
        assert!(matches!(refused, Err(StoreError::Statement { .. } | StoreError::Disk { .. })), "{refused:?}");
    }

    async fn what_is_dropped_is_rolled_back(db: Db) {
        let mut tx = db.write().await.unwrap();
        insert(&mut tx, &named(1, "x")).await.unwrap();
        drop(tx);
        assert_eq!(values(&mut db.write().await.unwrap()).await.unwrap(), []);
    }

    async fn a_second_row_with_a_unique_value_names_the_columns(db: Db) {
        let mut tx = db.write().await.unwrap();
        insert(&mut tx, &named(1, "secret")).await.unwrap();
        let error = insert(&mut tx, &named(2, "secret")).await.unwrap_err();
        assert!(matches!(&error, StoreError::Conflict { columns } if columns == "value.text"), "{error}");
        assert!(!error.to_string().contains("secret"));
        drop(tx);
        let mut tx = db.write().await.unwrap();
        insert(&mut tx, &named(1, "one")).await.unwrap();
        let error = insert(&mut tx, &named(1, "two")).await.unwrap_err();
        assert!(matches!(&error, StoreError::Conflict { columns } if columns == "value.id"), "{error}");
    }

    async fn locked_rows_are_counted_right_by_writers_at_once(db: Db) {
        let writes = Writes::new();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (db, writes) = (db.clone(), writes.clone());
            tasks.spawn(async move {
                for _ in 0..10 {
                    let db = db.clone();
                    let add = async move {
                        let mut tx = db.write().await?;
                        let select = dialect::for_update(&tx, "select n from counter where one = 1");
                        let n: i64 = on!(tx, connection => sqlx::query_scalar(select).fetch_one(connection).await)?;
                        on!(tx, connection => {
                            sqlx::query("update counter set n = $1").bind(n + 1).execute(connection).await.map(|_| ())
                        })?;
                        tx.commit().await
                    };
                    writes.run(add).await.unwrap();
                }
            });
        }
        tasks.join_all().await;
        assert_eq!(counter(&mut db.read().await.unwrap()).await, 80);
    }

    async fn a_lock_that_another_holds_too_long_is_no_endless_wait(db: Db) {
        let mut first = db.write().await.unwrap();
        let select = dialect::for_update(&first, "select n from counter where one = 1");
        let n: i64 = on!(first, connection => sqlx::query_scalar(select).fetch_one(connection).await).unwrap();
        let second = async {
            let mut tx = db.write().await?;
            let select = dialect::for_update(&tx, "select n from counter where one = 1");
            on!(tx, connection => sqlx::query_scalar::<_, i64>(select).fetch_one(connection).await)
        };
        let error = second.await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
        assert_eq!(n, 0);
    }

    async fn writers_that_exclude_each_other_are_told_to_try_again(db: Db) {
        let mut tx = db.write().await.unwrap();
        insert(&mut tx, &named(1, "a")).await.unwrap();
        insert(&mut tx, &named(2, "b")).await.unwrap();
        tx.commit().await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for order in [[1_u8, 2], [2, 1]] {
            let db = db.clone();
            tasks.spawn(async move {
                for _ in 0..30 {
                    let mut tx = db.write().await?;
                    for id in order {
                        on!(tx, connection => {
                            let sql = "update value set flag = 1 - flag where id = $1";
                            sqlx::query(sql).bind(&[id][..]).execute(connection).await.map(|_| ())
                        })?;
                    }
                    tx.commit().await?;
                }
                Ok(())
            });
        }
        for result in tasks.join_all().await {
            assert!(matches!(result, Ok(()) | Err(StoreError::Unavailable { .. })), "{result:?}");
        }
    }

    async fn the_file_is_sound_and_can_be_packed(db: Db) {
        check_integrity(&db).await.unwrap();
        vacuum(&db).await.unwrap();
        checkpoint(&db).await.unwrap();
        check_integrity(&db).await.unwrap();
    }

    async fn a_write_runs_to_its_end_although_its_caller_is_gone(db: Db) {
        let writes = Writes::new();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (go, may_go) = tokio::sync::oneshot::channel::<()>();
        let write = {
            let db = db.clone();
            async move {
                let mut tx = db.write().await?;
                insert(&mut tx, &named(1, "first")).await?;
                begun.send(()).unwrap();
                may_go.await.unwrap();
                insert(&mut tx, &named(2, "second")).await?;
                tx.commit().await
            }
        };
        let caller = {
            let writes = writes.clone();
            tokio::spawn(async move { writes.run(write).await })
        };
        has_begun.await.unwrap();
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        assert_eq!(writes.running(), 1);
        go.send(()).unwrap();
        assert_eq!(writes.close(LONG).await, 0);
        assert_eq!(values(&mut db.read().await.unwrap()).await.unwrap().len(), 2);
        let late: Result<(), StoreError> = writes.run(async { panic!("begun after the end") }).await;
        assert!(matches!(late, Err(StoreError::Stopping)));
    }

    async fn a_write_that_panics_is_an_error_and_is_rolled_back(db: Db) {
        let writes = Writes::new();
        let write = {
            let db = db.clone();
            async move {
                let mut tx = db.write().await?;
                insert(&mut tx, &named(1, "x")).await?;
                panic!("a broken rule");
            }
        };
        let result: Result<(), StoreError> = writes.run(write).await;
        assert!(matches!(result, Err(StoreError::Panicked)), "{result:?}");
        assert_eq!(values(&mut db.write().await.unwrap()).await.unwrap(), []);
        assert_eq!(writes.running(), 0);
    }

    async fn callers_that_vanish_at_any_await_leave_no_transaction_open(db: Db) {
        let mut watch = watch(&db).await;
        for polls in (0..20).chain(0..20) {
            let vanishing = async {
                let mut tx = db.write().await?;
                insert(&mut tx, &named(1, "x")).await?;
                values(&mut tx).await?;
                drop(tx);
                values(&mut db.read().await?).await.map(|_| ())
            };
            poll_times(vanishing, polls).await;
            if let Some(watch) = &mut watch {
                assert!(soon_idle(watch).await, "a transaction is open since the caller vanished at poll {polls}");
            }
        }
        let mut tx = db.write().await.unwrap();
        assert_eq!(values(&mut tx).await.unwrap(), []);
        insert(&mut tx, &named(1, "x")).await.unwrap();
        tx.commit().await.unwrap();
    }
}

/// A connection beside the pool that sees what the pool's do; SQLite has no such view, there the next writer would wait.
async fn watch(db: &Db) -> Option<PgConnection> {
    if db.engine() == Engine::Sqlite {
        return None;
    }
    let mut tx = db.read().await.unwrap();
    let sql = "select current_database() || '?host=' || current_setting('unix_socket_directories')";
    let rest: String = on!(tx, connection => sqlx::query_scalar(sql).fetch_one(connection).await).unwrap();
    Some(PgConnection::connect(&format!("postgres://postgres@localhost/{rest}")).await.unwrap())
}

/// Asks, some seconds long, until no other connection had a transaction a hundred times in a row: the server reads what
/// a vanished caller sent when it comes to it.
async fn soon_idle(watch: &mut PgConnection) -> bool {
    let sql = "select count(*) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null";
    let mut in_a_row = 0;
    for _ in 0..20_000 {
        let open: i64 = sqlx::query_scalar(sql).fetch_one(&mut *watch).await.unwrap();
        in_a_row = if open == 0 { in_a_row + 1 } else { 0 };
        if in_a_row == 100 {
            return true;
        }
    }
    false
}

/// Longer than any of this takes.
const LONG: Duration = Duration::from_secs(60);

/// Polls a future so many times, each time when it asks for it, and then drops it.
async fn poll_times<F: Future>(future: F, polls: usize) {
    let mut future = std::pin::pin!(future);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        future.as_mut().poll(context).map(|_| ())
    })
    .await;
}
