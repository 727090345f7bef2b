//! `keycard clock advance`: turns the clock of a running `up` forward.

use http::Method;
use serde_json::{Value, json};

use crate::cli::{Failure, Output, ServerChoice, print};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Clock {
    /// Turn the clock of a running `keycard up` forward, and do what falls due on the way.
    ///
    /// Directory, tokens, credentials and retention follow this clock. TLS certificates follow real time, so that clients
    /// go on connecting.
    Advance(Advance),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Advance {
    /// How far: a number with s, m, h, d or w, or several of them, as in `90d` or `1d12h`.
    #[arg(value_name = "DURATION", value_parser = seconds)]
    duration: i64,
    #[command(flatten)]
    server: ServerChoice,
    /// Write JSON for programs, or words for people.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl Clock {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let Self::Advance(advance) = self;
        let (_, administration) = advance.server.sign_in().await?;
        let path = "/providers/Keycard.Local/advanceClock?api-version=2026-11-01";
        let body = json!({ "seconds": advance.duration });
        let answer = administration.arm(Method::POST, path, Some(&body)).await?;
        match advance.output {
            Output::Json => print(&answer.body.to_string()),
            Output::Table => {
                let now = answer.body.get("now").and_then(Value::as_str).unwrap_or_default();
                print(&format!("The clock shows {now}."))
            }
        }
    }
}

/// The seconds of `90d`, `8h`, `1d12h`.
pub(super) fn seconds(text: &str) -> Result<i64, String> {
    let wrong = || format!("`{text}` is no duration such as 90d, 8h or 1d12h");
    let mut total: i64 = 0;
    let mut number = String::new();
    for character in text.chars() {
        if character.is_ascii_digit() {
            number.push(character);
            continue;
        }
        let unit = match character {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 24 * 3600,
            'w' => 7 * 24 * 3600,
            _ => return Err(wrong()),
        };
        let count: i64 = number.parse().map_err(|_| wrong())?;
        let part = count.checked_mul(unit).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        number.clear();
    }
    if number.is_empty() && !text.is_empty() { Ok(total) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, expected) in
            [("90d", 7_776_000), ("8h", 28_800), ("1d12h", 129_600), ("2w", 1_209_600), ("0s", 0)]
        {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for wrong in
            ["", "90", "d", "1x", "-1d", "1.5h", "99999999999999999999d", "9999999999999999w"]
        {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
