//! TLS by rustls over a pipe. A local pipe needs no TLS: the kernel identifies the peer, and no other process can read the
//! data. TLS is for a pipe that is forwarded, or a peer that is identified by a certificate.
//!
//! ```text
//! cargo run -p pipework-examples --example tls -- serve NAME FILE      writes its certificate to FILE, serves until its input ends
//! cargo run -p pipework-examples --example tls -- ask NAME FILE HOST   trusts FILE, sends its input, prints the response
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use pipework::tokio::{Listener, connect};
use rcgen::CertifiedKey;
use std::{env, error::Error, fs, pin::pin, sync::Arc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    },
};

/// The host in the server's certificate.
const HOST: &str = "pipe.example";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve", name, file] => serve(name, file).await,
        ["ask", name, file, host] => ask(name, file, host).await,
        _ => Err("serve NAME FILE, or ask NAME FILE HOST".into()),
    }
}

async fn serve(name: &str, file: &str) -> Result<(), Box<dyn Error>> {
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed([HOST.to_owned()])?;
    let key = PrivateKeyDer::try_from(signing_key.serialize_der())?;
    let config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    fs::write(file, cert.der())?;

    let listener = Listener::bind(name)?;
    println!("serving {}", listener.name());
    let mut stop = pin!(end_of_input());
    loop {
        let client = tokio::select! {
            client = listener.accept() => client?,
            () = &mut stop => return Ok(()),
        };
        let acceptor = acceptor.clone();
        // The handshake is in the task too, so that a silent client does not delay others.
        tokio::spawn(async move {
            let mut client =
                acceptor.accept(client).await.inspect_err(|error| println!("refused: {error}"))?;
            let mut text = String::new();
            client.read_to_string(&mut text).await?;
            client.write_all(text.to_uppercase().as_bytes()).await?;
            client.shutdown().await
        });
    }
}

async fn ask(name: &str, file: &str, host: &str) -> Result<(), Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(fs::read(file)?))?;
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let host = ServerName::try_from(host.to_owned())?;
    let server = TlsConnector::from(Arc::new(config)).connect(host, connect(name).await?).await?;

    // TLS can be half-closed, since it sends the end of its data as a message. A named pipe can't.
    let (mut read, mut write) = tokio::io::split(server);
    let sending = async {
        tokio::io::copy(&mut tokio::io::stdin(), &mut write).await?;
        write.shutdown().await
    };
    let mut stdout = tokio::io::stdout();
    let receiving = tokio::io::copy(&mut read, &mut stdout);
    tokio::try_join!(sending, receiving)?;
    Ok(stdout.flush().await?)
}

async fn end_of_input() {
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await.ok();
}
