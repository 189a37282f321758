//! `TerminalService` of a hub.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::{Arc, Mutex};

use rollcall_core::{Fault, Reason, TerminalId, UtcInstant};
use rollcall_proto::v1;
use rollcall_proto::v1::terminal_service_server::TerminalService as _;
use rollcall_terminals::{
    Adopting, Answering, Asking, FLEET_MIGRATIONS, Fleet, FleetGrpc, MIGRATIONS, NewToken, Report,
    TerminalError,
};
use support::{adopted, fleet, reason, register, request, second};

/// Adopts whoever has the digits 123456.
struct FakeAdopting {
    fleet: Fleet,
    asking: Mutex<Vec<TerminalId>>,
}

impl Adopting for FakeAdopting {
    fn list(&self, _: UtcInstant) -> Answering<'_, Vec<Asking>> {
        let asking = self.asking.lock().unwrap().clone();
        let asking = asking.into_iter().map(|terminal| Asking {
            terminal,
            digits: "123456".into(),
            address: "192.0.2.7:50000".into(),
            since: second(1),
            display_name: "Gate A".into(),
            software: "1.2.3".into(),
            people: 20,
            events: 5_000,
        });
        Box::pin(std::future::ready(Ok(asking.collect())))
    }

    fn adopt(
        &self,
        terminal: TerminalId,
        display_name: String,
        digits: String,
        by: String,
        now: UtcInstant,
    ) -> Answering<'_, ()> {
        Box::pin(async move {
            if digits != "123456" {
                return Err(TerminalError::Refused(Fault::new(Reason::NotFound, "other digits are its own")));
            }
            let adopted = rollcall_terminals::Adopted { terminal, by, ..adopted(&display_name, 1) };
            self.fleet.register(adopted, now).await.map(|_| ())
        })
    }

    fn create_token(&self, display_name: String, _: String, now: UtcInstant) -> Answering<'_, NewToken> {
        Box::pin(std::future::ready(Ok(NewToken { text: format!("RT1.{display_name}"), expires: now })))
    }
}

rollcall_store::both_engines! {
    migrations = &[MIGRATIONS, FLEET_MIGRATIONS];

    async fn terminals_are_listed_with_page_tokens_of_this_list(db: Db) {
        let fleet = fleet(&db).await;
        for name in ["Yard", "Gate B", "Gate A"] {
            register(&fleet, name).await;
        }
        let grpc = FleetGrpc::new(fleet, None);
        let page = |page_size, page_token: &str| {
            let page_token = page_token.to_owned();
            grpc.list_terminals(request(v1::ListTerminalsRequest { page_size, page_token }))
        };
        let first = page(2, "").await.unwrap().into_inner();
        let last = page(2, &first.next_page_token).await.unwrap().into_inner();
        let names: Vec<String> =
            [first.terminals, last.terminals].concat().into_iter().map(|terminal| terminal.display_name).collect();
        assert_eq!(names, ["Gate A", "Gate B", "Yard"]);
        assert_eq!(last.next_page_token, "");
        assert_eq!(page(3, "").await.unwrap().into_inner().next_page_token, "", "there is no further page");
        for wrong in ["x", &rollcall_core::page::token("people", b"x"), &rollcall_core::page::token("terminals", b"x")] {
            assert_eq!(reason(&page(2, wrong).await.unwrap_err()), "PAGE_TOKEN_INVALID");
        }
    }

    async fn a_terminal_that_is_not_here_is_not_found_by_any_call(db: Db) {
        let grpc = FleetGrpc::new(fleet(&db).await, None);
        let name = TerminalId::generate().name();
        let settings = v1::TerminalSettings { display_name: "x".into(), direction: 1, ..Default::default() };
        let update_mask = Some(prost_types::FieldMask { paths: vec!["display_name".into()] });
        for refused in [
            grpc.get_terminal(request(v1::GetTerminalRequest { name: name.clone() })).await.map(drop),
            grpc.get_terminal_status(request(v1::GetTerminalStatusRequest { name: name.clone() })).await.map(drop),
            grpc.open_door(request(v1::OpenDoorRequest { name: name.clone() })).await.map(drop),
            grpc.set_lockdown(request(v1::SetLockdownRequest { terminal: name.clone(), ..Default::default() }))
                .await
                .map(drop),
            grpc.update_terminal_settings(request(v1::UpdateTerminalSettingsRequest {
                terminal: name.clone(),
                settings: Some(settings),
                update_mask,
            }))
            .await
            .map(drop),
            grpc.get_terminal_settings(request(v1::GetTerminalSettingsRequest { terminal: name.clone() }))
                .await
                .map(drop),
            grpc.enrol_at_camera(request(v1::EnrolAtCameraRequest { terminal: name.clone(), ..Default::default() }))
                .await
                .map(drop),
            grpc.revoke_terminal(request(v1::RevokeTerminalRequest { name })).await.map(drop),
        ] {
            assert_eq!(reason(&refused.unwrap_err()), "NOT_FOUND");
        }
    }

    async fn settings_and_lockdown_over_the_api_say_who_asked(db: Db) {
        let fleet = fleet(&db).await;
        let terminal = register(&fleet, "Gate A").await;
        let grpc = FleetGrpc::new(fleet.clone(), None);
        let name = terminal.name();
        let get = || grpc.get_terminal_settings(request(v1::GetTerminalSettingsRequest { terminal: name.clone() }));
        let before = get().await.unwrap().into_inner();
        let update = |settings, path: &str| {
            let update_mask = Some(prost_types::FieldMask { paths: vec![path.to_owned()] });
            let settings = Some(settings);
            let update = v1::UpdateTerminalSettingsRequest { terminal: name.clone(), settings, update_mask };
            grpc.update_terminal_settings(request(update))
        };
        let wanted = v1::TerminalSettings { fpir_target: 0.01, ..before };
        let after = update(wanted.clone(), "fpir_target").await.unwrap().into_inner();
        assert_eq!((after.revision, after.fpir_target), (2, 0.01));
        assert_eq!(get().await.unwrap().into_inner(), after);
        assert_eq!(reason(&update(wanted.clone(), "fpir_target").await.unwrap_err()), "ETAG_MISMATCH");
        assert_eq!(reason(&update(wanted, "nonsense").await.unwrap_err()), "UPDATE_MASK_INVALID");

        let ask = v1::SetLockdownRequest { terminal: name.clone(), lockdown: true, exempt_groups: vec![] };
        let on = grpc.set_lockdown(request(ask)).await.unwrap().into_inner();
        assert!(on.lockdown && on.by.starts_with("tokens/") && on.change_time.is_some());
        assert!(fleet.pulled(terminal).await.unwrap().lockdown().unwrap().is_on);
    }

    async fn a_status_is_what_the_terminal_last_said(db: Db) {
        let fleet = fleet(&db).await;
        let terminal = register(&fleet, "Gate A").await;
        let grpc = FleetGrpc::new(fleet.clone(), None);
        let get = || grpc.get_terminal_status(request(v1::GetTerminalStatusRequest { name: terminal.name() }));
        assert_eq!(reason(&get().await.unwrap_err()), "UNAVAILABLE");
        let status = v1::TerminalStatus { people: 20, ..Default::default() };
        let report = Report { status, settings_revision: 0, lockdown_asked_here: None };
        fleet.reported(terminal, report, second(12)).await.unwrap();
        assert_eq!(get().await.unwrap().into_inner().people, 20);
    }

    async fn an_enrolment_at_a_camera_is_begun_at_the_terminal(db: Db) {
        let fleet = fleet(&db).await;
        let terminal = register(&fleet, "Gate A").await.name();
        let grpc = FleetGrpc::new(fleet, None);
        let enrol = v1::EnrolAtCameraRequest { terminal, ..Default::default() };
        let refused = grpc.enrol_at_camera(request(enrol)).await.err().unwrap();
        assert_eq!(reason(&refused), "UNAVAILABLE");
        assert!(refused.message().contains("Gate A") && refused.message().contains("screen"));
    }

    async fn a_terminal_is_adopted_and_revoked_over_the_api(db: Db) {
        let fleet = fleet(&db).await;
        let asking = TerminalId::generate();
        let adopting = FakeAdopting { fleet: fleet.clone(), asking: Mutex::new(vec![asking]) };
        let grpc = FleetGrpc::new(fleet, Some(Arc::new(adopting)));
        let list = grpc.list_adoption_requests(request(Default::default())).await.unwrap().into_inner();
        assert_eq!((&list.requests[0].terminal, list.requests[0].events), (&asking.name(), 5_000));
        let adopt = |digits: &str| {
            let (terminal, display_name) = (asking.name(), "Gate A".to_owned());
            let digits = digits.to_owned();
            grpc.adopt_terminal(request(v1::AdoptTerminalRequest { terminal, display_name, digits }))
        };
        assert_eq!(reason(&adopt("654321").await.unwrap_err()), "NOT_FOUND");
        let adopted = adopt("123456").await.unwrap().into_inner();
        assert_eq!((adopted.display_name.as_str(), adopted.software.as_str()), ("Gate A", "1.2.3"));
        assert!(adopted.adopt_time.is_some() && adopted.revoke_time.is_none());
        let name = asking.name();
        let revoked = grpc.revoke_terminal(request(v1::RevokeTerminalRequest { name: name.clone() })).await.unwrap();
        assert!(revoked.get_ref().revoke_time.is_some());
        let listed = grpc.get_terminal(request(v1::GetTerminalRequest { name })).await.unwrap();
        assert_eq!(listed.get_ref(), revoked.get_ref());
        let token = v1::CreateAdoptionTokenRequest { display_name: "Yard".into() };
        let token = grpc.create_adoption_token(request(token)).await.unwrap().into_inner();
        assert!(token.token == "RT1.Yard" && token.expire_time.is_some());
    }

    async fn a_hub_joins_no_hub_and_adopts_nobody_where_that_is_not_served(db: Db) {
        let grpc = FleetGrpc::new(fleet(&db).await, None);
        for refused in [
            grpc.join_hub(request(Default::default())).await.map(drop),
            grpc.leave_hub(request(Default::default())).await.map(drop),
            grpc.list_adoption_requests(request(Default::default())).await.map(drop),
            grpc.adopt_terminal(request(v1::AdoptTerminalRequest {
                terminal: TerminalId::generate().name(),
                ..Default::default()
            }))
            .await
            .map(drop),
            grpc.create_adoption_token(request(Default::default())).await.map(drop),
        ] {
            assert_eq!(reason(&refused.unwrap_err()), "NOT_SERVED_HERE");
        }
    }
}
