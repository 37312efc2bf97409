//! The pipes that this process serves: one liveness socket and one count of instances for each.

use super::{
    super::{
        claim,
        fork::Origin,
        name::{
            directory::{self, Directory, Rest},
            lock::{Lock, LockWait},
            namespace::{self, NameDir},
            permission::Permission,
        },
        os,
    },
    listening_socket::ListeningSocket,
    name_files::NameFiles,
};
use crate::{
    error::{PipeErrorKind, fail},
    model::dir_format::{Header, Incarnation, Taking},
    name::PipeNameKind,
    options::{PipeMode, Spec},
};
use std::{
    io,
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
pub(crate) struct ServedName {
    pub(crate) header: Header,
    pub(crate) permission: Permission,
    /// Its files: others, after it was restored.
    pub(super) published: Mutex<Arc<NameFiles>>,
    origin: Origin,
}

/// A place among the instances of a pipe; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct InstanceSlot {
    pub(crate) served: Arc<ServedName>,
}

/// A hold on the name without an instance of it: the name goes on existing, and no other process can be
/// first.
#[derive(Debug)]
pub(crate) struct NameHold {
    pub(super) served: Arc<ServedName>,
    /// Where clients wait for an instance, if the system can keep them in order.
    pub(super) queue: Mutex<Option<Arc<ListeningSocket>>>,
}

/// A pipe of this process, as long as it has instances or is held.
pub(super) struct Entry {
    pub(super) served: Arc<ServedName>,
    pub(super) instances: u32,
    pub(super) holds: u32,
}

/// The pipes that this process serves. A thread that changes a number, or the names in the directory, holds
/// the lock; no thread waits for a file lock while holding it.
static SERVED: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

pub(super) fn served() -> MutexGuard<'static, Vec<Entry>> {
    // A list that a panicking thread left is whole: its changes are single pushes and removals.
    SERVED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes an instance: takes a place under the name, and listens. A failure leaves nothing behind.
pub(crate) fn create(
    spec: &Spec,
    lock_wait: LockWait,
    takes: Takes,
) -> io::Result<(InstanceSlot, ListeningSocket)> {
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
    // A name that is restored is restored where its own access says.
    let lost = ServedName::lost(spec.name.folded());
    let is_shared = lost.as_ref().map_or(is_shared, |lost| lost.is_shared());
    let home = if is_shared { namespace::shared()? } else { namespace::private()? };
    let outcome = match create_in(&home, spec, permission, lock_wait, takes, lost.is_some()) {
        Ok(Some(created)) => Ok(created),
        // Another thread has restored or ended it, or it was lost only now.
        Ok(None) => return create(spec, lock_wait, takes),
        Err(error) => Err(error),
    };
    if outcome.is_err()
        && let Ok(Some(directory)) = home.directory(spec.name.folded())
    {
        home.sweep(&directory);
    }
    outcome
}

/// Another instance of a pipe that this process serves and whose number of instances is unlimited: the pipe
/// lives, so no lock is needed. `None` where that is not so, or where anything fails: then the slow path
/// reports the error.
fn create_here(spec: &Spec, takes: Takes) -> Option<(InstanceSlot, ListeningSocket)> {
    if spec.first {
        return None;
    }
    let (places, leaf) = (namespace::places(), directory::name_of(spec.name.folded()));
    let is_it = |served: &ServedName| {
        let published = served.published();
        served.is_unlimited()
            && differences(spec, &served.header).is_empty()
            && published.is_at(&places, &leaf)
            && published.has_directory_and_header()
    };
    listen(spec, InstanceSlot::another(is_it).ok()??, takes).ok()
}

/// Joins the pipe if it lives in any root, else begins it at home; `None` where it is another home's by now.
fn create_in(
    home: &NameDir,
    spec: &Spec,
    permission: Permission,
    lock_wait: LockWait,
    takes: Takes,
    was_lost: bool,
) -> io::Result<Option<(InstanceSlot, ListeningSocket)>> {
    let folded = spec.name.folded();
    let (mut name_dirs, _) = namespace::existing()?;
    // By what they are: another process may spell their paths otherwise.
    let identity = home.identity()?;
    let is_home = |name_dir: &NameDir| name_dir.identity().is_ok_and(|other| other == identity);
    if !name_dirs.iter().any(is_home) {
        name_dirs.push(home.try_clone()?);
    }
    name_dirs.sort_by_cached_key(|name_dir| name_dir.identity().ok());
    let _locks = lock(&name_dirs, folded, lock_wait)?;
    let lost = ServedName::lost(folded);
    if lost.is_some() != was_lost {
        return Ok(None);
    }
    let mut unknown = None;
    for name_dir in name_dirs {
        let Some(directory) = name_dir.directory(folded)? else { continue };
        if directory.owner != namespace::my_user() {
            continue;
        }
        let Some(header) = directory.header()? else { continue };
        match directory.is_served(&directory.listing()?, header.incarnation) {
            Ok(true) => {
                if let Some(lost) = &lost {
                    lost.follow(spec, &name_dir, &directory, &header)?;
                }
                if spec.first {
                    return Err(taken(spec, &directory));
                }
                return create_another(spec, name_dir, directory, header, takes).map(Some);
            }
            Ok(false) => {}
            // It may live by another view, and be reached from here in another of these directories.
            Err(error) => unknown = Some(error),
        }
    }
    if let Some(error) = unknown {
        return Err(error);
    }
    let home = home.try_clone()?;
    let Some(lost) = lost else {
        return create_first(spec, home, folded, permission, takes).map(Some);
    };
    let directory = lost.begin_again(&home, folded)?;
    if spec.first {
        return Err(taken(spec, &directory));
    }
    create_another(spec, home, directory, lost.header.clone(), takes).map(Some)
}

/// The directory of a pipe that no process serves, unless as this incarnation, with nothing else in it.
fn make_directory(
    name_dir: &NameDir,
    folded: &str,
    permission: &Permission,
    incarnation: Incarnation,
) -> io::Result<Directory> {
    let directory = name_dir.make_directory(folded, permission.is_for_others())?;
    match directory.remove_dead()? {
        Rest::Unknown => Err(directory.of_another_view()),
        Rest::Served if directory.is_served_by_others(incarnation)? => {
            let text = format!(
                "a live process serves the pipe in {}; something has removed or replaced its header, which a listener puts back \
                 within two seconds",
                directory.path.display()
            );
            Err(fail(PipeErrorKind::NameTaken, text))
        }
        Rest::Served => Ok(directory),
        Rest::Nothing => {
            name_dir.set_mode(&directory, permission.is_for_others())?;
            Ok(directory)
        }
    }
}

/// Locks everything that creators of this name could work on, in an order that all have in common.
fn lock(name_dirs: &[NameDir], folded: &str, lock_wait: LockWait) -> io::Result<Vec<Lock>> {
    let mut locks = Vec::with_capacity(name_dirs.len());
    for name_dir in name_dirs {
        if name_dir.is_mine {
            locks.push(lock_wait.take(Lock::open(&name_dir.dir, &name_dir.path)?)?);
        } else if let Some(directory) = name_dir.directory(folded)?
            && directory.owner == namespace::my_user()
        {
            locks.push(lock_wait.take(name_dir.lock_for(&directory)?)?);
        }
    }
    Ok(locks)
}

/// The first instance of a name: fixes what all others have to be.
fn create_first(
    spec: &Spec,
    name_dir: NameDir,
    folded: &str,
    permission: Permission,
    takes: Takes,
) -> io::Result<(InstanceSlot, ListeningSocket)> {
    let header = Header {
        incarnation: Incarnation::new(os::random()?),
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
                return Err(fail(PipeErrorKind::Invalid, format!("{} is not a local pipe", spec.name)));
            }
        },
    };
    let directory = make_directory(&name_dir, folded, &permission, header.incarnation)?;
    let published = NameFiles::new(name_dir, directory, &header, &permission)?;
    published.begin(&header, &permission)?;
    listen(spec, InstanceSlot::first(ServedName::new(header, permission, Arc::new(published))), takes)
}

/// Another instance of a name that is served, by this process or another.
fn create_another(
    spec: &Spec,
    name_dir: NameDir,
    directory: Directory,
    header: Header,
    takes: Takes,
) -> io::Result<(InstanceSlot, ListeningSocket)> {
    let differences = differences(spec, &header);
    if !differences.is_empty() {
        let text = format!("{} exists, and {}", spec.name, differences.join(", and "));
        return Err(fail(PipeErrorKind::AccessDenied, text));
    }
    if header.max_instances < 255 {
        let servers = directory.servers(&directory.listing()?, header.incarnation)?;
        if directory.instances(&servers)? >= u32::from(header.max_instances) {
            let text = format!("{} has all of its {} instances", spec.name, header.max_instances);
            return Err(fail(PipeErrorKind::Busy, text));
        }
    }
    let is_it = |served: &ServedName| {
        served.published().directory.identity == directory.identity
            && served.header.incarnation == header.incarnation
    };
    if let Some(slot) = InstanceSlot::another(is_it)? {
        return listen(spec, slot, takes);
    }
    // The first instance decided who may open the pipe.
    let permission = Permission::from_text(&header.access)?;
    let published = NameFiles::new(name_dir, directory, &header, &permission)?;
    listen(spec, InstanceSlot::first(ServedName::new(header, permission, Arc::new(published))), takes)
}

/// What keeps an instance from being one of a pipe with this header (rule N3). The pipe decides whether remote
/// clients are admitted, since clients can't choose among its instances.
fn differences(spec: &Spec, header: &Header) -> Vec<String> {
    let mut differences = Vec::new();
    let mut compare = |it: &'static str, not: &'static str| {
        if it != not {
            differences.push(format!("it {it}, while this instance {not}"));
        }
    };
    let carries = |messages| if messages { "carries messages" } else { "carries bytes" };
    compare(carries(header.messages), carries(spec.mode == PipeMode::Message));
    let leads = |inbound, outbound| match (inbound, outbound) {
        (true, false) => "leads to the server only",
        (false, true) => "leads to the client only",
        _ => "leads both ways",
    };
    compare(leads(header.inbound, header.outbound), leads(spec.inbound, spec.outbound));
    let admits = |remote| if remote { "accepts remote clients" } else { "accepts no remote clients" };
    compare(admits(header.accept_remote), admits(spec.accept_remote));
    differences
}

fn listen(spec: &Spec, slot: InstanceSlot, takes: Takes) -> io::Result<(InstanceSlot, ListeningSocket)> {
    let is_renewed = takes == Takes::OneAfterTheOther && claim::RENEWS && slot.served.is_unlimited();
    let taking = if is_renewed { Taking::Next } else { Taking::One };
    let listening = slot.served.listen((spec.in_buffer_size, spec.out_buffer_size), taking)?;
    Ok((slot, listening))
}

fn taken(spec: &Spec, directory: &Directory) -> io::Error {
    let text = format!("{} is taken: a live process serves it, in {}", spec.name, directory.path.display());
    fail(PipeErrorKind::NameTaken, text)
}

fn taken_meanwhile(spec: &Spec, directory: &Directory) -> io::Error {
    let text = format!(
        "the name {} was removed while this process served it, and another process serves it now, in {}",
        spec.name,
        directory.path.display()
    );
    fail(PipeErrorKind::NameTaken, text)
}

impl ServedName {
    pub(super) fn new(header: Header, permission: Permission, published: Arc<NameFiles>) -> ServedName {
        ServedName { header, permission, published: Mutex::new(published), origin: Origin::current() }
    }

    pub(super) fn published(&self) -> Arc<NameFiles> {
        // It is replaced as a whole.
        Arc::clone(&self.published.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A pipe of this process whose name something has removed. One that this process ended is not among its pipes any
    /// more.
    fn lost(folded: &str) -> Option<Arc<ServedName>> {
        let (places, leaf) = (namespace::places(), directory::name_of(folded));
        let all = served();
        let mut mine = all.iter().map(|entry| &entry.served).filter(|served| served.origin.is_here());
        mine.find(|served| {
            let published = served.published();
            published.is_at(&places, &leaf) && !published.is_there()
        })
        .cloned()
    }

    /// Whether it is for others than its user, and so lives where they look.
    fn is_shared(&self) -> bool {
        self.permission.is_for_others() || self.header.accept_remote
    }

    /// Joins the pipe that another process has restored; an error where another one has taken its name. Under the lock.
    fn follow(
        &self,
        spec: &Spec,
        name_dir: &NameDir,
        directory: &Directory,
        header: &Header,
    ) -> io::Result<()> {
        if self.header.incarnation != header.incarnation {
            return Err(taken_meanwhile(spec, directory));
        }
        let (name_dir, directory) = (name_dir.try_clone()?, directory.try_clone()?);
        self.restore(NameFiles::new(name_dir, directory, &self.header, &self.permission)?)
    }

    /// Makes the pipe anew, which no process serves. Under the lock.
    fn begin_again(&self, name_dir: &NameDir, folded: &str) -> io::Result<Directory> {
        let directory = make_directory(name_dir, folded, &self.permission, self.header.incarnation)?;
        let fresh =
            NameFiles::new(name_dir.try_clone()?, directory.try_clone()?, &self.header, &self.permission)?;
        fresh.begin(&self.header, &self.permission)?;
        self.restore(fresh)?;
        Ok(directory)
    }

    /// Takes these files for its own.
    fn restore(&self, mut fresh: NameFiles) -> io::Result<()> {
        fresh.restorations = self.published().restorations + 1;
        let all = served();
        // The name was ended meanwhile? Then this is not a name of it.
        let entry = all.iter().find(|entry| std::ptr::eq(&*entry.served, self));
        let noted = entry.map_or(Ok(false), |entry| fresh.note_count(entry.instances).map(|()| true));
        if !matches!(noted, Ok(true)) {
            fresh.directory.unlink(&fresh.leaf.encode());
            return noted.map(drop);
        }
        let old = std::mem::replace(
            &mut *self.published.lock().unwrap_or_else(PoisonError::into_inner),
            Arc::new(fresh),
        );
        // It may be what was left of it.
        old.directory.unlink(&old.leaf.encode());
        Ok(())
    }

    /// Whether clients can find this socket of it: an error where something has removed the name. In a forked child it is
    /// left to the parent.
    pub(crate) fn check_name(&self, listening: &ListeningSocket) -> io::Result<()> {
        let published = self.published();
        if !self.origin.is_here()
            || (published.is_there() && listening.is_named_in(&published.directory))
            // Its client was quicker than what removed the name, or another thread has just restored it.
            || listening.has_client()
            || listening.queue().is_some_and(|queue| queue.has_client())
            || !Arc::ptr_eq(&published, &self.published())
        {
            return Ok(());
        }
        Err(self.removed())
    }

    fn removed(&self) -> io::Error {
        let text = format!(
            "the name of the pipe {} was removed from {} while this process listened, by a cleaner of temporary files, a \
             logout or `rm`: no client can find this instance. Drop it, or disconnect and connect, or use a Listener, which restores its name",
            self.header.name,
            self.published().directory.path.display()
        );
        fail(PipeErrorKind::Absent, text)
    }

    /// A listening socket with these quotas.
    pub(crate) fn listen(&self, quotas: (u32, u32), taking: Taking) -> io::Result<ListeningSocket> {
        let published = self.published();
        let directory = &published.directory;
        let listening =
            ListeningSocket::open(directory, self.header.incarnation, quotas, taking, &self.permission);
        listening.map_err(|error| if published.is_there() { error } else { self.removed() })
    }

    /// Whether another instance needs no permission: their number is not limited.
    fn is_unlimited(&self) -> bool {
        self.header.max_instances == 255
    }
}

impl InstanceSlot {
    /// The first place of this process, which is noted already.
    fn first(served: ServedName) -> InstanceSlot {
        let served = Arc::new(served);
        self::served().push(Entry { served: Arc::clone(&served), instances: 1, holds: 0 });
        InstanceSlot { served }
    }

    /// One more place of a pipe that this process serves already.
    fn another(is_it: impl Fn(&ServedName) -> bool) -> io::Result<Option<InstanceSlot>> {
        let mut all = served();
        let entry = all.iter_mut().find(|entry| entry.served.origin.is_here() && is_it(&entry.served));
        let Some(entry) = entry else { return Ok(None) };
        entry.served.published().note_count(entry.instances + 1)?;
        entry.instances += 1;
        Ok(Some(InstanceSlot { served: Arc::clone(&entry.served) }))
    }

    /// A place for the next instance on the socket of the one that has this place; `None` where it needs leave, or this is
    /// a forked child.
    pub(crate) fn next(&self) -> io::Result<Option<InstanceSlot>> {
        if !self.served.is_unlimited() {
            return Ok(None);
        }
        InstanceSlot::another(|served| std::ptr::eq(served, &*self.served))
    }

    /// Keeps the name for as long as the hold lives, also after the last instance is gone.
    pub(crate) fn hold_name(&self) -> NameHold {
        if let Some(entry) = served().iter_mut().find(|entry| Arc::ptr_eq(&entry.served, &self.served)) {
            entry.holds += 1;
        }
        NameHold { served: Arc::clone(&self.served), queue: Mutex::default() }
    }
}

impl Drop for InstanceSlot {
    fn drop(&mut self) {
        give_back(&self.served, |entry| {
            entry.instances -= 1;
            // It fails only where the name was removed: who restores it notes the number.
            entry.served.published().note_count(entry.instances).ok();
        });
    }
}

impl NameHold {
    /// Gives an instance the queue of its listener, which is made anew where its name is gone.
    pub(super) fn with_queue(
        &self,
        listening: ListeningSocket,
        quotas: (u32, u32),
    ) -> io::Result<ListeningSocket> {
        let published = self.served.published();
        let is_there = self.queue().as_ref().is_some_and(|queue| queue.has_name_in(&published.directory));
        if !is_there {
            self.open_queue(quotas)?;
        }
        Ok(listening.with_queue(self.queue().clone()))
    }

    /// Opens a new queue, where the system can keep clients in order.
    pub(super) fn open_queue(&self, quotas: (u32, u32)) -> io::Result<()> {
        if claim::RENEWS {
            *self.queue() = Some(Arc::new(self.served.listen(quotas, Taking::Queue)?));
        }
        Ok(())
    }

    /// Where clients wait for an instance.
    pub(super) fn queue(&self) -> MutexGuard<'_, Option<Arc<ListeningSocket>>> {
        // It is replaced as a whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this process made it, and not one that this process was forked from.
    pub(crate) fn is_here(&self) -> bool {
        self.served.origin.is_here()
    }

    /// How often the name was restored after something had removed it.
    pub(crate) fn restorations(&self) -> u64 {
        self.served.published().restorations
    }
}

impl Drop for NameHold {
    fn drop(&mut self) {
        // Before the name may end. A thread that waits for a client may keep the queue for a moment.
        if self.is_here()
            && let Some(queue) = self.queue().take()
        {
            queue.end();
        }
        give_back(&self.served, |entry| entry.holds -= 1);
    }
}

/// Changes the numbers of a pipe, and ends it where nothing is left of it in this process. In a forked child nothing is
/// given back: it is the parent's.
fn give_back(pipe: &Arc<ServedName>, change: impl FnOnce(&mut Entry)) {
    if !pipe.origin.is_here() {
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
    let published = pipe.published();
    published.directory.unlink(&published.leaf.encode());
    published.name_dir.sweep(&published.directory);
}

#[cfg(test)]
mod tests {
    use crate::{NamedPipeBuilder, PipeErrorKind, PipeMode, PipeName};

    #[test]
    fn an_instance_that_differs_is_refused_with_each_difference() {
        let name = PipeName::unique("differs").unwrap();
        let _first = NamedPipeBuilder::new(&name).create().unwrap();
        let refusal = |builder: &mut NamedPipeBuilder| {
            let error = builder.first(false).create().unwrap_err();
            assert!(error == PipeErrorKind::AccessDenied, "{error}");
            error.to_string()
        };
        assert_eq!(
            refusal(NamedPipeBuilder::new(&name).pipe_mode(PipeMode::Message)),
            format!("{name} exists, and it carries bytes, while this instance carries messages")
        );
        assert_eq!(
            refusal(NamedPipeBuilder::new(&name).outbound(false)),
            format!("{name} exists, and it leads both ways, while this instance leads to the server only")
        );
        let both = refusal(NamedPipeBuilder::new(&name).inbound(false).pipe_mode(PipeMode::Message));
        assert_eq!(
            both,
            format!(
                "{name} exists, and it carries bytes, while this instance carries messages, and it leads both ways, \
                 while this instance leads to the client only"
            )
        );
    }

    #[test]
    fn a_name_that_is_taken_is_said_to_be_served() {
        let name = PipeName::unique("taken").unwrap();
        let _first = NamedPipeBuilder::new(&name).create().unwrap();
        let error = NamedPipeBuilder::new(&name).create().unwrap_err();
        assert!(error == PipeErrorKind::NameTaken, "{error}");
        let begin = format!("{name} is taken: a live process serves it, in /");
        assert!(error.to_string().starts_with(&begin), "{error}");
    }
}
