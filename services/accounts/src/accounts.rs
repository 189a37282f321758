//! [`Accounts`]: what can be done with accounts and tokens.
//!
//! A write is a task of its own and runs to its end. What was found out about a token is remembered for two seconds, and
//! forgotten at once when anything is changed through this handle or a clone of it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rollcall_core::{AccountId, Caller, CallerId, Fault, Reason, Role, TokenId, UtcInstant, limits, page};
use rollcall_store::requests::{self, RequestError, RequestId};
use rollcall_store::{Db, StoreError, Tx, Writes};
use zeroize::Zeroizing;

use crate::AccountsError;
use crate::account::{Account, AccountChange, Login, NewAccount, Password, human_role, line};
use crate::password::Hasher;
use crate::store::{self, StoredToken};
use crate::token::{self, Authenticated, FolderId, Maker, NewToken, Scope, Token, TokenSecret};

/// The accounts and tokens of a site. A clone is another handle to the same.
#[derive(Clone)]
pub struct Accounts {
    shared: Arc<Shared>,
}

struct Shared {
    db: Db,
    writes: Writes,
    hasher: Hasher,
    cache: Mutex<Cache>,
}

/// What was found out about tokens lately.
#[derive(Default)]
struct Cache {
    /// Counts the times that `found` was emptied, so that what was read before a change is not remembered after it.
    changes: u64,
    found: HashMap<TokenId, (Instant, Arc<StoredToken>)>,
    /// The tokens whose use in this hour is noted.
    hour: Option<UtcInstant>,
    noted: HashSet<TokenId>,
}

/// A token, and the secret when it was made by this very request.
#[derive(Debug)]
pub struct MadeToken {
    /// The token.
    pub token: Token,
    /// What the script has to send.
    pub secret: Option<Zeroizing<String>>,
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The things on it.
    pub items: Vec<T>,
    /// Where the next page begins; empty: there is none.
    pub next: String,
}

impl Accounts {
    /// The accounts in `db`, whose schema has [`crate::MIGRATIONS`].
    pub fn new(db: Db, writes: Writes) -> Self {
        let shared = Shared { db, writes, hasher: Hasher::new(), cache: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Makes an account. With a request id that made one before, it is that one; the password does not count then.
    ///
    /// # Errors
    /// A field that cannot be; [`AccountsError::LoginTaken`]; [`AccountsError::RequestIdReused`];
    /// [`AccountsError::Limit`].
    pub async fn create_account(
        &self,
        new: NewAccount,
        request_id: Option<RequestId>,
        now: UtcInstant,
    ) -> Result<Account, AccountsError> {
        const METHOD: &str = "CreateAccount";
        let sha256 = new.sha256();
        let account = Account {
            id: AccountId::generate(),
            login: new.login,
            display_name: line("account.display_name", &new.display_name, limits::DISPLAY_NAME_CHARS)?,
            role: human_role("account.role", new.role)?,
            disabled: false,
            created: now,
            version: 1,
        };
        let phc = match new.password {
            Some(password) => Some(self.shared.hasher.hash(password).await?),
            None => None,
        };
        self.write(move |mut tx: Tx| async move {
            if let Some(before) = recall(&mut tx, METHOD, request_id, &sha256).await? {
                let account = store::account(&mut tx, AccountId::from_bytes(before)).await?;
                let name = AccountId::from_bytes(before).name();
                return Ok((tx, account.ok_or(AccountsError::NotFound { name })?));
            }
            if store::login_is_taken(&mut tx, &account.login.folded()).await? {
                return Err(AccountsError::LoginTaken);
            }
            at_most("accounts", store::count_accounts(&mut tx).await?, limits::ACCOUNTS)?;
            store::insert_account(&mut tx, &account, phc.as_deref()).await.map_err(login_taken)?;
            remember(&mut tx, METHOD, request_id, &sha256, account.id.as_bytes(), now).await?;
            Ok((tx, account))
        })
        .await
    }

    /// One account.
    ///
    /// # Errors
    /// [`AccountsError::NotFound`].
    pub async fn account(&self, id: AccountId) -> Result<Account, AccountsError> {
        let mut tx = self.shared.db.read().await?;
        store::account(&mut tx, id).await?.ok_or(AccountsError::NotFound { name: id.name() })
    }

    /// Accounts by login.
    ///
    /// # Errors
    /// [`AccountsError::Asked`].
    pub async fn list_accounts(
        &self,
        page_size: i32,
        page_token: &str,
    ) -> Result<Page<Account>, AccountsError> {
        const LIST: &str = "accounts";
        let size = page::size(page_size).map_err(AccountsError::Asked)?;
        let key = page::key(LIST, page_token).map_err(AccountsError::Asked)?.unwrap_or_default();
        let key = String::from_utf8(key).map_err(|_| bad_page_token())?;
        let mut tx = self.shared.db.read().await?;
        let items = store::accounts_after(&mut tx, &key, size + 1).await?;
        Ok(paged(items, size, |last| page::token(LIST, last.login.folded().as_bytes())))
    }

    /// Changes an account. It takes effect at the next call.
    ///
    /// # Errors
    /// [`AccountsError::NotFound`], [`AccountsError::EtagMismatch`], [`AccountsError::LastAdministrator`], a field that
    /// cannot be.
    pub async fn update_account(
        &self,
        id: AccountId,
        change: AccountChange,
    ) -> Result<Account, AccountsError> {
        if let Some(name) = &change.display_name {
            line("account.display_name", name, limits::DISPLAY_NAME_CHARS)?;
        }
        if let Some(role) = change.role {
            human_role("account.role", role)?;
        }
        self.write(move |mut tx: Tx| async move {
            let administrators = store::lock_administrators(&mut tx).await?;
            let name = id.name();
            let before = store::account(&mut tx, id).await?;
            let before = before.ok_or_else(|| AccountsError::NotFound { name: name.clone() })?;
            if change.etag.as_ref().is_some_and(|etag| *etag != before.etag()) {
                return Err(AccountsError::EtagMismatch { name });
            }
            let after = before.changed(&change);
            if before.is_administrator() && !after.is_administrator() && administrators == [id] {
                return Err(AccountsError::LastAdministrator { name });
            }
            if !store::update_account(&mut tx, &after).await? {
                return Err(AccountsError::EtagMismatch { name });
            }
            Ok((tx, after))
        })
        .await
    }

    /// Sets the password of an account.
    ///
    /// # Errors
    /// [`AccountsError::NotFound`].
    pub async fn set_password(&self, id: AccountId, password: Password) -> Result<(), AccountsError> {
        self.account(id).await?;
        let phc = self.shared.hasher.hash(password).await?;
        self.write(move |mut tx: Tx| async move {
            match store::set_password(&mut tx, id, &phc).await? {
                true => Ok((tx, ())),
                false => Err(AccountsError::NotFound { name: id.name() }),
            }
        })
        .await
    }

    /// Who signs in with this login and password. Whoever calls this limits how often (see the server's `Throttle`).
    ///
    /// # Errors
    /// [`AccountsError::PasswordWrong`], after the same time whether there is such a login or not.
    pub async fn authenticate_password(
        &self,
        login: &str,
        password: Password,
    ) -> Result<Authenticated, AccountsError> {
        let folded = Login::new(login).map_or_else(|_| String::new(), |login| login.folded());
        let found = {
            let mut tx = self.shared.db.read().await?;
            store::account_by_login(&mut tx, &folded).await?
        };
        let (account, phc) = found.map_or((None, None), |(account, phc)| (Some(account), phc));
        let is = self.shared.hasher.is(password, phc).await?;
        match account {
            Some(account) if is && !account.disabled => Ok(signed_in(&account)),
            _ => Err(AccountsError::PasswordWrong),
        }
    }

    /// Makes a token for a script. The secret is given here and never again: not when a request id is repeated.
    ///
    /// # Errors
    /// See [`token::check_new`]; [`AccountsError::RequestIdReused`]; [`AccountsError::Limit`].
    pub async fn create_token(
        &self,
        new: NewToken,
        maker: &Authenticated,
        now: UtcInstant,
        request_id: Option<RequestId>,
    ) -> Result<MadeToken, AccountsError> {
        token::check_new(&new, maker, now)?;
        let account = match maker.caller.id {
            CallerId::Account(id) => Some(id),
            _ => maker.account,
        };
        self.insert_token(new, Maker::Caller(maker.caller.id), account, now, request_id).await
    }

    /// Makes the administrator's token that the data folder holds, and withdraws the one before it.
    pub(crate) async fn create_folder_token(
        &self,
        folder: FolderId,
        now: UtcInstant,
    ) -> Result<MadeToken, AccountsError> {
        let new = NewToken {
            display_name: "admin.token in the data folder".into(),
            role: Role::Admin,
            scopes: Scope::all().filter_map(|scope| Scope::new(scope).ok()).collect::<BTreeSet<Scope>>(),
            expire: now.after(token::lifetime()),
        };
        self.insert_token(new, Maker::Folder(folder), None, now, None).await
    }

    async fn insert_token(
        &self,
        new: NewToken,
        maker: Maker,
        account: Option<AccountId>,
        now: UtcInstant,
        request_id: Option<RequestId>,
    ) -> Result<MadeToken, AccountsError> {
        const METHOD: &str = "CreateToken";
        let secret = TokenSecret::generate()?;
        let request_sha256 = new.sha256(maker);
        let token = Token {
            id: secret.id,
            display_name: new.display_name,
            role: new.role,
            scopes: new.scopes,
            maker,
            account,
            created: now,
            expire: new.expire,
            revoke: None,
            last_used: None,
        };
        self.write(move |mut tx: Tx| async move {
            if let Some(before) = recall(&mut tx, METHOD, request_id, &request_sha256).await? {
                let id = TokenId::from_bytes(before);
                let token = store::token(&mut tx, id).await?;
                let token = token.ok_or(AccountsError::NotFound { name: id.name() })?;
                return Ok((tx, MadeToken { token, secret: None }));
            }
            if let Maker::Folder(folder) = maker {
                store::revoke_folder_tokens(&mut tx, folder, now).await?;
            }
            at_most("tokens", store::count_tokens(&mut tx, now).await?, limits::TOKENS)?;
            store::insert_token(&mut tx, &token, &secret.sha256()).await?;
            remember(&mut tx, METHOD, request_id, &request_sha256, token.id.as_bytes(), now).await?;
            Ok((tx, MadeToken { token, secret: Some(secret.text()) }))
        })
        .await
    }

    /// Tokens, newest first, without secrets.
    ///
    /// # Errors
    /// [`AccountsError::Asked`].
    pub async fn list_tokens(&self, page_size: i32, page_token: &str) -> Result<Page<Token>, AccountsError> {
        const LIST: &str = "tokens";
        let size = page::size(page_size).map_err(AccountsError::Asked)?;
        let key = page::key(LIST, page_token).map_err(AccountsError::Asked)?;
        let (created, id) = match key {
            None => (UtcInstant::from_micros(i64::MAX), [u8::MAX; 16]),
            Some(key) => token_key(&key).ok_or_else(bad_page_token)?,
        };
        let mut tx = self.shared.db.read().await?;
        let items = store::tokens_before(&mut tx, created, id, size + 1).await?;
        Ok(paged(items, size, |last| {
            page::token(LIST, &[&last.created.micros().to_be_bytes()[..], last.id.as_bytes()].concat())
        }))
    }

    /// Withdraws a token, at once in this process. One that is withdrawn already stays so.
    ///
    /// # Errors
    /// [`AccountsError::NotFound`].
    pub async fn revoke_token(&self, id: TokenId, now: UtcInstant) -> Result<Token, AccountsError> {
        self.write(move |mut tx: Tx| async move {
            store::revoke_token(&mut tx, id, now).await?;
            let token = store::token(&mut tx, id).await?;
            Ok((tx, token.ok_or(AccountsError::NotFound { name: id.name() })?))
        })
        .await
    }

    /// What somebody who shows this token may do at `now`.
    ///
    /// # Errors
    /// [`AccountsError::TokenUnknown`], [`AccountsError::TokenExpired`], [`AccountsError::TokenRevoked`].
    pub async fn authenticate_token(
        &self,
        text: &str,
        now: UtcInstant,
    ) -> Result<Authenticated, AccountsError> {
        let secret = TokenSecret::parse(text)?;
        let stored = self.stored(secret.id).await?.ok_or(AccountsError::TokenUnknown)?;
        if !secret.is(&stored.sha256) {
            return Err(AccountsError::TokenUnknown);
        }
        let standing = token::standing(&stored.token, stored.account, now)?;
        self.note_use(&stored.token, now).await;
        Ok(standing)
    }

    /// Whether somebody who was let in before still is, and how.
    ///
    /// # Errors
    /// As [`Accounts::authenticate_token`]; a terminal always is (its certificate is the server's matter).
    pub async fn standing(&self, caller: &Caller, now: UtcInstant) -> Result<Authenticated, AccountsError> {
        match caller.id {
            CallerId::Token(id) => {
                let stored = self.stored(id).await?.ok_or(AccountsError::TokenUnknown)?;
                token::standing(&stored.token, stored.account, now)
            }
            CallerId::Account(id) => {
                let account = self.account(id).await?;
                if account.disabled { Err(AccountsError::TokenRevoked) } else { Ok(signed_in(&account)) }
            }
            CallerId::Terminal(_) => Ok(Authenticated {
                caller: *caller,
                display_name: String::new(),
                scopes: None,
                expire: None,
                account: None,
            }),
        }
    }

    async fn stored(&self, id: TokenId) -> Result<Option<Arc<StoredToken>>, AccountsError> {
        let changes = {
            let cache = self.cache();
            if let Some((read, stored)) = cache.found.get(&id)
                && read.elapsed() < Duration::from_millis(limits::TOKEN_CACHE_MS)
            {
                return Ok(Some(Arc::clone(stored)));
            }
            cache.changes
        };
        let read = Instant::now();
        let mut tx = self.shared.db.read().await?;
        let Some(stored) = store::token_to_judge(&mut tx, id).await?.map(Arc::new) else { return Ok(None) };
        let mut cache = self.cache();
        if cache.changes == changes {
            if cache.found.len() >= limits::TOKEN_CACHE {
                cache.found.clear();
            }
            cache.found.insert(id, (read, Arc::clone(&stored)));
        }
        Ok(Some(stored))
    }

    /// Writes down that the token was used in this hour, once. That it could not be is no reason to refuse the call.
    async fn note_use(&self, token: &Token, now: UtcInstant) {
        let (id, hour) = (token.id, token::hour(now));
        let new = {
            let mut cache = self.cache();
            if cache.hour != Some(hour) {
                cache.hour = Some(hour);
                cache.noted.clear();
            }
            cache.noted.insert(id)
        };
        if !new || token.last_used == Some(hour) {
            return;
        }
        let noted = self.write(move |mut tx: Tx| async move {
            store::set_last_used(&mut tx, id, hour).await?;
            Ok((tx, ()))
        });
        if let Err(error) = noted.await {
            tracing::warn!(token = %id, %error, "the use of a token was not noted");
        }
    }

    /// Runs a transaction to its end and forgets what was found out before it.
    async fn write<T, B, F>(&self, body: B) -> Result<T, AccountsError>
    where
        T: Send + 'static,
        B: FnOnce(Tx) -> F + Send + 'static,
        F: Future<Output = Result<(Tx, T), AccountsError>> + Send,
    {
        let shared = Arc::clone(&self.shared);
        self.shared
            .writes
            .run(async move {
                let (tx, done) = body(shared.db.write().await?).await?;
                let committed = tx.commit().await;
                // Also when it is not known whether it was committed.
                shared.cache().forget();
                committed?;
                Ok(done)
            })
            .await
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.shared.cache()
    }
}

impl Shared {
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    fn forget(&mut self) {
        self.changes += 1;
        self.found.clear();
    }
}

/// The id of what this request made before.
async fn recall(
    tx: &mut Tx,
    method: &'static str,
    request_id: Option<RequestId>,
    sha256: &[u8; 32],
) -> Result<Option<[u8; 16]>, AccountsError> {
    let Some(request_id) = request_id else { return Ok(None) };
    let before = requests::recall(tx, method, request_id, sha256).await.map_err(|error| match error {
        RequestError::Reused => AccountsError::RequestIdReused,
        RequestError::Store(error) => error.into(),
    })?;
    before.map(|bytes| bytes.as_slice().try_into().map_err(|_| store::damaged("request").into())).transpose()
}

async fn remember(
    tx: &mut Tx,
    method: &'static str,
    request_id: Option<RequestId>,
    sha256: &[u8; 32],
    made: &[u8],
    now: UtcInstant,
) -> Result<(), AccountsError> {
    match request_id {
        Some(id) => Ok(requests::remember(tx, method, id, sha256, made, now).await?),
        None => Ok(()),
    }
}

fn signed_in(account: &Account) -> Authenticated {
    Authenticated {
        caller: Caller { id: CallerId::Account(account.id), role: account.role },
        display_name: account.display_name.clone(),
        scopes: None,
        expire: None,
        account: Some(account.id),
    }
}

fn at_most(what: &'static str, there: i64, limit: usize) -> Result<(), AccountsError> {
    match usize::try_from(there) {
        Ok(there) if there < limit => Ok(()),
        _ => Err(AccountsError::Limit { what, limit }),
    }
}

/// Two that are made at once on PostgreSQL.
fn login_taken(error: StoreError) -> AccountsError {
    match error {
        StoreError::Conflict { .. } => AccountsError::LoginTaken,
        error => error.into(),
    }
}

fn bad_page_token() -> AccountsError {
    AccountsError::Asked(Fault::new(
        Reason::PageTokenInvalid,
        "page_token is not one of this list; begin again without one",
    ))
}

fn token_key(key: &[u8]) -> Option<(UtcInstant, [u8; 16])> {
    let (created, id) = key.split_at_checked(8)?;
    let created = i64::from_be_bytes(created.try_into().ok()?);
    Some((UtcInstant::from_micros(created), id.try_into().ok()?))
}

/// A page of `size` of which one more was asked for.
fn paged<T>(mut items: Vec<T>, size: usize, token: impl Fn(&T) -> String) -> Page<T> {
    let more = items.len() > size;
    items.truncate(size);
    let next = if more { items.last().map(token).unwrap_or_default() } else { String::new() };
    Page { items, next }
}
