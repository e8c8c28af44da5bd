//! A host whose programs and cloud answer what the input says, one answer after another.
//!
//! Each answer begins with a line `%% STATUS`: the exit code of a program or the status of a request, `signal 9`, `timeout`,
//! `denied`, `absent` or `cut` for output that was too long. What follows is its standard output or body, behind a line `%!` its
//! standard error. When the answers are used up, nothing answers any more.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use stillframe_sdk::aws::{AwsError, Response};
use stillframe_sdk::command::{CommandError, ExitStatus, Invocation, Output};
use stillframe_sdk::testing::FakeHost;

/// What answers, and every program that was asked for.
pub(crate) struct Script {
    pub(crate) host: FakeHost,
    pub(crate) invocations: Rc<RefCell<Vec<Invocation>>>,
    pub(crate) requests: Rc<RefCell<Vec<stillframe_sdk::aws::Request>>>,
}

/// One answer.
#[derive(Debug, Clone)]
struct Answer {
    status: String,
    body: String,
    errors: String,
}

impl Script {
    /// Reads the answers.
    pub(crate) fn new(text: &str) -> Self {
        let host = FakeHost::new();
        let answers: VecDeque<Answer> = text.split("%% ").skip(1).map(Answer::read).collect();
        let answers = Rc::new(RefCell::new(answers));
        let (invocations, requests) = (Rc::new(RefCell::new(Vec::new())), Rc::new(RefCell::new(Vec::new())));
        let (next, seen) = (Rc::clone(&answers), Rc::clone(&invocations));
        host.on_command(move |invocation| {
            seen.borrow_mut().push(invocation.clone());
            next.borrow_mut().pop_front().map_or_else(|| Err(CommandError::Failed("no answer".to_owned())), Answer::of_a_program)
        });
        let (next, seen) = (answers, Rc::clone(&requests));
        host.on_aws(move |request| {
            seen.borrow_mut().push(request.clone());
            next.borrow_mut().pop_front().map_or_else(|| Err(AwsError::Failed("no answer".to_owned())), Answer::of_a_cloud)
        });
        Self { host, invocations, requests }
    }
}

impl Answer {
    fn read(text: &str) -> Self {
        let (status, rest) = text.split_once('\n').unwrap_or((text, ""));
        let (body, errors) = rest.split_once("%!\n").unwrap_or((rest, ""));
        Self { status: status.to_owned(), body: body.to_owned(), errors: errors.to_owned() }
    }

    fn of_a_program(self) -> Result<Output, CommandError> {
        let (word, number) = self.status.split_once(' ').unwrap_or((&self.status, ""));
        let status = match word {
            "timeout" => return Err(CommandError::TimedOut),
            "denied" => return Err(CommandError::Denied(self.body)),
            "absent" => return Err(CommandError::NotInstalled(self.body)),
            "signal" => ExitStatus::Signal(number.parse().unwrap_or(9)),
            code => ExitStatus::Code(code.parse().unwrap_or(0)),
        };
        Ok(Output { status, stdout: self.body, stderr: self.errors, truncated: word == "cut" })
    }

    fn of_a_cloud(self) -> Result<Response, AwsError> {
        match self.status.as_str() {
            "timeout" => Err(AwsError::TimedOut),
            "denied" => Err(AwsError::Denied(self.body)),
            "absent" => Err(AwsError::NoCredentials(self.body)),
            status => Ok(Response { status: status.parse().unwrap_or(200), request_id: None, body: self.body }),
        }
    }
}
