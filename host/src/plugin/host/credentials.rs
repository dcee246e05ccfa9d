//! `credentials`: secrets by name, as handles.

use wasmtime::component::Resource;

use crate::egress::{self, Credential};
use crate::plugin::bindings::vendordock::vendordata::credentials::{
    CredentialError, Digest, Host, HostCredential,
};
use crate::plugin::call::{Call, Phase};
use crate::telemetry::AUDIT;

impl Host for Call {
    fn open(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<Resource<Credential>, CredentialError>> {
        self.allow("credentials.open", Phase::Provide)?;
        let Some(credential) = self.grants.egress.credential(&name) else {
            tracing::warn!(
                credential = name.escape_debug().to_string(),
                "the plugin asked for a credential that this target was not granted; \
                 [targets.{}.credentials.NAME] grants one",
                self.grants.target
            );
            return Ok(Err(CredentialError::NotGranted));
        };
        Ok(Ok(self.table.push(credential)?))
    }
}

impl HostCredential for Call {
    fn name(&mut self, this: Resource<Credential>) -> wasmtime::Result<String> {
        Ok(self.table.get(&this)?.name().to_owned())
    }

    fn version(&mut self, this: Resource<Credential>) -> wasmtime::Result<String> {
        Ok(self.table.get(&this)?.version().to_owned())
    }

    fn hmac(
        &mut self,
        this: Resource<Credential>,
        digest: Digest,
        data: Vec<u8>,
    ) -> wasmtime::Result<Result<Vec<u8>, CredentialError>> {
        let credential = self.table.get(&this)?;
        let digest = match digest {
            Digest::Sha1 => egress::Digest::Sha1,
            Digest::Sha256 => egress::Digest::Sha256,
            Digest::Sha512 => egress::Digest::Sha512,
        };
        let Some(signature) = credential.hmac(digest, &data) else {
            tracing::warn!(
                credential = credential.name(),
                "the plugin asked for a signature; `hmac = true` on the credential grants that"
            );
            return Ok(Err(CredentialError::NotGranted));
        };
        Ok(Ok(signature))
    }

    fn reveal(
        &mut self,
        this: Resource<Credential>,
    ) -> wasmtime::Result<Result<Vec<u8>, CredentialError>> {
        let credential = self.table.get(&this)?;
        let (name, version) = (credential.name(), credential.version());
        let Some(secret) = credential.reveal() else {
            tracing::warn!(
                credential = name,
                "the plugin asked to see a secret; `reveal = true` on the credential grants that"
            );
            return Ok(Err(CredentialError::Opaque));
        };
        tracing::info!(
            target: AUDIT,
            { request.id = self.request_id.as_deref(),
            vendordata.cloud = %self.grants.cloud,
            vendordata.target = %self.grants.target,
            credential = name,
            version },
            "showed a secret to the plugin"
        );
        Ok(Ok(secret.to_vec()))
    }

    fn drop(&mut self, this: Resource<Credential>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
