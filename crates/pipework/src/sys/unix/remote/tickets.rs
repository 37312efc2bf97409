//! The caller's own Kerberos tickets, as `kinit` leaves them in a file.

use crate::{
    error::{PipeErrorKind, fail},
    sys::unix::name::namespace,
};
use smb2::auth::kerberos::{
    KerberosCredentials,
    ccache::{CCache, parse_ccache},
};
use std::{
    env,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    time::SystemTime,
};

/// Where the configuration of Kerberos is, unless the environment says otherwise.
const CONFIGURATION: &str = "/etc/krb5.conf";

/// The tickets, and the user that they are for, who must be the owner. A session keeps its identity also after `kinit`
/// for another user.
pub(super) fn credentials(owner: Option<&str>) -> io::Result<(KerberosCredentials, CCache)> {
    let mut tickets = tickets()?;
    check_owner(owner, &tickets)?;
    drop_expired(&mut tickets, SystemTime::now())?;
    let principal = &tickets.default_principal;
    let credentials = KerberosCredentials {
        username: principal.components.join("/"),
        password: String::new(),
        realm: principal.realm.clone(),
        kdc_address: kdc(&principal.realm),
    };
    Ok((credentials, tickets))
}

/// Whose tickets they are; the same also after they were renewed.
pub(super) fn owner() -> Option<String> {
    tickets().ok().map(|tickets| owner_of(&tickets))
}

fn owner_of(tickets: &CCache) -> String {
    let principal = &tickets.default_principal;
    format!("{}@{}", principal.components.join("/"), principal.realm)
}

fn check_owner(owner: Option<&str>, tickets: &CCache) -> io::Result<()> {
    let found = owner_of(tickets);
    match owner {
        Some(owner) if owner != found => {
            let text = format!(
                "the Kerberos tickets are of {found} now, and the session is of {owner}: call `kinit {owner}`"
            );
            Err(fail(PipeErrorKind::AccessDenied, text))
        }
        _ => Ok(()),
    }
}

/// Leaves out what has ended: an ended ticket for the server would hide the ticket-granting ticket, which requests a new
/// one.
fn drop_expired(tickets: &mut CCache, now: SystemTime) -> io::Result<()> {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs());
    tickets.credentials.retain(|ticket| u64::from(ticket.endtime) > now);
    if tickets.credentials.is_empty() {
        return Err(none(&format!("{}: all tickets have expired", cache())));
    }
    Ok(())
}

fn none(why: &str) -> io::Error {
    let text = format!("there is no Kerberos ticket ({why}): call `kinit`, or give `Credentials::password`");
    fail(PipeErrorKind::AccessDenied, text)
}

fn tickets() -> io::Result<CCache> {
    let cache = cache();
    let path = match cache.split_once(':') {
        None => cache.as_str(),
        Some(("FILE", path)) => path,
        Some((kind, _)) => {
            let text = format!(
                "tickets in a cache of the kind {kind} can't be read; `kinit -c FILE:…` makes a file"
            );
            return Err(fail(PipeErrorKind::Unsupported, text));
        }
    };
    let data = read(path).map_err(|error| none(&format!("{path}: {error}")))?;
    parse_ccache(&data).map_err(|error| none(&format!("{path}: {error}")))
}

/// Reads a file of this user, or of root: in a world-writable directory another user's ticket may lie.
fn read(path: &str) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let owner = file.metadata()?.uid();
    if owner != namespace::my_user() && owner != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("it is of user {owner}")));
    }
    let mut data = Vec::new();
    file.read_to_end(&mut data)?;
    Ok(data)
}

/// Where the tickets are, by the environment or by convention.
pub(super) fn cache() -> String {
    let said = variable("KRB5CCNAME");
    said.unwrap_or_else(|| format!("/tmp/krb5cc_{}", namespace::my_user()))
}

/// The KDC of a realm: as the configuration says, else the host of that name, as it is with Active Directory.
fn kdc(realm: &str) -> String {
    let path = variable("KRB5_CONFIG").unwrap_or_else(|| CONFIGURATION.to_owned());
    let configured = fs::read_to_string(path).ok().and_then(|text| kdc_in(&text, realm));
    configured.unwrap_or_else(|| realm.to_lowercase())
}

/// The first `kdc` of a realm in the section `[realms]`.
fn kdc_in(text: &str, realm: &str) -> Option<String> {
    let lines = text.lines().map(str::trim).skip_while(|line| *line != "[realms]").skip(1);
    let mut of_realm = lines
        .take_while(|line| !line.starts_with('['))
        .skip_while(|line| line.split_once('=').is_none_or(|(name, _)| name.trim() != realm))
        .skip(1)
        .take_while(|line| !line.starts_with('}'));
    of_realm.find_map(|line| {
        let (name, host) = line.split_once('=')?;
        (name.trim() == "kdc").then(|| host.trim().to_owned())
    })
}

/// A variable of the environment, which is not believed where the program has more rights than its caller.
fn variable(name: &str) -> Option<String> {
    if namespace::ignores_environment() {
        return None;
    }
    env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use smb2::auth::kerberos::ccache::{CcacheCredential, CcachePrincipal};
    use std::time::Duration;

    fn principal(components: &[&str]) -> CcachePrincipal {
        let components = components.iter().map(|&part| part.to_owned()).collect();
        CcachePrincipal { name_type: 1, realm: "R".to_owned(), components }
    }

    /// Tickets for these services, which end at these seconds.
    fn tickets_of(user: &str, services: &[(&str, u32)]) -> CCache {
        let credential = |(service, endtime): &(&str, u32)| CcacheCredential {
            client: principal(&[user]),
            server: principal(&[service, "host"]),
            key_etype: 18,
            key_data: Vec::new(),
            authtime: 0,
            starttime: 0,
            endtime: *endtime,
            renew_till: 0,
            ticket: Vec::new(),
        };
        CCache {
            version: 0x0504,
            default_principal: principal(&[user]),
            credentials: services.iter().map(credential).collect(),
        }
    }

    #[test]
    fn an_ended_ticket_hides_no_other() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let mut tickets = tickets_of("alice", &[("cifs", 100), ("krbtgt", 101)]);
        drop_expired(&mut tickets, now).unwrap();
        assert!(tickets.find_service_ticket("cifs", "host", "R").is_none());
        assert_eq!(tickets.credentials.len(), 1);
        let error = drop_expired(&mut tickets, now + Duration::from_secs(1)).unwrap_err();
        assert!(error == PipeErrorKind::AccessDenied && error.to_string().contains("expired"), "{error}");
    }

    #[test]
    fn tickets_of_another_user_are_refused() {
        let tickets = tickets_of("bob", &[]);
        check_owner(Some("bob@R"), &tickets).unwrap();
        check_owner(None, &tickets).unwrap();
        let error = check_owner(Some("alice@R"), &tickets).unwrap_err();
        assert!(error == PipeErrorKind::AccessDenied && error.to_string().contains("alice@R"), "{error}");
    }

    #[test]
    fn the_configuration_names_who_gives_tickets() {
        let text = "[libdefaults]\n default_realm = A\n[realms]\n A = {\n  admin_server = x\n }\n B = {\n  kdc = b.example:88\n \
                    kdc = c\n }\n[domain_realm]\n kdc = no\n";
        assert_eq!(kdc_in(text, "B").as_deref(), Some("b.example:88"));
        assert_eq!(kdc_in(text, "A"), None);
        assert_eq!(kdc_in(text, "C"), None);
        assert_eq!(kdc_in("", "C"), None);
    }
}
