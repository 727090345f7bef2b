//! The functions of template expressions. One file per family: a table of name, number of arguments, and rule.
//!
//! Source: Azure Resource Manager, "ARM template functions".

mod cidr;
mod collection;
mod date;
mod encoding;
mod hash;
mod lambda;
mod logic;
mod number;
mod place;
mod text;

use serde_json::{Map, Value};

use super::error::{ExpressionError, Halt};
use super::evaluate::Evaluator;
use super::expression::Expression;
pub(super) use hash::template_hash;
pub(super) use place::join_id;

/// A function.
pub(super) struct Function {
    name: &'static str,
    /// Least and greatest number of arguments.
    arity: (usize, usize),
    rule: Rule,
}

/// How a function finds its value.
#[derive(Clone, Copy)]
enum Rule {
    /// From its arguments alone.
    Pure(fn(&Arguments<'_>) -> Result<Value, ExpressionError>),
    /// With the deployment around it.
    Placed(fn(&Evaluator<'_>, &Arguments<'_>) -> Result<Value, Halt>),
    /// From its arguments as they are written: it evaluates those that count, as often as they count.
    Lazy(fn(&Evaluator<'_>, &[Expression]) -> Result<Value, Halt>),
}

/// As many arguments as one likes.
const MANY: usize = usize::MAX;

const fn pure(
    name: &'static str,
    arity: (usize, usize),
    rule: fn(&Arguments<'_>) -> Result<Value, ExpressionError>,
) -> Function {
    Function { name, arity, rule: Rule::Pure(rule) }
}

const fn placed(
    name: &'static str,
    arity: (usize, usize),
    rule: fn(&Evaluator<'_>, &Arguments<'_>) -> Result<Value, Halt>,
) -> Function {
    Function { name, arity, rule: Rule::Placed(rule) }
}

const fn lazy(
    name: &'static str,
    arity: (usize, usize),
    rule: fn(&Evaluator<'_>, &[Expression]) -> Result<Value, Halt>,
) -> Function {
    Function { name, arity, rule: Rule::Lazy(rule) }
}

const FAMILIES: &[&[Function]] = &[
    cidr::FUNCTIONS,
    collection::FUNCTIONS,
    date::FUNCTIONS,
    encoding::FUNCTIONS,
    hash::FUNCTIONS,
    lambda::FUNCTIONS,
    logic::FUNCTIONS,
    number::FUNCTIONS,
    place::FUNCTIONS,
    text::FUNCTIONS,
];

/// Functions of Azure that keycard does not have.
const UNSUPPORTED: &[&str] = &[
    "buildUri",
    "externalInput",
    "float",
    "getSecret",
    "listOutputsWithSecureValues",
    "parseUri",
    "providers",
    "toLogicalZone",
    "toLogicalZones",
    "toPhysicalZone",
    "toPhysicalZones",
];

/// Refuses a function that there is not, and a number of arguments that it does not take.
pub(super) fn check(name: &str, count: usize) -> Result<(), ExpressionError> {
    if is_list(name) {
        return check_count(name, (2, 3), count);
    }
    find(name, count).map(drop)
}

/// The value of a function of the language.
pub(super) fn call(
    evaluator: &Evaluator<'_>,
    name: &str,
    arguments: &[Expression],
) -> Result<Value, Halt> {
    if is_list(name) {
        check_count(name, (2, 3), arguments.len())?;
        return place::list(evaluator, name, arguments);
    }
    find(name, arguments.len())?.apply(evaluator, arguments)
}

/// The function of this name, for so many arguments. Names ignore case.
fn find(name: &str, count: usize) -> Result<&'static Function, ExpressionError> {
    let found =
        FAMILIES.iter().copied().flatten().find(|known| known.name.eq_ignore_ascii_case(name));
    let Some(function) = found else {
        return Err(if is_unsupported(name) {
            ExpressionError::FunctionUnsupported(name.to_owned())
        } else {
            ExpressionError::FunctionUnknown(name.to_owned())
        });
    };
    check_count(function.name, function.arity, count)?;
    Ok(function)
}

/// Whether it is the action of a resource that gives something away, which types have as they like.
fn is_list(name: &str) -> bool {
    let (start, rest) = name.split_at_checked(4).unwrap_or((name, ""));
    let is_word = rest.chars().all(|c| c.is_ascii_alphanumeric());
    start.eq_ignore_ascii_case("list") && !rest.is_empty() && is_word && !is_unsupported(name)
}

fn is_unsupported(name: &str) -> bool {
    UNSUPPORTED.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Whether a function of this name looks at the resource that its first argument names.
pub(super) fn looks_at_resources(name: &str) -> bool {
    let of_resources = ["reference", "references"];
    is_list(name) || of_resources.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn check_count(
    function: &str,
    (least, most): (usize, usize),
    count: usize,
) -> Result<(), ExpressionError> {
    if (least..=most).contains(&count) {
        return Ok(());
    }
    let expected = match (least, most) {
        (least, most) if least == most => least.to_string(),
        (least, MANY) => format!("at least {least}"),
        (least, most) => format!("{least} to {most}"),
    };
    Err(ExpressionError::ArgumentCount { function: function.to_owned(), expected, actual: count })
}

impl Function {
    /// The function's value.
    fn apply(&self, evaluator: &Evaluator<'_>, arguments: &[Expression]) -> Result<Value, Halt> {
        let values = || -> Result<Arguments<'_>, Halt> {
            let values = arguments.iter().map(|argument| evaluator.expression(argument));
            Ok(Arguments { function: self.name, values: values.collect::<Result<_, _>>()? })
        };
        match self.rule {
            Rule::Pure(rule) => Ok(rule(&values()?)?),
            Rule::Placed(rule) => rule(evaluator, &values()?),
            Rule::Lazy(rule) => rule(evaluator, arguments),
        }
    }
}

/// The values that a function is given.
pub(super) struct Arguments<'a> {
    function: &'a str,
    values: Vec<Value>,
}

impl Arguments<'_> {
    fn invalid(&self, reason: impl Into<String>) -> ExpressionError {
        ExpressionError::ArgumentInvalid {
            function: self.function.to_owned(),
            reason: reason.into(),
        }
    }

    fn wrong(&self, index: usize, expected: &str) -> ExpressionError {
        let actual = self.values.get(index).map_or("Null", type_name);
        let number = index + 1;
        self.invalid(format!(
            "argument {number} is expected to be of type '{expected}' and is of type '{actual}'"
        ))
    }

    fn value(&self, index: usize) -> &Value {
        self.values.get(index).unwrap_or(&Value::Null)
    }

    /// Whether an argument that may be left out is there.
    fn has(&self, index: usize) -> bool {
        !self.value(index).is_null()
    }

    fn text(&self, index: usize) -> Result<&str, ExpressionError> {
        self.value(index).as_str().ok_or_else(|| self.wrong(index, "String"))
    }

    fn integer(&self, index: usize) -> Result<i64, ExpressionError> {
        self.value(index).as_i64().ok_or_else(|| self.wrong(index, "Integer"))
    }

    /// A whole number that is no less than zero.
    fn count(&self, index: usize) -> Result<usize, ExpressionError> {
        let number = self.integer(index)?;
        usize::try_from(number).map_err(|_| self.invalid("a length or index is less than zero"))
    }

    fn boolean(&self, index: usize) -> Result<bool, ExpressionError> {
        self.value(index).as_bool().ok_or_else(|| self.wrong(index, "Boolean"))
    }

    fn array(&self, index: usize) -> Result<&[Value], ExpressionError> {
        self.value(index).as_array().map(Vec::as_slice).ok_or_else(|| self.wrong(index, "Array"))
    }

    fn object(&self, index: usize) -> Result<&Map<String, Value>, ExpressionError> {
        self.value(index).as_object().ok_or_else(|| self.wrong(index, "Object"))
    }

    /// The arguments before this one as texts.
    fn texts_before(&self, end: usize) -> Result<Vec<&str>, ExpressionError> {
        (0..end).map(|index| self.text(index)).collect()
    }

    /// All arguments as texts.
    fn texts(&self) -> Result<Vec<&str>, ExpressionError> {
        self.texts_before(self.values.len())
    }
}

/// What Resource Manager calls the type of a value.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "Null",
        Value::Bool(_) => "Boolean",
        Value::Number(number) if number.is_f64() => "Float",
        Value::Number(_) => "Integer",
        Value::String(_) => "String",
        Value::Array(_) => "Array",
        Value::Object(_) => "Object",
    }
}

/// A value as text: a string is itself, a boolean begins with a capital as in .NET, an object is its JSON.
pub(super) fn as_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// The member of an object by its name, which ignores case.
pub(super) fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.get(name).or_else(|| {
        let mut all = object.iter();
        all.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;
    use time::UtcDateTime;

    use super::super::evaluate::{Budget, CopyIndex, Fresh, Names, Place};
    use super::super::own_function::Library;
    use super::*;
    use crate::entropy::SeededEntropy;
    use crate::limits;

    fn place() -> Place {
        Place {
            scope: "/subscriptions/s1/resourceGroups/rg1".to_owned(),
            subscription_id: "s1".to_owned(),
            deployment: json!({ "name": "d1" }),
            environment: json!({ "suffixes": { "keyVaultDns": ".vault" } }),
            subscription: json!({ "id": "/subscriptions/s1", "subscriptionId": "s1" }),
            deployer: json!({ "objectId": "o1" }),
            tenant: json!({ "tenantId": "t1" }),
            resource_group: Some(json!({ "id": "/subscriptions/s1/resourceGroups/rg1" })),
        }
    }

    fn evaluate(text: &str) -> Result<Value, Halt> {
        let names = Names {
            parameters: BTreeMap::from([("o".to_owned(), Some(json!({ "One": [1, 2] })))]),
            variables: BTreeMap::from([("v".to_owned(), Some(json!("x")))]),
        };
        let copies = [
            CopyIndex { name: "outer".to_owned(), index: 4 },
            CopyIndex { name: "inner".to_owned(), index: 2 },
        ];
        let entropy = SeededEntropy::new(1);
        let now = UtcDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        Evaluator {
            place: &place(),
            names: &names,
            library: &Library::default(),
            depth_left: limits::EVALUATION_DEPTH_MAX,
            budget: &Budget::default(),
            copies: &copies,
            lambdas: None,
            references: None,
            fresh: Some(Fresh { now, entropy: &entropy }),
        }
        .text(text)
    }

    fn check(expression: &str, expected: Value) {
        assert_eq!(evaluate(&format!("[{expression}]")), Ok(expected), "{expression}");
    }

    fn check_error(expression: &str, expected: &str) {
        match evaluate(&format!("[{expression}]")) {
            Err(Halt::Error(error)) => assert_eq!(error.to_string(), expected, "{expression}"),
            other => panic!("{expression}: {other:?}"),
        }
    }

    /// Source: the vectors of azure-semantics 10.3, observed on Azure.
    #[test]
    fn guid_and_unique_string_are_those_of_azure() {
        check("guid('a')", json!("3703365d-5a9f-59b4-bca7-b9681389e4c1"));
        check("guid('hello', 'world')", json!("a5b868f8-11fe-567a-ace0-e77cc87f104e"));
        check("uniqueString('tyeth')", json!("zcztcwvu6iyg6"));
        check("uniqueString('hello', 'world')", json!("a7wkljktk6wne"));
        check_error(
            "guid(1)",
            "the arguments of guid are wrong: argument 1 is expected to be of type 'String' and is of type 'Integer'",
        );
    }

    #[test]
    fn texts_are_made_and_taken_apart() {
        check("concat('a', 1, true())", json!("a1True"));
        check("concat(createArray(1), createArray(2))", json!([1, 2]));
        check("format('{0}-{1:N0}-{{x}}', 'a', 1234567)", json!("a-1,234,567-{x}"));
        check("format('{0:D4}|{1,4}|{1,-4}|{0:X}', 26, 'ab')", json!("0026|  ab|ab  |1A"));
        check("toUpper(toLower('aBc'))", json!("ABC"));
        check("replace('a-b-c', '-', '')", json!("abc"));
        check("split('a;b,c', createArray(';', ','))", json!(["a", "b", "c"]));
        check("join(createArray('a', 1), '-')", json!("a-1"));
        check("substring('hello', 1, 3)", json!("ell"));
        check("substring('hello', 2)", json!("llo"));
        check("padLeft('7', 3, '0')", json!("007"));
        check("padLeft(7, 3)", json!("  7"));
        check("indexOf('test', 'T')", json!(0));
        check("lastIndexOf('test', 't')", json!(3));
        check("indexOf('abc', 'x')", json!(-1));
        check("startsWith('abc', 'AB')", json!(true));
        check("endsWith('abc', 'x')", json!(false));
        check("trim(' a ')", json!("a"));
        check("string(createObject('a', 1))", json!("{\"a\":1}"));
    }

    #[test]
    fn collections_are_made_and_taken_apart() {
        check("first('one')", json!("o"));
        check("last(createArray('a', 'b'))", json!("b"));
        check("first(createArray())", Value::Null);
        check("take('abc', 2)", json!("ab"));
        check("skip(createArray(1, 2, 3), 2)", json!([3]));
        check("take(createArray(1, 2), -1)", json!([]));
        check("length(createObject('a', 1))", json!(1));
        check("empty('')", json!(true));
        check("empty(null())", json!(true));
        check("contains('one', 'n')", json!(true));
        check("contains(createArray(1), 1)", json!(true));
        check("contains(createObject('A', 1), 'a')", json!(true));
        check("range(3, 3)", json!([3, 4, 5]));
        check("union(createArray(1, 2), createArray(2, 3))", json!([1, 2, 3]));
        check(
            "union(json('{\"a\":{\"x\":1},\"b\":1}'), json('{\"a\":{\"y\":2},\"b\":2}'))",
            json!({ "a": { "x": 1, "y": 2 }, "b": 2 }),
        );
        check("intersection(createArray(1, 2), createArray(2, 3))", json!([2]));
        check(
            "items(createObject('b', 1, 'a', 2))",
            json!([{ "key": "a", "value": 2 }, { "key": "b", "value": 1 }]),
        );
        check("flatten(createArray(createArray(1), createArray(2)))", json!([1, 2]));
        check("objectKeys(createObject('a', 1))", json!(["a"]));
        check("array('x')", json!(["x"]));
    }

    #[test]
    fn numbers_and_truths_are_weighed() {
        check("add(2, mul(3, 4))", json!(14));
        check("sub(2, 5)", json!(-3));
        check("div(7, 2)", json!(3));
        check("mod(7, 2)", json!(1));
        check("min(3, 1, 2)", json!(1));
        check("max(createArray(3, 1))", json!(3));
        check("int('42')", json!(42));
        check("bool('True')", json!(true));
        check("bool(0)", json!(false));
        check("and(true(), false())", json!(false));
        check("or(true(), false())", json!(true));
        check("not(false())", json!(true));
        check("equals('a', 'A')", json!(false));
        check("equals(createArray(1), createArray(1))", json!(true));
        check("less('a', 'b')", json!(true));
        check("greaterOrEquals(2, 2)", json!(true));
        check("coalesce(null(), 'x')", json!("x"));
        // The branch that does not count is not looked at.
        check("if(true(), 'a', div(1, 0))", json!("a"));
        let outside = "the arguments of div are wrong: the result is no whole number of 64 bits";
        check_error("div(1, 0)", outside);
    }

    #[test]
    fn lambdas_are_applied_to_each_item() {
        check("map(range(1, 3), lambda('x', mul(lambdaVariables('x'), 2)))", json!([2, 4, 6]));
        check(
            "map(createArray('a'), lambda('x', 'i', concat(lambdaVariables('x'), lambdaVariables('i'))))",
            json!(["a0"]),
        );
        check("filter(range(1, 4), lambda('x', less(lambdaVariables('x'), 3)))", json!([1, 2]));
        check(
            "reduce(range(1, 4), 0, lambda('s', 'x', add(lambdaVariables('s'), lambdaVariables('x'))))",
            json!(10),
        );
        check("toObject(createArray('a'), lambda('x', lambdaVariables('x')))", json!({ "a": "a" }));
        check(
            "toObject(createArray('a'), lambda('x', lambdaVariables('x')), lambda('x', 1))",
            json!({ "a": 1 }),
        );
        // What it is applied to is not copied: this many copies would be more than all work.
        check(
            "length(map(createArray(range(0, 10000)), lambda('b', map(range(0, 5000), lambda('i', 1)))))",
            json!(1),
        );
        // The inner one of two with the same name counts.
        check(
            "map(range(0, 2), lambda('x', map(range(5, 1), lambda('x', lambdaVariables('x')))))",
            json!([[5], [5]]),
        );
        check_error("lambda('x', 1)", "the function lambda cannot be used here");
        check_error("lambdaVariables('x')", "the function lambdaVariables cannot be used here");
        check_error(
            "map(range(0, 1), 1)",
            "the arguments of map are wrong: an argument is expected to be a lambda",
        );
        check_error("filter(range(0, 1), lambda('x', 1))", "expected Boolean, found Integer");
        check_error(
            "map(range(0, 10000), lambda('x', map(range(0, 10000), lambda('y', 1))))",
            "the expressions of the template take too much work",
        );
        check("tryGet(parameters('o'), 'one', 1)", json!(2));
        check("tryGet(parameters('o'), 'two', 'three')", Value::Null);
        check(
            "shallowMerge(createArray(createObject('a', 1), createObject('a', 2, 'b', 3)))",
            json!({ "a": 2, "b": 3 }),
        );
    }

    #[test]
    fn lambdas_order_group_and_change() {
        check(
            "sort(createArray(3, 1, 2), lambda('a', 'b', less(lambdaVariables('a'), lambdaVariables('b'))))",
            json!([1, 2, 3]),
        );
        // What is neither before nor after stays where it was.
        check(
            "sort(createArray('bb', 'a', 'aa', 'c'), lambda('a', 'b', less(length(lambdaVariables('a')), length(lambdaVariables('b')))))",
            json!(["a", "c", "bb", "aa"]),
        );
        check("sort(createArray(), lambda('a', 'b', true()))", json!([]));
        check_error(
            "sort(createArray(1, 2), lambda('a', 'b', 1))",
            "expected Boolean, found Integer",
        );
        check_error(
            "sort(range(0, 10000), lambda('a', 'b', empty(range(0, 10000))))",
            "the expressions of the template take too much work",
        );
        check(
            "groupBy(createArray('foo', 'bar', 'baz'), lambda('x', substring(lambdaVariables('x'), 0, 1)))",
            json!({ "f": ["foo"], "b": ["bar", "baz"] }),
        );
        check_error("groupBy(range(0, 1), lambda('x', 1))", "expected String, found Integer");
        check(
            "mapValues(createObject('a', 1, 'b', 2), lambda('x', mul(lambdaVariables('x'), 2)))",
            json!({ "a": 2, "b": 4 }),
        );
        check("indexFromEnd(createArray('a', 'b', 'c'), 1)", json!("c"));
        check("tryIndexFromEnd(createArray('a'), 2)", Value::Null);
        check_error("indexFromEnd(createArray('a'), 2)", "there is no item 2 among 1");
    }

    /// Source: Azure Resource Manager, "CIDR functions", their examples.
    #[test]
    fn networks_are_those_of_azures_examples() {
        check(
            "parseCidr('10.144.0.0/20')",
            json!({
                "network": "10.144.0.0", "netmask": "255.255.240.0", "broadcast": "10.144.15.255",
                "firstUsable": "10.144.0.1", "lastUsable": "10.144.15.254", "cidr": 20,
            }),
        );
        check(
            "parseCidr('fdad:3236:5555::/48')",
            json!({
                "network": "fdad:3236:5555::", "netmask": "ffff:ffff:ffff::",
                "firstUsable": "fdad:3236:5555::",
                "lastUsable": "fdad:3236:5555:ffff:ffff:ffff:ffff:ffff", "cidr": 48,
            }),
        );
        check(
            "map(range(0, 5), lambda('i', cidrSubnet('10.144.0.0/20', 24, lambdaVariables('i'))))",
            json!([
                "10.144.0.0/24",
                "10.144.1.0/24",
                "10.144.2.0/24",
                "10.144.3.0/24",
                "10.144.4.0/24"
            ]),
        );
        check("cidrSubnet('fdad:3236:5555::/48', 52, 3)", json!("fdad:3236:5555:3000::/52"));
        check("cidrHost('10.144.3.0/24', 0)", json!("10.144.3.1"));
        check("cidrHost('10.144.3.0/24', 253)", json!("10.144.3.254"));
        check("cidrHost('fdad:3236:5555:3000::/52', 4)", json!("fdad:3236:5555:3000::5"));
        check("cidrSubnet('0.0.0.0/0', 32, 1)", json!("0.0.0.1/32"));
        check("cidrSubnet('::/0', 128, 1)", json!("::1/128"));
        for wrong in [
            "parseCidr('10.0.0.0')",
            "parseCidr('10.0.0.0/33')",
            "parseCidr('10.0.0/8')",
            "cidrSubnet('10.144.0.0/20', 24, 16)",
            "cidrSubnet('10.144.0.0/20', 19, 0)",
            "cidrSubnet('10.144.0.0/20', 33, 0)",
            "cidrHost('10.144.3.0/24', 254)",
            "cidrHost('10.144.3.0/24', -1)",
        ] {
            let refused = evaluate(&format!("[{wrong}]"));
            assert!(
                matches!(refused, Err(Halt::Error(ExpressionError::ArgumentInvalid { .. }))),
                "{wrong}: {refused:?}"
            );
        }
    }

    #[test]
    fn data_uris_zones_and_refusals_are_those_of_azure() {
        check("dataUri('Hello')", json!("data:text/plain;charset=utf8;base64,SGVsbG8="));
        check("dataUriToString('data:;base64,SGVsbG8sIFdvcmxkIQ==')", json!("Hello, World!"));
        check("dataUriToString(dataUri('é'))", json!("é"));
        check("dataUriToString('data:,a%20b')", json!("a b"));
        check("pickZones('Microsoft.Compute', 'virtualMachines', 'local')", json!([]));
        check("deployer().objectId", json!("o1"));
        check(
            "managementGroupResourceId('mg', 'Microsoft.Authorization/policyDefinitions', 'p')",
            json!(
                "/providers/Microsoft.Management/managementGroups/mg/providers/Microsoft.Authorization/policyDefinitions/p"
            ),
        );
        check_error("fail('not here')", "the template refuses: not here");
        check_error("managementGroup()", "the function managementGroup cannot be used here");
        check_error(
            "dataUriToString('x')",
            "the arguments of dataUriToString are wrong: it is no data URI of a text",
        );
    }

    #[test]
    fn encodings_and_moments_are_written_and_read() {
        check("base64('one')", json!("b25l"));
        check("base64ToString('b25l')", json!("one"));
        check("base64ToJson(base64('{\"a\":1}')).a", json!(1));
        check("uri('http://h/a/b', 'c')", json!("http://h/a/c"));
        check("uri('http://h/a/', 'c')", json!("http://h/a/c"));
        check("uriComponent('a b/c')", json!("a%20b%2Fc"));
        check("uriComponentToString('a%20b%2Fc%')", json!("a b/c%"));
        check("utcNow()", json!("20270115T080000Z"));
        check("utcNow('yyyy-MM-dd')", json!("2027-01-15"));
        check("dateTimeAdd(utcNow(), 'P1DT2H')", json!("2027-01-16T10:00:00Z"));
        check("dateTimeAdd('2027-01-15T08:00:00Z', '-PT30M', 'HHmm')", json!("0730"));
        check("dateTimeToEpoch(dateTimeFromEpoch(1800000000))", json!(1_800_000_000));
        check("length(newGuid())", json!(36));
    }

    #[test]
    fn names_and_places_are_known() {
        check("parameters('O').one[1]", json!(2));
        check("variables('v')", json!("x"));
        check("copyIndex()", json!(2));
        check("copyIndex('outer', 1)", json!(5));
        check("copyIndex(10)", json!(12));
        check("resourceGroup().id", json!("/subscriptions/s1/resourceGroups/rg1"));
        check("environment().suffixes.keyvaultDns", json!(".vault"));
        check("deployment().name", json!("d1"));
        check("tenant().tenantId", json!("t1"));
        let rg = "/subscriptions/s1/resourceGroups/rg1/providers";
        check("resourceId('N.X/a', 'n')", json!(format!("{rg}/N.X/a/n")));
        check("resourceId('N.X/a/b', 'n', 'm')", json!(format!("{rg}/N.X/a/n/b/m")));
        check(
            "resourceId('rg2', 'N.X/a', 'n')",
            json!("/subscriptions/s1/resourceGroups/rg2/providers/N.X/a/n"),
        );
        check(
            "resourceId('s2', 'rg2', 'N.X/a', 'n')",
            json!("/subscriptions/s2/resourceGroups/rg2/providers/N.X/a/n"),
        );
        check("subscriptionResourceId('N.X/a', 'n')", json!("/subscriptions/s1/providers/N.X/a/n"));
        check(
            "subscriptionResourceId('Microsoft.Resources/resourceGroups', 'g')",
            json!("/subscriptions/s1/resourceGroups/g"),
        );
        check("tenantResourceId('N.X/a', 'n')", json!("/providers/N.X/a/n"));
        check("extensionResourceId('/x/y', 'N.X/a', 'n')", json!("/x/y/providers/N.X/a/n"));
        check_error("parameters('o').two", "there is no member two, only [\"One\"]");
        check_error("parameters('o').one[9]", "there is no item 9 among 2");
        check_error("variables('w')", "the variable w is not declared");
        check_error("reference('x')", "the function reference cannot be used here");
    }

    #[test]
    fn work_and_results_are_bounded() {
        check_error(
            "length(range(0, 20000))",
            "the arguments of range are wrong: the count is more than 10000",
        );
        for expression in [
            "padLeft('x', 2000000)",
            "replace(padLeft('', 1000000, 'x'), 'x', 'abcdefgh')",
            "concat(padLeft('', 600000), padLeft('', 600000))",
        ] {
            check_error(expression, "the expressions of the template take too much work");
        }
    }

    proptest! {
        #[test]
        fn no_expression_makes_a_function_panic(
            function in proptest::sample::select(
                FAMILIES.iter().copied().flatten().map(|it| it.name).collect::<Vec<_>>()
            ),
            arguments in proptest::collection::vec(
                proptest::sample::select(vec![
                    "'a'", "''", "'é{0}{'", "-1", "0", "9223372036854775807", "null()", "true()",
                    "createArray(1, 'b')", "createObject('k', 1)", "'N.X/a'", "'2027-01-15T08:00:00Z'",
                    "'P1D'", "'%zz'", "'yyyy'",
                ]),
                0..4
            ),
        ) {
            let _ = evaluate(&format!("[{function}({})]", arguments.join(", ")));
        }
    }
}
