//! One question asked of one server over a connection of its own, past cache and groups: for those
//! who compare.

use super::{Question, probe, wire::Wire};
use hickory_proto::op::Message;
use std::{net::SocketAddr, time::Duration};
use tokio::time::timeout;

/// Asks over TCP; the answer is one to this question, with any response code. The error is why there
/// is none within `limit`.
pub async fn ask_once(
    server: SocketAddr,
    question: &Question,
    limit: Duration,
) -> Result<Message, String> {
    let asking = async {
        let mut query = Message::query();
        query.metadata.recursion_desired = true;
        query.add_query(question.to_query());
        let mut wire = Wire::tcp(server, limit).await?;
        wire.exchange(&query, question).await
    };
    match timeout(limit, asking).await {
        Ok(answer) => answer.map_err(|trouble| trouble.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

/// Whether an agent's listener is what answers there, perhaps behind a redirect.
pub async fn is_agent(server: SocketAddr, limit: Duration) -> Result<bool, String> {
    let question = probe::any().ok_or("no question")?;
    let answer = ask_once(server, &question, limit).await?;
    Ok(probe::is_signed(&answer))
}
