//! The certificate of a listener and its key.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::TlsFiles;

/// Reads both files.
///
/// # Errors
/// Which of them cannot be used, and why.
pub fn acceptor(files: &TlsFiles) -> anyhow::Result<TlsAcceptor> {
    let chain = certificates(&files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| {
        let file = files.key.display();
        anyhow!("tls_key = {file} cannot be read as the PEM of a private key: {error}")
    })?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("TLS cannot be set up")?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .with_context(|| {
            let (cert, key) = (files.cert.display(), files.key.display());
            format!("tls_cert = {cert} and tls_key = {key} do not serve together")
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let chain = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let chain: Vec<_> = chain.map_err(|error| {
        let file = file.display();
        anyhow!("tls_cert = {file} cannot be read as PEM: {error}")
    })?;
    if chain.is_empty() {
        anyhow::bail!("tls_cert = {} holds no certificate", file.display());
    }
    Ok(chain)
}

/// From when until when the server's own certificate is valid, in seconds since 1970.
///
/// # Errors
/// It cannot be read.
pub fn validity(files: &TlsFiles) -> anyhow::Result<(i64, i64)> {
    let chain = certificates(&files.cert)?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&chain[0])
        .map_err(|error| anyhow!("tls_cert = {}: {error}", files.cert.display()))?;
    let validity = certificate.validity();
    Ok((
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    ))
}
