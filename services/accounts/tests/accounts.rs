//! Accounts and tokens, on both engines.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rollcall_accounts::{
    Account, AccountChange, Accounts, AccountsError, Authenticated, Login, MIGRATIONS, NewAccount, NewToken,
    Password, Scope,
};
use rollcall_core::{Caller, CallerId, Reason, Role, TokenId, UtcInstant};
use rollcall_store::requests::{self, RequestId};
use rollcall_store::{Db, Writes, both_engines, on};

const DAY: Duration = Duration::from_secs(86_400);

fn now() -> UtcInstant {
    UtcInstant::from_micros(1_800_000_000_000_000)
}

fn accounts(db: &Db) -> Accounts {
    Accounts::new(db.clone(), Writes::new())
}

fn new_account(login: &str, role: Role) -> NewAccount {
    NewAccount {
        login: Login::new(login).unwrap(),
        display_name: format!("{login}'s name"),
        role,
        password: None,
    }
}

async fn account(accounts: &Accounts, login: &str, role: Role) -> Account {
    accounts.create_account(new_account(login, role), None, now()).await.unwrap()
}

fn who(account: &Account) -> Authenticated {
    Authenticated {
        caller: Caller { id: CallerId::Account(account.id), role: account.role },
        display_name: account.display_name.clone(),
        scopes: None,
        expire: None,
        account: Some(account.id),
    }
}

fn new_token(role: Role, scopes: &[&str]) -> NewToken {
    NewToken {
        display_name: "a script".into(),
        role,
        scopes: scopes.iter().map(|scope| Scope::new(scope).unwrap()).collect(),
        expire: now().after(DAY),
    }
}

async fn token(accounts: &Accounts, maker: &Authenticated, new: NewToken) -> (TokenId, String) {
    let made = accounts.create_token(new, maker, now(), None).await.unwrap();
    (made.token.id, made.secret.unwrap().to_string())
}

fn reason<T>(result: Result<T, AccountsError>) -> Reason {
    result.err().expect("a refusal").fault().reason
}

fn request_id(last: u8) -> Option<RequestId> {
    RequestId::parse(&format!("0193a5c0-0000-7000-8000-0000000000{last:02x}")).unwrap()
}

both_engines! {
    migrations = &[MIGRATIONS, requests::MIGRATIONS];

    async fn a_login_is_taken_whatever_its_capitals(db: Db) {
        let accounts = accounts(&db);
        account(&accounts, "Đặng.Lan", Role::Office).await;
        let again = accounts.create_account(new_account("đặng.LAN", Role::Viewer), None, now()).await;
        assert_eq!(reason(again), Reason::AlreadyExists);
    }

    async fn accounts_are_listed_by_login_page_by_page(db: Db) {
        let accounts = accounts(&db);
        for login in ["carla", "Anna", "bert", "Émile", "dora"] {
            account(&accounts, login, Role::Teacher).await;
        }
        let mut logins = Vec::new();
        let mut token = String::new();
        loop {
            let page = accounts.list_accounts(2, &token).await.unwrap();
            logins.extend(page.items.iter().map(|account| account.login.as_str().to_owned()));
            token = page.next;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(logins, ["Anna", "bert", "carla", "dora", "Émile"]);
        assert_eq!(reason(accounts.list_accounts(2, "garbage").await), Reason::PageTokenInvalid);
        assert_eq!(reason(accounts.list_accounts(-1, "").await), Reason::FieldInvalid);
    }

    async fn an_account_is_changed_only_as_it_was_read(db: Db) {
        let accounts = accounts(&db);
        let before = account(&accounts, "anna", Role::Teacher).await;
        let change = |etag: &str| AccountChange {
            display_name: Some("New".into()),
            etag: Some(etag.to_owned()),
            ..AccountChange::default()
        };
        let after = accounts.update_account(before.id, change(&before.etag())).await.unwrap();
        assert_eq!((after.display_name.as_str(), after.role), ("New", Role::Teacher));
        assert_eq!(reason(accounts.update_account(before.id, change(&before.etag())).await), Reason::EtagMismatch);
        assert_eq!(accounts.account(before.id).await.unwrap(), after);
    }

    async fn the_last_administrator_stays_one(db: Db) {
        let accounts = accounts(&db);
        let first = account(&accounts, "first", Role::Admin).await;
        let disable = AccountChange { disabled: Some(true), ..AccountChange::default() };
        let demote = AccountChange { role: Some(Role::Office), ..AccountChange::default() };
        for change in [&disable, &demote] {
            let refused = accounts.update_account(first.id, change.clone()).await;
            assert_eq!(reason(refused), Reason::StateForbids);
        }
        let second = account(&accounts, "second", Role::Admin).await;
        accounts.update_account(first.id, disable.clone()).await.unwrap();
        assert_eq!(reason(accounts.update_account(second.id, disable).await), Reason::StateForbids);
    }

    async fn two_administrators_who_disable_each_other_at_once_leave_one(db: Db) {
        let accounts = accounts(&db);
        let (a, b) = (account(&accounts, "a", Role::Admin).await, account(&accounts, "b", Role::Admin).await);
        let disable = || AccountChange { disabled: Some(true), ..AccountChange::default() };
        let (first, second) =
            tokio::join!(accounts.update_account(a.id, disable()), accounts.update_account(b.id, disable()));
        assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    }

    async fn a_token_is_known_until_its_time_is_over(db: Db) {
        let accounts = accounts(&db);
        let maker = who(&account(&accounts, "anna", Role::Admin).await);
        let (id, secret) = token(&accounts, &maker, new_token(Role::Office, &["gallery.read"])).await;
        let known = accounts.authenticate_token(&secret, now()).await.unwrap();
        assert_eq!(known.caller, Caller { id: CallerId::Token(id), role: Role::Office });
        assert!(known.has_scope("gallery.read") && !known.has_scope("gallery.write"));
        let last = now().after(DAY - Duration::from_micros(1));
        accounts.authenticate_token(&secret, last).await.unwrap();
        assert_eq!(reason(accounts.authenticate_token(&secret, now().after(DAY)).await), Reason::TokenExpired);
    }

    async fn what_is_not_a_token_of_this_site_is_refused(db: Db) {
        let accounts = accounts(&db);
        let maker = who(&account(&accounts, "anna", Role::Admin).await);
        let (_, secret) = token(&accounts, &maker, new_token(Role::Office, &["gallery.read"])).await;
        let (_, other) = token(&accounts, &maker, new_token(Role::Office, &["gallery.read"])).await;
        // The id of one with the secret of another: 16 bytes are 21 characters and a third.
        let mixed = format!("{}{}", &secret[..26], &other[26..]);
        let mut wrong = vec![String::new(), "rct_".into(), mixed, secret[..67].into(), format!("{secret}A")];
        wrong.extend([secret.to_uppercase(), secret.replace("rct_", "xxx_"), format!(" {secret}"), "é".repeat(34)]);
        for text in wrong {
            let refused = accounts.authenticate_token(&text, now()).await;
            assert_eq!(reason(refused), Reason::CredentialsInvalid);
        }
    }

    async fn a_revoked_token_is_refused_at_once(db: Db) {
        let accounts = accounts(&db);
        let maker = who(&account(&accounts, "anna", Role::Admin).await);
        let (id, secret) = token(&accounts, &maker, new_token(Role::Office, &["gallery.read"])).await;
        accounts.authenticate_token(&secret, now()).await.unwrap();
        let revoked = accounts.revoke_token(id, now()).await.unwrap();
        assert_eq!(revoked.revoke, Some(now()));
        assert_eq!(reason(accounts.authenticate_token(&secret, now()).await), Reason::TokenRevoked);
        let again = accounts.revoke_token(id, now().after(DAY)).await.unwrap();
        assert_eq!(again.revoke, Some(now()), "the first time counts");
        assert_eq!(reason(accounts.revoke_token(TokenId::generate(), now()).await), Reason::NotFound);
    }

    async fn an_account_that_loses_its_rights_takes_them_from_its_tokens_and_theirs(db: Db) {
        let accounts = accounts(&db);
        account(&accounts, "other", Role::Admin).await;
        let anna = account(&accounts, "anna", Role::Admin).await;
        let (_, first) = token(&accounts, &who(&anna), new_token(Role::Admin, &["accounts.manage"])).await;
        let maker = accounts.authenticate_token(&first, now()).await.unwrap();
        let (_, second) = token(&accounts, &maker, new_token(Role::Admin, &["accounts.manage"])).await;
        let demote = AccountChange { role: Some(Role::Teacher), ..AccountChange::default() };
        accounts.update_account(anna.id, demote).await.unwrap();
        for secret in [&first, &second] {
            let known = accounts.authenticate_token(secret, now()).await.unwrap();
            assert_eq!(known.caller.role, Role::Teacher);
        }
        let disable = AccountChange { disabled: Some(true), ..AccountChange::default() };
        accounts.update_account(anna.id, disable).await.unwrap();
        for secret in [&first, &second] {
            assert_eq!(reason(accounts.authenticate_token(secret, now()).await), Reason::TokenRevoked);
        }
    }

    async fn a_token_may_do_no_more_than_its_maker(db: Db) {
        let accounts = accounts(&db);
        let office = account(&accounts, "office", Role::Office).await;
        let (_, secret) = token(&accounts, &who(&office), new_token(Role::Office, &["gallery.read"])).await;
        let script = accounts.authenticate_token(&secret, now()).await.unwrap();
        let later = NewToken { expire: now().after(DAY * 2), ..new_token(Role::Office, &["gallery.read"]) };
        let cases = [
            (who(&office), new_token(Role::Admin, &["gallery.read"]), Some(Reason::RoleForbids)),
            (who(&office), new_token(Role::Teacher, &["gallery.write"]), None),
            (script.clone(), new_token(Role::Viewer, &["gallery.read"]), None),
            (script.clone(), new_token(Role::Viewer, &["gallery.write"]), Some(Reason::ScopeMissing)),
            (script, later, Some(Reason::FieldInvalid)),
        ];
        for (maker, new, expected) in cases {
            let made = accounts.create_token(new, &maker, now(), None).await;
            assert_eq!(made.err().map(|error| error.fault().reason), expected);
        }
    }

    async fn a_token_needs_a_name_a_scope_and_an_end_within_two_years(db: Db) {
        let accounts = accounts(&db);
        let maker = who(&account(&accounts, "anna", Role::Admin).await);
        let fine = new_token(Role::Office, &["gallery.read"]);
        let two_years = now().after(DAY * 730);
        let cases = [
            (NewToken { expire: two_years, ..fine.clone() }, true),
            (NewToken { expire: two_years.after(Duration::from_micros(1)), ..fine.clone() }, false),
            (NewToken { expire: now(), ..fine.clone() }, false),
            (NewToken { display_name: String::new(), ..fine.clone() }, false),
            (NewToken { display_name: "a\nb".into(), ..fine.clone() }, false),
            (NewToken { scopes: std::collections::BTreeSet::new(), ..fine.clone() }, false),
            (NewToken { role: Role::Terminal, ..fine }, false),
        ];
        for (new, expected) in cases {
            let made = accounts.create_token(new.clone(), &maker, now(), None).await;
            assert_eq!(made.is_ok(), expected, "{new:?}");
        }
        assert!(Scope::new("everything").is_err());
    }

    async fn a_repeated_request_makes_one_token_and_tells_its_secret_once(db: Db) {
        let accounts = accounts(&db);
        let maker = who(&account(&accounts, "anna", Role::Admin).await);
        let new = || new_token(Role::Office, &["gallery.read"]);
        let first = accounts.create_token(new(), &maker, now(), request_id(1)).await.unwrap();
        let again = accounts.create_token(new(), &maker, now(), request_id(1)).await.unwrap();
        assert_eq!(first.token, again.token);
        assert!(first.secret.is_some() && again.secret.is_none());
        let other = NewToken { display_name: "another".into(), ..new() };
        assert_eq!(reason(accounts.create_token(other, &maker, now(), request_id(1)).await), Reason::RequestIdReused);
        let anna = || new_account("berta", Role::Viewer);
        let first = accounts.create_account(anna(), request_id(1), now()).await.unwrap();
        assert_eq!(accounts.create_account(anna(), request_id(1), now()).await.unwrap(), first);
        let other = accounts.create_account(new_account("carla", Role::Viewer), request_id(1), now()).await;
        assert_eq!(reason(other), Reason::RequestIdReused);
    }

    async fn tokens_are_listed_newest_first_without_secrets(db: Db) {
        let accounts = accounts(&db);
        let maker = who(&account(&accounts, "anna", Role::Admin).await);
        let mut made = Vec::new();
        for second in 0..5 {
            let new = NewToken { expire: now().after(DAY), ..new_token(Role::Viewer, &["gallery.read"]) };
            let at = now().after(Duration::from_secs(second / 2));
            made.insert(0, accounts.create_token(new, &maker, at, None).await.unwrap().token.id);
        }
        let first = accounts.list_tokens(3, "").await.unwrap();
        let second = accounts.list_tokens(3, &first.next).await.unwrap();
        let ids: Vec<TokenId> = first.items.iter().chain(&second.items).map(|token| token.id).collect();
        assert_eq!((ids, second.next.as_str()), (made, ""));
    }

    async fn the_use_of_a_token_is_noted_to_the_hour(db: Db) {
        let accounts = accounts(&db);
        let maker = who(&account(&accounts, "anna", Role::Admin).await);
        let (_, secret) = token(&accounts, &maker, new_token(Role::Office, &["gallery.read"])).await;
        let used = async || accounts.list_tokens(0, "").await.unwrap().items[0].last_used;
        assert_eq!(used().await, None);
        accounts.authenticate_token(&secret, now().after(Duration::from_secs(59))).await.unwrap();
        assert_eq!(used().await, Some(now()), "2027-01-15 08:00:00");
        accounts.authenticate_token(&secret, now().after(Duration::from_secs(3_600))).await.unwrap();
        assert_eq!(used().await, Some(now().after(Duration::from_secs(3_600))));
    }

    async fn a_password_opens_its_own_account_while_that_is_enabled(db: Db) {
        let accounts = accounts(&db);
        let password = |text: &str| Password::new(text.to_owned()).unwrap();
        let new = NewAccount { password: Some(password("first password")), ..new_account("Anna", Role::Office) };
        let anna = accounts.create_account(new, None, now()).await.unwrap();
        let known = accounts.authenticate_password("ANNA", password("first password")).await.unwrap();
        assert_eq!(known.caller, Caller { id: CallerId::Account(anna.id), role: Role::Office });
        accounts.set_password(anna.id, password("second password")).await.unwrap();
        for (login, text) in [("anna", "first password"), ("nobody", "second password"), ("", "second password")] {
            let refused = accounts.authenticate_password(login, password(text)).await;
            assert_eq!(reason(refused), Reason::CredentialsInvalid, "{login}");
        }
        accounts.authenticate_password("anna", password("second password")).await.unwrap();
        let disable = AccountChange { disabled: Some(true), ..AccountChange::default() };
        accounts.update_account(anna.id, disable).await.unwrap();
        let refused = accounts.authenticate_password("anna", password("second password")).await;
        assert_eq!(reason(refused), Reason::CredentialsInvalid);
    }

    async fn the_database_has_neither_secrets_nor_passwords(db: Db) {
        let accounts = accounts(&db);
        let password = Password::new("a password to find".into()).unwrap();
        let new = NewAccount { password: Some(password), ..new_account("anna", Role::Admin) };
        let anna = accounts.create_account(new, request_id(1), now()).await.unwrap();
        let (id, secret) = token(&accounts, &who(&anna), new_token(Role::Office, &["gallery.read"])).await;
        let mut tx = db.read().await.unwrap();
        let kept: Vec<u8> = on!(tx, connection => {
            sqlx::query_scalar("select secret_sha256 from accounts_token where token_id = $1")
                .bind(id.as_bytes())
                .fetch_one(connection)
                .await
        })
        .unwrap();
        assert_eq!(kept.len(), 32);
        assert!(!secret.as_bytes().windows(8).any(|part| kept.windows(8).any(|other| other == part)));
        let phc: String = on!(tx, connection => {
            sqlx::query_scalar("select password_phc from accounts_account").fetch_one(connection).await
        })
        .unwrap();
        assert!(phc.starts_with("$argon2id$") && !phc.contains("a password to find"));
    }

    async fn the_folder_holds_an_administrators_token_and_a_lost_one_is_replaced(db: Db) {
        let accounts = accounts(&db);
        let folder = tempfile::tempdir().unwrap();
        let start = async |at: UtcInstant| {
            let path = accounts.bootstrap(folder.path(), at).await.unwrap();
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            std::fs::read_to_string(path).unwrap().trim().to_owned()
        };
        let first = start(now()).await;
        let known = accounts.authenticate_token(&first, now()).await.unwrap();
        assert_eq!(known.caller.role, Role::Admin);
        assert!(Scope::all().all(|scope| known.has_scope(scope)));
        assert_eq!(start(now().after(DAY * 699)).await, first, "it is kept");
        let renewed = start(now().after(DAY * 701)).await;
        assert_ne!(renewed, first, "30 days before its end");
        std::fs::remove_file(folder.path().join("admin.token")).unwrap();
        let second = start(now()).await;
        assert_eq!(reason(accounts.authenticate_token(&renewed, now()).await), Reason::TokenRevoked);
        std::fs::write(folder.path().join("admin.token"), b"\xff not a token").unwrap();
        let third = start(now()).await;
        assert_ne!(second, third);
        std::fs::set_permissions(folder.path().join("admin.token"), PermissionsExt::from_mode(0o644)).unwrap();
        let refused = accounts.bootstrap(folder.path(), now()).await.err().unwrap();
        assert!(refused.to_string().contains("chmod 600"), "{refused}");
    }

    async fn programs_over_one_database_have_a_folder_and_a_token_each(db: Db) {
        let accounts = accounts(&db);
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let start = async |folder: &tempfile::TempDir| {
            let path = accounts.bootstrap(folder.path(), now()).await.unwrap();
            std::fs::read_to_string(path).unwrap().trim().to_owned()
        };
        let (first, second) = (start(&folders[0]).await, start(&folders[1]).await);
        assert_ne!(first, second);
        std::fs::remove_file(folders[1].path().join("admin.token")).unwrap();
        start(&folders[1]).await;
        assert_eq!(start(&folders[0]).await, first, "the other folder's token is left alone");
        assert_eq!(reason(accounts.authenticate_token(&second, now()).await), Reason::TokenRevoked);
    }
}
