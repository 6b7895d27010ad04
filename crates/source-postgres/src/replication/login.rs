//! Startup and login of a replication connection.

use bytes::BytesMut;
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{self, ScramSha256};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message};
use postgres_protocol::message::frontend;

use super::error::ReplicationError;
use super::messages::{Channel, Incoming, unexpected};
use crate::connect::{ConnectError, ServerError, Wire};
use crate::conninfo::{ChannelBinding, Conninfo, Host};

const LOGIN: &str = "log in";

/// Logs in and waits until the server is ready.
pub(super) async fn log_in(
    wire: Wire,
    host: Host,
    conninfo: &Conninfo,
) -> Result<Channel, ConnectError> {
    let channel = Channel::new(wire, host.to_string(), conninfo.user.clone());
    let mut login = Login {
        channel,
        host,
        conninfo,
    };
    login.start().await?;
    login.authenticate().await?;
    login.wait_until_ready().await?;
    Ok(login.channel)
}

struct Login<'a> {
    channel: Channel,
    host: Host,
    conninfo: &'a Conninfo,
}

impl Login<'_> {
    async fn start(&mut self) -> Result<(), ConnectError> {
        let mut parameters = vec![
            ("user", self.conninfo.user.as_str()),
            ("replication", "true"),
            ("client_encoding", "UTF8"),
            ("application_name", self.conninfo.application_name.as_str()),
        ];
        if let Some(options) = &self.conninfo.options {
            parameters.push(("options", options));
        }
        self.send(|outbox| frontend::startup_message(parameters, outbox))
            .await
    }

    async fn send(
        &mut self,
        write: impl FnOnce(&mut BytesMut) -> std::io::Result<()>,
    ) -> Result<(), ConnectError> {
        write(&mut self.channel.outbox).map_err(|error| self.odd(error.to_string()))?;
        let flushed = self.channel.flush(LOGIN).await;
        flushed.map_err(|error| self.sort(error))
    }

    /// Receives the next message; a refusal ends the login.
    async fn receive(&mut self) -> Result<Message, ConnectError> {
        let received = self.channel.receive(LOGIN).await;
        match received.map_err(|error| self.sort(error))? {
            Incoming::Message(Message::ErrorResponse(body)) => {
                let encrypted = self.channel.wire().is_encrypted();
                let answer = ServerError::read(body.fields());
                Err(ConnectError::of_server(
                    &self.host,
                    self.conninfo,
                    encrypted,
                    answer,
                ))
            }
            Incoming::Message(message) => Ok(message),
            Incoming::CopyBoth => Err(self.sort(unexpected(LOGIN))),
        }
    }

    fn odd(&self, why: String) -> ConnectError {
        ConnectError::Protocol {
            host: self.host.to_string(),
            why,
        }
    }

    fn sort(&self, error: ReplicationError) -> ConnectError {
        match error {
            ReplicationError::Connect(error) => error,
            ReplicationError::Broken { host, source, .. } => ConnectError::Broken { host, source },
            ReplicationError::Protocol { why, .. } => self.odd(format!("its answer {why}")),
            other => self.odd(other.to_string()),
        }
    }

    fn unsupported(&self, method: &'static str) -> ConnectError {
        ConnectError::Method {
            host: self.host.to_string(),
            method,
        }
    }

    fn password(&self) -> Result<Vec<u8>, ConnectError> {
        let password = self.host.password.as_ref();
        let password = password.map(|password| password.expose().as_bytes().to_vec());
        password.ok_or_else(|| ConnectError::NoPassword {
            host: self.host.to_string(),
            user: self.conninfo.user.clone(),
            ignored_passfile: self.conninfo.ignored_passfile.clone(),
        })
    }

    /// A binding that is asked for rules out every way to log in that has none.
    fn forbid_without_binding(&self) -> Result<(), ConnectError> {
        match self.conninfo.ssl.binding {
            ChannelBinding::Require => {
                Err(self.unsupported("a password that is not bound to the connection"))
            }
            _ => Ok(()),
        }
    }

    async fn authenticate(&mut self) -> Result<(), ConnectError> {
        match self.receive().await? {
            Message::AuthenticationOk => return self.forbid_without_binding(),
            Message::AuthenticationCleartextPassword => {
                self.forbid_without_binding()?;
                let password = self.password()?;
                self.send(|outbox| frontend::password_message(&password, outbox))
                    .await?;
            }
            Message::AuthenticationMd5Password(body) => {
                self.forbid_without_binding()?;
                let password = self.password()?;
                let hash = md5_hash(self.conninfo.user.as_bytes(), &password, body.salt());
                self.send(|outbox| frontend::password_message(hash.as_bytes(), outbox))
                    .await?;
            }
            Message::AuthenticationSasl(body) => self.scram(&body).await?,
            Message::AuthenticationGss | Message::AuthenticationSspi => {
                return Err(self.unsupported("GSSAPI"));
            }
            Message::AuthenticationKerberosV5 => return Err(self.unsupported("Kerberos")),
            _ => return Err(self.sort(unexpected(LOGIN))),
        }
        match self.receive().await? {
            Message::AuthenticationOk => Ok(()),
            _ => Err(self.sort(unexpected(LOGIN))),
        }
    }

    async fn scram(&mut self, body: &AuthenticationSaslBody) -> Result<(), ConnectError> {
        let (mechanism, binding) = self.choose_mechanism(body)?;
        let mut scram = ScramSha256::new(&self.password()?, binding);
        self.send(|outbox| frontend::sasl_initial_response(mechanism, scram.message(), outbox))
            .await?;
        let Message::AuthenticationSaslContinue(body) = self.receive().await? else {
            return Err(self.sort(unexpected(LOGIN)));
        };
        let updated = scram.update(body.data());
        updated.map_err(|error| self.odd(error.to_string()))?;
        self.send(|outbox| frontend::sasl_response(scram.message(), outbox))
            .await?;
        let Message::AuthenticationSaslFinal(body) = self.receive().await? else {
            return Err(self.sort(unexpected(LOGIN)));
        };
        // The server proves here that it knows the password too.
        let finished = scram.finish(body.data());
        finished.map_err(|error| self.odd(error.to_string()))
    }

    fn choose_mechanism(
        &self,
        body: &AuthenticationSaslBody,
    ) -> Result<(&'static str, sasl::ChannelBinding), ConnectError> {
        let (mut plain, mut bound) = (false, false);
        let mut mechanisms = body.mechanisms();
        while let Some(name) = mechanisms
            .next()
            .map_err(|error| self.odd(error.to_string()))?
        {
            plain |= name == sasl::SCRAM_SHA_256;
            bound |= name == sasl::SCRAM_SHA_256_PLUS;
        }
        let wanted = self.conninfo.ssl.binding;
        let end_point = self.channel.wire().server_end_point();
        let end_point = end_point.filter(|_| wanted != ChannelBinding::Disable);
        match end_point {
            Some(hash) if bound => {
                let binding = sasl::ChannelBinding::tls_server_end_point(hash.to_vec());
                return Ok((sasl::SCRAM_SHA_256_PLUS, binding));
            }
            _ => self.forbid_without_binding()?,
        }
        if !plain {
            return Err(self.unsupported("a mechanism other than SCRAM-SHA-256"));
        }
        // Says whether we could have: a server that could too then knows that somebody in between
        // took the offer away.
        let binding = match end_point {
            Some(_) => sasl::ChannelBinding::unrequested(),
            None => sasl::ChannelBinding::unsupported(),
        };
        Ok((sasl::SCRAM_SHA_256, binding))
    }

    async fn wait_until_ready(&mut self) -> Result<(), ConnectError> {
        loop {
            match self.receive().await? {
                Message::ReadyForQuery(_) => return Ok(()),
                Message::BackendKeyData(key) => self.channel.backend = key.process_id(),
                _ => return Err(self.sort(unexpected(LOGIN))),
            }
        }
    }
}
