//! Answers to challenges: Basic, and Bearer tokens with their cache (the distribution project's token and OAuth2 specs).
//!
//! A host's challenge is remembered, so that only the first request to it is refused. Tokens are kept per realm,
//! service and scopes until shortly before they expire; a token that the registry refuses is replaced once. Requests
//! that need the same token at the same time share one exchange.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde::Deserialize;

use crate::base::clock;
use crate::base::secret::Secret;
use crate::model::reference::Repository;
use crate::registry::challenge::Challenge;
use crate::registry::client::Client;
use crate::registry::credentials::Found;
use crate::registry::error::{Answer, Error};
use crate::registry::host::{self, origin_name};
use crate::registry::http::{Failure, STALL};
use crate::registry::retry;

/// What a token lives by when the server does not say (token spec).
const DEFAULT_LIFE: Duration = Duration::from_secs(60);

/// A token is not used in its last seconds, so that it does not expire on its way.
const MARGIN: Duration = Duration::from_secs(10);

/// No token is kept longer, whatever its server says.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// No token server answers with more.
const LARGEST_TOKEN: u64 = 64 << 10;

/// What a request needs: one or several scopes, the first one being that of its own repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Access {
    /// The repository whose credential is used.
    pub repository: Repository,
    /// Scopes as the token spec writes them.
    pub scopes: Vec<String>,
}

impl Access {
    /// Reading.
    pub(super) fn pull(repository: &Repository) -> Self {
        Self::with(repository, "pull")
    }

    /// Reading and writing.
    pub(super) fn push(repository: &Repository) -> Self {
        Self::with(repository, "pull,push")
    }

    /// Deleting.
    pub(super) fn delete(repository: &Repository) -> Self {
        Self::with(repository, "delete")
    }

    /// Also reading another repository, for a mount.
    pub(super) fn and_pull(mut self, other: &Repository) -> Self {
        self.scopes.push(format!("repository:{}:pull", other.path()));
        self
    }

    fn with(repository: &Repository, actions: &str) -> Self {
        let scopes = vec![format!("repository:{}:{actions}", repository.path())];
        Access { repository: repository.clone(), scopes }
    }

    /// Our scopes, and those of the challenge that speak of something else.
    fn widened(&self, challenged: &[String]) -> Vec<String> {
        let resource = |scope: &str| scope.rsplit_once(':').map(|(resource, _)| resource.to_owned());
        let ours: Vec<_> = self.scopes.iter().map(|scope| resource(scope)).collect();
        let others = challenged.iter().filter(|scope| !ours.contains(&resource(scope)));
        self.scopes.iter().chain(others).cloned().collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    realm: String,
    service: String,
    access: Access,
}

#[derive(Debug, Clone)]
struct Token {
    header: HeaderValue,
    good_until: Instant,
}

/// One slot per key, locked while its token is fetched.
type Slot = Arc<tokio::sync::Mutex<Option<Token>>>;

/// The challenges and tokens of all hosts.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    challenges: Mutex<HashMap<String, Challenge>>,
    slots: Mutex<HashMap<Key, Slot>>,
}

impl Tokens {
    /// How this host wants to be asked, if it was heard before.
    pub(super) fn challenge_of(&self, host: &str) -> Option<Challenge> {
        self.challenges.lock().unwrap_or_else(PoisonError::into_inner).get(host).cloned()
    }

    /// Remembers how this host wants to be asked.
    pub(super) fn remember(&self, host: &str, challenge: &Challenge) {
        let mut challenges = self.challenges.lock().unwrap_or_else(PoisonError::into_inner);
        challenges.insert(host.to_owned(), challenge.clone());
    }

    /// The slot of a token; whoever locks it may fill it.
    fn slot(&self, realm: &str, service: &str, access: &Access) -> Slot {
        let key = Key { realm: realm.to_owned(), service: service.to_owned(), access: access.clone() };
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone()
    }
}

impl Client {
    /// The `Authorization` that answers a challenge; none where we have no credential for it. `refused` is a header
    /// that the registry has just refused: it is not handed out again.
    pub(super) async fn authorization(
        &self,
        registry: &Url,
        access: &Access,
        challenge: &Challenge,
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, Failure> {
        let what = access.repository.to_string();
        let credential = self.credential(&access.repository).await?;
        let Challenge::Bearer { realm, service, scopes } = challenge else {
            let header = credential.filter(|found| !found.is_identity_token()).map(|found| basic(&found));
            return Ok(header.filter(|header| Some(header) != refused));
        };
        let slot = self.shared.tokens.slot(realm, service, access);
        let mut slot = slot.lock().await;
        if let Some(token) = slot.as_ref()
            && token.good_until > Instant::now()
            && Some(&token.header) != refused
        {
            return Ok(Some(token.header.clone()));
        }
        let realm: Url =
            realm.parse().ok().filter(|realm| host::may_receive_credentials(realm, registry)).ok_or_else(
                || Error::malformed(&what, "the registry names a token server that is not to be trusted"),
            )?;
        let scopes = access.widened(scopes);
        let asked_at = Instant::now();
        let reply = self.exchange_token(realm, service, &scopes, credential.as_ref(), &what).await?;
        let life = reply.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs).min(LONGEST_LIFE);
        let text = reply.token.or(reply.access_token).unwrap_or_default();
        let header = sensitive(&format!("Bearer {}", text.expose()))
            .filter(|_| !text.is_empty())
            .ok_or_else(|| Error::malformed(&what, "the token server gave no token"))?;
        *slot = Some(Token { header: header.clone(), good_until: asked_at + life - MARGIN.min(life / 2) });
        Ok(Some(header))
    }

    /// The credential of a repository; a broken place to look is an error that names it.
    pub async fn credential(&self, repository: &Repository) -> Result<Option<Found>, Error> {
        let found = self.shared.keychain.find(repository).await;
        found.map_err(|source| Error::Credential { what: repository.to_string(), source })
    }

    /// One question to a token server: GET with a password or anonymously, OAuth2 POST with an identity token.
    async fn exchange_token(
        &self,
        realm: Url,
        service: &str,
        scopes: &[String],
        credential: Option<&Found>,
        what: &str,
    ) -> Result<TokenReply, Failure> {
        let transport = self.transport(&realm)?;
        let host = origin_name(&realm);
        let request = match credential {
            Some(found) if found.is_identity_token() => {
                let scope = scopes.join(" ");
                let form = [
                    ("grant_type", "refresh_token"),
                    ("service", service),
                    ("client_id", "layerlift"),
                    ("scope", &scope),
                    ("refresh_token", found.secret.expose()),
                ];
                transport.post(realm).form(&form)
            }
            _ => {
                let service = Some(("service", service)).filter(|(_, name)| !name.is_empty());
                let scopes = scopes.iter().map(|scope| ("scope", scope.as_str()));
                let request =
                    transport.get(realm).query(&service.into_iter().chain(scopes).collect::<Vec<_>>());
                match credential {
                    Some(found) => request.header(AUTHORIZATION, basic(found)),
                    None => request,
                }
            }
        };
        let mut response = self.dispatch(request, &host, what, None, STALL).await?;
        let status = response.status();
        let asked = retry::asked_for(response.headers(), clock::now());
        let body = self.read_bounded(&mut response, LARGEST_TOKEN, what).await?;
        if status.is_success() {
            let reply = serde_json::from_slice(&body);
            return reply.map_err(|_| Error::malformed(what, "the token server's answer is no token").into());
        }
        let answer = Answer::read(&body);
        // Token servers say 400, 401 or 403 for a bad credential; all of them mean that another one is needed.
        Err(match status.as_u16() {
            400 | 401 | 403 => Failure::from(Error::Unauthorized {
                what: what.to_owned(),
                credential: credential.map(|found| found.source.clone()),
                answer,
            }),
            _ => Failure { asked, ..Error::of_status(what, status, answer).into() },
        })
    }
}

fn basic(found: &Found) -> HeaderValue {
    let pair = STANDARD.encode(format!("{}:{}", found.username, found.secret.expose()));
    sensitive(&format!("Basic {pair}")).expect("base64 is always a header value")
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What a token server answers. Either name is in use; both mean the same.
#[derive(Debug, Deserialize)]
struct TokenReply {
    #[serde(default, deserialize_with = "secret")]
    token: Option<Secret>,
    #[serde(default, deserialize_with = "secret")]
    access_token: Option<Secret>,
    #[serde(default)]
    expires_in: Option<u64>,
}

fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()).map(Secret::new))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::credentials::Source;

    #[test]
    fn scopes_name_what_is_needed() {
        let repository = |text: &str| text.parse::<Repository>().expect("repository");
        let (a, b) = (repository("r.io/g/a"), repository("r.io/g/b"));
        assert_eq!(Access::pull(&a).scopes, ["repository:g/a:pull"]);
        assert_eq!(Access::push(&a).and_pull(&b).scopes, ["repository:g/a:pull,push", "repository:g/b:pull"]);
    }

    #[test]
    fn a_challenge_widens_only_by_other_resources() {
        let access = Access::push(&"r.io/g/a".parse().expect("repository"));
        let challenged = ["repository:g/a:pull".to_owned(), "registry:catalog:*".to_owned()];
        assert_eq!(access.widened(&challenged), ["repository:g/a:pull,push", "registry:catalog:*"]);
    }

    #[test]
    fn nothing_prints_a_token() {
        let reply: TokenReply =
            serde_json::from_str(r#"{"token":"hunter2","expires_in":300}"#).expect("reply");
        assert!(!format!("{reply:?}").contains("hunter2"));
        let found =
            Found { username: "a".into(), secret: Secret::new("hunter2"), source: Source::DockerConfig };
        assert_eq!(format!("{:?}", basic(&found)), "Sensitive");
    }
}
