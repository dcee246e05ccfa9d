//! `credentials`: secrets by name, as handles.

use wasmtime::component::Resource;

use crate::egress::Credential;
use crate::plugin::bindings::vendordock::vendordata::credentials::{
    CredentialError, Digest, Host, HostCredential,
};
use crate::plugin::call::{Call, Phase};

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
        _this: Resource<Credential>,
        _digest: Digest,
        _data: Vec<u8>,
    ) -> wasmtime::Result<Result<Vec<u8>, CredentialError>> {
        Ok(Err(CredentialError::NotGranted))
    }

    fn reveal(
        &mut self,
        _this: Resource<Credential>,
    ) -> wasmtime::Result<Result<Vec<u8>, CredentialError>> {
        Ok(Err(CredentialError::Opaque))
    }

    fn drop(&mut self, this: Resource<Credential>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
