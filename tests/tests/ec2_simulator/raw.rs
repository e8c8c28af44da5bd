//! Requests as a client in trouble sends them.

use std::process::Command;

use serde_json::{Value, json};
use stillframe_tests::{Ec2, python_with_moto};

/// Signs one body and sends another, so many hours later or at once; gives the status and the answer.
pub(crate) fn raw(ec2: &Ec2, signed: Option<&str>, sent: &str, age_hours: u32) -> (u64, String) {
    let wanted = json!({
        "endpoint": ec2.endpoint(), "region": ec2.region(), "key": ec2.access_key(), "secret": ec2.secret_key(),
        "is_signed": signed.is_some(), "signed": signed.unwrap_or_default(), "sent": sent, "age_hours": age_hours,
    });
    let mut command = Command::new(python_with_moto());
    let output = command.args(["-c", include_str!("raw.py"), &wanted.to_string()]).env_clear().output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (answer["status"].as_u64().unwrap(), answer["body"].as_str().unwrap().to_owned())
}
