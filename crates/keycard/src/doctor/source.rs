//! Which source of tokens each SDK chooses by the variables of this shell, and which variables make it a wrong one.
//!
//! The order in which each looks is in the SDKs' sources, of the versions that docs/compatibility.md names; the table is
//! `CHOOSERS`.

use std::fmt::Write as _;

use serde_json::Value;

use super::{ENV, Finding, Surroundings, fault, good};

/// Where Azure Arc's agent is, by whose presence alone some SDKs choose Arc.
const ARC_AGENT: &str = "/opt/azcmagent/bin/himds";

/// Variables that name an endpoint.
const ENDPOINTS: &[&str] =
    &["IDENTITY_ENDPOINT", "MSI_ENDPOINT", "IMDS_ENDPOINT", "AZURE_POD_IDENTITY_AUTHORITY_HOST"];

/// A source of tokens for managed identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    ServiceFabric,
    AppService,
    AzureMl,
    CloudShell,
    Arc,
    WorkloadIdentity,
    Imds,
    Nothing,
}

impl Source {
    const fn name(self) -> &'static str {
        match self {
            Self::ServiceFabric => "Service Fabric",
            Self::AppService => "App Service",
            Self::AzureMl => "Azure Machine Learning",
            Self::CloudShell => "Cloud Shell",
            Self::Arc => "Azure Arc",
            Self::WorkloadIdentity => "workload identity",
            Self::Imds => "IMDS",
            Self::Nothing => "no source at all",
        }
    }
}

/// What the SDKs look at.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a variable that is there or not")]
struct Signs {
    endpoint: bool,
    header: bool,
    thumbprint: bool,
    /// There, but empty: msal for Python asks only whether it is there.
    thumbprint_is_there: bool,
    imds_endpoint: bool,
    msi_endpoint: bool,
    msi_secret: bool,
    token_file: bool,
    tenant: bool,
    client: bool,
    authority: bool,
    arc_agent: bool,
}

impl Signs {
    fn of(surroundings: &Surroundings) -> Self {
        let has = |name| surroundings.variable(name).is_some();
        Self {
            endpoint: has("IDENTITY_ENDPOINT"),
            header: has("IDENTITY_HEADER"),
            thumbprint: has("IDENTITY_SERVER_THUMBPRINT"),
            thumbprint_is_there: surroundings.has_variable("IDENTITY_SERVER_THUMBPRINT"),
            imds_endpoint: has("IMDS_ENDPOINT"),
            msi_endpoint: has("MSI_ENDPOINT"),
            msi_secret: has("MSI_SECRET"),
            token_file: has("AZURE_FEDERATED_TOKEN_FILE"),
            tenant: has("AZURE_TENANT_ID"),
            client: has("AZURE_CLIENT_ID"),
            authority: has("AZURE_AUTHORITY_HOST"),
            arc_agent: surroundings.exists(ARC_AGENT),
        }
    }

    const fn with_header(self, thumbprint: bool) -> Option<Source> {
        match (self.endpoint && self.header, thumbprint) {
            (true, true) => Some(Source::ServiceFabric),
            (true, false) => Some(Source::AppService),
            (false, _) => None,
        }
    }

    const fn by_msi_endpoint(self) -> Option<Source> {
        match (self.msi_endpoint, self.msi_secret) {
            (true, true) => Some(Source::AzureMl),
            (true, false) => Some(Source::CloudShell),
            (false, _) => None,
        }
    }

    const fn arc_by_variables(self) -> Option<Source> {
        if self.endpoint && self.imds_endpoint { Some(Source::Arc) } else { None }
    }

    const fn arc(self) -> Option<Source> {
        if self.arc_agent { Some(Source::Arc) } else { self.arc_by_variables() }
    }
}

/// The order in which an SDK looks, as what it chooses.
type Choice = fn(Signs) -> Source;

/// The SDKs, and what each chooses.
const CHOOSERS: &[(&str, Choice)] = &[
    ("azure-identity for Python", python),
    ("msal for Python and az", msal_python),
    ("JavaScript", javascript),
    ("Go and .NET", go),
    ("Rust", rust),
];

fn python(signs: Signs) -> Source {
    if signs.endpoint {
        let arc = || if signs.header { None } else { signs.arc_by_variables() };
        return signs.with_header(signs.thumbprint).or_else(arc).unwrap_or(Source::Nothing);
    }
    let federated = signs.token_file && signs.tenant && signs.authority;
    signs.by_msi_endpoint().unwrap_or(if federated {
        Source::WorkloadIdentity
    } else {
        Source::Imds
    })
}

fn msal_python(signs: Signs) -> Source {
    let ml = || (signs.msi_endpoint && signs.msi_secret).then_some(Source::AzureMl);
    signs
        .with_header(signs.thumbprint_is_there)
        .or_else(ml)
        .or_else(|| signs.arc())
        .unwrap_or(Source::Imds)
}

fn javascript(signs: Signs) -> Source {
    if signs.token_file && signs.tenant && signs.client {
        return Source::WorkloadIdentity;
    }
    go(signs)
}

fn go(signs: Signs) -> Source {
    signs
        .with_header(signs.thumbprint)
        .or_else(|| signs.by_msi_endpoint())
        .or_else(|| signs.arc())
        .unwrap_or(Source::Imds)
}

fn rust(signs: Signs) -> Source {
    signs
        .with_header(signs.thumbprint)
        .or_else(|| signs.arc_by_variables())
        .or_else(|| signs.by_msi_endpoint())
        .unwrap_or(Source::Imds)
}

/// Whether a variable leads SDKs to an endpoint.
pub(super) fn names_an_endpoint(surroundings: &Surroundings) -> bool {
    !surroundings.those_set(ENDPOINTS).is_empty()
}

/// `attachments`: the endpoints of the running keycard, where it is known.
pub(super) fn look(surroundings: &Surroundings, attachments: Option<&[Value]>) -> Vec<Finding> {
    let signs = Signs::of(surroundings);
    let mut findings = Vec::new();
    findings.extend(half_set(signs));
    findings.extend(attachments.into_iter().flat_map(|known| strangers(surroundings, known)));
    findings.extend(several(surroundings, signs));
    findings.extend(arc_agent(signs));
    findings.extend(empty_thumbprint(signs));
    findings.extend(application(surroundings, signs));
    if findings.is_empty() {
        findings.push(good("source", chosen(signs)));
    }
    findings
}

/// What the SDKs choose, those together that choose the same.
fn chosen(signs: Signs) -> String {
    let mut groups: Vec<(Source, Vec<&str>)> = Vec::new();
    for (sdk, choose) in CHOOSERS {
        let source = choose(signs);
        match groups.iter_mut().find(|(other, _)| *other == source) {
            Some((_, sdks)) => sdks.push(sdk),
            None => groups.push((source, vec![sdk])),
        }
    }
    if let [(source, _)] = groups.as_slice() {
        return format!("every SDK chooses {}", source.name());
    }
    let mut text = String::new();
    for (source, sdks) in groups {
        let separator = if text.is_empty() { "" } else { "; " };
        let _ = write!(text, "{separator}{} by {}", source.name(), sdks.join(", "));
    }
    text
}

fn half_set(signs: Signs) -> Option<Finding> {
    (signs.endpoint && !signs.header && !signs.imds_endpoint).then(|| {
        fault(
            "source",
            format!(
                "IDENTITY_ENDPOINT is set without IDENTITY_HEADER, so SDKs choose {}",
                chosen(signs)
            ),
            "unset IDENTITY_ENDPOINT",
        )
    })
}

/// Endpoints that are not keycard's: of another program, or of a keycard that has ended. Every start has other ports.
fn strangers(surroundings: &Surroundings, attachments: &[Value]) -> Vec<Finding> {
    let text = |item: &Value, member: &str| {
        item.get(member)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .trim_end_matches('/')
            .to_owned()
    };
    let named = |value: &str| {
        attachments.iter().find(|item| text(item, "url") == value.trim_end_matches('/'))
    };
    let mut findings = Vec::new();
    for name in ["IDENTITY_ENDPOINT", "MSI_ENDPOINT", "AZURE_POD_IDENTITY_AUTHORITY_HOST"] {
        let Some(value) = surroundings.variable(name) else { continue };
        match named(value) {
            None => findings.push(fault(
                "source",
                format!("{name} is {value}, which is no endpoint of the running keycard"),
                format!("unset {name}; {ENV}"),
            )),
            Some(item) => {
                let header = text(item, "header");
                let given = surroundings.variable("IDENTITY_HEADER").unwrap_or_default();
                if name == "IDENTITY_ENDPOINT"
                    && !header.is_empty()
                    && !given.is_empty()
                    && header != given
                {
                    findings.push(fault(
                        "source",
                        "IDENTITY_HEADER is not the secret of IDENTITY_ENDPOINT; it changes when the resource restarts",
                        ENV,
                    ));
                }
            }
        }
    }
    findings
}

/// More than one source: SDKs choose differently among them.
fn several(surroundings: &Surroundings, signs: Signs) -> Option<Finding> {
    let mut sources = surroundings.those_set(ENDPOINTS);
    if signs.endpoint && signs.imds_endpoint && !signs.header {
        sources.retain(|name| *name != "IMDS_ENDPOINT"); // together they are Arc's
    }
    if signs.token_file {
        sources.push("AZURE_FEDERATED_TOKEN_FILE");
    }
    (sources.len() > 1).then(|| {
        fault(
            "source",
            format!("{} are all set; SDKs choose {}", sources.join(", "), chosen(signs)),
            format!("unset {}; {ENV}", sources.join(" ")),
        )
    })
}

/// The agent's program is enough for some SDKs, which then ask 127.0.0.1:40342.
fn arc_agent(signs: Signs) -> Option<Finding> {
    let is_alone = !signs.endpoint && !signs.msi_endpoint && !signs.token_file;
    (signs.arc_agent && is_alone).then(|| {
        fault(
            "source",
            format!("{ARC_AGENT} is there, so SDKs choose {}", chosen(signs)),
            "variables go before the agent: eval \"$(keycard env --as RESOURCE --kind app-service)\"",
        )
    })
}

fn empty_thumbprint(signs: Signs) -> Option<Finding> {
    let is_left_over = signs.thumbprint_is_there && !signs.thumbprint;
    (is_left_over && signs.endpoint && signs.header).then(|| {
        fault(
            "source",
            format!(
                "IDENTITY_SERVER_THUMBPRINT is there and empty, so SDKs choose {}",
                chosen(signs)
            ),
            "unset IDENTITY_SERVER_THUMBPRINT",
        )
    })
}

/// `DefaultAzureCredential` takes an application's credential before any managed identity.
fn application(surroundings: &Surroundings, signs: Signs) -> Option<Finding> {
    let proofs = surroundings.those_set(&["AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH"]);
    let proof = proofs.first()?;
    let is_meant_for_an_identity = names_an_endpoint(surroundings) || signs.token_file;
    (signs.client && signs.tenant && is_meant_for_an_identity).then(|| {
        fault(
            "source",
            format!(
                "AZURE_CLIENT_ID, AZURE_TENANT_ID and {proof} are set, so DefaultAzureCredential signs in as that application and not as the managed identity"
            ),
            format!("unset {proof}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each SDK chooses, in the order of `CHOOSERS`, by these variables.
    fn check(variables: &[&str], chosen: [Source; 5]) {
        let has = |name: &str| variables.contains(&name);
        let signs = Signs {
            endpoint: has("IE"),
            header: has("IH"),
            thumbprint: has("IST"),
            thumbprint_is_there: has("IST") || has("IST="),
            imds_endpoint: has("IMDS"),
            msi_endpoint: has("ME"),
            msi_secret: has("MS"),
            token_file: has("FT"),
            tenant: has("TENANT"),
            client: has("CLIENT"),
            authority: has("AUTHORITY"),
            arc_agent: has("himds"),
        };
        let found: Vec<Source> = CHOOSERS.iter().map(|(_, choose)| choose(signs)).collect();
        assert_eq!(found, chosen, "{variables:?}");
    }

    /// Source: specs/token-endpoints.md, section 1.1.
    #[test]
    fn each_sdk_chooses_in_its_own_order() {
        use Source::{
            AppService, Arc, AzureMl, CloudShell, Imds, Nothing, ServiceFabric, WorkloadIdentity,
        };
        check(&[], [Imds; 5]);
        check(&["IE", "IH"], [AppService; 5]);
        check(&["IE", "IH", "IST"], [ServiceFabric; 5]);
        check(
            &["IE", "IH", "IST="],
            [AppService, ServiceFabric, AppService, AppService, AppService],
        );
        check(&["IE", "IMDS"], [Arc; 5]);
        check(&["IE"], [Nothing, Imds, Imds, Imds, Imds]);
        check(&["ME", "MS"], [AzureMl; 5]);
        check(&["ME"], [CloudShell, Imds, CloudShell, CloudShell, CloudShell]);
        check(&["himds"], [Imds, Arc, Arc, Arc, Imds]);
        check(
            &["IE", "IH", "FT", "TENANT", "CLIENT", "AUTHORITY"],
            [AppService, AppService, WorkloadIdentity, AppService, AppService],
        );
        check(
            &["FT", "TENANT", "CLIENT", "AUTHORITY"],
            [WorkloadIdentity, Imds, WorkloadIdentity, Imds, Imds],
        );
        check(&["ME", "IE", "IMDS"], [Arc, Arc, CloudShell, CloudShell, Arc]);
    }
}
