//! Queries to the system about itself and this process, and settings of this process.

#[cfg(target_os = "linux")]
pub(crate) use linux::{
    allowed_cpus, available_memory, cpu_time, descriptor_count, end_with_parent, kernel, pin, processor,
    raise_descriptor_limit, refresh_memory_counts, shared_memory,
};
#[cfg(not(target_os = "linux"))]
pub(crate) use other::{
    allowed_cpus, available_memory, cpu_time, descriptor_count, end_with_parent, kernel, pin, processor,
    raise_descriptor_limit, refresh_memory_counts, shared_memory,
};

#[cfg(target_os = "linux")]
mod linux {
    use std::{fs, io, time::Duration};

    use rustix::{
        process::{Resource, Rlimit, Signal},
        thread::CpuSet,
        time::ClockId,
    };

    use crate::cpus::Cpus;

    /// The processors that this process may run on.
    pub(crate) fn allowed_cpus() -> io::Result<Vec<usize>> {
        let set = rustix::thread::sched_getaffinity(None)?;
        Ok((0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect())
    }

    /// Restricts this thread, and the threads that it starts, to these processors, unless the list is empty.
    pub(crate) fn pin(cpus: &Cpus) -> io::Result<()> {
        if cpus.0.is_empty() {
            return Ok(());
        }
        let mut set = CpuSet::new();
        for &cpu in &cpus.0 {
            if cpu >= CpuSet::MAX_CPU {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no processor {cpu}")));
            }
            set.set(cpu);
        }
        Ok(rustix::thread::sched_setaffinity(None, &set)?)
    }

    /// Makes the kernel kill this process when its parent ends.
    pub(crate) fn end_with_parent(parent: u32) -> io::Result<()> {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have ended before the call.
        let current = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
        if current == Some(parent) {
            Ok(())
        } else {
            Err(io::Error::other("the process that started this one has ended"))
        }
    }

    /// Adds the memory counters of all processors up, which only root can do. Returns whether it was done.
    pub(crate) fn refresh_memory_counts() -> bool {
        fs::read_to_string("/proc/sys/vm/stat_refresh").is_ok()
    }

    /// Available memory in bytes: `MemAvailable`, and the free pages in the lists of each processor, which are some
    /// megabytes that `MemAvailable` does not include.
    pub(crate) fn available_memory() -> io::Result<i64> {
        let text = fs::read_to_string("/proc/meminfo")?;
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<i64>().ok());
        let available = kib.ok_or_else(|| io::Error::other("/proc/meminfo has no MemAvailable"))? << 10;

        let text = fs::read_to_string("/proc/zoneinfo")?;
        let counts = text.lines().filter_map(|line| line.trim_start().strip_prefix("count:"));
        let pages: i64 = counts.filter_map(|count| count.trim().parse::<i64>().ok()).sum();
        let page_size = i64::try_from(rustix::param::page_size()).map_err(io::Error::other)?;
        Ok(available + pages * page_size)
    }

    /// Shared memory of this process in bytes; a page that two processes map counts half for each.
    pub(crate) fn shared_memory() -> io::Result<u64> {
        let text = fs::read_to_string("/proc/self/smaps_rollup")?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss_Shmem:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        Ok(kib.ok_or_else(|| io::Error::other("/proc/self/smaps_rollup has no Pss_Shmem"))? << 10)
    }

    /// Open descriptors of this process.
    pub(crate) fn descriptor_count() -> io::Result<usize> {
        // The open directory is one of them.
        Ok(fs::read_dir("/proc/self/fd")?.count().saturating_sub(1))
    }

    /// Raises the limit of open descriptors of this process to this number, if it is lower.
    pub(crate) fn raise_descriptor_limit(count: u64) -> io::Result<()> {
        let Rlimit { current, maximum } = rustix::process::getrlimit(Resource::Nofile);
        if current.is_none_or(|current| current >= count) {
            return Ok(());
        }
        if maximum.is_some_and(|maximum| maximum < count) {
            return Err(io::Error::other(format!("needs a limit of {count} open files (ulimit -Hn)")));
        }
        Ok(rustix::process::setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum })?)
    }

    /// Processor time that this process has used.
    pub(crate) fn cpu_time() -> io::Result<Duration> {
        let time = rustix::time::clock_gettime(ClockId::ProcessCPUTime);
        Duration::try_from(time).map_err(io::Error::other)
    }

    /// The kernel's name and version.
    pub(crate) fn kernel() -> String {
        let name = rustix::system::uname();
        format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy())
    }

    /// The processor's name.
    pub(crate) fn processor() -> String {
        let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.to_owned())
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use std::{io, time::Duration};

    use crate::cpus::Cpus;

    fn unsupported<T>() -> io::Result<T> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn allowed_cpus() -> io::Result<Vec<usize>> {
        unsupported()
    }

    pub(crate) fn pin(cpus: &Cpus) -> io::Result<()> {
        if cpus.0.is_empty() { Ok(()) } else { unsupported() }
    }

    /// If the parent has ended, the connection breaks, and this process fails.
    pub(crate) fn end_with_parent(_parent: u32) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn refresh_memory_counts() -> bool {
        false
    }

    pub(crate) fn available_memory() -> io::Result<i64> {
        unsupported()
    }

    pub(crate) fn shared_memory() -> io::Result<u64> {
        unsupported()
    }

    pub(crate) fn descriptor_count() -> io::Result<usize> {
        unsupported()
    }

    pub(crate) fn raise_descriptor_limit(_count: u64) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn cpu_time() -> io::Result<Duration> {
        unsupported()
    }

    pub(crate) fn kernel() -> String {
        std::env::consts::OS.to_owned()
    }

    pub(crate) fn processor() -> String {
        std::env::var("PROCESSOR_IDENTIFIER").unwrap_or_else(|_| std::env::consts::ARCH.to_owned())
    }
}
