//! The rights of the role: enough, and none too many.

use stillframe_core::postgres::{CheckpointMode, Connection, ConnectionError, ConnectionFault, PgVersion};
use stillframe_postgres::{PgConnection, required_grants};
use stillframe_tests::{Cluster, Postgres};

use super::connect_to;

/// Every call that a backup makes.
async fn all_calls(connection: &mut PgConnection) -> Result<(), ConnectionError> {
    connection.facts().await?;
    connection.archiver().await?;
    connection.start_backup("rights", CheckpointMode::Fast).await?;
    connection.ping().await?;
    connection.stop_backup().await?;
    connection.create_restore_point_and_switch("rights").await?;
    Ok(())
}

#[tokio::test]
async fn the_documented_grants_suffice_and_each_is_needed() {
    for major in Postgres::available_majors() {
        let cluster = Cluster::builder(major).tablespaces(1).start();
        let version = PgVersion(cluster.value("SHOW server_version_num").parse().unwrap());
        let as_role = |role: &str| cluster.conninfo().replace("user=postgres", &format!("user='{role}'"));

        // A name that must be quoted, as ours may be.
        cluster.sql("CREATE ROLE \"Back-up\" LOGIN");
        cluster.sql(&required_grants(version, "Back-up").join("\n"));
        let mut connection = connect_to(&as_role("Back-up")).await.unwrap();
        all_calls(&mut connection).await.unwrap_or_else(|error| panic!("PostgreSQL {major}: {}", super::words(&error)));

        let number = required_grants(version, "x").len();
        for missing in 0..number {
            let role = format!("role{missing}");
            cluster.sql(&format!("CREATE ROLE {role} LOGIN"));
            let mut grants = required_grants(version, &role);
            let left_out = grants.remove(missing);
            cluster.sql(&grants.join("\n"));
            let mut connection = connect_to(&as_role(&role)).await.unwrap();
            let error = all_calls(&mut connection).await.expect_err(&left_out);
            match error.fault {
                ConnectionFault::MissingRight { grant, .. } => {
                    assert!(grant.contains(&left_out), "PostgreSQL {major}: `{grant}` lacks `{left_out}`");
                    // The hint works as it stands.
                    cluster.sql(&grant);
                }
                other => panic!("PostgreSQL {major}, without `{left_out}`: {other:?}"),
            }
            connection.close().await;
            all_calls(&mut connect_to(&as_role(&role)).await.unwrap()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_role_that_may_not_connect_is_told_the_grant() {
    let cluster = Cluster::builder(15).start();
    cluster.sql("CREATE ROLE stranger LOGIN");
    cluster.sql("REVOKE CONNECT ON DATABASE postgres FROM PUBLIC");
    let error = connect_to(&cluster.conninfo().replace("user=postgres", "user=stranger")).await.unwrap_err();
    match error.fault {
        ConnectionFault::MissingRight { grant, .. } => cluster.sql(&grant),
        other => panic!("{other:?}"),
    };
    connect_to(&cluster.conninfo().replace("user=postgres", "user=stranger")).await.unwrap();
}
