//! Functions of moments. Source: Azure Resource Manager, "Date functions"; ISO 8601, durations.

use std::ops::Range;

use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::{Duration, UtcDateTime};

use super::super::error::{ExpressionError, Halt};
use super::super::evaluate::Evaluator;
use super::{Arguments, Function, placed, pure};

pub(super) const FUNCTIONS: &[Function] = &[
    placed("utcNow", (0, 1), utc_now),
    pure("dateTimeAdd", (2, 3), date_time_add),
    pure("dateTimeFromEpoch", (1, 1), |it| {
        let moment = UtcDateTime::from_unix_timestamp(it.integer(0)?);
        moment
            .ok()
            .and_then(|moment| written(moment, "yyyy-MM-ddTHH:mm:ssZ"))
            .map(Value::from)
            .ok_or_else(|| it.invalid("the moment is out of range"))
    }),
    pure("dateTimeToEpoch", (1, 1), |it| Ok(read(it)?.unix_timestamp().into())),
];

/// How moments are written when no format is named.
const DEFAULT_FORMAT: &str = "yyyyMMddTHHmmssZ";

/// Only as the default of a parameter: else the same template would be another one each time.
fn utc_now(evaluator: &Evaluator<'_>, it: &Arguments<'_>) -> Result<Value, Halt> {
    let Some(fresh) = evaluator.fresh else {
        return Err(ExpressionError::FunctionMisplaced("utcNow".to_owned()).into());
    };
    let format = if it.values.is_empty() { DEFAULT_FORMAT } else { it.text(0)? };
    let written = written(fresh.now, format).map(Value::from);
    Ok(written.ok_or_else(|| it.invalid(format!("the format '{format}' is not supported")))?)
}

fn read(it: &Arguments<'_>) -> Result<UtcDateTime, ExpressionError> {
    let text = it.text(0)?;
    let wrong = || it.invalid(format!("'{text}' is no moment in the form of ISO 8601"));
    // The form of `utcNow` has no punctuation.
    let is_compact = text.len() == 16 && text.ends_with('Z') && text.get(8..9) == Some("T");
    let part = |range: Range<usize>| text.get(range).unwrap_or_default();
    let usual = if is_compact {
        let (date, time) = ((part(0..4), part(4..6)), (part(9..11), part(11..13)));
        format!("{}-{}-{}T{}:{}:{}Z", date.0, date.1, part(6..8), time.0, time.1, part(13..15))
    } else {
        text.replacen(' ', "T", 1)
    };
    UtcDateTime::parse(&usual, &Rfc3339).map_err(|_| wrong())
}

fn date_time_add(it: &Arguments<'_>) -> Result<Value, ExpressionError> {
    let duration = duration(it.text(1)?)
        .ok_or_else(|| it.invalid("the duration is not in the form of ISO 8601"))?;
    let moment = read(it)?.checked_add(duration);
    let moment = moment.ok_or_else(|| it.invalid("the moment is out of range"))?;
    let format = if it.has(2) { it.text(2)? } else { "yyyy-MM-ddTHH:mm:ssZ" };
    let written = written(moment, format).map(Value::from);
    written.ok_or_else(|| it.invalid(format!("the format '{format}' is not supported")))
}

/// `P1Y2M3DT4H5M6S`, perhaps with a minus before it. A year has 365 days and a month 30, as in .NET's XML durations.
fn duration(text: &str) -> Option<Duration> {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (date, time) =
        text.strip_prefix('P')?.split_once('T').unwrap_or((text.strip_prefix('P')?, ""));
    let parts = [(date, [('Y', 31_536_000), ('M', 2_592_000), ('W', 604_800), ('D', 86_400)])];
    let times = [('H', 3600), ('M', 60), ('S', 1), ('S', 1)];
    let mut seconds = 0_i64;
    for (mut rest, units) in parts.into_iter().chain([(time, times)]) {
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit())?;
            let (number, after) = rest.split_at_checked(end)?;
            let letter = after.chars().next()?;
            let (_, unit) = units.iter().find(|(known, _)| *known == letter)?;
            let part = number.parse::<i64>().ok()?.checked_mul(*unit)?;
            seconds = seconds.checked_add(part)?;
            rest = after.get(1..)?;
        }
    }
    (text.len() > 1).then(|| Duration::seconds(sign * seconds))
}

/// The moment in a format of .NET, of whose letters those for whole parts are known.
fn written(moment: UtcDateTime, format: &str) -> Option<String> {
    let format = match format {
        "u" => "yyyy-MM-dd HH:mm:ssZ",
        "d" => "MM/dd/yyyy",
        "s" => "yyyy-MM-ddTHH:mm:ss",
        other => other,
    };
    let mut out = String::new();
    let mut rest = format;
    while let Some(letter) = rest.chars().next() {
        let length = rest.chars().take_while(|c| *c == letter).count();
        let (run, after) = rest.split_at_checked(length * letter.len_utf8())?;
        rest = after;
        match run {
            "yyyy" => out.push_str(&format!("{:04}", moment.year())),
            "yy" => out.push_str(&format!("{:02}", moment.year().rem_euclid(100))),
            "MM" => out.push_str(&format!("{:02}", u8::from(moment.month()))),
            "dd" => out.push_str(&format!("{:02}", moment.day())),
            "HH" => out.push_str(&format!("{:02}", moment.hour())),
            "mm" => out.push_str(&format!("{:02}", moment.minute())),
            "ss" => out.push_str(&format!("{:02}", moment.second())),
            "M" => out.push_str(&u8::from(moment.month()).to_string()),
            run if matches!(letter, '-' | ':' | '.' | '/' | ' ' | '_' | 'T' | 'Z') => {
                out.push_str(run);
            }
            _ => return None,
        }
    }
    Some(out)
}
