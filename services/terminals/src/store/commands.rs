//! Commands to terminals. `state`: 0 waits, 1 was taken, 2 done, 3 refused, 4 void. Each step is taken once, from the
//! state before it, under the lock of the row: whoever comes second finds it gone.

use rollcall_core::{CommandId, Fault, Reason, TerminalId, UtcInstant, limits};
use rollcall_store::{StoreError, Tx, dialect, on};

use crate::TerminalError;
use crate::command::{Answer, Command, What};

const OPEN_DOOR: i64 = 1;

const DONE: i64 = 2;
const REFUSED: i64 = 3;
const VOID: i64 = 4;

/// How far a command has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nobody has taken it.
    Waits,
    /// A connection of its terminal has.
    Taken,
    /// It was answered.
    Answered(Answer),
    /// Its patience was over before somebody took it.
    Void,
}

pub(crate) async fn insert(
    tx: &mut Tx,
    terminal: TerminalId,
    command: &Command,
    now: UtcInstant,
) -> Result<(), StoreError> {
    let What::OpenDoor = command.what;
    on!(tx, connection => {
        sqlx::query(
            "insert into terminal_command (command_id, terminal_id, what, asked_by, ask_time_us, void_time_us, state,
                reason, message) values ($1, $2, $3, $4, $5, $6, 0, '', '')",
        )
        .bind(command.id.as_bytes())
        .bind(terminal.as_bytes())
        .bind(OPEN_DOOR)
        .bind(&command.by)
        .bind(now.micros())
        .bind(command.void.micros())
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// Commands that were asked for before then are forgotten, whatever became of them.
pub(crate) async fn delete_before(tx: &mut Tx, then: UtcInstant) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("delete from terminal_command where ask_time_us < $1")
            .bind(then.micros())
            .execute(connection)
            .await
            .map(|_| ())
    })
}

/// How many commands of a terminal wait that are not void.
pub(crate) async fn count_waiting(
    tx: &mut Tx,
    terminal: TerminalId,
    now: UtcInstant,
) -> Result<i64, StoreError> {
    on!(tx, connection => {
        sqlx::query_scalar(
            "select count(*) from terminal_command where terminal_id = $1 and state = 0 and void_time_us > $2",
        )
        .bind(terminal.as_bytes())
        .bind(now.micros())
        .fetch_one(connection)
        .await
    })
}

#[derive(sqlx::FromRow)]
struct WaitingRow {
    command_id: Vec<u8>,
    what: i64,
    asked_by: String,
    void_time_us: i64,
}

/// Takes a terminal's commands that wait and are not void, in the order in which they were asked for. Nobody takes them
/// again.
pub(crate) async fn take(
    tx: &mut Tx,
    terminal: TerminalId,
    now: UtcInstant,
) -> Result<Vec<Command>, TerminalError> {
    let select = dialect::for_update(
        tx,
        "select command_id, what, asked_by, void_time_us from terminal_command
            where terminal_id = $1 and state = 0 and void_time_us > $2 order by ask_time_us, command_id limit $3",
    );
    let limit = i64::try_from(limits::COMMANDS_WAITING).unwrap_or(i64::MAX);
    let rows: Vec<WaitingRow> = on!(tx, connection => {
        sqlx::query_as(select)
            .bind(terminal.as_bytes())
            .bind(now.micros())
            .bind(limit)
            .fetch_all(connection)
            .await
    })?;
    let commands: Vec<Command> = rows.into_iter().map(command).collect::<Result<_, _>>()?;
    on!(tx, connection => {
        for command in &commands {
            sqlx::query("update terminal_command set state = 1 where command_id = $1")
                .bind(command.id.as_bytes())
                .execute(&mut *connection)
                .await?;
        }
        Ok(())
    })?;
    Ok(commands)
}

fn command(row: WaitingRow) -> Result<Command, TerminalError> {
    let id = CommandId::try_from(&row.command_id[..]);
    let what = (row.what == OPEN_DOOR).then_some(What::OpenDoor);
    Ok(Command {
        id: id.map_err(|_| TerminalError::Unreadable("the id of a command"))?,
        what: what.ok_or(TerminalError::Unreadable("a command"))?,
        by: row.asked_by,
        void: UtcInstant::from_micros(row.void_time_us),
    })
}

#[derive(sqlx::FromRow)]
struct StateRow {
    state: i64,
    reason: String,
    message: String,
}

impl StateRow {
    fn state(self) -> Result<State, TerminalError> {
        Ok(match self.state {
            0 => State::Waits,
            1 => State::Taken,
            DONE => State::Answered(Answer::Done),
            REFUSED => {
                let reason = Reason::ALL.iter().find(|reason| reason.as_str() == self.reason);
                let reason = reason.ok_or(TerminalError::Unreadable("the answer to a command"))?;
                State::Answered(Answer::Refused(Fault::new(*reason, self.message)))
            }
            VOID => State::Void,
            _ => return Err(TerminalError::Unreadable("the state of a command")),
        })
    }
}

/// How far a command of a terminal has come; `None`: there is none such.
pub(crate) async fn state(
    tx: &mut Tx,
    terminal: TerminalId,
    command: CommandId,
) -> Result<Option<State>, TerminalError> {
    let row: Option<StateRow> = on!(tx, connection => {
        sqlx::query_as(
            "select state, reason, message from terminal_command where command_id = $1 and terminal_id = $2",
        )
        .bind(command.as_bytes())
        .bind(terminal.as_bytes())
        .fetch_optional(connection)
        .await
    })?;
    row.map(StateRow::state).transpose()
}

/// Puts an answer to a command that was taken. Whether there was one to be answered.
pub(crate) async fn put_answer(
    tx: &mut Tx,
    terminal: TerminalId,
    command: CommandId,
    answer: &Answer,
) -> Result<bool, StoreError> {
    let (state, reason, message) = match answer {
        Answer::Done => (DONE, "", ""),
        Answer::Refused(fault) => (REFUSED, fault.reason.as_str(), fault.message.as_str()),
    };
    let answered = on!(tx, connection => {
        sqlx::query(
            "update terminal_command set state = $3, reason = $4, message = $5
            where command_id = $1 and terminal_id = $2 and state = 1",
        )
        .bind(command.as_bytes())
        .bind(terminal.as_bytes())
        .bind(state)
        .bind(reason)
        .bind(message)
        .execute(connection)
        .await
        .map(|done| done.rows_affected())
    })?;
    Ok(answered == 1)
}

/// Nobody takes the command any more. Whether nobody had.
pub(crate) async fn put_void(tx: &mut Tx, command: CommandId) -> Result<bool, StoreError> {
    let ended = on!(tx, connection => {
        sqlx::query("update terminal_command set state = $2 where command_id = $1 and state = 0")
            .bind(command.as_bytes())
            .bind(VOID)
            .execute(connection)
            .await
            .map(|done| done.rows_affected())
    })?;
    Ok(ended == 1)
}
