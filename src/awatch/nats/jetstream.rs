//! JetStream: streams that keep messages on the server's disk, and what it answers about them.
//!
//! Plain streams and no key-value bucket: one message for each subject is the same, and needs nothing that is not in every server
//! since 2.9. What an administrator has made is used as it is, and never changed.

use std::time::Duration;

use rrsync_rs::escape::Escaped;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::client::{Client, NatsError};
use super::wire::Message;
use crate::authkeys::base64;

/// What no stream, message or consumer is.
const NOT_FOUND: [u64; 3] = [10_059, 10_037, 10_014];

/// The message before is another than was expected.
pub const WRONG_LAST: u64 = 10_070;

#[derive(Debug, Deserialize)]
struct ErrorForm {
    #[serde(default)]
    code: u64,
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

#[derive(Deserialize)]
struct AnswerForm<T> {
    error: Option<ErrorForm>,
    #[serde(flatten)]
    answer: Option<T>,
}

/// What an answer says. `what` was asked, for people.
fn answer<T: DeserializeOwned>(what: &'static str, message: &Message) -> Result<T, NatsError> {
    if message.status == Some(503) {
        return Err(NatsError::NoJetStream);
    }
    let form: AnswerForm<T> =
        serde_json::from_slice(&message.content).map_err(|_| NatsError::Answer(what))?;
    match form {
        AnswerForm { error: Some(error), .. } => {
            let code = if error.err_code == 0 { error.code } else { error.err_code };
            Err(NatsError::JetStream { code, text: Escaped(error.description.as_bytes()).to_string() })
        }
        AnswerForm { answer: Some(answer), .. } => Ok(answer),
        AnswerForm { .. } => Err(NatsError::Answer(what)),
    }
}

/// `None` where something does not exist.
fn found<T>(result: Result<T, NatsError>) -> Result<Option<T>, NatsError> {
    match result {
        Err(NatsError::JetStream { code, .. }) if NOT_FOUND.contains(&code) => Ok(None),
        result => result.map(Some),
    }
}

/// A stream that is made where none takes a subject.
#[derive(Debug, Clone, Serialize)]
pub struct NewStream {
    /// Its name.
    pub name: String,
    /// What it takes: one pattern.
    pub subjects: [String; 1],
    /// How many bytes it keeps; the oldest messages go first.
    pub max_bytes: u64,
    /// How many nanoseconds a message is kept; 0 is for ever.
    pub max_age: u64,
    /// How many messages of each subject are kept; -1 is all.
    pub max_msgs_per_subject: i64,
}

/// The stream that takes all of `new`'s subjects; made where there is none.
pub fn ensure(client: &mut Client, new: &NewStream) -> Result<String, NatsError> {
    if let Some(name) = stream_of(client, &new.subjects[0])? {
        return Ok(name);
    }
    let mut config = serde_json::to_value(new).map_err(|_| NatsError::Answer("nothing"))?;
    for (field, value) in [
        ("retention", json!("limits")),
        ("storage", json!("file")),
        ("discard", json!("old")),
        ("num_replicas", json!(1)),
        ("max_consumers", json!(-1)),
        ("max_msgs", json!(-1)),
        ("max_msg_size", json!(-1)),
    ] {
        config[field] = value;
    }
    let subject = format!("$JS.API.STREAM.CREATE.{}", new.name);
    let made = client.request("the creation of a stream", &subject, config.to_string().as_bytes())?;
    let made: Result<serde_json::Value, NatsError> = answer("the creation of a stream", &made);
    // Somebody else may have been faster.
    match (made, stream_of(client, &new.subjects[0])?) {
        (_, Some(name)) => Ok(name),
        (Err(error), None) => Err(error),
        (Ok(_), None) => Err(NatsError::Answer("the creation of a stream")),
    }
}

/// The name of the stream that takes `subject`, if there is one.
pub fn stream_of(client: &mut Client, subject: &str) -> Result<Option<String>, NatsError> {
    #[derive(Deserialize)]
    struct Names {
        streams: Option<Vec<String>>,
    }
    let what = "the question for a stream";
    let asked = json!({ "subject": subject }).to_string();
    let message = client.request(what, "$JS.API.STREAM.NAMES", asked.as_bytes())?;
    let mut names = answer::<Names>(what, &message)?.streams.unwrap_or_default();
    match names.len() {
        0 => Ok(None),
        1 => Ok(names.pop().filter(|name| is_name(name))),
        count => Err(NatsError::Streams(count, subject.to_owned())),
    }
}

/// A name becomes a word of a subject.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && !b".*>".contains(&byte))
}

/// A message as a stream keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its number in the stream.
    pub number: u64,
    /// Where it was sent.
    pub subject: String,
    /// The content.
    pub content: Vec<u8>,
}

/// Which message of a stream is wanted.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub enum Which<'a> {
    /// The last one of a pattern.
    Last {
        /// The pattern.
        #[serde(rename = "last_by_subj")]
        pattern: &'a str,
    },
    /// The first one of a pattern whose number is not less.
    From {
        /// The number.
        seq: u64,
        /// The pattern.
        #[serde(rename = "next_by_subj")]
        pattern: &'a str,
    },
}

/// A message of a stream, if it is there.
pub fn stored(client: &mut Client, stream: &str, which: Which<'_>) -> Result<Option<Stored>, NatsError> {
    #[derive(Deserialize)]
    struct Answer {
        message: StoredForm,
    }
    #[derive(Deserialize)]
    struct StoredForm {
        seq: u64,
        subject: String,
        #[serde(default)]
        data: String,
    }
    let what = "the question for a message";
    let asked = serde_json::to_vec(&which).map_err(|_| NatsError::Answer(what))?;
    let message = client.request(what, &format!("$JS.API.STREAM.MSG.GET.{stream}"), &asked)?;
    let Some(Answer { message }) = found(answer(what, &message))? else { return Ok(None) };
    let content = base64::decode(message.data.as_bytes()).map_err(|_| NatsError::Answer(what))?;
    Ok(Some(Stored { number: message.seq, subject: message.subject, content }))
}

/// What a stream says to a message that it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Taken {
    /// Its number in the stream.
    pub seq: u64,
}

/// Reads the acknowledgement of a message.
pub fn taken(message: &Message) -> Result<Taken, NatsError> {
    answer("a message", message)
}

/// A reader of a stream, which the server forgets soon after the connection.
#[derive(Debug)]
pub struct Consumer {
    next: String,
    /// How many messages there are already.
    pub waiting: u64,
}

/// How long the server keeps a consumer that does not ask.
const FORGOTTEN: Duration = Duration::from_mins(5);

impl Consumer {
    /// Reads what matches `pattern`, from number `from` on.
    pub fn new(client: &mut Client, stream: &str, pattern: &str, from: u64) -> Result<Self, NatsError> {
        #[derive(Deserialize)]
        struct Answer {
            name: String,
            #[serde(default)]
            num_pending: u64,
        }
        let what = "the question for a consumer";
        let asked = json!({
            "stream_name": stream,
            "config": {
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": from.max(1),
                "ack_policy": "none",
                "replay_policy": "instant",
                "filter_subject": pattern,
                "inactive_threshold": nanoseconds(FORGOTTEN),
                "mem_storage": true,
            },
        });
        let subject = format!("$JS.API.CONSUMER.CREATE.{stream}");
        let message = client.request(what, &subject, asked.to_string().as_bytes())?;
        let made: Answer = answer(what, &message)?;
        if !is_name(&made.name) {
            return Err(NatsError::Answer(what));
        }
        let next = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{}", made.name);
        Ok(Self { next, waiting: made.num_pending })
    }

    /// Asks for `count` messages, which come to `reply`, now or within `time`; then a message with a status says that it is over.
    pub fn ask(&self, client: &mut Client, reply: &str, count: u64, time: Duration) -> Result<(), NatsError> {
        let asked = if time.is_zero() {
            json!({ "batch": count, "no_wait": true })
        } else {
            json!({ "batch": count, "expires": nanoseconds(time) })
        };
        client.publish(&self.next, Some(reply), &[], asked.to_string().as_bytes())
    }
}

fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos().try_into().unwrap_or(u64::MAX)
}

/// How many messages there were behind a delivered one, by the subject to which its acknowledgement would be sent:
/// `$JS.ACK.STREAM.CONSUMER.DELIVERED.NUMBER.ORDER.TIME.WAITING`, and since server 2.11 with a domain and an account after `ACK`.
pub fn waiting_behind(message: &Message) -> Option<u64> {
    let words: Vec<&str> = message.reply.as_deref()?.split('.').collect();
    let at = match words.as_slice() {
        ["$JS", "ACK", rest @ ..] if rest.len() == 7 => 8,
        ["$JS", "ACK", rest @ ..] if rest.len() >= 9 => 10,
        _ => return None,
    };
    words.get(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_something_or_why_not() {
        let message =
            |content: &str, status| Message { content: content.into(), status, ..Message::default() };
        assert_eq!(taken(&message(r#"{"stream":"S","seq":7,"duplicate":true}"#, None)).unwrap().seq, 7);
        for (content, status, says) in [
            ("", Some(503), "the server has no JetStream, or not for this account"),
            ("", None, "the answer to a message cannot be read"),
            ("{}", None, "the answer to a message cannot be read"),
            (r#"{"seq":-1}"#, None, "the answer to a message cannot be read"),
            (
                r#"{"error":{"code":503,"err_code":10077,"description":"maximum bytes\u001b exceeded"},"stream":"S","seq":0}"#,
                None,
                "JetStream says: maximum bytes\\x1b exceeded (10077)",
            ),
        ] {
            assert_eq!(taken(&message(content, status)).unwrap_err().to_string(), says);
        }
    }

    #[test]
    fn what_waits_is_read_from_either_form() {
        for (reply, waiting) in [
            (Some("$JS.ACK.S.C.1.22.3.4444.55"), Some(55)),
            (Some("$JS.ACK.dom.acc.S.C.1.22.3.4444.55.x"), Some(55)),
            (Some("$JS.ACK.dom.acc.S.C.1.22.3.4444.55"), Some(55)),
            (Some("$JS.ACK.S.C.1.22.3.4444.-1"), None),
            (Some("x"), None),
            (None, None),
        ] {
            let message = Message { reply: reply.map(str::to_owned), ..Message::default() };
            assert_eq!(waiting_behind(&message), waiting, "{reply:?}");
        }
    }
}
