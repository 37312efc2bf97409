//! Rule T3: a future that is dropped, at whichever of its waits, loses nothing and doubles nothing.

use std::{
    io::{self, IoSlice},
    sync::Arc,
    time::Duration,
};

use pipework::{
    MessageBatch, MessageRead, PipeErrorKind, PipeName,
    tokio::{ClientOptions, NamedPipeClient, ServerOptions},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::{JoinSet, LocalSet},
    time::timeout,
};

use super::{
    super::{Case, HOUR, SHORT, expect, expect_same, long, pattern, plain},
    Dice, current_thread, message_pair, pair, poll_until_asleep, polled, unique, workers,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        plain("T3", t3_dropped_reads_lose_no_byte),
        plain("T3", t3_dropped_writes_write_what_they_said),
        plain("T3", t3_dropped_message_reads_lose_no_message),
        plain("T3", t3_dropped_reads_into_a_short_buffer_lose_no_part),
        plain("T3", t3_a_dropped_message_write_is_whole_or_not_at_all),
        plain("T3", t3_dropped_batches_write_and_read_what_they_said),
        plain("T3", t3_a_dropped_transaction_leaves_its_reply),
        plain("T3", t3_a_dropped_drain_changes_nothing),
        plain("T3", t3_dropped_readiness_takes_nothing),
        long(plain("T3", t3_dropped_accepts_lose_no_client)),
        plain("T3", t3_a_dropped_server_connect_loses_no_client),
        plain("T3", t3_a_dropped_client_connect_takes_no_instance),
        plain("T3", t3_connects_that_are_dropped_in_a_crowd_hold_up_nobody),
        long(plain("T3", t3_racing_connects_that_are_dropped_double_no_client)),
    ]
}

/// T3: whatever was not returned is still in the pipe.
fn t3_dropped_reads_lose_no_byte() {
    workers().block_on(async {
        let data = pattern(1, 300_000);
        let (mut server, mut client) = pair(ServerOptions::new().in_buffer_size(1000));
        let writing = tokio::spawn({
            let data = data.clone();
            async move {
                let mut dice = Dice(1);
                for part in data.chunks(1777) {
                    client.write_all(part).await.unwrap();
                    if dice.below(4) == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            }
        });
        let (mut got, mut buf, mut dice) = (Vec::new(), [0; 900], Dice(2));
        loop {
            let len = 1 + dice.below(900);
            match polled(dice.below(4), server.read(&mut buf[..len])).await {
                Some(Ok(0)) => break,
                Some(count) => got.extend_from_slice(&buf[..count.unwrap()]),
                None => {}
            }
        }
        writing.await.unwrap();
        expect_same(&got, &data);
    });
}

/// T3: a write that was dropped wrote nothing, one that was not wrote what it said.
fn t3_dropped_writes_write_what_they_said() {
    workers().block_on(async {
        for quota in [0, 64, 5000] {
            let (mut server, mut client) = pair(ServerOptions::new().in_buffer_size(quota));
            let reading = tokio::spawn(async move {
                let mut got = Vec::new();
                server.read_to_end(&mut got).await.unwrap();
                got
            });
            let (mut sent, mut dice) = (Vec::new(), Dice(3));
            for seed in 0..=255 {
                let data = pattern(seed, 1 + dice.below(300));
                let (one, other) = data.split_at(dice.below(2) * data.len() / 2);
                let parts = [io::IoSlice::new(one), io::IoSlice::new(other)];
                if let Some(count) = polled(dice.below(4), client.write_vectored(&parts)).await {
                    sent.extend_from_slice(&data[..count.unwrap()]);
                }
            }
            drop(client);
            expect_same(&reading.await.unwrap(), &sent);
            assert!(!sent.is_empty());
        }
    });
}

/// The sizes that go different ways: empty, in the ring, beyond the quota, and beyond the ring.
const SIZES: [usize; 6] = [0, 1, 100, 1500, 9000, 100_000];

/// T3: of every size, also of those that lie in a memory of their own.
fn t3_dropped_message_reads_lose_no_message() {
    workers().block_on(async {
        let (server, client) = message_pair(1000);
        let messages: Vec<Vec<u8>> =
            (0..120).map(|seed| pattern(seed, SIZES[usize::from(seed) % 6])).collect();
        let writing = tokio::spawn({
            let messages = messages.clone();
            async move {
                for message in &messages {
                    client.write_message(message).await.unwrap();
                }
            }
        });
        let (mut got, mut dice) = (Vec::new(), Dice(4));
        loop {
            match polled(dice.below(4), server.read_message(1 << 20)).await {
                Some(Ok(None)) => break,
                Some(message) => got.push(message.unwrap().unwrap()),
                None => {}
            }
        }
        writing.await.unwrap();
        assert_eq!(got.len(), messages.len());
        assert!(got == messages, "each message is what was written");
    });
}

/// T3: a part that was taken was returned.
fn t3_dropped_reads_into_a_short_buffer_lose_no_part() {
    workers().block_on(async {
        let (server, client) = message_pair(1000);
        let messages: Vec<Vec<u8>> =
            (0..40).map(|seed| pattern(seed, SIZES[usize::from(seed) % 6])).collect();
        let writing = tokio::spawn({
            let messages = messages.clone();
            async move {
                for message in &messages {
                    client.write_message(message).await.unwrap();
                }
            }
        });
        let (mut got, mut part, mut buf, mut dice) = (Vec::new(), Vec::new(), [0; 777], Dice(5));
        loop {
            match polled(dice.below(4), server.read_message_into(&mut buf)).await.transpose().unwrap() {
                Some(MessageRead::End) => break,
                Some(MessageRead::Part(len)) => part.extend_from_slice(&buf[..len]),
                Some(MessageRead::Whole(len)) => {
                    part.extend_from_slice(&buf[..len]);
                    got.push(std::mem::take(&mut part));
                }
                None => {}
            }
        }
        writing.await.unwrap();
        assert!(got == messages, "each message is what was written");
    });
}

/// T3: also of a message that lies in a memory of its own, or waits for its reader.
fn t3_a_dropped_message_write_is_whole_or_not_at_all() {
    workers().block_on(async {
        let (server, client) = message_pair(1000);
        let reading = tokio::spawn(async move {
            let mut got = Vec::new();
            while let Some(message) = server.read_message(1 << 20).await.unwrap() {
                got.push(message);
            }
            got
        });
        let (mut written, mut dice) = (Vec::new(), Dice(6));
        for seed in 0..=255_u8 {
            // The first two bytes identify it.
            let mut message = pattern(seed, 2 + SIZES[dice.below(6)]);
            message[..2].copy_from_slice(&[seed, seed ^ 0xff]);
            if let Some(outcome) = polled(dice.below(4), client.write_message(&message)).await {
                outcome.unwrap();
                written.push(seed);
            }
        }
        drop(client);
        let got = reading.await.unwrap();
        let mut last = None;
        for message in &got {
            let seed = message[0];
            assert_eq!(message[1], seed ^ 0xff);
            assert_eq!(message[2..], pattern(seed, message.len())[2..], "a message is whole");
            assert!(last.is_none_or(|last| last < seed), "none comes twice, or in another order");
            last = Some(seed);
        }
        assert!(written.iter().all(|seed| got.iter().any(|message| message[0] == *seed)));
        assert!(!written.is_empty() && written.len() < 256);
    });
}

/// T3: a batch that was not returned is unread, and one that was dropped has written nothing.
fn t3_dropped_batches_write_and_read_what_they_said() {
    workers().block_on(async {
        let (server, client) = message_pair(1000);
        let writing = tokio::spawn(async move {
            let (mut written, mut dice) = (Vec::new(), Dice(7));
            for seed in 0..200 {
                let messages: Vec<Vec<u8>> =
                    (0..1 + dice.below(5)).map(|_| pattern(seed, SIZES[dice.below(6)])).collect();
                let slices: Vec<IoSlice<'_>> = messages.iter().map(|message| IoSlice::new(message)).collect();
                if let Some(count) = polled(dice.below(4), client.write_messages(&slices)).await {
                    written.extend_from_slice(&messages[..count.unwrap()]);
                }
            }
            written
        });
        let (mut got, mut batch, mut dice) = (Vec::new(), MessageBatch::new(3, 1 << 20), Dice(8));
        loop {
            match polled(dice.below(4), server.read_messages(&mut batch)).await.transpose().unwrap() {
                Some(0) => break,
                Some(_) => got.extend(batch.iter().map(<[u8]>::to_vec)),
                None => {}
            }
        }
        let written = writing.await.unwrap();
        assert!(!got.is_empty() && got == written, "{} of {} messages", got.len(), written.len());
    });
}

/// T3: what is not cancel safe says what is left.
fn t3_a_dropped_transaction_leaves_its_reply() {
    current_thread().block_on(async {
        let (server, client) = message_pair(1000);
        assert!(polled(1, client.transact(b"question", 99)).await.is_none());
        assert_eq!(server.read_message(99).await.unwrap().unwrap(), b"question");
        server.write_message(b"answer").await.unwrap();
        expect(client.transact(b"next", 99).await, PipeErrorKind::Busy);
        assert_eq!(client.read_message(99).await.unwrap().unwrap(), b"answer");
        let (reply, ()) = tokio::join!(client.transact(b"next", 99), async {
            assert_eq!(server.read_message(99).await.unwrap().unwrap(), b"next");
            server.write_message(b"last").await.unwrap();
        });
        assert_eq!(reply.unwrap(), b"last");
        // Nor does it keep others from reading: here it waits for room to ask in.
        let (server, client) = message_pair(10);
        client.write_message(&[1; 10]).await.unwrap();
        let ahead = write_ahead(&client, &[2; 10]);
        assert!(polled(2, client.transact(b"question", 99)).await.is_none());
        server.write_message(b"news").await.unwrap();
        assert_eq!(client.read_message(99).await.unwrap().unwrap(), b"news");
        assert_eq!(server.read_message(99).await.unwrap().unwrap(), [1; 10]);
        if ahead > 0 {
            assert_eq!(server.read_message(99).await.unwrap().unwrap(), [2; 10]);
        }
        assert!(polled(3, server.read_message(99)).await.is_none(), "the question was not asked");
    });
}

/// T3: it only looks.
fn t3_a_dropped_drain_changes_nothing() {
    current_thread().block_on(async {
        let (mut server, mut client) = pair(&ServerOptions::new());
        client.write_all(b"unread").await.unwrap();
        for polls in 0..4 {
            assert!(polled(polls, client.drain()).await.is_none());
        }
        let mut data = [0; 6];
        server.read_exact(&mut data).await.unwrap();
        assert_eq!(&data, b"unread");
        client.drain().await.unwrap();
    });
}

/// Where one write more than has room is begun, begins that; says of how many bytes.
fn write_ahead(client: &NamedPipeClient, data: &[u8]) -> usize {
    if cfg!(windows) { client.try_write(data).unwrap() } else { 0 }
}

/// T3: it only looks.
fn t3_dropped_readiness_takes_nothing() {
    current_thread().block_on(async {
        let (mut server, mut client) = pair(ServerOptions::new().in_buffer_size(10));
        for polls in 0..3 {
            assert!(polled(polls, server.readable()).await.is_none());
        }
        client.write_all(&[7; 10]).await.unwrap();
        let ahead = write_ahead(&client, &[7; 10]);
        for polls in 0..3 {
            assert!(polled(polls, client.writable()).await.is_none());
            polled(polls, server.readable()).await;
        }
        let mut data = vec![0; 10 + ahead];
        server.read_exact(&mut data).await.unwrap();
        assert!(data.iter().all(|byte| *byte == 7));
        client.writable().await.unwrap();
    });
}

/// How to connect to a listener that has all its instances: on Windows the name goes with the last of them.
fn as_long_as_it_takes() -> ClientOptions {
    let mut options = ClientOptions::new();
    options.wait_absent(cfg!(windows));
    options
}

/// T3: each client is handed out, and once.
fn t3_dropped_accepts_lose_no_client() {
    const CLIENTS: u8 = 60;
    workers().block_on(async {
        let name = unique();
        let listener = Arc::new(ServerOptions::new().max_instances(4).listen(&name).unwrap());
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let name = name.clone();
            clients.spawn(async move {
                let mut client = as_long_as_it_takes().connect(&name).await.unwrap();
                client.write_all(&[number]).await.unwrap();
                let mut reply = [0];
                client.read_exact(&mut reply).await.unwrap();
                assert_eq!(reply, [number]);
            });
        }
        let (mut servers, mut dice) = (JoinSet::new(), Dice(7));
        for _ in 0..CLIENTS {
            let mut server = loop {
                // Not only by count: most waits here are long.
                let limit = Duration::from_micros(u64::try_from(dice.below(3000)).unwrap());
                if let Ok(accepted) = timeout(limit, listener.accept()).await {
                    break accepted.unwrap();
                }
                if let Some(accepted) = polled(dice.below(3), listener.accept()).await {
                    break accepted.unwrap();
                }
            };
            servers.spawn(async move {
                let mut number = [0];
                server.read_exact(&mut number).await.unwrap();
                server.write_all(&number).await.unwrap();
                server.drain().await.ok();
                number[0]
            });
        }
        let mut served = servers.join_all().await;
        served.sort_unstable();
        assert_eq!(served, Vec::from_iter(0..CLIENTS));
        clients.join_all().await;
        assert!(timeout(SHORT, listener.accept()).await.is_err(), "and nobody comes twice");
    });
}

/// T3: the instance goes on listening, and its client is there for the next call.
fn t3_a_dropped_server_connect_loses_no_client() {
    current_thread().block_on(async {
        let name = unique();
        let mut server = ServerOptions::new().create(&name).unwrap();
        for polls in 0..3 {
            assert!(polled(polls, server.connect()).await.is_none());
        }
        let mut connecting = Box::pin(server.connect());
        assert!(poll_until_asleep(connecting.as_mut()).await.is_pending());
        let mut client = ClientOptions::new().open(&name).unwrap();
        client.write_all(b"x").await.unwrap();
        // Dropped when it would have been woken.
        tokio::task::yield_now().await;
        drop(connecting);
        server.connect().await.unwrap();
        let mut data = [0];
        server.read_exact(&mut data).await.unwrap();
        assert_eq!(&data, b"x");
    });
}

/// T3: nothing was opened, whether it waited for a busy name or for an absent one.
fn t3_a_dropped_client_connect_takes_no_instance() {
    current_thread().block_on(async {
        let name = unique();
        let mut options = ClientOptions::new();
        options.wait_absent(true);
        for polls in 0..4 {
            assert!(polled(polls, options.connect(&name)).await.is_none());
        }
        let mut waiting = Box::pin(options.connect(&name));
        assert!(poll_until_asleep(waiting.as_mut()).await.is_pending());
        let server = ServerOptions::new().create(&name).unwrap();
        drop(waiting);
        assert!(polled(3, server.connect()).await.is_none(), "the instance has no client");
        let first = ClientOptions::new().open(&name).unwrap();
        server.connect().await.unwrap();
        for polls in 0..4 {
            assert!(polled(polls, options.connect(&name)).await.is_none());
        }
        let mut waiting = Box::pin(options.connect(&name));
        assert!(poll_until_asleep(waiting.as_mut()).await.is_pending());
        drop(first);
        server.disconnect().unwrap();
        assert!(polled(3, server.connect()).await.is_none());
        drop(waiting);
        assert!(polled(3, server.connect()).await.is_none(), "the instance has no client");
        let second = ClientOptions::new().connect(&name).await.unwrap();
        server.connect().await.unwrap();
        drop(second);
    });
}

/// T3: of those who wait for one listener, or for one instance, some give up, and all others get in.
fn t3_connects_that_are_dropped_in_a_crowd_hold_up_nobody() {
    current_thread().block_on(LocalSet::new().run_until(async {
        let name = unique();
        let listener = ServerOptions::new().listen(&name).unwrap();
        let first = ClientOptions::new().open(&name).unwrap();
        let mut served = crowd_with_gaps(&name).await;
        drop((listener.accept().await.unwrap(), first));
        while !served.is_empty() {
            listener.accept().await.unwrap().write_all(b"x").await.unwrap();
            served.join_next().await.unwrap().unwrap();
        }

        let name = unique();
        let mut server = ServerOptions::new().create(&name).unwrap();
        let first = ClientOptions::new().open(&name).unwrap();
        let mut served = crowd_with_gaps(&name).await;
        drop(first);
        while !served.is_empty() {
            server.disconnect().unwrap();
            server.connect().await.unwrap();
            server.write_all(b"x").await.unwrap();
            served.join_next().await.unwrap().unwrap();
        }
    }));
}

/// Clients that wait for the name, one behind the other, less some: the first, the last, and every third of the others. Each
/// that gets in waits for a byte.
async fn crowd_with_gaps(name: &PipeName) -> JoinSet<()> {
    const CLIENTS: usize = 12;
    let mut waiting = Vec::new();
    for _ in 0..CLIENTS {
        let name = name.clone();
        let mut client = Box::pin(async move {
            let mut options = as_long_as_it_takes();
            let mut client = options.timeout(HOUR).connect(&name).await.unwrap();
            client.read_exact(&mut [0]).await.unwrap();
        });
        assert!(poll_until_asleep(client.as_mut()).await.is_pending());
        waiting.push(client);
    }
    waiting.pop();
    let mut served = JoinSet::new();
    for (_, client) in waiting.into_iter().enumerate().filter(|(index, _)| index % 3 != 0) {
        served.spawn_local(client);
    }
    served
}

/// T3: whoever got an end is served; whoever dropped his wait leaves at most a client without a word.
fn t3_racing_connects_that_are_dropped_double_no_client() {
    const CLIENTS: u8 = 40;
    workers().block_on(async {
        let name = unique();
        let listener = ServerOptions::new().max_instances(3).listen(&name).unwrap();
        let serving = tokio::spawn(async move {
            let mut served = Vec::new();
            while served.len() < usize::from(CLIENTS) {
                let mut server = listener.accept().await.unwrap();
                let mut number = [0];
                if server.read(&mut number).await.unwrap() == 1 {
                    served.push(number[0]);
                    server.write_all(&number).await.unwrap();
                    server.drain().await.ok();
                }
            }
            served
        });
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let name = name.clone();
            clients.spawn(async move {
                let mut dice = Dice(number.into());
                let mut client = loop {
                    let limit = Duration::from_micros(u64::try_from(dice.below(5000)).unwrap());
                    if let Ok(client) = timeout(limit, as_long_as_it_takes().connect(&name)).await {
                        break client.unwrap();
                    }
                };
                client.write_all(&[number]).await.unwrap();
                let mut reply = [0];
                client.read_exact(&mut reply).await.unwrap();
                assert_eq!(reply, [number]);
            });
        }
        clients.join_all().await;
        let mut served = serving.await.unwrap();
        served.sort_unstable();
        assert_eq!(served, Vec::from_iter(0..CLIENTS));
    });
}
