//! The tokens of service accounts as files, as the kubelet projects them: written for one user, replaced before they end.
//!
//! Source: Kubernetes, "Service account token volume projection"; AKS, "Use Microsoft Entra Workload ID".

use std::collections::BTreeMap;
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use keycard_crypto::digest::sha256;
use keycard_crypto::encoding;
use keycard_domain::limits;
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::token::cluster_issuer::{
    ProjectedTokens, ServiceAccount, ServiceAccountError, ServiceAccountToken, ServiceAccountTokens,
};
use time::UtcDateTime;
use tokio::sync::Mutex;

/// What the file is called on AKS.
const FILE_NAME: &str = "azure-identity-token";

/// The files of this host.
#[derive(Debug)]
pub struct TokenFiles {
    directory: PathBuf,
    tokens: Arc<dyn ServiceAccountTokens>,
    /// By their paths.
    projected: Mutex<BTreeMap<PathBuf, Projected>>,
}

#[derive(Debug)]
struct Projected {
    cluster: ArmResourceId,
    account: ServiceAccount,
    renew_at: UtcDateTime,
}

impl TokenFiles {
    /// No file yet; they will be below this directory.
    pub fn new(directory: PathBuf, tokens: Arc<dyn ServiceAccountTokens>) -> Self {
        Self { directory, tokens, projected: Mutex::default() }
    }

    /// A directory for each account: its names may stand in a path, and the cluster's id, which may not, stands as its
    /// digest.
    fn path(&self, cluster: &ArmResourceId, account: &ServiceAccount) -> PathBuf {
        let digest = encoding::hex_encode(&sha256(cluster.key().as_bytes()));
        let cluster = digest.get(..16).unwrap_or_default();
        let [namespace, name] = account.names();
        self.directory.join(cluster).join(namespace).join(name).join(FILE_NAME)
    }

    /// Writes a new token; when it has to be renewed.
    async fn write(
        &self,
        path: &Path,
        cluster: &ArmResourceId,
        account: &ServiceAccount,
    ) -> Result<UtcDateTime, ServiceAccountError> {
        let ServiceAccountToken { token, renew_at } = self.tokens.issue(cluster, account).await?;
        let written = replace(path, token.expose());
        written.map_err(|error| {
            ServiceAccountError::Unavailable(format!("{}: {error}", path.display()))
        })?;
        Ok(renew_at)
    }

    /// Replaces what has come of age, and removes what is of a cluster that is gone.
    pub async fn renew_due(&self, now: UtcDateTime) {
        let mut projected = self.projected.lock().await;
        let mut gone = Vec::new();
        for (path, it) in projected.iter_mut().filter(|(_, it)| it.renew_at <= now) {
            match self.write(path, &it.cluster, &it.account).await {
                Ok(renew_at) => it.renew_at = renew_at,
                Err(ServiceAccountError::ClusterNotFound(_)) => gone.push(path.clone()),
                Err(error) => {
                    tracing::error!(cluster = %it.cluster, %error, "a service account's token could not be renewed");
                }
            }
        }
        for path in gone {
            projected.remove(&path);
            let _ = std::fs::remove_file(path);
        }
    }
}

#[async_trait]
impl ProjectedTokens for TokenFiles {
    async fn project(
        &self,
        cluster: &ArmResourceId,
        account: &ServiceAccount,
    ) -> Result<PathBuf, ServiceAccountError> {
        let mut projected = self.projected.lock().await;
        let path = self.path(cluster, account);
        if projected.len() >= limits::PROJECTED_TOKENS_MAX && !projected.contains_key(&path) {
            let reason = format!("a host has at most {} of them", limits::PROJECTED_TOKENS_MAX);
            return Err(ServiceAccountError::Unavailable(reason));
        }
        let renew_at = self.write(&path, cluster, account).await?;
        let (cluster, account) = (cluster.clone(), account.clone());
        projected.insert(path.clone(), Projected { cluster, account, renew_at });
        Ok(path)
    }
}

/// Puts a new file in the place of the old one, so that a reader sees one of the two whole; for the owner alone.
fn replace(path: &Path, content: &str) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let fresh = path.with_extension("new");
    let _ = std::fs::remove_file(&fresh);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(content.as_bytes())?;
    std::fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use keycard_crypto::secret::Secret;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tempfile::TempDir;
    use time::Duration;

    const CLUSTER: &str = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/g/providers/Microsoft.ContainerService/managedClusters/c";
    const START: UtcDateTime = UtcDateTime::UNIX_EPOCH;

    /// Numbers its tokens, each to be renewed an hour after the start; from this number on, the cluster is gone.
    #[derive(Debug)]
    struct Numbered(AtomicU64, u64);

    #[async_trait]
    impl ServiceAccountTokens for Numbered {
        async fn issue(
            &self,
            cluster: &ArmResourceId,
            _: &ServiceAccount,
        ) -> Result<ServiceAccountToken, ServiceAccountError> {
            let number = self.0.fetch_add(1, Ordering::Relaxed);
            if number >= self.1 {
                return Err(ServiceAccountError::ClusterNotFound(cluster.clone()));
            }
            let token = Secret::new(format!("token {number}"));
            Ok(ServiceAccountToken { token, renew_at: START + Duration::HOUR })
        }
    }

    fn files(directory: &TempDir, issued_max: u64) -> TokenFiles {
        let tokens = Arc::new(Numbered(AtomicU64::new(0), issued_max));
        TokenFiles::new(directory.path().join("tokens"), tokens)
    }

    #[tokio::test]
    async fn a_file_is_its_owners_and_is_replaced_when_it_is_due() {
        let directory = TempDir::new().unwrap();
        let files = files(&directory, 2);
        let (cluster, account) =
            (CLUSTER.parse().unwrap(), ServiceAccount::parse("shop:web").unwrap());
        let path = files.project(&cluster, &account).await.unwrap();
        assert!(path.ends_with("shop/web/azure-identity-token"), "{}", path.display());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        let read = || std::fs::read_to_string(&path).unwrap();
        files.renew_due(START + Duration::HOUR - Duration::SECOND).await;
        assert_eq!(read(), "token 0");
        files.renew_due(START + Duration::HOUR).await;
        assert_eq!(read(), "token 1");
        files.renew_due(START + Duration::HOUR).await;
        assert!(!path.exists(), "what is of a cluster that is gone goes");
    }

    #[tokio::test]
    async fn beyond_the_bound_there_is_no_further_file() {
        let directory = TempDir::new().unwrap();
        let files = files(&directory, u64::MAX);
        let cluster = CLUSTER.parse().unwrap();
        let account = |number: usize| ServiceAccount::parse(&format!("ns:a{number}")).unwrap();
        for number in 0..limits::PROJECTED_TOKENS_MAX {
            files.project(&cluster, &account(number)).await.unwrap();
        }
        assert!(files.project(&cluster, &account(limits::PROJECTED_TOKENS_MAX)).await.is_err());
        assert!(files.project(&cluster, &account(0)).await.is_ok());
    }
}
