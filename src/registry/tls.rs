//! Trust for HTTPS: which roots, and which certificate of our own.
//!
//! Roots are the machine's (`SSL_CERT_FILE` and `SSL_CERT_DIR` are read by `rustls-native-certs`), then files that the
//! caller names, such as GitLab's `CI_SERVER_TLS_CA_FILE`. The bundled Mozilla roots serve only where all of these are
//! empty, as in a container that holds nothing but our binary. A host's folder below Docker's `certs.d` adds roots
//! (`*.crt`) and a client certificate (`*.cert` with `*.key`) for that host alone. A server certificate that stands
//! there itself is trusted as it is: the usual self-signed certificate of a private registry (`openssl req -x509`)
//! claims to be an authority, and webpki refuses such a one from a server where Docker takes it.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::registry::error::Error;

/// No certificate file is larger.
const LARGEST_FILE: u64 = 4 << 20;

/// Where Docker keeps certificates per registry.
pub(super) const DOCKER_CERTIFICATES: &str = "/etc/docker/certs.d";

/// What one host's folder holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct HostFiles {
    /// Files with roots.
    pub(super) roots: Vec<PathBuf>,
    /// A client certificate and its key.
    pub(super) identity: Option<(PathBuf, PathBuf)>,
}

impl HostFiles {
    /// Looks into `<folder>/<host>`. None where it holds nothing for us, or where the host is no plain name.
    pub(super) fn find(folder: &Path, host: &str) -> Option<Self> {
        if host.starts_with('.') || host.contains(['/', '\\']) {
            return None;
        }
        let entries = std::fs::read_dir(folder.join(host)).ok()?;
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        let with = |extension: &str| {
            let extension = extension.to_owned();
            paths.iter().filter(move |path| path.extension().is_some_and(|it| *it == *extension)).cloned()
        };
        let identity =
            with("cert").map(|path| (path.clone(), path.with_extension("key"))).find(|(_, key)| key.exists());
        let files = HostFiles { roots: with("crt").collect(), identity };
        (files != HostFiles::default()).then_some(files)
    }
}

/// The machine's roots with those of extra files; the bundled ones if there are none.
pub(super) fn roots(files: &[PathBuf]) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    // Unreadable or unparsable roots of the machine are skipped, as everybody does; others can still serve.
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for file in files {
        store.add_parsable_certificates(certificates(file)?);
    }
    if store.is_empty() { Ok(bundled()) } else { Ok(store) }
}

/// Mozilla's roots as they were when this program was made. They are at hand without reading a file.
pub(super) fn bundled() -> RootCertStore {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    store
}

/// The TLS settings for one host, or for all hosts without files of their own.
pub(super) fn settings(mut store: RootCertStore, host: &HostFiles) -> Result<ClientConfig, Error> {
    let setup =
        |source: Box<dyn std::error::Error + Send + Sync>| Error::Setup { what: "TLS".to_owned(), source };
    let mut trusted = Vec::new();
    for file in &host.roots {
        trusted.extend(certificates(file)?);
    }
    store.add_parsable_certificates(trusted.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let ordinary = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider))
        .build()
        .map_err(|source| setup(source.into()))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| setup(source.into()))?;
    let builder = if trusted.is_empty() {
        builder.with_webpki_verifier(ordinary)
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Known { trusted, ordinary }))
    };
    let mut settings = match &host.identity {
        Some((certificate, key_file)) => {
            let key = PrivateKeyDer::from_pem_slice(&read(key_file)?).map_err(|source| Error::Setup {
                what: key_file.display().to_string(),
                source: source.into(),
            })?;
            let certificate = certificates(certificate)?;
            builder.with_client_auth_cert(certificate, key).map_err(|source| setup(source.into()))?
        }
        None => builder.with_no_client_auth(),
    };
    settings.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(settings)
}

/// Takes a certificate that the user has put into the host's own folder, and leaves all others, and the proof that the
/// server holds the key, to the ordinary rules.
#[derive(Debug)]
struct Known {
    trusted: Vec<CertificateDer<'static>>,
    ordinary: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.trusted.iter().any(|known| known == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        self.ordinary.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.ordinary.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.ordinary.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.ordinary.supported_verify_schemes()
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_slice_iter(&read(file)?)
        .collect::<Result<_, _>>()
        .map_err(|source| Error::Setup { what: file.display().to_string(), source: source.into() })
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    std::fs::File::open(file)
        .and_then(|opened| opened.take(LARGEST_FILE).read_to_end(&mut bytes))
        .map_err(|source| Error::File { path: file.to_owned(), source })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_folder_is_read() {
        let folder = tempfile::tempdir().expect("folder");
        let host = folder.path().join("registry.lan:5000");
        std::fs::create_dir(&host).expect("created");
        assert_eq!(HostFiles::find(folder.path(), "registry.lan:5000"), None, "empty");
        for name in ["b.crt", "a.crt", "client.cert", "client.key", "lonely.cert", "notes.txt"] {
            std::fs::write(host.join(name), "").expect("written");
        }
        let found = HostFiles::find(folder.path(), "registry.lan:5000").expect("found");
        assert_eq!(found.roots, [host.join("a.crt"), host.join("b.crt")]);
        assert_eq!(found.identity, Some((host.join("client.cert"), host.join("client.key"))));
        assert_eq!(HostFiles::find(folder.path(), "../x"), None);
        assert_eq!(HostFiles::find(folder.path(), "other"), None);
    }

    #[test]
    fn broken_files_are_named() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("ca.crt");
        let missing = roots(std::slice::from_ref(&file)).expect_err("missing");
        assert!(missing.to_string().contains("ca.crt"), "{missing}");
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n")
            .expect("written");
        assert!(matches!(roots(&[file]), Err(Error::Setup { .. })));
    }

    #[test]
    fn there_are_always_roots() {
        let store = roots(&[]).expect("roots");
        assert!(!store.is_empty());
        assert!(settings(store, &HostFiles::default()).is_ok());
    }
}
