//! `aws`: what is sent is signed and allowed; nothing else is sent.

use serde_json::{Value, json};
use stillframe_core::provider::Provider as _;

use crate::harness::{
    ACCESS_KEY, Counting, Nobody, SECRET_KEY, aws_call, aws_policy, called, keys, query, runtime, runtime_without_keys, settings,
};
use crate::server::{Server, answer};
use crate::sigv4::{self, Scope};

fn scope(region: &str, service: &str) -> Scope {
    Scope { region: region.to_owned(), service: service.to_owned() }
}

#[tokio::test]
async fn signs_a_request_of_the_query_protocol_so_that_the_service_can_verify_it() {
    let server = Server::that_says("<ok/>").await;
    let params = json!([["Filter.1.Name", "tag:a b"], ["Filter.1.Value.1", "x&Action=DeleteVolume=\u{e9}+%"]]);
    let call = json!({ "query": { "service": "ec2", "action": "DescribeVolumes", "params": params } });
    let told = aws_call(&server.url(), call).await;
    assert_eq!(told, "200 None 5 bytes: <ok/> found: []");
    let request = server.the_request();
    assert_eq!(sigv4::verify(&request), scope("eu-west-1", "ec2"));
    assert!(request.head.starts_with("POST / HTTP/1.1\r\n"), "{}", request.head);
    assert_eq!(request.header("host"), Some(server.authority().as_str()));
    assert_eq!(
        request.body,
        "Action=DescribeVolumes&Version=2016-11-15&Filter.1.Name=tag%3Aa+b&Filter.1.Value.1=x%26Action%3DDeleteVolume%3D%C3%A9%2B%25"
    );
}

#[tokio::test]
async fn signs_a_request_of_the_json_protocol_so_that_the_service_can_verify_it() {
    let server = Server::that_says("{}").await;
    let call = json!({ "json": { "service": "fsx", "action": "CreateSnapshot", "target": "AWSSimbaAPIService_v20180301",
        "body": "{\"Name\":\"x\"}" } });
    assert_eq!(aws_call(&server.url(), call).await, "200 None 2 bytes: {} found: []");
    let request = server.the_request();
    assert_eq!(sigv4::verify(&request), scope("eu-west-1", "fsx"));
    assert_eq!(request.header("x-amz-target"), Some("AWSSimbaAPIService_v20180301.CreateSnapshot"));
    assert_eq!(request.header("content-type"), Some("application/x-amz-json-1.1"));
    assert_eq!(request.body, "{\"Name\":\"x\"}");
}

#[tokio::test]
async fn signs_for_the_region_that_the_request_names() {
    let server = Server::that_says("").await;
    aws_call(&server.url(), json!({ "query": { "service": "ec2", "action": "DescribeVolumes", "region": "eu-central-1" } })).await;
    assert_eq!(sigv4::verify(&server.the_request()), scope("eu-central-1", "ec2"));
}

#[tokio::test]
async fn sends_nothing_that_the_policy_refuses() {
    let server = Server::that_says("reached").await;
    let ec2 = |action: &str, more: Value| {
        let mut call = json!({ "service": "ec2", "action": action });
        call.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "query": call })
    };
    for (call, reason) in [
        (query("DeleteVolume"), "no rule of the policy allows `ec2:DeleteVolume`"),
        (query("describeVolumes"), "no rule of the policy allows `ec2:describeVolumes`"),
        (json!({ "query": { "service": "iam", "action": "CreateUser" } }), "no rule of the policy allows `iam:CreateUser`"),
        (ec2("DescribeVolumes", json!({ "region": "us-east-1" })), "the region `us-east-1` is not granted"),
        (ec2("DescribeVolumes", json!({ "params": [["Action", "DeleteVolume"]] })), "the parameter `Action` is the host's own"),
        (ec2("DescribeVolumes", json!({ "params": [["Version", "2000-01-01"]] })), "the parameter `Version` is the host's own"),
        (ec2("CreateTags", json!({ "params": [["ResourceId.1", "vol-1"]] })), "and `ResourceId.1` is `vol-1`"),
        (json!({ "query": { "service": "evil.example/", "action": "DescribeVolumes" } }), "is no action of a service"),
    ] {
        let told = aws_call(&server.url(), call.clone()).await;
        assert!(told.starts_with("AwsError::Denied(") && told.contains(reason), "{call}: {told}");
    }
    for call in [
        ec2("DescribeVolumes", json!({ "version": "2016-11-15&Action=DeleteVolume" })),
        json!({ "json": { "service": "fsx", "action": "CreateSnapshot", "target": "a\r\nb", "body": "{}" } }),
        json!({ "json": { "service": "fsx", "action": "CreateSnapshot", "target": "FSx.DeleteFileSystem", "body": "{}" } }),
        json!({ "json": { "service": "fsx", "action": "CreateSnapshot", "target": "a", "body": "[]" } }),
    ] {
        let told = aws_call(&server.url(), call.clone()).await;
        assert!(told.starts_with("AwsError::Failed("), "{call}: {told}");
    }
    assert!(server.received().is_empty(), "{:?}", server.received());
}

#[tokio::test]
async fn gives_what_the_service_answers_with_the_id_of_the_request() {
    let body = "<Response><Errors><Error><Code>Client.RequestLimitExceeded</Code></Error></Errors></Response>";
    let server = Server::start(move |_| answer(503, &[("x-amzn-RequestId", "8f7724cf-496f-496e-8fe3-example")], body)).await;
    let told = aws_call(&server.url(), query("DescribeVolumes")).await;
    assert_eq!(told, format!("503 Some(\"8f7724cf-496f-496e-8fe3-example\") {} bytes: {body} found: []", body.len()));
    assert_eq!(server.received().len(), 1, "the provider decides about another attempt");
}

#[tokio::test]
async fn follows_no_redirect() {
    let elsewhere = Server::that_says("reached").await;
    let url = elsewhere.url();
    let server = Server::start(move |_| answer(307, &[("Location", &url)], "moved")).await;
    assert_eq!(aws_call(&server.url(), query("DescribeVolumes")).await, "307 None 5 bytes: moved found: []");
    assert!(elsewhere.received().is_empty());
}

#[tokio::test]
async fn says_that_there_are_no_credentials_and_not_why_in_detail() {
    let server = Server::that_says("reached").await;
    let calls = || settings(&aws_policy(&server.url()), json!({ "calls": [query("DescribeVolumes")] }));
    let told = called(&runtime_without_keys(), calls()).await.unwrap();
    assert_eq!(told, ["AwsError::NoCredentials(\"this program has no source of AWS credentials\") found: []"]);
    let told = called(&runtime(Nobody), calls()).await.unwrap();
    assert_eq!(told, ["AwsError::NoCredentials(\"the host's configuration for them is invalid\") found: []"]);
    assert!(!told[0].contains(SECRET_KEY) && server.received().is_empty());
}

#[tokio::test]
async fn asks_for_credentials_when_they_are_needed_and_anew_when_they_are_refused() {
    let server = Server::start(|request| {
        let is_first = request.header("authorization").unwrap().contains(&format!("{ACCESS_KEY}0/"));
        answer(if is_first && request.body.contains("DescribeSnapshots") { 403 } else { 200 }, &[], "")
    })
    .await;
    let counting = Counting::default();
    let runtime = runtime(counting.clone());
    let calls = ["DescribeVolumes", "DescribeVolumes", "DescribeSnapshots", "DescribeSnapshots", "DescribeVolumes"].map(query);
    let settings = settings(&aws_policy(&server.url()), json!({ "calls": calls }));
    let provider = runtime.load(settings.clone()).await.unwrap();
    provider.describe().await.unwrap();
    runtime.inspect(&settings).await.unwrap();
    assert_eq!(counting.times(), 0, "nothing was called yet");
    let told = provider.check().await.unwrap();
    let statuses: Vec<&str> = told.iter().map(|told| &told[..3]).collect();
    assert_eq!(statuses, ["200", "200", "403", "200", "200"]);
    assert_eq!(counting.times(), 2);
    provider.check().await.unwrap();
    assert_eq!(counting.times(), 2, "another operation of the same provider uses the same keys");
}

#[tokio::test]
async fn is_off_while_a_provider_describes_itself() {
    let server = Server::that_says("reached").await;
    let provider = runtime(keys()).load(settings(&aws_policy(&server.url()), json!({}))).await.unwrap();
    let summary = provider.describe().await.unwrap().summary;
    assert!(summary.starts_with("AwsError::Denied(") && summary.contains("HttpError::Denied("), "{summary}");
    assert!(server.received().is_empty());
}
