//! Plain questions to a private server: any number of statements, answered in text.

use async_trait::async_trait;
use stillframe_core::postgres::{ConnectionError, QuerySession, ResultSet};
use tokio_postgres::SimpleQueryMessage;

use super::PgConnection;

#[async_trait]
impl QuerySession for PgConnection {
    async fn query(&mut self, statements: &str) -> Result<Vec<ResultSet>, ConnectionError> {
        let messages = self.request("run the statements", |client| async move { client.simple_query(statements).await }).await?;
        Ok(results(messages))
    }
}

/// Statements without rows to give have no result.
fn results(messages: Vec<SimpleQueryMessage>) -> Vec<ResultSet> {
    let mut results: Vec<ResultSet> = Vec::new();
    for message in messages {
        match message {
            SimpleQueryMessage::RowDescription(_) => results.push(Vec::new()),
            SimpleQueryMessage::Row(row) => {
                let values = (0..row.len()).map(|place| row.get(place).map(str::to_owned)).collect();
                if let Some(result) = results.last_mut() {
                    result.push(values);
                }
            }
            // How many rows a statement has changed is nobody's question.
            _ => {}
        }
    }
    results
}
