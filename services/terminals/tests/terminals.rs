//! The service on both engines, with a device that writes down what it is told.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use rollcall_core::{GroupId, Hours, PersonId, Reason, TerminalId, Weekdays};
use rollcall_proto::v1;
use rollcall_proto::v1::terminal_service_server::TerminalService as _;
use rollcall_terminals::{
    AccessRule, Grpc, Identity, Lockdown, MIGRATIONS, Settings, SettingsField, WithoutClock,
};
use support::{Fake, open, reason, request, settings};
use tokio_stream::StreamExt as _;
use tonic::Request;

rollcall_store::both_engines! {
    migrations = &[MIGRATIONS];

    async fn a_terminal_is_the_same_after_a_restart_and_notices_another_machine(db: Db) {
        let first = Identity::open(&db, "a machine", &settings()).await.unwrap();
        let again = Identity::open(&db, "a machine", &settings()).await.unwrap();
        assert_eq!(first, again);
        let moved = Identity::open(&db, "another", &settings()).await.unwrap();
        assert!(moved.moved && moved.terminal == first.terminal);
        let silent = Identity::open(&db, "", &settings()).await.unwrap();
        assert!(!silent.moved, "a machine that does not say who it is is not another");
    }

    async fn each_change_of_settings_is_obeyed_once_and_in_order(db: Db) {
        let device = Fake::default();
        let terminals = open(&db, device.clone()).await;
        let id = terminals.identity().terminal;
        terminals.catch_up().await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for n in 1..=9 {
            let terminals = terminals.clone();
            tasks.spawn(async move {
                let wanted = Settings { display_name: format!("Gate {n}"), ..settings() };
                let mask = vec![SettingsField::DisplayName];
                terminals.update(id, wanted, mask, String::new(), "tokens/x".into()).await.unwrap();
            });
        }
        tasks.join_all().await;
        assert_eq!(*device.obeyed.lock().unwrap(), (1..=10).collect::<Vec<_>>());
        terminals.catch_up().await.unwrap();
        assert_eq!(device.obeyed.lock().unwrap().len(), 10, "nothing is left to obey");
    }

    async fn settings_that_the_log_could_not_be_told_of_are_obeyed_after_the_next_start(db: Db) {
        let device = Fake::default();
        let terminals = open(&db, device.clone()).await;
        terminals.catch_up().await.unwrap();
        let id = terminals.identity().terminal;
        *device.broken.lock().unwrap() = true;
        let wanted = Settings { keep_pictures: true, ..settings() };
        let mask = vec![SettingsField::KeepPictures];
        let error = terminals.update(id, wanted, mask, String::new(), "tokens/x".into()).await.unwrap_err();
        assert_eq!(error.fault().reason, Reason::Unavailable);
        *device.broken.lock().unwrap() = false;
        let restarted = open(&db, device.clone()).await;
        restarted.catch_up().await.unwrap();
        assert_eq!(*device.obeyed.lock().unwrap(), [1, 2]);
        assert!(restarted.settings(id).await.unwrap().settings.keep_pictures);
    }

    async fn the_file_counts_when_it_was_edited_and_the_api_otherwise(db: Db) {
        let terminals = open(&db, Fake::default()).await;
        let mut said = std::collections::BTreeMap::from([("name".to_owned(), "Gate A".to_owned())]);
        assert_eq!(terminals.news(&said).await.unwrap(), ["name"]);
        terminals.remember(said.clone()).await.unwrap();
        assert!(terminals.news(&said).await.unwrap().is_empty());
        said.insert("name".into(), "Gate B".into());
        assert_eq!(terminals.news(&said).await.unwrap(), ["name"]);
    }

    async fn a_lone_terminal_lists_itself_and_knows_no_other(db: Db) {
        let terminals = open(&db, Fake::default()).await;
        let name = terminals.identity().terminal.name();
        let grpc = Grpc::new(terminals, "1.2.3");
        let list = grpc.list_terminals(request(v1::ListTerminalsRequest::default())).await.unwrap().into_inner();
        let [terminal] = &list.terminals[..] else { panic!("{list:?}") };
        assert_eq!((&terminal.name, terminal.display_name.as_str()), (&name, "Gate A"));
        let one = grpc.get_terminal(request(v1::GetTerminalRequest { name })).await.unwrap();
        assert_eq!(one.get_ref(), terminal);
        let other = TerminalId::generate().name();
        let refused = grpc.get_terminal(request(v1::GetTerminalRequest { name: other })).await.unwrap_err();
        assert_eq!(reason(&refused), "NOT_FOUND");
        let wrong = v1::GetTerminalRequest { name: "people/1".into() };
        assert_eq!(reason(&grpc.get_terminal(request(wrong)).await.unwrap_err()), "FIELD_INVALID");
        let token = v1::ListTerminalsRequest { page_size: 0, page_token: "x".into() };
        assert_eq!(reason(&grpc.list_terminals(request(token)).await.unwrap_err()), "PAGE_TOKEN_INVALID");
    }

    async fn settings_over_the_api_have_masks_etags_and_revisions(db: Db) {
        let device = Fake::default();
        let terminals = open(&db, device.clone()).await;
        let terminal = terminals.identity().terminal.name();
        let grpc = Grpc::new(terminals, "1.2.3");
        let get = || grpc.get_terminal_settings(request(v1::GetTerminalSettingsRequest { terminal: terminal.clone() }));
        let before = get().await.unwrap().into_inner();
        let update = |settings, paths: &[&str]| {
            let update_mask = Some(prost_types::FieldMask { paths: paths.iter().map(|p| (*p).to_owned()).collect() });
            let settings = Some(settings);
            request(v1::UpdateTerminalSettingsRequest { terminal: terminal.clone(), settings, update_mask })
        };
        let wanted = v1::TerminalSettings { fpir_target: 0.01, display_name: "x".into(), ..before.clone() };
        let after = grpc.update_terminal_settings(update(wanted.clone(), &["fpir_target"])).await.unwrap().into_inner();
        assert_eq!((after.revision, after.display_name.as_str(), after.fpir_target), (2, "Gate A", 0.01));
        assert_eq!(get().await.unwrap().into_inner(), after);
        for (settings, paths, expected) in [
            (wanted.clone(), vec!["fpir_target"], "ETAG_MISMATCH"),
            (v1::TerminalSettings { etag: String::new(), ..wanted.clone() }, vec!["nonsense"], "UPDATE_MASK_INVALID"),
            (v1::TerminalSettings { fpir_target: 1.0, etag: String::new(), ..wanted }, vec!["*"], "FIELD_INVALID"),
        ] {
            let status = grpc.update_terminal_settings(update(settings, &paths)).await.unwrap_err();
            assert_eq!(reason(&status), expected);
        }
        assert_eq!(*device.obeyed.lock().unwrap(), [2]);
    }

    async fn access_rules_are_kept_in_their_order_and_replaced_whole(db: Db) {
        let terminals = open(&db, Fake::default()).await;
        let id = terminals.identity().terminal;
        let rule = |day: i32, groups| AccessRule {
            groups,
            weekdays: Weekdays::from_iso(&[day]).unwrap(),
            hours: Hours::from_seconds(79_200, 21_600).unwrap(),
            on_holidays: day == 7,
        };
        let access_rules = vec![rule(7, vec![GroupId::generate(), GroupId::generate()]), rule(1, Vec::new())];
        let wanted = Settings { access_rules, without_clock: WithoutClock::Refuse, ..settings() };
        let before = terminals.settings(id).await.unwrap();
        let mask = vec![SettingsField::AccessRules];
        let update = |wanted: &Settings, mask: &[SettingsField]| {
            terminals.update(id, wanted.clone(), mask.to_vec(), String::new(), "tokens/x".into())
        };
        let after = update(&wanted, &mask).await.unwrap();
        assert_eq!(after.settings, Settings { without_clock: WithoutClock::Allow, ..wanted.clone() });
        assert!(after.revision == 2 && after.sha256() != before.sha256());
        assert_eq!(update(&wanted, &mask).await.unwrap(), after, "no change is no revision");
        let all = update(&wanted, &SettingsField::ALL).await.unwrap();
        assert_eq!((all.revision, &all.settings), (3, &wanted));
        let restarted = open(&db, Fake::default()).await;
        assert_eq!(restarted.settings(id).await.unwrap(), all);
        let none = update(&settings(), &SettingsField::ALL).await.unwrap();
        assert_eq!((none.revision, none.sha256()), (4, before.sha256()));
        assert_eq!(restarted.settings(id).await.unwrap(), none);
    }

    async fn a_lockdown_is_told_once_in_force_at_once_and_survives_a_restart(db: Db) {
        let device = Fake::default();
        let terminals = open(&db, device.clone()).await;
        let id = terminals.identity().terminal;
        assert_eq!(terminals.lockdown(), Lockdown::default());
        let mut watch = terminals.watch_lockdown();
        let group = GroupId::generate();
        let set = |is_on, exempt| terminals.set_lockdown(id, is_on, exempt, "tokens/x".into());
        set(false, vec![]).await.unwrap();
        assert!(device.locked.lock().unwrap().is_empty() && !watch.has_changed().unwrap(), "it was not on");
        let first = set(true, vec![group]).await.unwrap();
        assert!(watch.has_changed().unwrap() && watch.borrow_and_update().is_on);
        assert_eq!(set(true, vec![group, group]).await.unwrap(), first, "the same again is the first");
        assert_eq!(*device.locked.lock().unwrap(), std::slice::from_ref(&first));
        assert_eq!((first.by.as_str(), &first.exempt[..]), ("tokens/x", &[group][..]));

        let restarted = open(&db, device.clone()).await;
        assert_eq!(restarted.lockdown(), first);
        assert_eq!(restarted.status(id).await.unwrap().lockdown, first);
        restarted.catch_up().await.unwrap();
        assert_eq!(device.locked.lock().unwrap().len(), 1, "the log was told");

        let nobody = restarted.set_lockdown(id, true, vec![], "accounts/y".into()).await.unwrap();
        assert!(nobody.exempt.is_empty());
        let over = restarted.set_lockdown(id, false, vec![], "accounts/y".into()).await.unwrap();
        assert_eq!(*device.locked.lock().unwrap(), [first, nobody, over.clone()]);
        assert_eq!(open(&db, device).await.lockdown(), over);
    }

    async fn a_lockdown_that_the_log_could_not_be_told_of_is_in_force_and_told_after_the_next_start(db: Db) {
        let device = Fake::default();
        let terminals = open(&db, device.clone()).await;
        let id = terminals.identity().terminal;
        *device.broken.lock().unwrap() = true;
        let error = terminals.set_lockdown(id, true, vec![], "tokens/x".into()).await.unwrap_err();
        assert_eq!(error.fault().reason, Reason::Unavailable);
        assert!(terminals.lockdown().is_on);
        *device.broken.lock().unwrap() = false;
        let restarted = open(&db, device.clone()).await;
        assert!(restarted.lockdown().is_on);
        restarted.catch_up().await.unwrap();
        restarted.catch_up().await.unwrap();
        assert_eq!(*device.locked.lock().unwrap(), [restarted.lockdown()]);
    }

    async fn a_lockdown_over_the_api_says_who_asked_and_is_in_the_status(db: Db) {
        let terminals = open(&db, Fake::default()).await;
        let name = terminals.identity().terminal.name();
        let grpc = Grpc::new(terminals, "1.2.3");
        let group = GroupId::generate().name();
        let ask = v1::SetLockdownRequest { terminal: name.clone(), lockdown: true, exempt_groups: vec![group] };
        let on = grpc.set_lockdown(request(ask.clone())).await.unwrap().into_inner();
        assert!(on.lockdown && on.by.starts_with("tokens/") && on.change_time.is_some());
        assert_eq!(on.exempt_groups, ask.exempt_groups);
        let status = grpc.get_terminal_status(request(v1::GetTerminalStatusRequest { name })).await.unwrap();
        assert_eq!(status.into_inner().lockdown, Some(on));
        for (wrong, expected) in [
            (v1::SetLockdownRequest { lockdown: false, ..ask.clone() }, "FIELD_INVALID"),
            (v1::SetLockdownRequest { exempt_groups: vec!["people/1".into()], ..ask.clone() }, "FIELD_INVALID"),
            (v1::SetLockdownRequest { terminal: TerminalId::generate().name(), ..ask }, "NOT_FOUND"),
        ] {
            assert_eq!(reason(&grpc.set_lockdown(request(wrong)).await.unwrap_err()), expected);
        }
    }

    async fn an_enrolment_at_the_camera_is_told_as_it_goes(db: Db) {
        let grpc = Grpc::new(open(&db, Fake::default()).await, "1.0");
        let terminals = grpc.list_terminals(request(v1::ListTerminalsRequest::default())).await.unwrap();
        let terminal = terminals.into_inner().terminals.remove(0).name;
        let enrol = |terminal: &str, person: &str| {
            request(v1::EnrolAtCameraRequest {
                terminal: terminal.into(),
                person: person.into(),
                accept_look_alike: false,
            })
        };
        let (without, with) =
            (PersonId::from_bytes([1; 16]).name(), PersonId::from_bytes([2; 16]).name());
        let other = TerminalId::generate().name();
        for (terminal, person, expected) in [
            (terminal.as_str(), "people/1", "FIELD_INVALID"),
            ("terminals/1", with.as_str(), "FIELD_INVALID"),
            (other.as_str(), with.as_str(), "NOT_FOUND"),
            (terminal.as_str(), without.as_str(), "CONSENT_MISSING"),
        ] {
            let refused = grpc.enrol_at_camera(enrol(terminal, person)).await.err().unwrap();
            assert_eq!(reason(&refused), expected);
        }
        let told = grpc.enrol_at_camera(enrol(&terminal, &with)).await.unwrap().into_inner();
        let told: Vec<_> = told.collect().await;
        assert_eq!(told[0].as_ref().unwrap().pictures_wanted, 5);
        assert_eq!(reason(told[1].as_ref().unwrap_err()), "DEADLINE_EXCEEDED");
    }

    async fn a_terminal_without_a_door_says_so_and_adoption_is_the_hubs(db: Db) {
        let terminals = open(&db, Fake::default()).await;
        let name = terminals.identity().terminal.name();
        let grpc = Grpc::new(terminals, "1.2.3");
        let open = v1::OpenDoorRequest { name: name.clone() };
        assert_eq!(reason(&grpc.open_door(request(open.clone())).await.unwrap_err()), "HARDWARE_ABSENT");
        assert_eq!(reason(&grpc.open_door(Request::new(open)).await.unwrap_err()), "INTERNAL");
        let status = grpc.get_terminal_status(request(v1::GetTerminalStatusRequest { name })).await.unwrap();
        let status = status.into_inner();
        assert_eq!((status.people, status.templates, status.events_in_log), (2, 3, 5));
        assert!(status.disk_size_bytes > 0 && status.last_recognition_time.is_none());
        for refused in [
            grpc.list_adoption_requests(request(Default::default())).await.map(drop),
            grpc.adopt_terminal(request(Default::default())).await.map(drop),
            grpc.create_adoption_token(request(Default::default())).await.map(drop),
            grpc.revoke_terminal(request(Default::default())).await.map(drop),
        ] {
            assert_eq!(reason(&refused.unwrap_err()), "NOT_SERVED_HERE");
        }
    }
}
