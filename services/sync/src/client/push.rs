//! Events up.

use rollcall_attendance::LogState;
use rollcall_core::{Fault, LogId, Reason, limits};
use rollcall_proto::v1;
use rollcall_terminals::Device;

use super::{End, Session, call, own};
use crate::uplink::{Acked, Answer, HeldLog, Next, OwnLog, Plan, Pushing, plan};

/// Where the pushes of the current log go on, as the hub has told.
pub(super) struct Current {
    log_id: LogId,
    pushing: Pushing,
}

impl<D: Device> Session<'_, D> {
    /// Does with each log what the hub's answer asks for. Where to go on with the current one.
    pub(super) async fn push_all(
        &mut self,
        welcome: &v1::Welcome,
        offered: &[LogState],
    ) -> Result<Current, End> {
        let held: Result<Vec<HeldLog>, _> = welcome.logs.iter().map(HeldLog::try_from).collect();
        let held =
            held.map_err(|error| Fault::new(Reason::FieldInvalid, format!("the hub's answer: {error}")))?;
        let mut current = None;
        let mut is_other = false;
        for log in offered {
            let own = own(log);
            let none = HeldLog { log_id: own.log_id, have: 0, have_hash: None, at_head: None };
            let held = held.iter().find(|held| held.log_id == own.log_id).unwrap_or(&none);
            let own_hash = self.hash_at(own.log_id, held.have).await?;
            match plan(&own, held, own_hash) {
                Plan::Nothing => {}
                Plan::Close => {
                    self.parts.log.close_current().await.map_err(|error| error.fault())?;
                    is_other = true;
                }
                Plan::Move => {
                    self.supersede(own.log_id).await?;
                    is_other = true;
                }
                Plan::Push(mut pushing) => {
                    self.push(own.log_id, &mut pushing).await?;
                    if own.is_current {
                        current = Some(Current { log_id: own.log_id, pushing });
                    }
                }
            }
        }
        match current {
            Some(current) if !is_other => Ok(current),
            // Another log is the current one now, and the hub has not heard of it.
            _ => Err(End::OpenAgain),
        }
    }

    /// Pushes what was appended to the current log.
    pub(super) async fn push_current(&mut self, current: &mut Current) -> Result<(), End> {
        if self.parts.log.log_id() != current.log_id {
            return Err(End::OpenAgain);
        }
        self.push(current.log_id, &mut current.pushing).await
    }

    async fn supersede(&self, log_id: LogId) -> Result<(), Fault> {
        tracing::warn!(%log_id, "another device, or an older copy of this one, went on with this log: its events move");
        self.parts.log.supersede(log_id).await.map(|_| ()).map_err(|error| error.fault())
    }

    /// Pushes one log to its end.
    async fn push(&mut self, log_id: LogId, pushing: &mut Pushing) -> Result<(), End> {
        loop {
            let own = self.own(log_id).await?;
            let Some(request) = pushing.request(&own) else { return Ok(()) };
            let before = request.first_seq - 1;
            let Some(prev_hash) = self.hash_at(log_id, before).await? else { return Err(End::OpenAgain) };
            let log = &self.parts.log;
            let events = log.read(log_id, before, limits::PUSH_EVENTS, limits::PUSH_SIZE_BYTES).await;
            let message = v1::PushRequest {
                log_id: log_id.to_bytes().to_vec().into(),
                first_seq: request.first_seq,
                prev_hash: prev_hash.to_bytes().to_vec().into(),
                gap: request.gap,
                events: events.map_err(|error| error.fault())?.into_iter().map(Into::into).collect(),
            };
            let answer = self.answer(message).await?;
            let own = self.own(log_id).await?;
            let own_hash = match answer {
                Answer::Ack(Acked { have, .. }) | Answer::PositionUnknown { have } => {
                    self.hash_at(log_id, have).await?
                }
                Answer::Forked | Answer::Failed => None,
            };
            match pushing.answered(answer, &own, own_hash) {
                Next::Send => {}
                Next::Done => return Ok(()),
                Next::OpenAgain => return Err(End::OpenAgain),
                Next::Move => {
                    self.supersede(log_id).await?;
                    return Err(End::OpenAgain);
                }
            }
        }
    }

    async fn answer(&mut self, message: v1::PushRequest) -> Result<Answer, Fault> {
        match call(self.hub.push(message)).await {
            Ok(ack) => {
                let ack = Acked::try_from(&ack);
                let ack = ack.map_err(|error| {
                    Fault::new(Reason::FieldInvalid, format!("the hub's answer: {error}"))
                })?;
                self.parts.acknowledged.send_modify(|have| {
                    have.insert(ack.log_id, ack.have);
                });
                self.prune(&ack).await?;
                Ok(Answer::Ack(ack))
            }
            Err(fault) if fault.reason == Reason::LogForked => Ok(Answer::Forked),
            Err(fault) if fault.reason == Reason::PositionUnknown => {
                Ok(Answer::PositionUnknown { have: have(&fault) })
            }
            Err(fault) => Err(fault),
        }
    }

    /// Deletes what is kept elsewhere, but for the newest events, which this terminal answers questions about.
    async fn prune(&self, ack: &Acked) -> Result<(), Fault> {
        let own = self.own(ack.log_id).await?;
        let through = ack.prune_through.min(own.head.saturating_sub(limits::LOG_RETAINED_EVENTS));
        if through < own.first.saturating_add(limits::LOG_PRUNED_AT_ONCE) {
            return Ok(());
        }
        self.parts.log.prune(ack.log_id, through).await.map_err(|error| error.fault())
    }

    async fn own(&self, log_id: LogId) -> Result<OwnLog, Fault> {
        let logs = self.parts.log.states().await.map_err(|error| error.fault())?;
        let log = logs.iter().find(|log| log.log_id == log_id);
        log.map(own).ok_or_else(|| Fault::new(Reason::OpenAgain, "a log is gone that was being sent"))
    }

    async fn hash_at(
        &self,
        log_id: LogId,
        seq: u64,
    ) -> Result<Option<rollcall_attendance::ChainHash>, Fault> {
        self.parts.log.hash_at(log_id, seq).await.map_err(|error| error.fault())
    }
}

/// Up to where the hub says that it has the log.
fn have(fault: &Fault) -> u64 {
    let have = fault.metadata.iter().find(|(name, _)| *name == "have");
    have.and_then(|(_, have)| have.parse().ok()).unwrap_or(0)
}
