//! The suite on a directory, and the faults that only a directory has.

mod absence;
mod boundary;
mod exclusion;
mod faults;

/// The suite, one test for each of its claims.
mod conformance {
    use std::path::Path;
    use std::sync::Arc;

    use stillframe_core::store::Store;
    use tempfile::TempDir;

    use crate::{LocalStore, conformance};

    fn empty_store(directory: &Path) -> Arc<dyn Store> {
        Arc::new(LocalStore::create(&directory.join("store")).unwrap())
    }

    #[tokio::test]
    async fn can_look_up() {
        let directory = TempDir::new().unwrap();
        assert_eq!(empty_store(directory.path()).look_up(&[]).await.unwrap(), Some(vec![]));
    }

    macro_rules! test_each {
        ($($module:ident::$case:ident,)*) => {
            $(
                #[tokio::test]
                async fn $case() {
                    let directory = TempDir::new().unwrap();
                    conformance::$module::$case(&empty_store(directory.path()), "conformance").await;
                }
            )*
        };
    }
    conformance::for_each_case!(test_each);
    test_each! { listing::lists_three_thousand_keys_in_order_over_pages, }

    #[tokio::test]
    async fn passes_the_whole_suite_below_one_prefix() {
        let directory = TempDir::new().unwrap();
        conformance::run(&empty_store(directory.path()), "run").await;
    }
}
