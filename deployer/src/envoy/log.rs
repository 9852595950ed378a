//! Envoy's log: one message a line (`--log-format-escaped`), relayed to our stderr and kept for when Envoy dies.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

/// What Envoy is told to write: level, logger, message.
pub(super) const FORMAT: &str = "%l %n %v";

/// How many messages are kept.
const KEPT: usize = 100;

/// The last messages of an Envoy.
#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    kept: Arc<Mutex<VecDeque<Message>>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Message {
    level: String,
    text: String,
}

impl Log {
    /// Reads Envoy's stderr to its end; tells what it reads where `relay` is set.
    pub(super) async fn follow(self, stderr: impl AsyncRead + Unpin, relay: bool) {
        let mut lines = BufReader::new(stderr).split(b'\n');
        while let Ok(Some(line)) = lines.next_segment().await {
            let message = Message::read(&String::from_utf8_lossy(&line));
            if relay {
                eprintln!("envoy: {}: {}", message.level, message.text);
            }
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() == KEPT {
                kept.pop_front();
            }
            kept.push_back(message);
        }
    }

    /// The last few messages that say what went wrong; without such messages, the last of any kind.
    pub(super) fn complaints(&self) -> Vec<String> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let worst = |message: &&Message| matches!(message.level.as_str(), "error" | "critical");
        let mut complaints: Vec<&str> =
            kept.iter().filter(worst).map(|message| message.text.as_str()).collect();
        if complaints.is_empty() {
            complaints.extend(kept.iter().map(|message| message.text.as_str()));
        }
        // Envoy says what it dies of more than once.
        complaints.dedup();
        complaints.iter().skip(complaints.len().saturating_sub(3)).map(|text| (*text).to_owned()).collect()
    }
}

impl Message {
    fn read(line: &str) -> Self {
        let mut parts = line.splitn(3, ' ');
        let (Some(level), Some(logger), Some(text)) = (parts.next(), parts.next(), parts.next()) else {
            return Message { level: "error".to_owned(), text: line.trim().to_owned() };
        };
        // Some loggers have a name for the module's messages and a prefix in front of them.
        let text = text.strip_prefix("wasm log ").filter(|_| logger == "wasm").unwrap_or(text);
        let text = text.replace("\\n", " ").replace("\\'", "'").replace("\\\"", "\"");
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        Message { level: level.to_owned(), text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn log_of(text: &str) -> Log {
        let log = Log::default();
        log.clone().follow(text.as_bytes(), false).await;
        log
    }

    #[tokio::test]
    async fn what_envoy_died_of_is_told_apart_from_its_chatter_and_said_once() {
        let log = log_of(
            "warning main be careful\n\
             critical main error `address already\\n in use`\n\
             critical main error `address already\\n in use`\n\
             info main exiting\n",
        );
        assert_eq!(log.await.complaints(), ["error `address already in use`"]);
    }

    #[tokio::test]
    async fn only_the_last_messages_are_kept() {
        let chatter: String = (0..=2 * KEPT).map(|n| format!("info main message {n}\n")).collect();
        let complaints = log_of(&chatter).await.complaints();
        assert_eq!(complaints, ["message 198", "message 199", "message 200"]);
    }
}
