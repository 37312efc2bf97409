//! A forked child that takes over a name which its parent serves.

use super::{
    listening_socket::ListeningSocket,
    name_files::NameFiles,
    registry::{self, Entry, InstanceSlot, NameHold, ServedName},
};
use crate::error::{PipeErrorKind, fail};
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

impl NameHold {
    /// In a forked child: a hold of this process on the name that its parent serves, and a place for the instance that
    /// listens, if one does. Whatever the maximum: the instance is one of the parent's. A failure changes nothing.
    pub(super) fn adopt(
        &self,
        listening: Option<&ListeningSocket>,
        quotas: (u32, u32),
    ) -> io::Result<(NameHold, Option<(InstanceSlot, ListeningSocket)>)> {
        let listens = listening.is_some();
        let ServedName { header, permission, .. } = &*self.served;
        let inherited = self.served.published();
        let (name_dir, directory) = (&inherited.name_dir, &inherited.directory);
        let _lock = name_dir.lock_for(directory)?.take()?;
        if !inherited.is_there() {
            let text = format!(
                "the name of the pipe {} is gone: its parent has dropped the listener before the child has adopted it",
                header.name
            );
            return Err(fail(PipeErrorKind::Absent, text));
        }
        let fresh = NameFiles::new(name_dir.try_clone()?, directory.try_clone()?, header, permission)?;
        let fresh = Arc::new(fresh);
        // From here on the drop ends it.
        let served = Arc::new(ServedName::new(header.clone(), permission.clone(), Arc::clone(&fresh)));
        let mut all = registry::served();
        all.retain(|entry| !Arc::ptr_eq(&entry.served, &self.served));
        all.push(Entry { served: Arc::clone(&served), instances: u32::from(listens), holds: 1 });
        drop(all);
        let hold = NameHold { served: Arc::clone(&served), queue: Mutex::default() };
        let slot = listens.then_some(InstanceSlot { served });
        fresh.note_count(u32::from(listens))?;
        if listens {
            // The parent's ends with the parent, and its clients come to this one.
            hold.open_queue(quotas)?;
        }
        // The last that can fail: until here another call would find all as it was.
        let listening = listening.map(ListeningSocket::adopt).transpose()?;
        // The parent's proof of life has to be the parent's alone. Connections that were inherited too may keep the rest.
        let (old, directory) = (inherited.leaf, Arc::clone(directory));
        *self.served.published.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        drop(inherited);
        if directory.is_alive(old).is_ok_and(|is_alive| !is_alive) {
            directory.unlink(&old.encode());
        }
        Ok((hold, slot.zip(listening)))
    }
}
