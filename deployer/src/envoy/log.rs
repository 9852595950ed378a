//! Envoy's log: one message per line (`--log-format-escaped`). It is relayed to standard error, and the last messages
//! are kept to explain why Envoy ended.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

/// Envoy's `--log-format`: level, logger, message.
pub(super) const FORMAT: &str = "%l %n %v";

/// Number of messages that are kept.
const KEPT: usize = 100;

/// The last messages of an Envoy process.
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
    /// Reads Envoy's standard error to its end. Prints each message if `relay` is set.
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

    /// The last three messages of level error or critical; if there are none, the last three of any level.
    pub(super) fn last_errors(&self) -> Vec<String> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let is_error = |message: &&Message| matches!(message.level.as_str(), "error" | "critical");
        let mut messages: Vec<&str> =
            kept.iter().filter(is_error).map(|message| message.text.as_str()).collect();
        if messages.is_empty() {
            messages.extend(kept.iter().map(|message| message.text.as_str()));
        }
        // Envoy logs its fatal error more than once.
        messages.dedup();
        messages.iter().skip(messages.len().saturating_sub(3)).map(|text| (*text).to_owned()).collect()
    }
}

impl Message {
    fn read(line: &str) -> Self {
        let mut parts = line.splitn(3, ' ');
        let (Some(level), Some(logger), Some(text)) = (parts.next(), parts.next(), parts.next()) else {
            return Message { level: "error".to_owned(), text: line.trim().to_owned() };
        };
        // Envoy puts this prefix in front of messages of a Wasm module.
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
    async fn fatal_errors_are_reported_once_and_without_other_messages() {
        let log = log_of(
            "warning main be careful\n\
             critical main error `address already\\n in use`\n\
             critical main error `address already\\n in use`\n\
             info main exiting\n",
        );
        assert_eq!(log.await.last_errors(), ["error `address already in use`"]);
    }

    #[tokio::test]
    async fn only_the_last_messages_are_kept() {
        let chatter: String = (0..=2 * KEPT).map(|n| format!("info main message {n}\n")).collect();
        let messages = log_of(&chatter).await.last_errors();
        assert_eq!(messages, ["message 198", "message 199", "message 200"]);
    }
}
