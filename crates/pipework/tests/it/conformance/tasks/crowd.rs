//! Many connections at once on one runtime of one thread.

use pipework::tokio::{Listener, connect};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};

use super::{
    super::{Case, long, plain},
    current_thread, unique,
};

pub(super) fn cases() -> Vec<Case> {
    vec![long(plain("tasks", tasks_in_crowds_share_a_runtime))]
}

/// How many connections; each takes two descriptors of this process.
fn count() -> usize {
    const USUAL: usize = 400;
    std::env::var("PIPEWORK_TASKS_CONNECTIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(USUAL)
}

/// All are open at once, and each gets its own answer, twice.
fn tasks_in_crowds_share_a_runtime() {
    current_thread().block_on(async {
        let (name, count) = (unique(), count());
        let listener = Listener::bind(&name).unwrap();
        let serving = tokio::spawn(async move {
            let mut served = JoinSet::new();
            for _ in 0..count {
                let mut client = listener.accept().await.unwrap();
                served.spawn(async move {
                    let mut number = [0; 8];
                    while client.read_exact(&mut number).await.is_ok() {
                        client
                            .write_all(&u64::from_le_bytes(number).wrapping_mul(3).to_le_bytes())
                            .await
                            .unwrap();
                    }
                });
            }
            served.join_all().await.len()
        });
        let mut clients = Vec::new();
        for _ in 0..count {
            clients.push(connect(&name).await.unwrap());
        }
        for round in 1..=2 {
            let mut asking = JoinSet::new();
            for (index, mut client) in clients.drain(..).enumerate() {
                let question = u64::try_from(index).unwrap() * round + 7;
                asking.spawn(async move {
                    client.write_all(&question.to_le_bytes()).await.unwrap();
                    let mut answer = [0; 8];
                    client.read_exact(&mut answer).await.unwrap();
                    assert_eq!(u64::from_le_bytes(answer), question * 3);
                    client
                });
            }
            clients = asking.join_all().await;
        }
        assert_eq!(clients.len(), count);
        drop(clients);
        assert_eq!(serving.await.unwrap(), count, "each saw the end of its client");
    });
}
