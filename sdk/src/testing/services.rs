//! Scripted answers of programs, AWS and HTTPS services.

use super::FakeHost;
use crate::aws::{self, Aws, AwsError};
use crate::command::{Command, CommandError, Invocation, Output};
use crate::http::{self, Http, HttpError};

type Script<Request, Answer> = Option<Box<dyn FnMut(&Request) -> Answer>>;

/// The scripts; without one everything is denied.
#[derive(Default)]
pub(super) struct Services {
    command: Script<Invocation, Result<Output, CommandError>>,
    aws: Script<aws::Request, Result<aws::Response, AwsError>>,
    http: Script<http::Request, Result<http::Response, HttpError>>,
}

impl FakeHost {
    /// Answers programs by this function. It cannot use the host itself.
    pub fn on_command(&self, answer: impl FnMut(&Invocation) -> Result<Output, CommandError> + 'static) {
        self.state.borrow_mut().services.command = Some(Box::new(answer));
    }

    /// Answers AWS calls by this function. It cannot use the host itself.
    pub fn on_aws(&self, answer: impl FnMut(&aws::Request) -> Result<aws::Response, AwsError> + 'static) {
        self.state.borrow_mut().services.aws = Some(Box::new(answer));
    }

    /// Answers HTTPS requests by this function. It cannot use the host itself.
    pub fn on_http(&self, answer: impl FnMut(&http::Request) -> Result<http::Response, HttpError> + 'static) {
        self.state.borrow_mut().services.http = Some(Box::new(answer));
    }
}

impl Command for FakeHost {
    fn run(&self, invocation: &Invocation) -> Result<Output, CommandError> {
        let call = format!("command.run {} {}", invocation.program, invocation.args.join(" "));
        self.effect(call.trim_end().to_owned(), |state| match &mut state.services.command {
            Some(answer) => answer(invocation),
            None => Err(CommandError::Denied(format!("no rule allows `{}`", invocation.program))),
        })
    }
}

impl Aws for FakeHost {
    fn call(&self, request: &aws::Request) -> Result<aws::Response, AwsError> {
        let action = format!("{}:{}", request.service, request.action);
        self.effect(format!("aws.call {action}"), |state| match &mut state.services.aws {
            Some(answer) => answer(request),
            None => Err(AwsError::Denied(format!("no rule allows `{action}`"))),
        })
    }
}

impl Http for FakeHost {
    fn send(&self, request: &http::Request) -> Result<http::Response, HttpError> {
        let call = format!("http.send {} {}", request.method, request.url);
        self.effect(call, |state| match &mut state.services.http {
            Some(answer) => answer(request),
            None => Err(HttpError::Denied(format!("no rule allows `{}`", request.url))),
        })
    }
}
