//! `openstack`: look-ups with the gateway's own account. None can be granted yet.

use crate::plugin::bindings::vendordock::vendordata::openstack::{Host, LookupError};
use crate::plugin::call::{Call, Phase};

type Answer = wasmtime::Result<Result<String, LookupError>>;

impl Host for Call {
    async fn project(&mut self, _id: String) -> Answer {
        self.no_look_ups()
    }

    async fn domain(&mut self, _id: String) -> Answer {
        self.no_look_ups()
    }

    async fn image(&mut self, _id: String) -> Answer {
        self.no_look_ups()
    }

    async fn server(&mut self, _id: String) -> Answer {
        self.no_look_ups()
    }

    async fn ports(&mut self, _server_id: String) -> Answer {
        self.no_look_ups()
    }

    async fn keypair(&mut self, _user_id: String, _name: String) -> Answer {
        self.no_look_ups()
    }
}

impl Call {
    fn no_look_ups(&self) -> Answer {
        self.allow("openstack", Phase::Provide)?;
        Ok(Err(LookupError::NotGranted))
    }
}
