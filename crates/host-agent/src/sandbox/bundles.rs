//! Finds the bundles of authorities that programs carry with them: Python's, conda's, Java's, those that variables name.
//!
//! The search is done once, near the command and near the interpreters on the path, and bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// What the search goes by.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The command, as it was written.
    pub command: PathBuf,
    /// Paths in its arguments, which may be commands too: `sh -c`, `env`, `timeout`.
    pub arguments: Vec<PathBuf>,
    /// The directories that commands are looked for in.
    pub path: Vec<PathBuf>,
    /// The directory that the command runs in.
    pub directory: PathBuf,
    /// Those of [`VARIABLES`] that are set.
    pub variables: BTreeMap<&'static str, PathBuf>,
}

/// The paths in a command's arguments, each of which may hold several words.
pub fn paths_in(arguments: &[OsString]) -> Vec<PathBuf> {
    let words = arguments.iter().filter_map(|argument| argument.to_str());
    let words = words.flat_map(|argument| argument.split(|c: char| c.is_whitespace() || c == ';'));
    words.filter(|word| word.contains('/')).take(ARGUMENTS_MAX).map(PathBuf::from).collect()
}

/// The variables that the search looks at.
pub const VARIABLES: &[&str] = &[
    "HOME",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "JAVA_HOME",
    "PYENV_ROOT",
    "PYTHONPATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "AWS_CA_BUNDLE",
    "PIP_CERT",
];

/// Those that name a file of authorities.
const FILE_VARIABLES: &[&str] = &[
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "AWS_CA_BUNDLE",
    "PIP_CERT",
];

/// Commands near which bundles are looked for, besides the one that is run.
const INTERPRETERS: &[&str] = &["python3", "python", "java", "az"];

/// Where a Python keeps packages that carry a bundle, below `lib*/python3*/`.
const PYTHON_BUNDLES: &[&str] = &[
    "site-packages/certifi/cacert.pem",
    "site-packages/pip/_vendor/certifi/cacert.pem",
    "site-packages/botocore/cacert.pem",
    "dist-packages/certifi/cacert.pem",
    "dist-packages/pip/_vendor/certifi/cacert.pem",
];

/// Bundles of systems, besides the directory of certificates.
const SYSTEM_BUNDLES: &[&str] = &[
    // Links into a store, on NixOS.
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/certs/ca-bundle.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/openssl/ca-bundle.trust.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Stores of systems in Java's form.
const SYSTEM_JAVA_STORES: &[&str] =
    &["/etc/pki/java/cacerts", "/etc/pki/ca-trust/extracted/java/cacerts"];

/// Most prefixes that are searched, and most entries of a directory that are looked at.
const PREFIXES_MAX: usize = 64;
const ENTRIES_MAX: usize = 1024;
/// Most paths in a command's arguments that are looked at.
const ARGUMENTS_MAX: usize = 16;
/// Most bytes of a `#!` line or of a line of `pyvenv.cfg`.
const LINE_BYTES_MAX: u64 = 1024;

/// What was found, by real path.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Files of PEM certificates.
    pub(super) bundles: BTreeSet<PathBuf>,
    /// Stores of Java.
    pub(super) java_stores: BTreeSet<PathBuf>,
}

/// Searches.
pub(super) fn find(surroundings: &Surroundings) -> Found {
    let mut found = Found::default();
    let real = |path: &Path| fs::canonicalize(path).ok().filter(|path| path.is_file());
    found.bundles.extend(SYSTEM_BUNDLES.iter().filter_map(|path| real(Path::new(path))));
    found.java_stores.extend(SYSTEM_JAVA_STORES.iter().filter_map(|path| real(Path::new(path))));
    let named = FILE_VARIABLES.iter().filter_map(|name| surroundings.variables.get(name));
    found.bundles.extend(named.filter_map(|path| real(path)));
    for prefix in prefixes(surroundings) {
        for library in entries(&prefix, "lib") {
            for python in entries(&library, "python3") {
                let bundles = PYTHON_BUNDLES.iter().map(|bundle| python.join(bundle));
                found.bundles.extend(bundles.filter_map(|path| real(&path)));
            }
        }
        found.bundles.extend(real(&prefix.join("ssl/cacert.pem")));
        found.java_stores.extend(real(&prefix.join("lib/security/cacerts")));
    }
    let python_path = surroundings.variables.get("PYTHONPATH").cloned().unwrap_or_default();
    for packages in std::env::split_paths(&python_path).take(PREFIXES_MAX) {
        found.bundles.extend(real(&packages.join("certifi/cacert.pem")));
    }
    found
}

/// Entries of a directory whose names begin so.
fn entries(directory: &Path, beginning: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(directory).into_iter().flatten().flatten().take(ENTRIES_MAX);
    let is_meant = |entry: &fs::DirEntry| {
        entry.file_name().as_encoded_bytes().starts_with(beginning.as_bytes())
    };
    all.filter(is_meant).map(|entry| entry.path()).collect()
}

/// Directories below which a runtime may stand, in the order of how near they are.
fn prefixes(surroundings: &Surroundings) -> Vec<PathBuf> {
    let variable = |name| surroundings.variables.get(name).cloned();
    let mut all = Vec::new();
    let commands = std::iter::once(surroundings.command.as_path())
        .chain(surroundings.arguments.iter().map(PathBuf::as_path))
        .chain(INTERPRETERS.iter().map(|name| Path::new(*name)));
    for command in commands {
        let Some(file) = locate(command, surroundings) else { continue };
        all.extend(prefixes_of(&file, surroundings));
    }
    all.extend(["VIRTUAL_ENV", "CONDA_PREFIX", "JAVA_HOME"].into_iter().filter_map(variable));
    all.extend([".venv", "venv"].map(|name| surroundings.directory.join(name)));
    if let Some(home) = variable("HOME") {
        all.push(home.join(".local"));
    }
    let pyenv = variable("PYENV_ROOT").or_else(|| Some(variable("HOME")?.join(".pyenv")));
    all.extend(pyenv.into_iter().flat_map(|root| entries(&root.join("versions"), "")));
    all.extend(["/usr", "/usr/local", "/opt/az"].map(PathBuf::from));
    let mut known = BTreeSet::new();
    all.retain(|prefix| known.insert(prefix.clone()));
    all.truncate(PREFIXES_MAX);
    all
}

/// Where a command's file is: as the shell finds it.
pub(super) fn locate(command: &Path, surroundings: &Surroundings) -> Option<PathBuf> {
    if command.components().count() > 1 || command.is_absolute() {
        return Some(surroundings.directory.join(command));
    }
    surroundings.path.iter().map(|directory| directory.join(command)).find(|path| path.is_file())
}

/// The prefixes of a file `PREFIX/bin/NAME`: by its own path, by its real path, by those of the interpreter that its first
/// line names, and by the home of a virtual environment.
fn prefixes_of(file: &Path, surroundings: &Surroundings) -> Vec<PathBuf> {
    let mut files = vec![file.to_owned()];
    if let Some(interpreter) = interpreter(file, surroundings) {
        files.push(interpreter);
    }
    let real: Vec<PathBuf> = files.iter().filter_map(|file| fs::canonicalize(file).ok()).collect();
    files.extend(real);
    let mut prefixes: Vec<PathBuf> = files
        .iter()
        .filter_map(|file| file.parent()?.parent().map(Path::to_owned))
        .filter(|prefix| prefix != Path::new("/") && !prefix.as_os_str().is_empty())
        .collect();
    let homes: Vec<PathBuf> =
        prefixes.iter().filter_map(|prefix| home_of_environment(prefix)).collect();
    prefixes.extend(homes);
    prefixes
}

/// What a script's first line names: `#!/usr/bin/env python3` is looked for on the path.
fn interpreter(file: &Path, surroundings: &Surroundings) -> Option<PathBuf> {
    let mut beginning = [0; 2];
    let mut file = fs::File::open(file).ok()?;
    file.read_exact(&mut beginning).ok()?;
    if &beginning != b"#!" {
        return None;
    }
    let mut line = String::new();
    BufReader::new(file.take(LINE_BYTES_MAX)).read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let first = PathBuf::from(words.next()?);
    if first.file_name()? != "env" {
        return Some(first);
    }
    let named = words.find(|word| !word.starts_with('-') && !word.contains('='))?;
    locate(Path::new(named), surroundings)
}

/// The Python that a virtual environment was made from: `home = /usr/bin` in its `pyvenv.cfg`.
fn home_of_environment(prefix: &Path) -> Option<PathBuf> {
    let mut text = String::new();
    let file = fs::File::open(prefix.join("pyvenv.cfg")).ok()?;
    file.take(8 * LINE_BYTES_MAX).read_to_string(&mut text).ok()?;
    let home = text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == "home").then(|| PathBuf::from(value.trim()))
    })?;
    home.parent().map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn bundles_near_the_command_its_interpreter_and_its_environments_home_are_found() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let at = |path: &str| root.join(path);
        let bundles = [
            "base/lib/python3.12/site-packages/certifi/cacert.pem",
            "venv/lib/python3.12/site-packages/certifi/cacert.pem",
            "venv/lib64/python3.12/site-packages/pip/_vendor/certifi/cacert.pem",
            "conda/ssl/cacert.pem",
            "tools-of-others/lib/python3.9/dist-packages/certifi/cacert.pem",
            "packages/certifi/cacert.pem",
            "named.pem",
        ];
        for bundle in bundles {
            write(&at(bundle), "x");
        }
        write(&at("java/lib/security/cacerts"), "x");
        write(&at("elsewhere/lib/python3.12/site-packages/certifi/cacert.pem"), "x");
        write(&at("venv/bin/python"), "");
        write(&at("tools-of-others/bin/other"), "");
        write(&at("venv/pyvenv.cfg"), &format!("home = {}\n", at("base/bin").display()));
        write(&at("tools/bin/tool"), &format!("#!{}\n", at("venv/bin/python").display()));
        let surroundings = Surroundings {
            command: "tool".into(),
            arguments: paths_in(&["x; tools-of-others/bin/other -c".into(), "plain".into()]),
            path: vec![at("tools/bin")],
            directory: root.clone(),
            variables: BTreeMap::from([
                ("CONDA_PREFIX", at("conda")),
                ("JAVA_HOME", at("java")),
                ("PYTHONPATH", at("packages")),
                ("CURL_CA_BUNDLE", at("named.pem")),
            ]),
        };
        let below = |all: &BTreeSet<PathBuf>| -> Vec<PathBuf> {
            all.iter().filter(|path| path.starts_with(&root)).cloned().collect()
        };
        let found = find(&surroundings);
        let mut expected: Vec<PathBuf> = bundles.into_iter().map(at).collect();
        expected.sort();
        assert_eq!(below(&found.bundles), expected);
        assert_eq!(below(&found.java_stores), [at("java/lib/security/cacerts")]);
    }

    #[test]
    fn an_interpreter_is_found_through_env() {
        let root = tempfile::tempdir().unwrap();
        let (script, python) = (root.path().join("script"), root.path().join("python9"));
        write(&python, "");
        write(&script, "#!/usr/bin/env -S A=b python9 -u\n");
        let path = vec![root.path().to_owned()];
        let surroundings = Surroundings { path, ..Surroundings::default() };
        assert_eq!(interpreter(&script, &surroundings), Some(python.clone()));
        assert_eq!(interpreter(&python, &surroundings), None);
    }
}
