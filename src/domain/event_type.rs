//! Types of events, and the parameters of callbacks.

use super::text_enum::text_enum;

text_enum! {
    /// The three parameters of RemAuth's callback. `registricated` is RemAuth's own spelling.
    CallbackType, "a callback's parameter" {
        /// A user authenticated.
        Authenticated = "authenticated",
        /// A user authenticated for the first time.
        Registricated = "registricated",
        /// A user subscribed to an existing system.
        Subscribed = "subscribed",
    }
}

text_enum! {
    /// Type of an event.
    EventType, "an event's type" {
        /// A user authenticated.
        Authenticated = "remauth.authenticated",
        /// A user authenticated for the first time.
        Registricated = "remauth.registricated",
        /// A user subscribed to an existing system.
        Subscribed = "remauth.subscribed",
        /// An expected authentication expired.
        Expired = "remauth.expired",
        /// An endpoint was disabled by a rule.
        EndpointDisabled = "remgate.endpoint.disabled",
        /// A failing endpoint answered again.
        EndpointRecovered = "remgate.endpoint.recovered",
        /// The last attempt of a delivery failed.
        DeliveryExhausted = "remgate.delivery.exhausted",
        /// The provisioning rule invited a user.
        UserInvited = "remotepc.user.invited",
        /// The provisioning rule found an existing user.
        UserExists = "remotepc.user.exists",
        /// The provisioning rule could not invite a user.
        UserFailed = "remotepc.user.failed",
    }
    unread {
        /// Test of an endpoint. Never stored, and not available as a filter.
        Test = "remgate.test",
    }
}

impl EventType {
    /// Returns whether endpoints without a list of types receive the event.
    #[must_use]
    pub fn is_remauth(self) -> bool {
        self.as_str().starts_with("remauth.")
    }

    /// Returns whether it is about endpoints and deliveries themselves.
    #[must_use]
    pub fn is_about_delivery(self) -> bool {
        matches!(self, Self::EndpointDisabled | Self::EndpointRecovered | Self::DeliveryExhausted)
    }

    /// Returns the callback parameter of the type, if it has one.
    #[must_use]
    pub fn callback(self) -> Option<CallbackType> {
        match self {
            Self::Authenticated => Some(CallbackType::Authenticated),
            Self::Registricated => Some(CallbackType::Registricated),
            Self::Subscribed => Some(CallbackType::Subscribed),
            _ => None,
        }
    }
}

impl From<CallbackType> for EventType {
    fn from(callback: CallbackType) -> Self {
        match callback {
            CallbackType::Authenticated => Self::Authenticated,
            CallbackType::Registricated => Self::Registricated,
            CallbackType::Subscribed => Self::Subscribed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_callback_has_its_event_type_and_back() {
        for callback in CallbackType::ALL {
            let event = EventType::from(*callback);
            assert_eq!(event.callback(), Some(*callback));
            assert_eq!(event.as_str(), format!("remauth.{callback}"));
        }
        assert_eq!(EventType::Expired.callback(), None);
    }

    #[test]
    fn a_test_can_be_said_and_not_be_asked_for() {
        assert_eq!(EventType::Test.as_str(), "remgate.test");
        assert!("remgate.test".parse::<EventType>().is_err());
        assert!(!EventType::ALL.contains(&EventType::Test) && !EventType::Test.is_remauth());
    }
}
