//! The keys of issuers outside, fetched by OpenID Connect Discovery and kept for a while.
//!
//! One fetch per issuer at a time; who waited for it takes what it brought. Known keys are used while others are being
//! fetched, and for a day when that fails. Whoever manages an identity chooses its issuers, so that slow or many ones of one
//! client must not stand in the way of the others'.

mod address;
mod fetch;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use keycard_crypto::jwk::ForeignKey;
use keycard_crypto::tls::ClientConfig;
use keycard_domain::ids::ClientId;
use keycard_domain::limits;
use keycard_domain::token::federation::{IssuerKeys, IssuerKeysError};
use time::{Duration, UtcDateTime};

pub use address::LocalIssuers;
use fetch::Fetcher;

/// Fetches and keeps the keys of issuers.
#[derive(Debug)]
pub struct OidcKeys {
    fetcher: Fetcher,
    issuers: Mutex<BTreeMap<String, Issuer>>,
    flights: Mutex<BTreeMap<ClientId, usize>>,
}

/// One fetch on behalf of a client, counted while it lasts.
struct Flight<'a> {
    flights: &'a Mutex<BTreeMap<ClientId, usize>>,
    client: ClientId,
}

impl<'a> Flight<'a> {
    fn start(flights: &'a Mutex<BTreeMap<ClientId, usize>>, client: ClientId) -> Option<Self> {
        let mut running = lock(flights);
        let count = running.entry(client).or_default();
        if *count >= limits::ISSUER_FETCHES_OF_CLIENT_MAX {
            return None;
        }
        *count += 1;
        Some(Self { flights, client })
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut running = lock(self.flights);
        if let Some(count) = running.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                running.remove(&self.client);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is known of an issuer, and when it was last asked for.
#[derive(Debug)]
struct Issuer {
    keys: Arc<KnownKeys>,
    used_at: i64,
}

/// An issuer's keys, and the one flight at a time that fetches them. Times are Unix seconds.
#[derive(Debug, Default)]
struct KnownKeys {
    fetched: Mutex<Option<Fetched>>,
    flight: tokio::sync::Mutex<Option<Attempt>>,
}

#[derive(Clone, Debug)]
struct Fetched {
    keys: Arc<[ForeignKey]>,
    at: i64,
}

/// The last attempt to fetch.
#[derive(Debug)]
struct Attempt {
    at: i64,
    failure: Option<IssuerKeysError>,
}

impl Attempt {
    fn is_within(&self, pause: Duration, now: i64) -> bool {
        now - self.at < pause.whole_seconds()
    }
}

impl KnownKeys {
    /// The keys, when they are no older than this.
    fn within(&self, age_max: Duration, now: i64) -> Option<Arc<[ForeignKey]>> {
        let fetched = lock(&self.fetched);
        let young = fetched.as_ref().filter(|it| now - it.at < age_max.whole_seconds());
        young.map(|it| Arc::clone(&it.keys))
    }

    /// The keys, when the one of this name may be among them.
    fn with_key(
        &self,
        key_id: Option<&str>,
        age_max: Duration,
        now: i64,
    ) -> Option<Arc<[ForeignKey]>> {
        let is_named = |key: &ForeignKey| {
            key_id.is_none() || key.kid.is_none() || key.kid.as_deref() == key_id
        };
        self.within(age_max, now).filter(|keys| keys.iter().any(is_named))
    }
}

impl OidcKeys {
    /// No keys yet. Issuers are believed when an authority of `tls` speaks for their name.
    pub fn new(local: LocalIssuers, tls: Option<Arc<ClientConfig>>) -> Self {
        Self::with_time_max(local, tls, limits::ISSUER_FETCH_TIME_MAX)
    }

    /// The same with another bound on the time that a fetch may take.
    pub fn with_time_max(
        local: LocalIssuers,
        tls: Option<Arc<ClientConfig>>,
        time_max: std::time::Duration,
    ) -> Self {
        let fetcher = Fetcher::new(local, tls, time_max);
        Self { fetcher, issuers: Mutex::default(), flights: Mutex::default() }
    }

    fn known(&self, issuer: &str, now: i64) -> Arc<KnownKeys> {
        let mut issuers = lock(&self.issuers);
        if let Some(known) = issuers.get_mut(issuer) {
            known.used_at = now;
            return Arc::clone(&known.keys);
        }
        let keys = Arc::<KnownKeys>::default();
        let is_kept =
            make_room(&mut issuers, |it| it.keys.within(limits::ISSUER_KEYS_USABLE, now).is_none());
        if is_kept {
            issuers.insert(issuer.to_owned(), Issuer { keys: Arc::clone(&keys), used_at: now });
        }
        keys
    }

    /// Keeps an issuer whose keys were found.
    fn keep(&self, issuer: &str, keys: &Arc<KnownKeys>, now: i64) {
        let mut issuers = lock(&self.issuers);
        if !issuers.contains_key(issuer) && make_room(&mut issuers, |_| true) {
            issuers.insert(issuer.to_owned(), Issuer { keys: Arc::clone(keys), used_at: now });
        }
    }
}

/// Whether there is room for another issuer, if need be because the idlest of those that may go was forgotten.
fn make_room(issuers: &mut BTreeMap<String, Issuer>, may_go: impl Fn(&Issuer) -> bool) -> bool {
    if issuers.len() < limits::FEDERATED_ISSUERS_KEPT_MAX {
        return true;
    }
    let idlest = issuers.iter().filter(|(_, it)| may_go(it)).min_by_key(|(_, it)| it.used_at);
    let idlest = idlest.map(|(name, _)| name.clone());
    idlest.is_some_and(|name| issuers.remove(&name).is_some())
}

#[async_trait]
impl IssuerKeys for OidcKeys {
    async fn keys(
        &self,
        client: ClientId,
        issuer: &str,
        key_id: Option<&str>,
        now: UtcDateTime,
    ) -> Result<Arc<[ForeignKey]>, IssuerKeysError> {
        let now = now.unix_timestamp();
        let known = self.known(issuer, now);
        if let Some(keys) = known.with_key(key_id, limits::ISSUER_KEYS_FRESH, now) {
            return Ok(keys);
        }
        let mut last = match known.flight.try_lock() {
            Ok(last) => last,
            Err(_) => match known.with_key(key_id, limits::ISSUER_KEYS_USABLE, now) {
                Some(keys) => return Ok(keys),
                None => known.flight.lock().await,
            },
        };
        if let Some(keys) = known.with_key(key_id, limits::ISSUER_KEYS_FRESH, now) {
            return Ok(keys);
        }
        let usable = known.within(limits::ISSUER_KEYS_USABLE, now);
        let pause = match usable {
            Some(_) => limits::ISSUER_FETCH_PAUSE,
            None => limits::ISSUER_FAILURE_REMEMBERED,
        };
        match (last.as_ref().filter(|last| last.is_within(pause, now)), usable) {
            (Some(_), Some(keys)) => return Ok(keys),
            (Some(Attempt { failure: Some(failure), .. }), None) => return Err(failure.clone()),
            (Some(_) | None, usable) => {
                let outcome = match Flight::start(&self.flights, client) {
                    Some(_flight) => self.fetcher.fetch(issuer).await,
                    None => Err(IssuerKeysError::Busy),
                };
                if outcome != Err(IssuerKeysError::Busy) {
                    *last = Some(Attempt { at: now, failure: outcome.as_ref().err().cloned() });
                }
                if let Ok(keys) = &outcome {
                    *lock(&known.fetched) = Some(Fetched { keys: Arc::clone(keys), at: now });
                    self.keep(issuer, &known, now);
                }
                outcome.or_else(|failure| usable.ok_or(failure))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use keycard_crypto::encoding;
    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const NOW: i64 = 1_800_000_000;
    const DISCOVERY: &str = "/.well-known/openid-configuration";

    /// What a fake issuer answers at a path; nothing at others.
    type Pages = BTreeMap<String, String>;

    /// An issuer on loopback that counts its requests.
    struct FakeIssuer {
        url: String,
        pages: Arc<Mutex<Pages>>,
        asked: Arc<Mutex<Vec<String>>>,
        server: tokio::task::JoinHandle<()>,
    }

    fn ok(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    fn rsa_key(kid: &str) -> Value {
        let n = encoding::base64url_encode(&[0xff; 256]);
        json!({ "kty": "RSA", "use": "sig", "kid": kid, "n": n, "e": "AQAB" })
    }

    impl FakeIssuer {
        async fn start(keys: &[&str]) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let pages = Arc::new(Mutex::new(Pages::new()));
            let asked = Arc::new(Mutex::new(Vec::new()));
            let server = tokio::spawn(serve(listener, Arc::clone(&pages), Arc::clone(&asked)));
            let issuer = Self { url, pages, asked, server };
            issuer.describe(&issuer.url, &format!("{}/keys", issuer.url));
            issuer.publish(keys);
            issuer
        }

        fn answer(&self, path: &str, answer: String) {
            self.pages.lock().unwrap().insert(path.to_owned(), answer);
        }

        fn describe(&self, issuer: &str, jwks_uri: &str) {
            let document = json!({ "issuer": issuer, "jwks_uri": jwks_uri });
            self.answer(DISCOVERY, ok(&document.to_string()));
        }

        fn publish(&self, keys: &[&str]) {
            let keys: Vec<Value> = keys.iter().map(|kid| rsa_key(kid)).collect();
            self.answer("/keys", ok(&json!({ "keys": keys }).to_string()));
        }

        fn asked(&self) -> usize {
            self.asked.lock().unwrap().len()
        }
    }

    impl Drop for FakeIssuer {
        fn drop(&mut self) {
            self.server.abort();
        }
    }

    async fn serve(
        listener: TcpListener,
        pages: Arc<Mutex<Pages>>,
        asked: Arc<Mutex<Vec<String>>>,
    ) {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            let path = head.split(' ').nth(1).unwrap().to_owned();
            let answer = pages.lock().unwrap().get(&path).cloned();
            asked.lock().unwrap().push(path);
            let answer = answer.unwrap_or_else(|| "HTTP/1.1 404 Not Found\r\n\r\n".to_owned());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    }

    fn client(number: u8) -> ClientId {
        let text = format!("00000000-0000-4000-8000-0000000000{number:02x}");
        text.parse().unwrap()
    }

    fn local() -> OidcKeys {
        OidcKeys::new(LocalIssuers::Allowed, None)
    }

    /// The ids of the keys that are told after so many seconds.
    async fn ask(
        keys: &OidcKeys,
        issuer: &str,
        key_id: Option<&str>,
        after: i64,
    ) -> Result<Vec<String>, IssuerKeysError> {
        let now = UtcDateTime::from_unix_timestamp(NOW + after).unwrap();
        let keys = keys.keys(client(1), issuer, key_id, now).await?;
        Ok(keys.iter().map(|key| key.kid.clone().unwrap()).collect())
    }

    #[tokio::test]
    async fn keys_are_fetched_once_an_hour() {
        let issuer = FakeIssuer::start(&["a"]).await;
        let keys = local();
        for after in [0, 1, 3599] {
            assert_eq!(ask(&keys, &issuer.url, Some("a"), after).await.unwrap(), ["a"]);
            assert_eq!(issuer.asked(), 2, "{after}");
        }
        issuer.publish(&["b"]);
        assert_eq!(ask(&keys, &issuer.url, Some("a"), 3600).await.unwrap(), ["b"]);
        assert_eq!(*issuer.asked.lock().unwrap(), [DISCOVERY, "/keys", DISCOVERY, "/keys"]);
    }

    #[tokio::test]
    async fn an_unknown_key_is_looked_for_at_most_twice_a_minute() {
        let issuer = FakeIssuer::start(&["a"]).await;
        let keys = local();
        ask(&keys, &issuer.url, Some("a"), 0).await.unwrap();
        issuer.publish(&["a", "b"]);
        assert_eq!(ask(&keys, &issuer.url, Some("b"), 29).await.unwrap(), ["a"]);
        assert_eq!(issuer.asked(), 2);
        assert_eq!(ask(&keys, &issuer.url, Some("b"), 30).await.unwrap(), ["a", "b"]);
        assert_eq!(issuer.asked(), 4);
        for unknown in ["c", "d", "e"] {
            assert_eq!(ask(&keys, &issuer.url, Some(unknown), 59).await.unwrap(), ["a", "b"]);
        }
        assert_eq!(issuer.asked(), 4);
    }

    #[tokio::test]
    async fn many_at_once_ask_once() {
        let issuer = FakeIssuer::start(&["a"]).await;
        let keys = Arc::new(local());
        // On the test's one thread each of these runs until it has to wait.
        let all: Vec<_> = (0..20)
            .map(|_| {
                let (keys, url) = (Arc::clone(&keys), issuer.url.clone());
                tokio::spawn(async move { ask(&keys, &url, Some("a"), 0).await })
            })
            .collect();
        for one in all {
            assert_eq!(one.await.unwrap().unwrap(), ["a"]);
        }
        assert_eq!(issuer.asked(), 2);
    }

    #[tokio::test]
    async fn known_keys_outlive_an_outage_by_a_day() {
        let issuer = FakeIssuer::start(&["a"]).await;
        let keys = local();
        ask(&keys, &issuer.url, Some("a"), 0).await.unwrap();
        issuer.pages.lock().unwrap().clear();
        let day = 24 * 3600;
        for after in [3600, 3629, 3630, day - 1] {
            assert_eq!(ask(&keys, &issuer.url, Some("a"), after).await.unwrap(), ["a"]);
        }
        assert_eq!(issuer.asked(), 2 + 3, "while keys are known, an attempt counts for a while");
        let error = ask(&keys, &issuer.url, Some("a"), day + 60).await.unwrap_err();
        assert_eq!(error, IssuerKeysError::Unreachable("status 404".into()));
    }

    #[tokio::test]
    async fn a_failure_is_remembered_for_five_seconds() {
        let issuer = FakeIssuer::start(&["a"]).await;
        issuer.pages.lock().unwrap().remove("/keys");
        let keys = local();
        for after in [0, 4] {
            assert!(ask(&keys, &issuer.url, None, after).await.is_err());
            assert_eq!(issuer.asked(), 2);
        }
        issuer.publish(&["a"]);
        assert_eq!(ask(&keys, &issuer.url, None, 5).await.unwrap(), ["a"]);
    }

    #[tokio::test]
    async fn what_is_no_answer_of_this_issuer_is_refused() {
        let issuer = FakeIssuer::start(&["a"]).await;
        let own = issuer.url.clone();
        let elsewhere = FakeIssuer::start(&["a"]).await;
        let redirect = format!(
            "HTTP/1.1 302 Found\r\nlocation: {}/keys\r\ncontent-length: 0\r\n\r\n",
            elsewhere.url
        );
        let endless = format!("HTTP/1.1 200 OK\r\n\r\n{{\"filler\":\"{}", "x".repeat(70 * 1024));
        let document = |issuer: &str, jwks: &str| {
            ok(&json!({ "issuer": issuer, "jwks_uri": jwks }).to_string())
        };
        let good = document(&own, &format!("{own}/keys"));
        let crowded: Vec<Value> = (0..101).map(|n| rsa_key(&n.to_string())).collect();
        for (discovery, set) in [
            (redirect.clone(), None),
            (endless, None),
            (ok("[]"), None),
            (ok(&json!({ "issuer": own }).to_string()), None),
            (document(&format!("{own}/"), &format!("{own}/keys")), None),
            (document(&elsewhere.url, &format!("{own}/keys")), None),
            (document(&own, "file:///etc/passwd"), None),
            (document(&own, "http://10.0.0.1/keys"), None),
            (document(&own, "https://169.254.169.254/keys"), None),
            (good.replacen("200 OK", "404 Not Found", 1), None),
            (good.clone(), Some(redirect)),
            (good.clone(), Some(ok("nonsense"))),
            (good.clone(), Some(ok(&json!({ "keys": crowded }).to_string()))),
            (good.clone(), Some("HTTP/1.1 500 Oops\r\n\r\n".to_owned())),
            (good.clone(), Some("nonsense\r\n\r\n".to_owned())),
        ] {
            issuer.answer(DISCOVERY, discovery.clone());
            issuer.publish(&["a"]);
            set.into_iter().for_each(|set| issuer.answer("/keys", set));
            let outcome = ask(&local(), &own, None, 0).await;
            assert!(outcome.is_err(), "{outcome:?} of {discovery}");
        }
        assert_eq!(elsewhere.asked(), 0, "a redirect is not followed");
        issuer.answer(DISCOVERY, good);
        issuer.publish(&["a"]);
        assert_eq!(ask(&local(), &own, None, 0).await.unwrap(), ["a"]);
    }

    #[tokio::test]
    async fn keys_of_other_kinds_are_passed_over() {
        let issuer = FakeIssuer::start(&[]).await;
        let mut encryption = rsa_key("enc");
        encryption["use"] = json!("enc");
        let mut unmarked = rsa_key("unmarked");
        unmarked.as_object_mut().unwrap().remove("use");
        let x = encoding::base64url_encode(&[7; 32]);
        let elliptic = json!({ "kty": "EC", "crv": "P-256", "kid": "ec", "x": x, "y": x });
        let keys = json!({ "keys": [encryption, unmarked, elliptic, { "kty": "oct", "k": "AA" }] });
        issuer.answer("/keys", ok(&keys.to_string()));
        assert_eq!(ask(&local(), &issuer.url, None, 0).await.unwrap(), ["unmarked"]);
    }

    #[tokio::test]
    async fn a_final_slash_is_part_of_the_issuer_and_not_doubled() {
        let issuer = FakeIssuer::start(&["a"]).await;
        let slashed = format!("{}/", issuer.url);
        issuer.describe(&slashed, &format!("{}/keys", issuer.url));
        assert_eq!(ask(&local(), &slashed, None, 0).await.unwrap(), ["a"]);
        assert!(ask(&local(), &issuer.url, None, 0).await.is_err());
        issuer.answer("/sub/.well-known/openid-configuration", {
            let own = format!("{}/sub", issuer.url);
            ok(&json!({ "issuer": own, "jwks_uri": format!("{}/keys", issuer.url) }).to_string())
        });
        assert_eq!(ask(&local(), &format!("{}/sub", issuer.url), None, 0).await.unwrap(), ["a"]);
    }

    #[tokio::test]
    async fn a_slow_issuer_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let short = std::time::Duration::from_millis(20);
        let keys = OidcKeys::with_time_max(LocalIssuers::Allowed, None, short);
        let error = ask(&keys, &url, None, 0).await.unwrap_err();
        assert_eq!(error, IssuerKeysError::Unreachable("not in time".into()));
        drop(listener);
        let error = ask(&keys, &url, None, 5).await.unwrap_err();
        assert!(matches!(error, IssuerKeysError::Unreachable(_)), "{error}");
    }

    #[tokio::test]
    async fn a_local_issuer_is_never_asked_without_the_option() {
        let issuer = FakeIssuer::start(&["a"]).await;
        let keys = OidcKeys::new(LocalIssuers::Refused, None);
        for url in [issuer.url.clone(), issuer.url.replace("http://", "https://")] {
            let error = ask(&keys, &url, None, 0).await.unwrap_err();
            assert!(matches!(error, IssuerKeysError::NotAllowed(_)), "{error}");
        }
        assert_eq!(issuer.asked(), 0);
    }

    #[tokio::test]
    async fn slow_issuers_of_one_client_leave_the_others_alone() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = format!("http://{}", silent.local_addr().unwrap());
        let issuer = FakeIssuer::start(&["a"]).await;
        let keys = Arc::new(local());
        let slow: Vec<_> = (0..3)
            .map(|n| {
                let (keys, url) = (Arc::clone(&keys), format!("{silent}/{n}"));
                tokio::spawn(async move { ask(&keys, &url, None, 0).await })
            })
            .collect();
        while lock(&keys.flights).get(&client(1)) != Some(&2) {
            tokio::task::yield_now().await;
        }
        let now = UtcDateTime::from_unix_timestamp(NOW).unwrap();
        let refused = keys.keys(client(1), &issuer.url, None, now).await.unwrap_err();
        assert_eq!(refused, IssuerKeysError::Busy);
        assert_eq!(keys.keys(client(2), &issuer.url, None, now).await.unwrap().len(), 1);
        for one in &slow {
            one.abort();
        }
        for one in slow {
            let _ = one.await;
        }
        assert!(lock(&keys.flights).is_empty(), "whoever leaves gives his place back");
    }

    #[tokio::test]
    async fn beyond_the_bound_the_idlest_issuer_without_keys_is_forgotten() {
        let issuer = FakeIssuer::start(&["a"]).await;
        let keys = local();
        ask(&keys, &issuer.url, None, -10).await.unwrap();
        for n in 0..=limits::FEDERATED_ISSUERS_KEPT_MAX {
            keys.known(&format!("https://{n}.example"), NOW + i64::try_from(n).unwrap());
        }
        let kept = |name: &str| lock(&keys.issuers).contains_key(name);
        assert_eq!(lock(&keys.issuers).len(), limits::FEDERATED_ISSUERS_KEPT_MAX);
        assert!(!kept("https://0.example"));
        assert!(kept(&issuer.url), "idler, but its keys are known");
        for it in lock(&keys.issuers).values() {
            *lock(&it.keys.fetched) = Some(Fetched { keys: Arc::from([]), at: NOW });
        }
        keys.known("https://new.example", NOW);
        assert!(!kept("https://new.example"), "it has no keys yet");
        let another = FakeIssuer::start(&["a"]).await;
        ask(&keys, &another.url, None, 0).await.unwrap();
        assert!(kept(&another.url));
        assert!(!kept(&issuer.url), "now the idlest");
    }
}
