//! Amazon's own client, in a process of its own: it comes with moto.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::{Ec2, python_with_moto};

/// A client that runs while the value lives; its standard input ends with it.
#[derive(Debug)]
pub struct Boto {
    child: Child,
    calls: ChildStdin,
    answers: BufReader<ChildStdout>,
    options: Value,
}

impl Boto {
    /// A client of the simulator, with the right credentials.
    pub fn of(ec2: &Ec2) -> Self {
        Self::at(ec2.endpoint(), ec2.region(), ec2.access_key(), ec2.secret_key())
    }

    /// A client of whatever is at this URL.
    pub fn at(endpoint: &str, region: &str, access_key: &str, secret_key: &str) -> Self {
        let mut command = Command::new(python_with_moto());
        command.args(["-c", include_str!("boto/client.py")]).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (calls, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let options = json!({
            "endpoint_url": endpoint, "region_name": region, "aws_access_key_id": access_key, "aws_secret_access_key": secret_key,
        });
        Self { child, calls, answers, options }
    }

    /// Calls; gives the answer, or the code and the status of the error.
    pub fn call(&mut self, method: &str, parameters: &Value) -> Result<Value, (String, u64)> {
        let options = self.options.clone();
        self.call_with(&options, method, parameters)
    }

    /// The same with one option of the client changed.
    pub fn call_as(&mut self, option: &str, value: &str, method: &str) -> Result<Value, (String, u64)> {
        let mut options = self.options.clone();
        options[option] = json!(value);
        self.call_with(&options, method, &json!({}))
    }

    /// A call that must succeed.
    #[track_caller]
    pub fn succeed(&mut self, method: &str, parameters: &Value) -> Value {
        self.call(method, parameters).unwrap_or_else(|(code, status)| panic!("{method} {parameters}: {code} ({status})"))
    }

    /// A call that must be refused; gives the code.
    #[track_caller]
    pub fn refused(&mut self, method: &str, parameters: &Value) -> String {
        let outcome = self.call(method, parameters);
        outcome.map(|answer| panic!("{method} {parameters} was not refused: {answer}")).unwrap_err().0
    }

    fn call_with(&mut self, options: &Value, method: &str, parameters: &Value) -> Result<Value, (String, u64)> {
        let call = json!({"options": options, "method": method, "parameters": parameters});
        writeln!(self.calls, "{call}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{method}: {error}: {line}"));
        match answer.get("answer") {
            Some(answer) => Ok(answer.clone()),
            None => Err((answer["code"].as_str().unwrap().to_owned(), answer["status"].as_u64().unwrap())),
        }
    }
}

impl Drop for Boto {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
