//! The chain for whoever signs requests to other services of the vendor.

use aws_credential_types::provider::ProvideCredentials as _;
use stillframe_core::error::{Classify as _, ErrorClass, chain};
use stillframe_tests::ObjectStoreServer;
use tempfile::TempDir;

use crate::{AwsIdentity, aws_credentials};

const REGION: &str = "eu-west-1";

#[tokio::test]
async fn signs_with_the_profile_and_the_file_that_are_named() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("credentials");
    let keys = |name: &str| format!("aws_access_key_id = KEY{name}\naws_secret_access_key = SECRET{name}\n");
    std::fs::write(&file, format!("[default]\n{}[other]\n{}aws_session_token = T\n", keys("1"), keys("2"))).unwrap();
    for (profile, key, token) in [(None, "KEY1", None), (Some("other".to_owned()), "KEY2", Some("T"))] {
        let identity = AwsIdentity { profile, role_arn: None, credentials_file: Some(file.clone()) };
        let found = aws_credentials(&identity, REGION).await.unwrap().provide_credentials().await.unwrap();
        assert_eq!((found.access_key_id(), found.session_token()), (key, token));
    }
}

#[tokio::test]
async fn a_file_that_is_missing_is_not_replaced_by_the_next_source() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("credentials");
    let identity = AwsIdentity { credentials_file: Some(file.clone()), ..AwsIdentity::default() };
    let error = aws_credentials(&identity, REGION).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Config);
    assert!(chain(&error).contains(file.to_str().unwrap()), "{error:?}");
}

#[tokio::test]
async fn assumes_the_role_with_the_credentials_at_hand() {
    let server = ObjectStoreServer::moto();
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("credentials");
    let keys = "aws_access_key_id = A\naws_secret_access_key = B\n";
    std::fs::write(&file, format!("[default]\n{keys}endpoint_url = {}\n", server.endpoint())).unwrap();
    let identity = AwsIdentity {
        profile: None,
        role_arn: Some("arn:aws:iam::123456789012:role/backup".to_owned()),
        credentials_file: Some(file),
    };
    let found = aws_credentials(&identity, REGION).await.unwrap().provide_credentials().await.unwrap();
    assert_ne!(found.access_key_id(), "A");
    assert!(found.session_token().is_some() && found.expiry().is_some());
}
