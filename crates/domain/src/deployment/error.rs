//! Why a template or one of its expressions is refused. Positions are paths into the template; the face turns them into
//! lines and columns.

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// It cannot be read.
    #[error("`{expression}` cannot be read at {position}: expected {expected}, found {actual}")]
    Syntax {
        /// The expression, perhaps cut.
        expression: String,
        /// The byte at which reading stopped.
        position: usize,
        /// The token that would have been right.
        expected: &'static str,
        /// The token that stands there.
        actual: &'static str,
    },
    /// It has more bytes than allowed.
    #[error("the expression is too long")]
    TooLong,
    /// Its parts, or those of its value, stand too deep inside each other.
    #[error("the expression or its value is nested too deeply")]
    TooDeep,
    /// The template's expressions together take more work than a deployment may.
    #[error("the expressions of the template take too much work")]
    TooMuchWork,
    /// There is no such function.
    #[error("the function {0} is not known")]
    FunctionUnknown(String),
    /// Azure has the function, keycard does not.
    #[error("the function {0} is not supported by keycard")]
    FunctionUnsupported(String),
    /// The function cannot be used where it stands.
    #[error("the function {0} cannot be used here")]
    FunctionMisplaced(String),
    /// The function takes another number of arguments.
    #[error("{function} takes {expected} arguments, not {actual}")]
    ArgumentCount {
        /// The function.
        function: String,
        /// How many it takes, in words.
        expected: String,
        /// How many it was given.
        actual: usize,
    },
    /// The function cannot take what it was given.
    #[error("the arguments of {function} are wrong: {reason}")]
    ArgumentInvalid {
        /// The function.
        function: String,
        /// What it takes.
        reason: String,
    },
    /// The object has no such member.
    #[error("there is no member {name}, only {available:?}")]
    MemberMissing {
        /// What was asked for.
        name: String,
        /// What there is.
        available: Vec<String>,
    },
    /// The array has no such item.
    #[error("there is no item {index} among {length}")]
    ItemMissing {
        /// What was asked for.
        index: i64,
        /// How many there are.
        length: usize,
    },
    /// The value has neither members nor items, or is asked for the wrong of both.
    #[error("a value of type {0} cannot be asked for this member")]
    NoMembers(&'static str),
    /// The template declares no such parameter.
    #[error("the parameter {0} is not declared")]
    ParameterUnknown(String),
    /// The template declares no such variable.
    #[error("the variable {0} is not declared")]
    VariableUnknown(String),
    /// The template says itself that it is not to be deployed so.
    #[error("the template refuses: {0}")]
    Refused(String),
    /// Parameters or variables need each other.
    #[error("{0} needs its own value")]
    Circular(String),
    /// A name, type, condition or count is of another type than it has to be.
    #[error("expected {expected}, found {actual}")]
    TypeWrong {
        /// What it has to be.
        expected: &'static str,
        /// What it is.
        actual: &'static str,
    },
}

/// Why a template cannot be deployed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// An expression has no value.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
    /// A part is missing, or of the wrong type.
    #[error("{0}")]
    Malformed(&'static str),
    /// There is more of something than allowed.
    #[error("more than {max} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are allowed.
        max: usize,
    },
    /// Azure understands this, keycard does not.
    #[error("{0} is not supported by keycard")]
    Unsupported(&'static str),
    /// A parameter has no value.
    #[error("the parameter {0} has no value")]
    ParameterMissing(String),
    /// Values were given for parameters that the template does not declare.
    #[error("the parameters {given:?} are not declared")]
    ParametersUndeclared {
        /// Those.
        given: Vec<String>,
        /// The declared ones.
        declared: Vec<String>,
    },
    /// A parameter's value is of another type.
    #[error("the parameter {name} is of type {expected}, not {actual}")]
    ParameterType {
        /// Which.
        name: String,
        /// Its type.
        expected: &'static str,
        /// The value's type.
        actual: &'static str,
    },
    /// A parameter's value is none of the allowed ones.
    #[error("the parameter {name} is none of {allowed:?}")]
    ParameterNotAllowed {
        /// Which.
        name: String,
        /// The value, where it may be shown.
        value: String,
        /// The allowed ones.
        allowed: Vec<String>,
    },
    /// An object lacks what its type asks for.
    #[error("the parameter {name} lacks the properties {missing:?}")]
    PropertiesMissing {
        /// Which.
        name: String,
        /// What it lacks.
        missing: Vec<String>,
    },
    /// An object has what its type does not allow.
    #[error("the parameter {name} has the properties {unknown:?}, which its type has not")]
    PropertiesUnknown {
        /// Which.
        name: String,
        /// What it has.
        unknown: Vec<String>,
    },
    /// A parameter's value is too short, too long, too small or too large.
    #[error("the parameter {name} is out of bounds")]
    ParameterBounds {
        /// Which.
        name: String,
        /// The bound as the template calls it: `minLength`, `maxValue`.
        bound: &'static str,
        /// What it says.
        limit: i64,
        /// What the value has.
        actual: i64,
    },
    /// A resource's name has another number of segments than its type asks for.
    #[error("the name {name} does not fit the type {resource_type}")]
    SegmentLengths {
        /// The name.
        name: String,
        /// The type.
        resource_type: String,
    },
    /// A name, type or scope makes no resource id.
    #[error("{0} is no resource id")]
    ResourceIdInvalid(String),
    /// The same resource stands twice.
    #[error("{0} is defined twice")]
    ResourceTwice(String),
    /// A dependency names nothing in the template.
    #[error("{0} is not defined in the template")]
    DependencyUnknown(String),
    /// Resources depend on each other in a circle.
    #[error("{0} depends on itself")]
    DependencyCircular(String),
}

/// Why a template cannot be deployed, and which part of it is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct TemplateViolation {
    /// The part, as in `resources[0].name`; empty for the whole.
    pub path: String,
    /// The resource it is about: its name and type where they are known.
    pub resource: Option<String>,
    /// What is wrong.
    pub reason: TemplateError,
}

impl TemplateViolation {
    /// A violation at this part.
    pub(super) fn at(path: impl Into<String>, reason: impl Into<TemplateError>) -> Self {
        Self { path: path.into(), resource: None, reason: reason.into() }
    }
}

/// What a `reference` asks for: a resource, and the version to ask with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReferenceKey {
    /// The id in lower case.
    pub id: String,
    /// The version to ask with.
    pub api_version: String,
    /// What to ask it for, where that is not what it is.
    pub list: Option<ListCall>,
}

/// A call of an action of a resource, as `listKeys`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListCall {
    /// The action as the template writes it.
    pub action: String,
    /// The body as JSON.
    pub body: Option<String>,
}

/// Why evaluating stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// For good.
    Error(ExpressionError),
    /// Until the parameter or variable is known.
    Pending(String),
    /// Until somebody has asked for this resource.
    Reference(ReferenceKey),
}

impl From<ExpressionError> for Halt {
    fn from(error: ExpressionError) -> Self {
        Self::Error(error)
    }
}
