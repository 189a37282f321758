//! The tables `accounts_account` and `accounts_token`, and every statement on them.
//!
//! Roles are words, scopes one text with blanks between, times microseconds. `made_by` is `folder/ID` (`folder` before
//! folders had ids) or the resource name of who made the token. A password is kept as a PHC string, a token's secret as its SHA-256.

use rollcall_core::{AccountId, CallerId, Role, TokenId, UtcInstant};
use rollcall_store::{Migration, StoreError, Tx, dialect, on};

use crate::account::{Account, Login};
use crate::error::role_name;
use crate::token::{Disabled, FolderId, Maker, Scope, Token};

/// The history of the tables.
pub const MIGRATIONS: &[Migration] = &[Migration {
    name: "accounts/0001_accounts_and_tokens",
    sql: "create table accounts_account (
            account_id BLOB not null primary key,
            login TEXT not null,
            login_folded TEXT not null unique,
            display_name TEXT not null,
            role TEXT not null,
            password_phc TEXT,
            disabled INTEGER not null check (disabled in (0, 1)),
            created_us INTEGER not null,
            version INTEGER not null
        ) STRICT, WITHOUT ROWID;
        create table accounts_token (
            token_id BLOB not null primary key,
            display_name TEXT not null,
            role TEXT not null,
            scopes TEXT not null,
            made_by TEXT not null,
            account_id BLOB references accounts_account (account_id),
            secret_sha256 BLOB not null,
            created_us INTEGER not null,
            expire_us INTEGER not null,
            revoke_us INTEGER,
            last_used_us INTEGER
        ) STRICT, WITHOUT ROWID;
        create index accounts_token_made_by on accounts_token (made_by)",
}];

const FOLDER: &str = "folder";

#[derive(sqlx::FromRow)]
struct AccountRow {
    account_id: Vec<u8>,
    login: String,
    display_name: String,
    role: String,
    disabled: i64,
    created_us: i64,
    version: i64,
}

impl AccountRow {
    fn account(self) -> Result<Account, StoreError> {
        Ok(Account {
            id: id(&self.account_id, AccountId::from_bytes)?,
            login: Login::new(&self.login).map_err(|_| damaged("login"))?,
            display_name: self.display_name,
            role: role(&self.role)?,
            disabled: self.disabled != 0,
            created: UtcInstant::from_micros(self.created_us),
            version: self.version,
        })
    }
}

#[derive(sqlx::FromRow)]
struct TokenRow {
    token_id: Vec<u8>,
    display_name: String,
    role: String,
    scopes: String,
    made_by: String,
    account_id: Option<Vec<u8>>,
    created_us: i64,
    expire_us: i64,
    revoke_us: Option<i64>,
    last_used_us: Option<i64>,
}

impl TokenRow {
    fn token(self) -> Result<Token, StoreError> {
        Ok(Token {
            id: id(&self.token_id, TokenId::from_bytes)?,
            display_name: self.display_name,
            role: role(&self.role)?,
            // A scope that this version does not know gives no right.
            scopes: self.scopes.split(' ').filter_map(|scope| Scope::new(scope).ok()).collect(),
            maker: maker(&self.made_by)?,
            account: self.account_id.map(|bytes| id(&bytes, AccountId::from_bytes)).transpose()?,
            created: UtcInstant::from_micros(self.created_us),
            expire: UtcInstant::from_micros(self.expire_us),
            revoke: self.revoke_us.map(UtcInstant::from_micros),
            last_used: self.last_used_us.map(UtcInstant::from_micros),
        })
    }
}

fn id<T>(bytes: &[u8], make: impl Fn([u8; 16]) -> T) -> Result<T, StoreError> {
    bytes.try_into().map(make).map_err(|_| damaged("id"))
}

fn role(word: &str) -> Result<Role, StoreError> {
    let roles = [Role::Admin, Role::Office, Role::Teacher, Role::Viewer];
    roles.into_iter().find(|role| role_name(*role) == word).ok_or_else(|| damaged("role"))
}

fn maker(text: &str) -> Result<Maker, StoreError> {
    if text == FOLDER {
        return Ok(Maker::Folder(FolderId::UNKNOWN));
    }
    if let Some(id) = text.strip_prefix("folder/") {
        return FolderId::parse(id).map(Maker::Folder).ok_or_else(|| damaged("maker"));
    }
    let account = AccountId::from_name(text).map(CallerId::Account);
    let caller = account.or_else(|_| TokenId::from_name(text).map(CallerId::Token));
    caller.map(Maker::Caller).map_err(|_| damaged("maker"))
}

fn maker_text(maker: Maker) -> String {
    match maker {
        Maker::Folder(id) => format!("{FOLDER}/{id}"),
        Maker::Caller(id) => rollcall_core::Caller { id, role: Role::Viewer }.name(),
    }
}

pub(crate) fn damaged(what: &str) -> StoreError {
    StoreError::Damaged { place: "of accounts".into(), detail: format!("the {what} of a row is none") }
}

pub(crate) async fn insert_account(
    tx: &mut Tx,
    account: &Account,
    password_phc: Option<&str>,
) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "insert into accounts_account (account_id, login, login_folded, display_name, role, password_phc,
                 disabled, created_us, version)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(account.id.as_bytes())
        .bind(account.login.as_str())
        .bind(account.login.folded())
        .bind(&account.display_name)
        .bind(role_name(account.role))
        .bind(password_phc)
        .bind(i64::from(account.disabled))
        .bind(account.created.micros())
        .bind(account.version)
        .execute(connection)
        .await
        .map(|done| done.rows_affected())
    })?;
    Ok(())
}

/// Whether an account with this folded login is there.
pub(crate) async fn login_is_taken(tx: &mut Tx, folded: &str) -> Result<bool, StoreError> {
    let found: Option<i64> = on!(tx, connection => {
        sqlx::query_scalar("select version from accounts_account where login_folded = $1")
            .bind(folded)
            .fetch_optional(connection)
            .await
    })?;
    Ok(found.is_some())
}

pub(crate) async fn count_accounts(tx: &mut Tx) -> Result<i64, StoreError> {
    on!(tx, connection => {
        sqlx::query_scalar("select count(*) from accounts_account").fetch_one(connection).await
    })
}

pub(crate) async fn account(tx: &mut Tx, id: AccountId) -> Result<Option<Account>, StoreError> {
    let row: Option<AccountRow> = on!(tx, connection => {
        sqlx::query_as("select * from accounts_account where account_id = $1")
            .bind(id.as_bytes())
            .fetch_optional(connection)
            .await
    })?;
    row.map(AccountRow::account).transpose()
}

/// Every administrator that is not disabled, and nobody else makes or unmakes one until this transaction ends.
pub(crate) async fn lock_administrators(tx: &mut Tx) -> Result<Vec<AccountId>, StoreError> {
    let select = dialect::for_update(
        tx,
        "select account_id from accounts_account where role = 'admin' and disabled = 0 order by account_id",
    );
    let ids: Vec<Vec<u8>> = on!(tx, connection => {
        sqlx::query_scalar(select.clone()).fetch_all(connection).await
    })?;
    ids.iter().map(|bytes| id(bytes, AccountId::from_bytes)).collect()
}

pub(crate) async fn accounts_after(
    tx: &mut Tx,
    folded: &str,
    limit: usize,
) -> Result<Vec<Account>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows: Vec<AccountRow> = on!(tx, connection => {
        sqlx::query_as("select * from accounts_account where login_folded > $1 order by login_folded limit $2")
            .bind(folded)
            .bind(limit)
            .fetch_all(connection)
            .await
    })?;
    rows.into_iter().map(AccountRow::account).collect()
}

/// Writes what can change, where the account still has the version before `account`'s. Whether it had.
pub(crate) async fn update_account(tx: &mut Tx, account: &Account) -> Result<bool, StoreError> {
    let changed = on!(tx, connection => {
        sqlx::query(
            "update accounts_account set display_name = $1, role = $2, disabled = $3, version = $4
             where account_id = $5 and version = $6",
        )
        .bind(&account.display_name)
        .bind(role_name(account.role))
        .bind(i64::from(account.disabled))
        .bind(account.version)
        .bind(account.id.as_bytes())
        .bind(account.version - 1)
        .execute(connection)
        .await
        .map(|done| done.rows_affected())
    })?;
    Ok(changed == 1)
}

/// Whether there was such an account.
pub(crate) async fn set_password(tx: &mut Tx, id: AccountId, phc: &str) -> Result<bool, StoreError> {
    let changed = on!(tx, connection => {
        sqlx::query("update accounts_account set password_phc = $1, version = version + 1 where account_id = $2")
            .bind(phc)
            .bind(id.as_bytes())
            .execute(connection)
            .await
            .map(|done| done.rows_affected())
    })?;
    Ok(changed == 1)
}

/// The account with this folded login, and its password as a PHC string.
pub(crate) async fn account_by_login(
    tx: &mut Tx,
    folded: &str,
) -> Result<Option<(Account, Option<String>)>, StoreError> {
    #[derive(sqlx::FromRow)]
    struct Row {
        #[sqlx(flatten)]
        account: AccountRow,
        password_phc: Option<String>,
    }
    let row: Option<Row> = on!(tx, connection => {
        sqlx::query_as("select * from accounts_account where login_folded = $1")
            .bind(folded)
            .fetch_optional(connection)
            .await
    })?;
    row.map(|row| Ok((row.account.account()?, row.password_phc))).transpose()
}

pub(crate) async fn insert_token(tx: &mut Tx, token: &Token, sha256: &[u8; 32]) -> Result<(), StoreError> {
    let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.as_str()).collect();
    let scopes = scopes.join(" ");
    on!(tx, connection => {
        sqlx::query(
            "insert into accounts_token (token_id, display_name, role, scopes, made_by, account_id, secret_sha256,
                 created_us, expire_us)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(token.id.as_bytes())
        .bind(&token.display_name)
        .bind(role_name(token.role))
        .bind(&scopes)
        .bind(maker_text(token.maker))
        .bind(token.account.as_ref().map(|id| id.as_bytes()))
        .bind(&sha256[..])
        .bind(token.created.micros())
        .bind(token.expire.micros())
        .execute(connection)
        .await
        .map(|done| done.rows_affected())
    })?;
    Ok(())
}

pub(crate) async fn token(tx: &mut Tx, id: TokenId) -> Result<Option<Token>, StoreError> {
    let row: Option<TokenRow> = on!(tx, connection => {
        sqlx::query_as("select * from accounts_token where token_id = $1")
            .bind(id.as_bytes())
            .fetch_optional(connection)
            .await
    })?;
    row.map(TokenRow::token).transpose()
}

/// A token with what is needed to judge it.
pub(crate) struct StoredToken {
    pub(crate) token: Token,
    pub(crate) sha256: Vec<u8>,
    pub(crate) account: Option<(Role, Disabled)>,
}

pub(crate) async fn token_to_judge(tx: &mut Tx, id: TokenId) -> Result<Option<StoredToken>, StoreError> {
    #[derive(sqlx::FromRow)]
    struct Row {
        #[sqlx(flatten)]
        token: TokenRow,
        secret_sha256: Vec<u8>,
        account_role: Option<String>,
        account_disabled: Option<i64>,
    }
    let row: Option<Row> = on!(tx, connection => {
        sqlx::query_as(
            "select t.*, a.role as account_role, a.disabled as account_disabled
             from accounts_token t left join accounts_account a on a.account_id = t.account_id
             where t.token_id = $1",
        )
        .bind(id.as_bytes())
        .fetch_optional(connection)
        .await
    })?;
    let Some(row) = row else { return Ok(None) };
    let account = match (row.account_role, row.account_disabled) {
        (Some(word), Some(0)) => Some((role(&word)?, Disabled::No)),
        (Some(word), Some(_)) => Some((role(&word)?, Disabled::Yes)),
        _ => None,
    };
    Ok(Some(StoredToken { token: row.token.token()?, sha256: row.secret_sha256, account }))
}

/// Tokens before `(created, id)`, newest first.
pub(crate) async fn tokens_before(
    tx: &mut Tx,
    created: UtcInstant,
    id: [u8; 16],
    limit: usize,
) -> Result<Vec<Token>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows: Vec<TokenRow> = on!(tx, connection => {
        sqlx::query_as(
            "select * from accounts_token where (created_us, token_id) < ($1, $2)
             order by created_us desc, token_id desc limit $3",
        )
        .bind(created.micros())
        .bind(&id[..])
        .bind(limit)
        .fetch_all(connection)
        .await
    })?;
    rows.into_iter().map(TokenRow::token).collect()
}

/// Tokens that are in force at `now`.
pub(crate) async fn count_tokens(tx: &mut Tx, now: UtcInstant) -> Result<i64, StoreError> {
    on!(tx, connection => {
        sqlx::query_scalar("select count(*) from accounts_token where revoke_us is null and expire_us > $1")
            .bind(now.micros())
            .fetch_one(connection)
            .await
    })
}

/// Withdraws a token that is not withdrawn yet.
pub(crate) async fn revoke_token(tx: &mut Tx, id: TokenId, now: UtcInstant) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("update accounts_token set revoke_us = $1 where token_id = $2 and revoke_us is null")
            .bind(now.micros())
            .bind(id.as_bytes())
            .execute(connection)
            .await
            .map(|done| done.rows_affected())
    })?;
    Ok(())
}

/// Withdraws the tokens that were made for whoever can read this data folder, and those of before folders had ids.
pub(crate) async fn revoke_folder_tokens(
    tx: &mut Tx,
    folder: FolderId,
    now: UtcInstant,
) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("update accounts_token set revoke_us = $1 where made_by in ($2, $3) and revoke_us is null")
            .bind(now.micros())
            .bind(maker_text(Maker::Folder(folder)))
            .bind(FOLDER)
            .execute(connection)
            .await
            .map(|done| done.rows_affected())
    })?;
    Ok(())
}

pub(crate) async fn set_last_used(tx: &mut Tx, id: TokenId, hour: UtcInstant) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("update accounts_token set last_used_us = $1 where token_id = $2")
            .bind(hour.micros())
            .bind(id.as_bytes())
            .execute(connection)
            .await
            .map(|done| done.rows_affected())
    })?;
    Ok(())
}
