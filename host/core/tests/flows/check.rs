//! `check` on fakes: each part that is wrong is found, and none keeps the others from being looked at.

use std::time::Duration;

use stillframe_core::flows::check::{CheckRequest, CheckedServer, Failed, Finding, RoundTrip, Subject, Verdict, check, worst};
use stillframe_core::flows::{NoProgress, Ports, ProviderChoice};
use stillframe_core::postgres::{ArchiveMode, Connection};
use stillframe_core::provider::{ProviderFault, Token};
use stillframe_core::store::Store;
use stillframe_core::testing::{
    FakeLocator, FakeServer, InjectedFault, Operation, ProviderCall, ServerCall, WatchedStore, Watcher,
};

use crate::house::{House, provider_name, segment_key, start_of_time};

fn request() -> CheckRequest {
    CheckRequest {
        providers: ProviderChoice { default: Some(provider_name()), rules: Vec::new() },
        round_trip: RoundTrip::Made { token: Token("1".to_owned()), deadline: Duration::from_mins(1) },
        max_backup_age: None,
        retention: None,
    }
}

async fn checked(house: &House, store: &dyn Store, request: &CheckRequest) -> Vec<Finding> {
    let server = CheckedServer { connection: Ok(house.server.connect()), primary: None, locator: Some(&FakeLocator) };
    let ports = Ports { progress: &NoProgress, ..house.ports(store) };
    check(&ports, server, None, request).await
}

fn of(findings: &[Finding], subject: Subject) -> Vec<(Verdict, &str)> {
    findings
        .iter()
        .filter(|finding| finding.subject == subject)
        .map(|finding| (finding.verdict, finding.message.as_str()))
        .collect()
}

#[tokio::test]
async fn a_set_up_that_is_well_is_called_well_in_every_part() {
    let house = House::new().await;
    house.push(&house.request(1)).await.unwrap();
    let findings = checked(&house, &house.store, &request()).await;
    assert_eq!(worst(&findings), Verdict::Ok, "{findings:#?}");
    for subject in [
        Subject::Store,
        Subject::StorePromises,
        Subject::Server,
        Subject::Rights,
        Subject::Clock,
        Subject::Archiving,
        Subject::RoundTrip,
        Subject::Paths,
        Subject::Provider,
        Subject::Backups,
        Subject::Wal,
    ] {
        assert_eq!(of(&findings, subject).len(), 1, "{subject:?}: {findings:#?}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_server_is_found_part_by_part() {
    let house = House::new().await;
    house.server.lack_rights(&["GRANT this;", "GRANT that;"]);
    house.server.fail_archiving("000000010000000000000003");
    house.server.change(|facts| facts.now = start_of_time() + Duration::from_secs(90));
    let findings = checked(&house, &house.store, &request()).await;
    let rights = findings.iter().find(|finding| finding.subject == Subject::Rights).unwrap();
    assert_eq!(rights.hint.as_deref(), Some("run as a superuser: GRANT this; GRANT that;"));
    assert_eq!(rights.verdict, Verdict::Critical);
    assert_eq!(of(&findings, Subject::Clock), [(Verdict::Warning, "the server's clock is 90 s ahead of this host's")]);
    assert_eq!(of(&findings, Subject::Archiving)[0].0, Verdict::Critical);
    assert_eq!(of(&findings, Subject::Provider)[0].0, Verdict::Ok, "the others are looked at all the same");

    house.server.change(|facts| facts.archive_mode = ArchiveMode::Off);
    house.server.change(|facts| facts.now = start_of_time() - Duration::from_mins(6));
    let findings = checked(&house, &house.store, &request()).await;
    assert_eq!(of(&findings, Subject::Archiving), [(Verdict::Critical, "archive_mode = off")]);
    assert_eq!(of(&findings, Subject::RoundTrip)[0].0, Verdict::Skipped);
    assert_eq!(of(&findings, Subject::Clock)[0].0, Verdict::Critical);
}

#[tokio::test]
async fn a_server_that_does_not_answer_leaves_the_store_and_the_backups_to_be_looked_at() {
    let house = House::new().await;
    house.push(&house.request(1)).await.unwrap();
    let failed = Failed { message: "cannot connect".to_owned(), hint: None };
    let server = CheckedServer { connection: Err(failed), primary: None, locator: Some(&FakeLocator) };
    let findings = check(&house.ports(&house.store), server, None, &request()).await;
    assert_eq!(of(&findings, Subject::Server), [(Verdict::Critical, "cannot connect")]);
    assert_eq!(of(&findings, Subject::Backups)[0].0, Verdict::Ok);
    assert_eq!(of(&findings, Subject::Wal)[0].0, Verdict::Ok);
}

#[tokio::test]
async fn a_segment_that_never_arrives_is_found_and_waited_for_no_longer_than_asked() {
    let house = House::new().await;
    house.archive(&[2]).await;
    house.store.delete(&segment_key(3)).await.unwrap();
    let findings = checked(&house, &house.store, &request()).await;
    let [(verdict, message)] = of(&findings, Subject::RoundTrip)[..] else { panic!("{findings:#?}") };
    assert_eq!(verdict, Verdict::Critical);
    assert!(message.contains("000000010000000000000003 is not in the archive 60 s"), "{message}");

    let left_out = CheckRequest { round_trip: RoundTrip::LeftOut, ..request() };
    let calls = house.server.calls();
    let findings = checked(&house, &house.store, &left_out).await;
    assert_eq!(of(&findings, Subject::RoundTrip)[0].0, Verdict::Skipped);
    assert_eq!(house.server.calls() - calls, 3, "rights, facts and archiver; nothing is written to the server");
}

#[tokio::test]
async fn what_is_missing_of_the_backups_is_an_alarm() {
    let house = House::new().await;
    let strict = CheckRequest { max_backup_age: Some(Duration::from_hours(1)), ..request() };
    assert_eq!(of(&checked(&house, &house.store, &request()).await, Subject::Backups)[0].0, Verdict::Warning);
    assert_eq!(of(&checked(&house, &house.store, &strict).await, Subject::Backups)[0].0, Verdict::Critical);

    house.push(&house.request(1)).await.unwrap();
    assert_eq!(of(&checked(&house, &house.store, &strict).await, Subject::Backups)[0].0, Verdict::Ok);
    house.clock.advance(Duration::from_hours(2));
    assert_eq!(of(&checked(&house, &house.store, &strict).await, Subject::Backups)[0].0, Verdict::Critical);

    house.store.delete(&segment_key(3)).await.unwrap();
    house.archive(&[4]).await;
    let left_out = CheckRequest { round_trip: RoundTrip::LeftOut, ..request() };
    assert_eq!(of(&checked(&house, &house.store, &left_out).await, Subject::Wal)[0].0, Verdict::Critical);
}

#[tokio::test]
async fn what_is_wrong_with_a_provider_or_the_store_is_found() {
    let house = House::new().await;
    house.provider().refuse_next(ProviderCall::Check, ProviderFault::Denied("no rights".to_owned()));
    let findings = checked(&house, &house.store, &request()).await;
    assert_eq!(of(&findings, Subject::Provider)[0].0, Verdict::Critical);

    let dishonest = WatchedStore::new(&house.store, Breaks(Operation::Prove));
    let findings = checked(&house, &dishonest, &request()).await;
    assert_eq!((of(&findings, Subject::Store)[0].0, of(&findings, Subject::StorePromises)[0].0), (Verdict::Ok, Verdict::Critical));

    let silent = WatchedStore::new(&house.store, Breaks(Operation::List));
    let findings = checked(&house, &silent, &request()).await;
    assert_eq!((of(&findings, Subject::Store)[0].0, of(&findings, Subject::Server)[0].0), (Verdict::Critical, Verdict::Ok));
}

#[tokio::test]
async fn a_check_changes_nothing_in_the_store() {
    let house = House::new().await;
    house.push(&house.request(1)).await.unwrap();
    let before = house.store.snapshot();
    checked(&house, &house.store, &request()).await;
    assert_eq!(house.store.snapshot(), before);
}

/// Lets every operation of one kind fail.
struct Breaks(Operation);

#[async_trait::async_trait]
impl Watcher for Breaks {
    async fn before(&self, operation: Operation, _: &str) -> Result<(), InjectedFault> {
        if operation == self.0 { Err(InjectedFault) } else { Ok(()) }
    }
}

/// What is found on a standby whose restartpoint lies before where its primary is.
async fn checked_standby(house: &House, primary: Option<Result<Box<dyn Connection>, Failed>>) -> Vec<Finding> {
    house.server.change(|facts| {
        facts.in_recovery = true;
        facts.archive_mode = ArchiveMode::Off;
        facts.replayed = Some(facts.wal_position);
    });
    let server = CheckedServer { connection: Ok(house.server.connect()), primary, locator: Some(&FakeLocator) };
    check(&house.ports(&house.store), server, None, &request()).await
}

#[tokio::test]
async fn of_a_standby_the_primary_is_looked_at_and_what_archives_is_told_by_it() {
    let house = House::new().await;
    house.push(&house.request(1)).await.unwrap();
    let primary = FakeServer::new(start_of_time());
    let findings = checked_standby(&house, Some(Ok(primary.connect()))).await;
    assert_eq!(worst(&findings), Verdict::Ok, "a standby that archives nothing is well: {findings:#?}");
    for subject in [Subject::Primary, Subject::Archiving, Subject::RoundTrip] {
        assert_eq!(of(&findings, subject).len(), 1, "{subject:?}: {findings:#?}");
    }
    assert_eq!(primary.done(), [ServerCall::Switch], "the round trip is made where a segment can be ended");

    primary.change(|facts| facts.archive_mode = ArchiveMode::Off);
    let findings = checked_standby(&house, Some(Ok(primary.connect()))).await;
    assert_eq!(of(&findings, Subject::Archiving), [(Verdict::Critical, "archive_mode = off")]);
    primary.lack_rights(&["GRANT this;"]);
    let findings = checked_standby(&house, Some(Ok(primary.connect()))).await;
    assert_eq!(of(&findings, Subject::Primary)[0].0, Verdict::Critical);
    assert!(findings.iter().any(|finding| finding.hint.as_deref() == Some("run there as a superuser: GRANT this;")));
}

#[tokio::test]
async fn a_primary_that_is_not_named_or_is_another_is_found() {
    let house = House::new().await;
    let findings = checked_standby(&house, None).await;
    assert_eq!(of(&findings, Subject::Primary)[0].0, Verdict::Warning);
    assert!(of(&findings, Subject::Archiving).is_empty(), "it says nothing about who archives");
    assert_eq!(of(&findings, Subject::RoundTrip)[0].0, Verdict::Skipped);
    let foreign = FakeServer::new(start_of_time());
    foreign.change(|facts| facts.system_identifier.0 += 1);
    let findings = checked_standby(&house, Some(Ok(foreign.connect()))).await;
    assert_eq!(of(&findings, Subject::Primary)[0].0, Verdict::Critical);
    assert!(foreign.done().is_empty(), "nothing is written to another cluster");
    let failed = Failed { message: "cannot connect".to_owned(), hint: None };
    let findings = checked_standby(&house, Some(Err(failed))).await;
    assert_eq!(of(&findings, Subject::Primary), [(Verdict::Critical, "cannot connect")]);
}
