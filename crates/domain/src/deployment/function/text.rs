//! Functions of strings. Characters are Unicode scalar values, where Azure counts UTF-16 units.
//! Source: Azure Resource Manager, "String functions"; .NET, "Composite formatting".

use serde_json::Value;

use super::super::error::ExpressionError;
use super::{Arguments, Function, MANY, as_text, pure};
use crate::limits;

pub(super) const FUNCTIONS: &[Function] = &[
    pure("concat", (1, MANY), concat),
    pure("format", (1, MANY), format),
    pure("string", (1, 1), |it| Ok(as_text(it.value(0)).into())),
    pure("toLower", (1, 1), |it| Ok(it.text(0)?.to_lowercase().into())),
    pure("toUpper", (1, 1), |it| Ok(it.text(0)?.to_uppercase().into())),
    pure("trim", (1, 1), |it| Ok(it.text(0)?.trim().into())),
    pure("replace", (3, 3), replace),
    pure("split", (2, 2), split),
    pure("join", (2, 2), join),
    pure("substring", (2, 3), substring),
    pure("startsWith", (2, 2), |it| Ok(folded(it, 0)?.starts_with(&folded(it, 1)?).into())),
    pure("endsWith", (2, 2), |it| Ok(folded(it, 0)?.ends_with(&folded(it, 1)?).into())),
    pure("indexOf", (2, 2), |it| position(it, |text, sought| text.find(sought))),
    pure("lastIndexOf", (2, 2), |it| position(it, |text, sought| text.rfind(sought))),
    pure("padLeft", (2, 3), pad_left),
];

/// These two compare without case. Source: the same page.
fn folded(it: &Arguments<'_>, index: usize) -> Result<String, ExpressionError> {
    Ok(it.text(index)?.to_lowercase())
}

/// Arrays to one array, and else everything to one string.
fn concat(it: &Arguments<'_>) -> Result<Value, ExpressionError> {
    if it.value(0).is_array() {
        let parts: Vec<&[Value]> =
            (0..it.values.len()).map(|index| it.array(index)).collect::<Result<_, _>>()?;
        return Ok(parts.concat().into());
    }
    let wrong = it.values.iter().position(|value| value.is_array() || value.is_object());
    match wrong {
        Some(index) => Err(it.wrong(index, "String")),
        None => Ok(it.values.iter().map(as_text).collect::<String>().into()),
    }
}

fn replace(it: &Arguments<'_>) -> Result<Value, ExpressionError> {
    let (text, old, new) = (it.text(0)?, it.text(1)?, it.text(2)?);
    if old.is_empty() {
        return Err(it.invalid("the text to replace is empty"));
    }
    let count = text.matches(old).count();
    if count.saturating_mul(new.len()) > limits::EXPRESSION_VALUE_BYTES_MAX {
        return Err(ExpressionError::TooMuchWork);
    }
    Ok(text.replace(old, new).into())
}

/// By one delimiter or several.
fn split(it: &Arguments<'_>) -> Result<Value, ExpressionError> {
    let delimiters: Vec<&str> = if let Value::Array(items) = it.value(1) {
        items.iter().filter_map(Value::as_str).collect()
    } else {
        vec![it.text(1)?]
    };
    if delimiters.len().saturating_mul(it.text(0)?.len()) > limits::EXPRESSION_VALUE_BYTES_MAX * 4 {
        return Err(ExpressionError::TooMuchWork);
    }
    let mut parts = vec![it.text(0)?];
    for delimiter in delimiters.into_iter().filter(|delimiter| !delimiter.is_empty()) {
        parts = parts.into_iter().flat_map(|part| part.split(delimiter)).collect();
    }
    Ok(parts.into())
}

fn join(it: &Arguments<'_>) -> Result<Value, ExpressionError> {
    let items: Vec<String> = it.array(0)?.iter().map(as_text).collect();
    let delimiter = it.text(1)?;
    if items.len().saturating_mul(delimiter.len()) > limits::EXPRESSION_VALUE_BYTES_MAX {
        return Err(ExpressionError::TooMuchWork);
    }
    Ok(items.join(delimiter).into())
}

fn substring(it: &Arguments<'_>) -> Result<Value, ExpressionError> {
    let (text, start) = (it.text(0)?, it.count(1)?);
    let length = text.chars().count();
    let rest = length.checked_sub(start);
    let wanted = if it.has(2) { Some(it.count(2)?) } else { rest };
    match (rest, wanted) {
        (Some(rest), Some(wanted)) if wanted <= rest => {
            Ok(text.chars().skip(start).take(wanted).collect::<String>().into())
        }
        _ => Err(it
            .invalid("the index and length parameters must refer to a location within the string")),
    }
}

/// The number of characters before the place, or -1.
fn position(
    it: &Arguments<'_>,
    find: fn(&str, &str) -> Option<usize>,
) -> Result<Value, ExpressionError> {
    let (text, sought) = (folded(it, 0)?, folded(it, 1)?);
    let before = find(&text, &sought).and_then(|byte| text.get(..byte));
    Ok(before.map_or_else(|| (-1).into(), |before| before.chars().count().into()))
}

fn pad_left(it: &Arguments<'_>) -> Result<Value, ExpressionError> {
    let text = if let Value::Number(number) = it.value(0) {
        number.to_string()
    } else {
        it.text(0)?.to_owned()
    };
    let width = it.count(1)?;
    if width > limits::EXPRESSION_VALUE_BYTES_MAX {
        return Err(ExpressionError::TooMuchWork);
    }
    let filler = if it.has(2) { it.text(2)? } else { " " };
    let mut letters = filler.chars();
    let (Some(filler), None) = (letters.next(), letters.next()) else {
        return Err(it.invalid("the filler is no single character"));
    };
    let missing = width.saturating_sub(text.chars().count());
    Ok(std::iter::repeat_n(filler, missing).chain(text.chars()).collect::<String>().into())
}

/// `{0}`, `{0,-8}` and, for whole numbers, `{0:N0}`, `{0:D4}` and `{0:X}`. Doubled braces stand for themselves.
fn format(it: &Arguments<'_>) -> Result<Value, ExpressionError> {
    let mut out = String::new();
    let mut rest = it.text(0)?;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, tail) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(before);
        let doubled = tail.strip_prefix("{{").map(|after| ('{', after));
        if let Some((brace, after)) =
            doubled.or_else(|| tail.strip_prefix("}}").map(|after| ('}', after)))
        {
            out.push(brace);
            rest = after;
            continue;
        }
        let item = tail.strip_prefix('{').and_then(|tail| tail.split_once('}'));
        let (item, after) = item.ok_or_else(|| it.invalid("a brace of the format is alone"))?;
        out.push_str(&formatted(it, item)?);
        if out.len() > limits::EXPRESSION_VALUE_BYTES_MAX {
            return Err(ExpressionError::TooMuchWork);
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out.into())
}

fn formatted(it: &Arguments<'_>, item: &str) -> Result<String, ExpressionError> {
    let (place, style) = item.split_once(':').unwrap_or((item, ""));
    let (index, width) = place.split_once(',').unwrap_or((place, "0"));
    let index = index.trim().parse::<usize>().ok().and_then(|index| index.checked_add(1));
    let value = index.and_then(|index| it.values.get(index));
    let value = value.ok_or_else(|| it.invalid("the format names an argument that is none"))?;
    let text = styled(value, style)
        .ok_or_else(|| it.invalid(format!("the format '{style}' is not supported")))?;
    let width: i16 = width.trim().parse().map_err(|_| it.invalid("a width is no number"))?;
    let wide = usize::from(width.unsigned_abs());
    Ok(if width < 0 { format!("{text:<wide$}") } else { format!("{text:>wide$}") })
}

fn styled(value: &Value, style: &str) -> Option<String> {
    if style.is_empty() {
        return Some(as_text(value));
    }
    let number = value.as_i64()?;
    if style.len() <= 99 && style.bytes().all(|byte| byte == b'0') {
        let (sign, digits) = (if number < 0 { "-" } else { "" }, style.len());
        return Some(format!("{sign}{:0digits$}", number.unsigned_abs()));
    }
    let (letter, digits) = style.split_at_checked(1)?;
    let digits: usize = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    let sign = if number < 0 { "-" } else { "" };
    match letter {
        "D" | "d" if digits <= 99 => Some(format!("{sign}{:0digits$}", number.unsigned_abs())),
        "X" if digits <= 99 => Some(format!("{number:0digits$X}")),
        "x" if digits <= 99 => Some(format!("{number:0digits$x}")),
        "N" | "n" if style.len() == 2 && digits == 0 => {
            Some(format!("{sign}{}", grouped(number.unsigned_abs())))
        }
        _ => None,
    }
}

/// With a comma before each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
