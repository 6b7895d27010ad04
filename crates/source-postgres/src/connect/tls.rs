//! Encryption: which certificates are trusted, and what the connection is bound to.
//!
//! The modes mean what they mean to libpq. A certificate that is itself among the roots is trusted as
//! it is, since many servers use one that nobody signed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, aws_lc_rs as provider, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};

use super::error::ConnectError;
use crate::conninfo::{Host, RootCertificates, Ssl, SslMode};

/// Where systems keep the certificates they trust: Debian, Red Hat, Alpine and SUSE.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];

/// What is known of the other end of an encrypted stream.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// The hash by which RFC 5929 names the server's certificate, if it names it at all.
    pub(super) certificate_hash: Option<Vec<u8>>,
}

pub(super) async fn encrypt(
    host: &Host,
    name: &str,
    ssl: &Ssl,
    stream: TcpStream,
) -> Result<(TlsStream<TcpStream>, Endpoint), ConnectError> {
    let failed = |source| ConnectError::Tls {
        host: host.to_string(),
        source,
    };
    let config = client_config(ssl, host)?;
    let name = ServerName::try_from(name.to_owned());
    let name = name.map_err(|error| failed(io::Error::other(error)))?;
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, stream).await.map_err(failed)?;
    let certificates = stream.get_ref().1.peer_certificates();
    let certificate = certificates.and_then(<[_]>::first);
    let certificate_hash = certificate.and_then(|certificate| end_point_hash(certificate));
    Ok((stream, Endpoint { certificate_hash }))
}

fn client_config(ssl: &Ssl, host: &Host) -> Result<ClientConfig, ConnectError> {
    let provider = Arc::new(provider::default_provider());
    let failed = |error: TlsError| ConnectError::Tls {
        host: host.to_string(),
        source: io::Error::other(error),
    };
    let verifier = Verifier::new(ssl, &provider)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &ssl.client {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates("client certificate", certificate)?;
            let secret = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| unusable("client key", key, &error))?;
            config
                .with_client_auth_cert(chain, secret)
                .map_err(|error| unusable("client certificate", certificate, &error))?
        }
    };
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(config)
}

fn unusable(what: &'static str, path: &Path, why: &impl ToString) -> ConnectError {
    ConnectError::Certificate {
        what,
        path: path.to_owned(),
        why: why.to_string(),
    }
}

fn certificates(
    what: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let failed = |error| unusable(what, path, &error);
    let all = CertificateDer::pem_file_iter(path).map_err(failed)?;
    let all: Vec<_> = all.collect::<Result<_, _>>().map_err(failed)?;
    if all.is_empty() {
        return Err(unusable(what, path, &"it holds no certificate"));
    }
    Ok(all)
}

/// Judges the server's certificate as the mode asks.
#[derive(Debug)]
struct Verifier {
    /// What to check against; none if any certificate will do.
    roots: Option<Roots>,
    checks_name: bool,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
struct Roots {
    store: RootCertStore,
    /// Certificates that are trusted as they are.
    pinned: Vec<CertificateDer<'static>>,
}

impl Verifier {
    fn new(ssl: &Ssl, provider: &Arc<CryptoProvider>) -> Result<Self, ConnectError> {
        let must_verify = ssl.mode >= SslMode::VerifyCa;
        // As libpq: a root certificate turns `require` into `verify-ca`, weaker modes check nothing.
        let roots = match &ssl.roots {
            Some(roots) if ssl.mode >= SslMode::Require => Some(Roots::read(roots)?),
            None if must_verify => return Err(ConnectError::NoRoots),
            _ => None,
        };
        Ok(Self {
            roots,
            checks_name: ssl.mode == SslMode::VerifyFull,
            provider: Arc::clone(provider),
        })
    }
}

impl Roots {
    fn read(from: &RootCertificates) -> Result<Self, ConnectError> {
        let system = || SYSTEM_ROOTS.iter().find(|path| Path::new(path).exists());
        let path = match from {
            RootCertificates::File(path) => path.clone(),
            RootCertificates::System => PathBuf::from(system().ok_or(ConnectError::NoRoots)?),
        };
        let pinned = certificates("root certificate", &path)?;
        let mut store = RootCertStore::empty();
        // Some that cannot sign others are there for themselves only: those stay pinned.
        store.add_parsable_certificates(pinned.iter().cloned());
        Ok(Self { store, pinned })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let Some(roots) = &self.roots else {
            return Ok(ServerCertVerified::assertion());
        };
        let pinned = roots.pinned.iter().any(|pinned| pinned == end_entity);
        if pinned && !self.checks_name {
            return Ok(ServerCertVerified::assertion());
        }
        let certificate = ParsedCertificate::try_from(end_entity)?;
        if !pinned {
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &roots.store,
                intermediates,
                now,
                algorithms,
            )?;
        }
        if self.checks_name {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Hashes a certificate by the algorithm that it was signed with, as `tls-server-end-point` of
/// RFC 5929 asks; MD5 and SHA-1 are replaced by SHA-256 there, other algorithms have no such name.
fn end_point_hash(certificate: &[u8]) -> Option<Vec<u8>> {
    const RSA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01];
    const ECDSA_SHA2: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03];
    const ECDSA_SHA1: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x01];
    let (outer, _) = der_element(certificate, 0x30)?;
    let (_, after_body) = der_element(outer, 0x30)?;
    let (algorithm, _) = der_element(after_body, 0x30)?;
    let (oid, _) = der_element(algorithm, 0x06)?;
    let (family, last) = oid.split_at_checked(oid.len().checked_sub(1)?)?;
    let hash = match (family, last) {
        (RSA, [4 | 5 | 11]) | (ECDSA_SHA2, [2]) => &digest::SHA256,
        (RSA, [12]) | (ECDSA_SHA2, [3]) => &digest::SHA384,
        (RSA, [13]) | (ECDSA_SHA2, [4]) => &digest::SHA512,
        _ if oid == ECDSA_SHA1 => &digest::SHA256,
        _ => return None,
    };
    Some(digest::digest(hash, certificate).as_ref().to_vec())
}

/// Splits DER into the content of its first element and what follows.
fn der_element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let digits = usize::from(*first & 0x7F);
        let (digits, rest) = rest.split_at_checked(digits).filter(|_| digits <= 4)?;
        let length = digits
            .iter()
            .fold(0_usize, |sum, digit| sum << 8 | usize::from(*digit));
        (length, rest)
    };
    (*found == tag).then(|| rest.split_at_checked(length))?
}
