//! The pipes that this process serves: one liveness socket and one count of instances for each.

use super::{
    claim,
    directory::{self, Directory, Lock},
    listening::{Listening, bind_aside},
    permission::Permission,
    roots::{self, Root},
};
use crate::{
    error::{PipeErrorKind, fail},
    model::place::{Header, Incarnation, Leaf, Taking},
    name::PipeNameKind,
    options::{PipeMode, Spec},
};
use std::{
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How many clients the socket of an instance is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    One,
    /// It may be handed from each instance to the next.
    OneAfterTheOther,
}

/// A pipe that this process serves.
#[derive(Debug)]
pub(crate) struct Served {
    root: Root,
    pub(crate) directory: Arc<Directory>,
    pub(crate) header: Header,
    pub(crate) permission: Permission,
    /// The proof of life of this process: bound, never listening.
    _liveness: OwnedFd,
    leaf: Leaf,
    process: u32,
}

/// A place among the instances of a pipe; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) served: Arc<Served>,
}

/// A hold on the name without an instance of it: the name goes on existing, and nobody else can be first.
#[derive(Debug)]
pub(crate) struct NameHold {
    served: Arc<Served>,
}

/// A pipe of this process, as long as it has instances or is held.
struct Entry {
    served: Arc<Served>,
    instances: u32,
    holds: u32,
}

/// The pipes that this process serves. Whoever changes a number, or the names in the directory, holds it; nobody waits
/// for a file lock while holding it.
static SERVED: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

fn served() -> MutexGuard<'static, Vec<Entry>> {
    // A list that a panicking thread left is whole: its changes are single pushes and removals.
    SERVED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes an instance: takes a place under the name, and listens. A failure leaves nothing behind.
pub(crate) fn create(spec: &Spec, patience: Patience, takes: Takes) -> io::Result<(Place, Listening)> {
    let permission = Permission::new(&spec.access)?;
    // The service that lets the network in is root's, and looks where root gave the name away.
    let is_shared = permission.is_for_others() || spec.accept_remote;
    if is_shared && !claim::SERVES_OTHERS {
        let text = "on this system a pipe is for the processes of one user: its memory can't be sealed";
        return Err(fail(PipeErrorKind::Unsupported, text));
    }
    if let Some(created) = create_here(spec, takes) {
        return Ok(created);
    }
    let home = if is_shared { roots::shared()? } else { roots::private()? };
    let outcome = create_in(&home, spec, permission, patience, takes);
    if outcome.is_err()
        && let Ok(Some(directory)) = home.directory(spec.name.folded())
    {
        home.sweep(&directory);
    }
    outcome
}

/// Another instance of a pipe that this process serves and whose instances nobody counts: it lives, so no lock is needed.
/// `None` where that is not so, or where anything is in the way, for which the long way finds the words.
fn create_here(spec: &Spec, takes: Takes) -> Option<(Place, Listening)> {
    if spec.first {
        return None;
    }
    let (places, leaf) = (roots::places(), directory::name_of(spec.name.folded()));
    let is_it = |served: &Served| {
        served.is_unlimited()
            && is_alike(spec, &served.header)
            && served.directory.path.file_name().is_some_and(|name| name == leaf.as_str())
            && places.contains(&served.root.path)
    };
    listen(spec, Place::another(is_it).ok()??, takes).ok()
}

/// Joins the pipe if it lives in any root, else begins it at home.
fn create_in(
    home: &Root,
    spec: &Spec,
    permission: Permission,
    patience: Patience,
    takes: Takes,
) -> io::Result<(Place, Listening)> {
    let folded = spec.name.folded();
    let (mut roots, _) = roots::existing()?;
    if roots.iter().all(|root| root.path != home.path) {
        roots.push(home.try_clone()?);
    }
    roots.sort_by(|one, other| one.path.cmp(&other.path));
    let _locks = lock(&roots, folded, patience)?;
    for root in roots {
        let Some(directory) = root.directory(folded)? else { continue };
        if directory.owner != roots::my_user() {
            continue;
        }
        if let Some(header) = directory.header()?
            && directory.is_served(&directory.listing()?, header.incarnation)?
        {
            return if spec.first {
                Err(taken(spec, &directory))
            } else {
                join(spec, root, directory, header, takes)
            };
        }
    }
    begin(spec, home.try_clone()?, folded, permission, takes)
}

/// Whether a creator waits for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    Waits,
    /// It fails with `WouldBlock` instead.
    OneTry,
}

impl Patience {
    fn take(self, lock: Lock) -> io::Result<Lock> {
        match self {
            Patience::Waits => lock.take(),
            Patience::OneTry if lock.try_take()? => Ok(lock),
            Patience::OneTry => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// Locks everything that creators of this name could work on, in the order of their paths.
fn lock(roots: &[Root], folded: &str, patience: Patience) -> io::Result<Vec<Lock>> {
    let mut locks = Vec::with_capacity(roots.len());
    for root in roots {
        if root.is_mine {
            locks.push(patience.take(Lock::open(&root.dir, &root.path)?)?);
        } else if let Some(directory) = root.directory(folded)?
            && directory.owner == roots::my_user()
        {
            locks.push(patience.take(root.lock_for(&directory)?)?);
        }
    }
    Ok(locks)
}

/// The first instance of a name: fixes what all others have to be.
fn begin(
    spec: &Spec,
    root: Root,
    folded: &str,
    permission: Permission,
    takes: Takes,
) -> io::Result<(Place, Listening)> {
    let header = Header {
        incarnation: Incarnation::new(directory::random()?),
        messages: spec.mode == PipeMode::Message,
        inbound: spec.inbound,
        outbound: spec.outbound,
        max_instances: spec.max_instances,
        default_timeout_ms: u32::try_from(spec.default_timeout.as_millis()).unwrap_or(u32::MAX),
        access: permission.text.clone(),
        accept_remote: spec.accept_remote,
        name: match spec.name.kind() {
            PipeNameKind::Local(name) => name.to_owned(),
            _ => {
                return Err(fail(
                    PipeErrorKind::Invalid,
                    format!("{} is not a pipe of this computer", spec.name),
                ));
            }
        },
    };
    let directory = root.make_directory(folded, permission.is_for_others())?;
    directory.clean()?;
    directory.write_header(&header, permission.is_for_others())?;
    let (liveness, leaf) = Served::open(&directory, &header, &permission)?;
    let (directory, process) = (Arc::new(directory), std::process::id());
    let served = Served { root, directory, header, permission, _liveness: liveness, leaf, process };
    listen(spec, Place::first(served)?, takes)
}

/// Another instance of a name that is served, by this process or another.
fn join(
    spec: &Spec,
    root: Root,
    directory: Directory,
    header: Header,
    takes: Takes,
) -> io::Result<(Place, Listening)> {
    if !is_alike(spec, &header) {
        let text = format!(
            "{} exists with another type, other directions, or other clients from the network",
            spec.name
        );
        return Err(fail(PipeErrorKind::AccessDenied, text));
    }
    if header.max_instances < 255 {
        let servers = directory.servers(&directory.listing()?, header.incarnation)?;
        let instances: u32 = servers.iter().map(|server| server.instances).sum();
        if instances >= u32::from(header.max_instances) {
            let text = format!("{} has all of its {} instances", spec.name, header.max_instances);
            return Err(fail(PipeErrorKind::Busy, text));
        }
    }
    let is_it = |served: &Served| {
        served.directory.identity == directory.identity && served.header.incarnation == header.incarnation
    };
    if let Some(place) = Place::another(is_it)? {
        return listen(spec, place, takes);
    }
    // The first instance decided who may open the pipe.
    let permission = Permission::from_text(&header.access)?;
    let (liveness, leaf) = Served::open(&directory, &header, &permission)?;
    let (directory, process) = (Arc::new(directory), std::process::id());
    let served = Served { root, directory, header, permission, _liveness: liveness, leaf, process };
    listen(spec, Place::first(served)?, takes)
}

/// Whether an instance can be one of a pipe with this header (rule N3). Who may come from the network is the pipe's, since
/// clients can't choose among its instances.
fn is_alike(spec: &Spec, header: &Header) -> bool {
    let Header { messages, inbound, outbound, accept_remote, .. } = *header;
    (messages, inbound, outbound, accept_remote)
        == (spec.mode == PipeMode::Message, spec.inbound, spec.outbound, spec.accept_remote)
}

fn listen(spec: &Spec, place: Place, takes: Takes) -> io::Result<(Place, Listening)> {
    let is_renewed = takes == Takes::OneAfterTheOther && claim::RENEWS && place.served.is_unlimited();
    let taking = if is_renewed { Taking::Next } else { Taking::One };
    let listening = place.served.listen((spec.in_buffer_size, spec.out_buffer_size), taking)?;
    Ok((place, listening))
}

fn taken(spec: &Spec, directory: &Directory) -> io::Error {
    let text = format!(
        "{} exists already, in {}, and `first` was asked for; a live process serves it",
        spec.name,
        directory.path.display()
    );
    fail(PipeErrorKind::NameTaken, text)
}

impl Served {
    /// Makes the liveness socket of this process.
    fn open(directory: &Directory, header: &Header, permission: &Permission) -> io::Result<(OwnedFd, Leaf)> {
        let id = directory::new_id()?;
        let leaf = Leaf::Server { id, incarnation: header.incarnation, process: std::process::id() };
        let liveness = bind_aside(directory, Leaf::Temporary(id), permission)?;
        let published = directory
            .note_count(Leaf::Temporary(id), 0)
            .and_then(|()| Ok(directory.publish(Leaf::Temporary(id), leaf)?));
        match published {
            Ok(()) => Ok((liveness, leaf)),
            Err(error) => {
                directory.unlink(&Leaf::Temporary(id).encode());
                Err(error)
            }
        }
    }

    /// A listening socket with these quotas.
    pub(crate) fn listen(&self, quotas: (u32, u32), taking: Taking) -> io::Result<Listening> {
        Listening::open(&self.directory, self.header.incarnation, quotas, taking, &self.permission)
    }

    /// Whether another instance needs nobody's leave: their number is not limited.
    fn is_unlimited(&self) -> bool {
        self.header.max_instances == 255
    }
}

impl Place {
    /// The first place of this process.
    fn first(served: Served) -> io::Result<Place> {
        let served = Arc::new(served);
        self::served().push(Entry { served: Arc::clone(&served), instances: 1, holds: 0 });
        // From here on the drop gives the place back, also where the note fails.
        let place = Place { served };
        place.served.directory.note_count(place.served.leaf, 1)?;
        Ok(place)
    }

    /// One more place of a pipe that this process serves already.
    fn another(is_it: impl Fn(&Served) -> bool) -> io::Result<Option<Place>> {
        let (mut all, process) = (served(), std::process::id());
        let entry = all.iter_mut().find(|entry| entry.served.process == process && is_it(&entry.served));
        let Some(entry) = entry else { return Ok(None) };
        entry.served.directory.note_count(entry.served.leaf, entry.instances + 1)?;
        entry.instances += 1;
        Ok(Some(Place { served: Arc::clone(&entry.served) }))
    }

    /// A place for the next instance on the socket of the one that has this place; `None` where it needs leave, or this is
    /// a forked child.
    pub(crate) fn next(&self) -> io::Result<Option<Place>> {
        if !self.served.is_unlimited() {
            return Ok(None);
        }
        Place::another(|served| std::ptr::eq(served, &*self.served))
    }

    /// Keeps the name for as long as the hold lives, also after the last instance is gone.
    pub(crate) fn hold_name(&self) -> NameHold {
        if let Some(entry) = served().iter_mut().find(|entry| Arc::ptr_eq(&entry.served, &self.served)) {
            entry.holds += 1;
        }
        NameHold { served: Arc::clone(&self.served) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        give_back(&self.served, |entry| {
            entry.instances -= 1;
            // It fails only where somebody removed the name: then there is nothing to note.
            entry.served.directory.note_count(entry.served.leaf, entry.instances).ok();
        });
    }
}

impl Drop for NameHold {
    fn drop(&mut self) {
        give_back(&self.served, |entry| entry.holds -= 1);
    }
}

/// Changes the numbers of a pipe, and ends it where nothing is left of it in this process. In a forked child nothing is
/// given back: it is the parent's.
fn give_back(pipe: &Arc<Served>, change: impl FnOnce(&mut Entry)) {
    if std::process::id() != pipe.process {
        return;
    }
    let mut all = served();
    let Some(index) = all.iter().position(|entry| Arc::ptr_eq(&entry.served, pipe)) else { return };
    if let Some(entry) = all.get_mut(index) {
        change(entry);
        if entry.instances > 0 || entry.holds > 0 {
            return;
        }
    }
    all.swap_remove(index);
    pipe.directory.unlink(&pipe.leaf.encode());
    pipe.root.sweep(&pipe.directory);
}
