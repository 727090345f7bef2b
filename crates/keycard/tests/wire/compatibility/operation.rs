//! How `docs/compatibility.md` names operations, and which route rows such a name means.
//!
//! `GET, HEAD …/resourceGroups/{name}; GET list`: groups between semicolons, each of methods and paths. `{any name}` is
//! one segment, `{scope}` any scope, `{generic type}` each type that is kept as sent, and a leading `…` the way to the first type: subscription, group, provider,
//! location. A further path with `…`, or a single word, goes on from the paths before it as far as a route does, and
//! `list` is the path before it without its last name. Whatever else stands between commas is a remark.

use http::Method;
use keycard_domain::resources::generic_type;
use keycard_wire::route::Row;

/// One segment of a path as the table writes it, or a whole way of them.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// `…`
    Way,
    /// `{scope}`
    Scope,
    /// `{generic type}`
    GenericType,
    /// `{name}`
    Name,
    Literal(String),
}

/// What the table calls one path.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern(Vec<Piece>);

/// An operation: what one method does on one path.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    /// None: whatever the method.
    method: Option<Method>,
    pattern: Pattern,
}

fn piece(segment: &str) -> Piece {
    match segment {
        "…" => Piece::Way,
        "{scope}" => Piece::Scope,
        "{generic type}" => Piece::GenericType,
        _ if segment.starts_with('{') && segment.ends_with('}') => Piece::Name,
        _ => Piece::Literal(segment.to_owned()),
    }
}

fn pieces(path: &str) -> Vec<Piece> {
    path.split('/').filter(|segment| !segment.is_empty()).map(piece).collect()
}

fn segments(row: &Row) -> Vec<String> {
    // Every path of Graph begins with its version, which says nothing.
    let path = row.path.strip_prefix("/{api}").unwrap_or(row.path);
    path.split('/').filter(|segment| !segment.is_empty()).map(str::to_ascii_lowercase).collect()
}

fn is_name(segment: &str) -> bool {
    segment.starts_with('{') && segment != "{*scope}"
}

/// Every length that `…` can have at the beginning of these segments.
fn ways(segments: &[String]) -> Vec<usize> {
    let at = |index: usize| segments.get(index).map_or("", String::as_str);
    let mut length = 0;
    let mut lengths = vec![0];
    if at(0) == "{*scope}" {
        length = 1;
        lengths.push(length);
    } else if at(0) == "subscriptions" && is_name(at(1)) {
        length = 2;
        lengths.push(length);
        if at(2) == "resourcegroups" && is_name(at(3)) {
            length = 4;
            lengths.push(length);
        }
    }
    if at(length) == "providers" {
        lengths.push(length + 1);
        if at(length + 1).contains('.') {
            length += 2;
            lengths.push(length);
        }
    }
    if at(length) == "locations" && is_name(at(length + 1)) {
        lengths.push(length + 2);
    }
    lengths
}

/// How many of these segments name a type that is kept as it is sent, with the names of what it is a part of in between.
fn generic_type_length(segments: &[String]) -> Option<usize> {
    (1..=segments.len() / 2).rev().map(|pairs| 2 * pairs).find(|length| {
        let part = &segments[..*length];
        let types = part.iter().take(1).chain(part.iter().skip(1).step_by(2));
        let types: Vec<&str> = types.map(String::as_str).collect();
        part.iter().skip(2).step_by(2).all(|segment| is_name(segment))
            && generic_type::find(&types.join("/")).is_some()
    })
}

fn matches(pattern: &[Piece], segments: &[String]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return segments.is_empty() };
    if *first == Piece::Way {
        return ways(segments).into_iter().any(|length| matches(rest, &segments[length..]));
    }
    if *first == Piece::GenericType {
        return generic_type_length(segments)
            .is_some_and(|length| matches(rest, &segments[length..]));
    }
    let Some((segment, others)) = segments.split_first() else { return false };
    let is_same = match first {
        Piece::Way | Piece::GenericType => false,
        Piece::Scope => segment == "{*scope}",
        Piece::Name => is_name(segment),
        Piece::Literal(literal) => literal.eq_ignore_ascii_case(segment),
    };
    is_same && matches(rest, others)
}

impl Operation {
    /// Whether this is the row's operation.
    pub(crate) fn is_of(&self, row: &Row) -> bool {
        self.method.as_ref().is_none_or(|method| *method == row.method)
            && matches(&self.pattern.0, &segments(row))
    }

    /// How much of the path is written out: of two names of a row, the longer one is about it.
    pub(crate) fn precision(&self) -> usize {
        self.pattern.0.iter().filter(|piece| **piece != Piece::Way).count()
    }

    /// The operation, to a reader.
    pub(crate) fn said(&self) -> String {
        let segment = |piece: &Piece| match piece {
            Piece::Way => "…".to_owned(),
            Piece::Scope => "{scope}".to_owned(),
            Piece::GenericType => "{generic type}".to_owned(),
            Piece::Name => "{name}".to_owned(),
            Piece::Literal(literal) => literal.clone(),
        };
        let segments: Vec<String> = self.pattern.0.iter().map(segment).collect();
        let method = self.method.as_ref().map_or("any method", Method::as_str);
        format!("`{method} {}`", segments.join("/"))
    }

    /// A request of this operation: its method, and its path below this resource group.
    pub(crate) fn example(&self, group: &str) -> (Method, String) {
        let mut path = String::new();
        for (index, piece) in self.pattern.0.iter().enumerate() {
            match piece {
                Piece::Way if matches!(self.pattern.0.get(index + 1), Some(Piece::Literal(next)) if next.contains('.')) =>
                {
                    path.push_str(group);
                    path.push_str("/providers");
                }
                Piece::Way | Piece::Scope => path.push_str(group),
                Piece::GenericType => path.push_str("/Microsoft.Network/virtualNetworks"),
                Piece::Name => path.push_str("/11111111-1111-1111-1111-111111111111"),
                Piece::Literal(literal) => {
                    path.push('/');
                    path.push_str(literal);
                }
            }
        }
        (self.method.clone().unwrap_or(Method::GET), path)
    }
}

/// The text of one operation of a row, as the table would write it in full.
pub(crate) fn written(row: &Row) -> String {
    let path = row.path.strip_prefix("/{api}").unwrap_or(row.path);
    format!("{} {}", row.method, path.replace("/{*scope}", "{scope}"))
}

/// A method, where the word is one.
fn method(word: &str) -> Option<Method> {
    let known = ["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS"];
    known.contains(&word).then(|| Method::from_bytes(word.as_bytes()).unwrap())
}

/// The parts of a text at this character, where it stands in no braces and no parentheses.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut depth = 0_i32;
    let mut parts = Vec::new();
    let mut begin = 0;
    for (index, character) in text.char_indices() {
        match character {
            '{' | '(' => depth += 1,
            '}' | ')' => depth -= 1,
            _ if character == separator && depth == 0 => {
                parts.push(text[begin..index].trim());
                begin = index + character.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(text[begin..].trim());
    parts
}

/// Reads a cell. A cell that does not begin with a method names no operations, but says something about several.
pub(crate) fn read(cell: &str, rows: &[Row], is_refused: bool) -> Result<Vec<Operation>, String> {
    let cell = cell.replace("any method ", "ANY ");
    let is_operation = |text: &str| {
        let word = text.split([' ', ',']).next().unwrap_or_default();
        word == "ANY" || method(word).is_some()
    };
    if !is_operation(&cell) {
        let begins_with_path = cell.starts_with(['/', '…']) || cell.starts_with("{scope}");
        return if begins_with_path {
            Err("begins with a path: write the methods before it, as in `GET, PUT …/things/{name}`"
                .to_owned())
        } else {
            Ok(Vec::new())
        };
    }
    let mut reader = Reader { rows, is_refused, before: Vec::new(), found: Vec::new() };
    for group in split(&cell, ';') {
        if !is_operation(group) {
            return Err(format!(
                "`{group}` names no method: write it as in `GET …/things/{{name}}`, or as a remark after a comma"
            ));
        }
        reader.group(group)?;
    }
    Ok(reader.found)
}

struct Reader<'a> {
    rows: &'a [Row],
    is_refused: bool,
    /// The paths that a further one goes on from: those since the last methods but one.
    before: Vec<Vec<Piece>>,
    found: Vec<Operation>,
}

impl Reader<'_> {
    fn group(&mut self, group: &str) -> Result<(), String> {
        let mut methods: Vec<Option<Method>> = Vec::new();
        let mut here: Vec<Vec<Piece>> = Vec::new();
        for item in split(group, ',') {
            let mut words = split(item, ' ').into_iter();
            let mut word = words.next().unwrap_or_default();
            let mut may_be_bare = words.len() == 0;
            if word == "ANY" || method(word).is_some() {
                if !here.is_empty() {
                    methods.clear();
                    self.before = std::mem::take(&mut here);
                }
                methods.push(method(word));
                let Some(path) = words.next() else { continue };
                word = path;
                may_be_bare = true;
            }
            let is_path = word.starts_with(['/', '…']) || word.starts_with("{scope}");
            let is_bare = may_be_bare && word.starts_with(|c: char| c.is_alphabetic() || c == '$');
            if !is_path && !is_bare {
                continue;
            }
            let mut meant = Vec::new();
            for method in &methods {
                for pattern in self.patterns(word, method.as_ref(), &here)? {
                    self.found.push(Operation { method: method.clone(), pattern: pattern.clone() });
                    meant.push(pattern.0);
                }
            }
            meant.dedup();
            if !matches!(word, "list" | "lists") {
                here.extend(meant);
            }
        }
        if !here.is_empty() {
            self.before = here;
        }
        Ok(())
    }

    /// The paths that the word means after those before it.
    fn patterns(
        &self,
        word: &str,
        method: Option<&Method>,
        here: &[Vec<Piece>],
    ) -> Result<Vec<Pattern>, String> {
        let before = if here.is_empty() { &self.before } else { here };
        let own = pieces(word);
        let name = format!("{} {word}", method.map_or("any method", Method::as_str));
        if matches!(word, "list" | "lists") {
            let collection = |path: &Vec<Piece>| match path.split_last() {
                Some((Piece::Name, collection)) => Ok(Pattern(collection.to_vec())),
                _ => Err(format!("`{name}`: the path before it does not end in a name")),
            };
            return before.iter().map(collection).collect();
        }
        let is_way = own.first() == Some(&Piece::Way);
        let goes_on = is_way || !word.starts_with(['/', '{']);
        if !goes_on || before.is_empty() {
            return Ok(vec![Pattern(own)]);
        }
        if self.is_refused {
            // No route says how far the path before it counts: a word stands in the place of its last segment.
            let parent = before.last().and_then(|path| path.split_last()).map(|(_, rest)| rest);
            let sibling = || [parent.unwrap_or_default(), &own].concat();
            return Ok(vec![Pattern(if is_way { own } else { sibling() })]);
        }
        let tail: Vec<Piece> = own.iter().filter(|piece| **piece != Piece::Way).cloned().collect();
        let is_of_a_row = |pattern: &Pattern| {
            let operation = Operation { method: method.cloned(), pattern: pattern.clone() };
            self.rows.iter().any(|row| operation.is_of(row))
        };
        let mut found: Vec<Pattern> = Vec::new();
        for paths in [here, &self.before] {
            if !found.is_empty() {
                break;
            }
            for path in paths {
                let shortened = (1..=path.len()).rev().map(|length| &path[..length]);
                let longer =
                    shortened.map(|begin| Pattern([begin, &tail].concat())).find(is_of_a_row);
                found.extend(longer.filter(|pattern| !found.contains(pattern)));
            }
        }
        let own = Pattern(own);
        if found.is_empty() && is_way && is_of_a_row(&own) {
            found.push(own);
        }
        if found.is_empty() {
            return Err(format!(
                "`{name}` is an operation of no route, whichever path before it goes on from"
            ));
        }
        Ok(found)
    }
}

#[test]
fn names_of_operations_mean_what_they_say() {
    use keycard_wire::route::Access;
    let paths = [
        "/subscriptions/{s}/providers/A.B/things",
        "/subscriptions/{s}/resourceGroups/{g}/providers/A.B/things",
        "/subscriptions/{s}/resourceGroups/{g}/providers/A.B/things/{name}",
        "/subscriptions/{s}/resourceGroups/{g}/providers/A.B/things/{name}/start",
        "/subscriptions/{s}/resourceGroups/{g}/providers/A.B/things/{name}/stop",
        "/subscriptions/{s}/resourceGroups/{g}/providers/A.B/things/{name}/parts/{part}",
        "/{*scope}/providers/A.B/notes/{note}",
        "/{api}/groups/{group}/members/{member}/$ref",
        "/{api}/groups/{group}/members",
        "/subscriptions/{s}/resourceGroups/{g}/providers/Microsoft.Network/virtualNetworks/{v}/subnets/{n}",
        "/subscriptions/{s}/providers/Microsoft.Network/virtualNetworks",
    ];
    let row = |path| Row { method: Method::GET, path, access: Access::Public };
    let rows: Vec<Row> = paths.into_iter().map(row).collect();
    let check = |cell: &str, expected: Option<&[usize]>| {
        let found = read(cell, &rows, false).ok().map(|operations| {
            let is_meant = |row: &Row| operations.iter().any(|operation| operation.is_of(row));
            (0..rows.len()).filter(|index| is_meant(&rows[*index])).collect::<Vec<_>>()
        });
        assert_eq!(found.as_deref(), expected, "{cell}");
    };
    check("GET …/things/{n}", Some(&[2]));
    check("GET …/A.B/things/{n}; GET lists", Some(&[0, 1, 2]));
    check("GET …/things/{n}/start, stop", Some(&[3, 4]));
    check("GET …/things/{n}, …/stop, 2020-01-01 and later", Some(&[2, 4]));
    check("GET …/things/{n}/start, …/parts/{p}", Some(&[3, 5]));
    check("GET …/things/{n}, /groups/{a}/members; GET …/start, …/{m}/$ref", Some(&[2, 3, 7, 8]));
    check("GET …/parts/{p}", Some(&[]));
    check("PUT …/things/{n}", Some(&[]));
    check("any method …/things/{n}", Some(&[2]));
    check("GET {scope}/…/notes/{n}", Some(&[6]));
    check("GET /groups/{a b}/members/{c}/$ref; GET …/members", Some(&[7, 8]));
    check("GET …/{generic type}/{n}; GET lists", Some(&[9, 10]));
    check("GET …/things/{n}, …/nowhere", None);
    check("GET …/things/{n}; the same of others", None);
    check("…/things/{n}", None);
    check("what happens to things", Some(&[]));
}
