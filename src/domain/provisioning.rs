//! Provisioning rule: users who have signed up are invited to `RemotePC`.

use std::fmt;

use jiff::Timestamp;

use super::text_enum::text_enum;
use super::{AuthenticationName, Event, EventId, EventType, NewEvent, ServiceName, Trust, is_email_address};

text_enum! {
    /// Mode of the provisioning rule.
    ProvisioningMode, "a mode" {
        /// Events are ignored.
        Off = "off",
        /// Invitations are only logged.
        DryRun = "dry_run",
        /// Invitations are sent.
        On = "on",
    }
}

/// Settings of the provisioning rule.
#[derive(Debug, Clone)]
pub struct InvitationRule {
    /// True if invitations are only logged.
    pub dry_run: bool,
    /// Services whose sign-ups are invited; empty means all.
    pub services: Vec<ServiceName>,
    /// Number of computers that each invited user may set up.
    pub computers: u32,
}

/// Request to invite a user. `Debug` does not show the address.
#[derive(Clone, PartialEq, Eq)]
pub struct InvitationRequest {
    /// Authentication of the sign-up. It has one invitation request, however many events it has.
    pub name: AuthenticationName,
    /// Id of the event that caused the request.
    pub event: EventId,
    /// Address to invite.
    pub email: String,
    /// Number of computers that the user may set up.
    pub computers: u32,
    /// True if the invitation is only logged.
    pub dry_run: bool,
}

/// Invitation request under a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvisioningAttempt {
    /// Invitation request.
    pub invitation: InvitationRequest,
    /// Number of the attempt, from 1.
    pub number: u32,
    /// True if an earlier attempt may have reached `RemotePC` with an unknown result.
    pub in_doubt: bool,
}

/// Next step after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProvisioningEnd {
    /// The request is finished.
    Settled {
        /// Outcome in one word.
        outcome: &'static str,
        /// Event about the outcome.
        event: Option<NewEvent>,
    },
    /// Another attempt.
    Again {
        /// Not before then.
        at: Timestamp,
        /// True if this attempt may have reached `RemotePC` with an unknown result.
        in_doubt: bool,
    },
}

impl InvitationRule {
    /// Event types that the rule concerns.
    pub const TYPES: [EventType; 2] = [EventType::Registricated, EventType::Subscribed];

    /// Returns the invitation request of an event: a registration that cannot be forged, with an address that the app
    /// had named.
    #[must_use]
    pub fn invitation(&self, event: &Event) -> Option<InvitationRequest> {
        let (service, uaid) = event.service.clone().zip(event.uaid)?;
        let email = event.subject.as_deref().filter(|subject| is_email_address(subject))?;
        let asks = Self::TYPES.contains(&event.event_type)
            && matches!(event.trust, Trust::Token | Trust::Address)
            && event.expected == Some(true)
            && (self.services.is_empty() || self.services.contains(&service));
        asks.then(|| InvitationRequest {
            name: AuthenticationName { service, uaid },
            event: event.id.clone(),
            email: email.to_owned(),
            computers: self.computers,
            dry_run: self.dry_run,
        })
    }
}

impl fmt::Debug for InvitationRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provisioning").field("event", &self.event).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn event() -> Event {
        serde_json::from_value(serde_json::json!({
            "id": "evt_0199c0ffee00700080000000000000aa", "cursor": "7", "type": "remauth.registricated",
            "service": "portal", "uaid": "b83ee873a9b44f2083c130db24dfbe91", "trust": "token", "source_ip": null,
            "received_at": "2026-11-22T21:04:05.123Z", "duplicates": 0, "expected": true, "subject": "jane@example.com",
        }))
        .unwrap()
    }

    fn rule(services: &[&str]) -> InvitationRule {
        let services = services.iter().map(|name| name.parse().unwrap()).collect();
        InvitationRule { dry_run: false, services, computers: 2 }
    }

    #[test]
    fn who_signed_up_is_wished_for() {
        let invitation = rule(&[]).invitation(&event()).unwrap();
        assert_eq!(
            (invitation.email.as_str(), invitation.computers, invitation.dry_run),
            ("jane@example.com", 2, false)
        );
        assert_eq!(Some(invitation.name.uaid), event().uaid);
        assert!(!format!("{invitation:?}").contains("jane"));
        assert!(rule(&["shop", "portal"]).invitation(&event()).is_some());
        assert!(rule(&["shop"]).invitation(&event()).is_none());
    }

    #[rstest]
    #[case(Event { event_type: EventType::Subscribed, ..event() }, true)]
    #[case(Event { trust: Trust::Address, ..event() }, true)]
    #[case(Event { late: true, ..event() }, true)]
    #[case(Event { event_type: EventType::Authenticated, ..event() }, false)]
    #[case(Event { event_type: EventType::Expired, ..event() }, false)]
    #[case(Event { trust: Trust::None, ..event() }, false)]
    #[case(Event { trust: Trust::Own, ..event() }, false)]
    #[case(Event { expected: Some(false), ..event() }, false)]
    #[case(Event { subject: None, ..event() }, false)]
    #[case(Event { subject: Some("jane".to_owned()), ..event() }, false)]
    #[case(Event { uaid: None, ..event() }, false)]
    fn only_some_events_ask(#[case] event: Event, #[case] asks: bool) {
        assert_eq!(rule(&[]).invitation(&event).is_some(), asks);
    }
}
