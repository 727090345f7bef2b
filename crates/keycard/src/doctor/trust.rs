//! Whether each SDK would trust keycard's authority: which variable or file it reads, and whether the authority is in there.

use keycard_crypto::encoding::base64_encode;
use keycard_crypto::x509::parse_certificates_pem;

use super::{ENV, Finding, Surroundings, fault, good, note, source};
use crate::description::Description;

/// Who reads trust in the same way.
struct Reader {
    /// The clients.
    who: &'static str,
    /// What it uses here.
    uses: fn(&Surroundings) -> Used,
    /// The variable that would name the right file, and whether it adds to or replaces what there is.
    variable: &'static str,
    adds: bool,
}

/// Which files or folders a client takes its authorities from, and why these.
struct Used {
    paths: Vec<String>,
    because: String,
}

/// The bundle or folder where a distribution keeps the system's authorities, in the order in which Go looks.
const SYSTEM: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

const READERS: &[Reader] = &[
    Reader {
        who: "Python requests (azure-identity, msal, az)",
        uses: python_requests,
        variable: "REQUESTS_CA_BUNDLE",
        adds: false,
    },
    Reader {
        who: "OpenSSL, Python ssl and aiohttp, Go, Rust, .NET",
        uses: openssl,
        variable: "SSL_CERT_FILE",
        adds: false,
    },
    Reader { who: "curl", uses: curl, variable: "CURL_CA_BUNDLE", adds: false },
    Reader { who: "Node", uses: node, variable: "NODE_EXTRA_CA_CERTS", adds: true },
];

/// Files of one folder of authorities that are looked at; distributions ship about 150.
const FOLDER_FILES_MAX: usize = 2000;

pub(super) fn look(surroundings: &Surroundings, description: &Description) -> Vec<Finding> {
    let authority = match authority(description) {
        Ok(authority) => authority,
        Err(finding) => return vec![finding],
    };
    let is_for_keycard = source::names_an_endpoint(surroundings)
        || READERS.iter().any(|reader| surroundings.variable(reader.variable).is_some());
    if !is_for_keycard {
        return vec![note(
            "trust",
            format!(
                "the authority is {}; nothing in this shell leads programs to keycard or makes them trust it",
                description.ca_file
            ),
            format!("{ENV}, or: keycard run --as RESOURCE -- COMMAND"),
        )];
    }
    let mut findings: Vec<Finding> = READERS
        .iter()
        .map(|reader| {
            let used = (reader.uses)(surroundings);
            if used.paths.iter().any(|path| holds(surroundings, path, &authority)) {
                return good("trust", format!("{}: {}", reader.who, used.because));
            }
            let file = if reader.adds { &description.ca_file } else { &description.ca_bundle_file };
            fault(
                "trust",
                format!("{}: {}, without keycard's CA", reader.who, used.because),
                format!("export {}={file}", reader.variable),
            )
        })
        .collect();
    findings.extend(java(surroundings, description, &authority));
    findings
}

/// The authority's certificate, DER.
fn authority(description: &Description) -> Result<Vec<u8>, Finding> {
    let unreadable = |path: &str| {
        fault("trust", format!("{path} cannot be read"), "start the server again: keycard up")
    };
    let pem = std::fs::read_to_string(&description.ca_file)
        .map_err(|_| unreadable(&description.ca_file))?;
    if std::fs::metadata(&description.ca_bundle_file).is_err() {
        return Err(unreadable(&description.ca_bundle_file));
    }
    let certificates =
        parse_certificates_pem(&pem).map_err(|_| unreadable(&description.ca_file))?;
    certificates.into_iter().next().ok_or_else(|| unreadable(&description.ca_file))
}

/// Whether a file (PEM, DER or a store of Java's) or a folder of such files holds the certificate.
fn holds(surroundings: &Surroundings, path: &str, authority: &[u8]) -> bool {
    if surroundings.is_directory(path) {
        let names = surroundings.entries(path);
        return names
            .iter()
            .take(FOLDER_FILES_MAX)
            .any(|name| file_holds(surroundings, &format!("{path}/{name}"), authority));
    }
    file_holds(surroundings, path, authority)
}

/// In PEM the certificate stands as base64 in lines of any length, elsewhere as it is.
fn file_holds(surroundings: &Surroundings, path: &str, authority: &[u8]) -> bool {
    let Some(bytes) = surroundings.bytes(path) else { return false };
    let text: Vec<u8> = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    contains(&text, base64_encode(authority).as_bytes()) || contains(&bytes, authority)
}

fn contains(bytes: &[u8], sought: &[u8]) -> bool {
    bytes.windows(sought.len()).any(|window| window == sought)
}

fn one(path: &str, because: impl Into<String>) -> Used {
    Used { paths: vec![path.to_owned()], because: because.into() }
}

/// The first of these variables that is set.
fn by_variable(surroundings: &Surroundings, names: &[&'static str]) -> Option<Used> {
    let (name, value) = names.iter().find_map(|name| Some((name, surroundings.variable(name)?)))?;
    Some(one(value, format!("{name} is {value}")))
}

/// requests: its own variables, else the list that the package certifi brings. Source: requests, `Session.merge_environment_settings`.
fn python_requests(surroundings: &Surroundings) -> Used {
    by_variable(surroundings, &["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]).unwrap_or_else(|| {
        let found = surroundings.variable("VIRTUAL_ENV").and_then(|environment| {
            let library = format!("{environment}/lib");
            let bundle =
                |version: &String| format!("{library}/{version}/site-packages/certifi/cacert.pem");
            let mut bundles = surroundings.entries(&library).iter().map(bundle).collect::<Vec<_>>();
            bundles.retain(|path| surroundings.exists(path));
            bundles.into_iter().next()
        });
        match found {
            Some(path) => one(&path, format!("no variable is set, so it uses {path}")),
            None => Used {
                paths: Vec::new(),
                because: "no variable is set, so it uses the list of its package certifi"
                    .to_owned(),
            },
        }
    })
}

/// A file and a folder, each by its variable or where the system has it.
fn openssl(surroundings: &Surroundings) -> Used {
    let file = surroundings.variable("SSL_CERT_FILE");
    let folders = surroundings.variable("SSL_CERT_DIR");
    let mut paths: Vec<String> = match file {
        Some(file) => vec![file.to_owned()],
        None => SYSTEM.iter().map(|path| (*path).to_owned()).collect(),
    };
    match folders {
        Some(folders) => paths.extend(folders.split(':').map(str::to_owned)),
        None if file.is_none() => paths.push("/etc/ssl/certs".to_owned()),
        None => {}
    }
    let because = match (file, folders) {
        (Some(file), Some(folders)) => {
            format!("SSL_CERT_FILE is {file} and SSL_CERT_DIR {folders}")
        }
        (Some(file), None) => format!("SSL_CERT_FILE is {file}"),
        (None, Some(folders)) => format!("SSL_CERT_DIR is {folders}"),
        (None, None) => "no variable is set, so they use the system's authorities".to_owned(),
    };
    Used { paths, because }
}

/// Source: curl(1), environment.
fn curl(surroundings: &Surroundings) -> Used {
    by_variable(surroundings, &["CURL_CA_BUNDLE"]).unwrap_or_else(|| openssl(surroundings))
}

/// What Node adds to the list that is compiled in; with its switches, the system's or OpenSSL's.
fn node(surroundings: &Surroundings) -> Used {
    if let Some(used) = by_variable(surroundings, &["NODE_EXTRA_CA_CERTS"]) {
        return used;
    }
    let options = surroundings.variable("NODE_OPTIONS").unwrap_or_default();
    let switch =
        ["--use-openssl-ca", "--use-system-ca"].into_iter().find(|each| options.contains(each));
    match switch {
        Some(switch) => {
            let Used { paths, because } = openssl(surroundings);
            Used { paths, because: format!("NODE_OPTIONS has {switch}: {because}") }
        }
        None => Used {
            paths: Vec::new(),
            because: "NODE_EXTRA_CA_CERTS is not set, so it uses its compiled-in list".to_owned(),
        },
    }
}

/// Java's store has no variable in `keycard env`: a fault only where this shell says that it is for Java.
fn java(
    surroundings: &Surroundings,
    description: &Description,
    authority: &[u8],
) -> Option<Finding> {
    let (store, because) = java_store(surroundings)?;
    if file_holds(surroundings, &store, authority) {
        return Some(good("trust", format!("Java: {because}")));
    }
    let seen = format!("Java: {because}, without keycard's CA");
    let cure = format!(
        "keytool -importcert -noprompt -alias keycard -file {} -keystore {store} -storepass changeit",
        description.ca_file
    );
    let is_for_java = !surroundings.those_set(&["JAVA_HOME", "JAVA_TOOL_OPTIONS"]).is_empty();
    Some(if is_for_java { fault("trust", seen, cure) } else { note("trust", seen, cure) })
}

/// The store that a Java program would use, if there is a Java. Source: JSSE Reference Guide, "Customizing the Default
/// Keystores and Truststores".
fn java_store(surroundings: &Surroundings) -> Option<(String, String)> {
    const PROPERTY: &str = "-Djavax.net.ssl.trustStore=";
    for variable in ["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS"] {
        let options = surroundings.variable(variable).unwrap_or_default();
        if let Some(path) = options.split_whitespace().find_map(|word| word.strip_prefix(PROPERTY))
        {
            return Some((path.to_owned(), format!("{variable} names {path}")));
        }
    }
    let mut candidates = Vec::new();
    if let Some(home) = surroundings.variable("JAVA_HOME") {
        candidates.push(format!("{home}/lib/security/jssecacerts"));
        candidates.push(format!("{home}/lib/security/cacerts"));
    }
    candidates.push("/etc/ssl/certs/java/cacerts".to_owned());
    let store = candidates.into_iter().find(|path| surroundings.exists(path))?;
    Some((store.clone(), format!("it uses {store}")))
}
