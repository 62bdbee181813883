//! The loop of a source of files or objects: take one from the agenda, read it to its end, go on with the next.
//!
//! Nothing is deleted, so what a position says is what is done with: it is saved in the transaction that stores the last
//! event before it. A crash brings back what stands behind it, and some of that may be stored already: it changes nothing.
//! Several daemons may read one place; they do the same work twice, and the outcome is the same.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use metrics::counter;

use super::agenda::{Agenda, Todo};
use super::held::Held;
use super::{Stopped, Worker};
use crate::backoff::Backoff;
use crate::formats::place::{Door, Place, Whole};
use crate::sources::Delivery;
use crate::sources::object::{Listed, Object, ObjectError};
use crate::sources::pieces::Piece;
use crate::store::positions::Checkpoint;
use crate::telemetry;

/// One of the loops of a source.
pub struct ObjectWorker {
    worker: Worker,
    agenda: Arc<Agenda>,
}

/// How reading an object ended early.
enum Ended {
    Stopped,
    Failed(ObjectError),
}

/// How far taking bodies from an object came.
#[derive(Clone, Copy)]
enum Filled {
    More,
    End,
    /// At a last line that may be completed in this time.
    Unfinished(Duration),
}

impl From<Stopped> for Ended {
    fn from(_: Stopped) -> Ended {
        Ended::Stopped
    }
}

impl From<ObjectError> for Ended {
    fn from(error: ObjectError) -> Ended {
        Ended::Failed(error)
    }
}

impl ObjectWorker {
    pub fn new(worker: Worker, agenda: Arc<Agenda>) -> ObjectWorker {
        ObjectWorker { worker, agenda }
    }

    /// Works until the daemon stops, or until everything is read.
    pub async fn run(mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
        while let Some(todo) = self.next(&mut backoff).await {
            match self.read(&todo).await {
                Ok(Some(wait)) => self.agenda.wait_for_rest(&todo.listed, wait),
                Ok(None) => self.agenda.forget(&todo.listed.name),
                Err(Ended::Failed(error)) => self.fail(&todo.listed, &error),
                Err(Ended::Stopped) => {}
            }
            self.worker.batch.clear();
            self.agenda.done(&todo.listed.name);
        }
        self.worker.store.close().await;
    }

    /// The next object; `None` when the daemon stops or there is nothing left to wait for.
    async fn next(&mut self, backoff: &mut Backoff) -> Option<Todo> {
        let feed = Arc::clone(&self.worker.feed);
        loop {
            self.worker.may_receive().await?;
            match self.agenda.next(&mut self.worker, backoff).await {
                Ok(todo) => return todo,
                Err(error) => {
                    self.agenda.note_failure(error.to_string());
                    self.worker.motion.rest();
                    feed.note_receive(None);
                    feed.bear(backoff, &error).await;
                }
            }
        }
    }

    /// Takes note of an object that cannot be read. It comes again, and nothing waits for it.
    fn fail(&self, listed: &Listed, error: &ObjectError) {
        let feed = &self.worker.feed;
        self.agenda.note_failure(error.to_string());
        let (source, object) = (&feed.name, &listed.name);
        match error {
            // As it is now the next listing tells.
            ObjectError::Changed(_) => {
                self.agenda.forget(&listed.name);
                tracing::debug!(source, %error, "read later");
            }
            ObjectError::Broken(_) => {
                self.agenda.give_up(listed, error);
                feed.note_receive(None);
                tracing::warn!(source, object, %error, "an object was read in part");
            }
            error => {
                let failing = self.agenda.fail(listed, error);
                feed.note_receive(None);
                // Not a line for each object where all of them are denied.
                if failing.is_power_of_two() {
                    tracing::warn!(source, object, failing, %error, "an object cannot be read; it is tried again");
                }
                feed.set_trouble(self.agenda.trouble());
            }
        }
    }

    /// Reads an object to its end: from where it was left, or, where events are told apart by their places, from its
    /// beginning. A time where its last line may be completed in that.
    async fn read(&mut self, todo: &Todo) -> Result<Option<Duration>, Ended> {
        let max_bytes = self.worker.feed.settings.max_body_bytes;
        let counts_places = self.worker.feed.formats[0].counts_places();
        let position = todo.position.as_ref().filter(|_| !counts_places);
        let mut object = self.agenda.open(&todo.listed, position, max_bytes).await?;
        let whole = Arc::new(whole(&todo.listed, self.agenda.address(&todo.listed.name)));
        let mut noted = object.read_bytes;
        self.agenda.note_bytes(noted);
        loop {
            let mut held = Held::new(&self.worker.feed);
            let filled = self.fill(&mut held, &mut object, todo, &whole).await;
            self.worker.feed.note_receive(Some(&held.deliveries));
            // That one is read does not mean that all can be.
            self.worker.feed.set_trouble(self.agenda.trouble());
            self.worker.read(&mut held).await?;
            let is_ended = match &filled {
                Ok(filled) => matches!(filled, Filled::End),
                // Only another version can be read to the end.
                Err(ObjectError::Broken(_)) => true,
                Err(_) => false,
            };
            // A place in the middle is of no use to who begins anew.
            self.worker.batch.checkpoint = (is_ended || !counts_places).then(|| Checkpoint {
                part: object.name().to_owned(),
                position: object.position().text(),
                is_ended,
                owner: None,
            });
            self.worker.flush(&mut held).await?;
            self.agenda.note_bytes(object.read_bytes - noted);
            noted = object.read_bytes;
            if is_ended {
                if filled.is_ok() {
                    self.agenda.progress.read.fetch_add(1, Ordering::Relaxed);
                }
                let outcome = if filled.is_ok() { "read" } else { "broken" };
                counter!(telemetry::OBJECTS_READ, "source" => self.worker.source(), "outcome" => outcome)
                    .increment(1);
            }
            match filled? {
                Filled::More => {}
                Filled::End => return Ok(None),
                Filled::Unfinished(wait) => return Ok(Some(wait)),
            }
            self.worker.may_receive().await.ok_or(Stopped)?;
        }
    }

    /// Takes bodies from an object until there are enough for a transaction.
    async fn fill(
        &mut self,
        held: &mut Held,
        object: &mut Object,
        todo: &Todo,
        whole: &Arc<Whole>,
    ) -> Result<Filled, ObjectError> {
        let settings = &self.worker.feed.settings;
        while held.deliveries.len() < settings.batch_events
            && held.body_bytes() < settings.batch_bytes
        {
            let Some(Piece {
                bytes,
                number,
                end,
                is_ended,
            }) = object.next().await?
            else {
                return Ok(Filled::End);
            };
            let delivery = Delivery {
                id: format!("{}:{}", whole.name, number),
                body: bytes,
                format: 0,
                place: Some(Place {
                    whole: Arc::clone(whole),
                    number,
                }),
                attempt: 1,
            };
            // The rest of a last line may be on its way. Where it does not come, the line is as bad as it looks.
            if let Some(wait) = self.agenda.may_grow(&todo.listed).filter(|_| !is_ended)
                && self
                    .worker
                    .open(&delivery, settings.max_body_bytes)
                    .is_err()
            {
                return Ok(Filled::Unfinished(wait));
            }
            object.pass(end, number);
            held.add(delivery);
        }
        Ok(Filled::More)
    }
}

/// An object of which nothing is read yet.
fn whole(listed: &Listed, address: String) -> Whole {
    let etag = listed.version.etag.as_deref();
    let etag = etag.map(|etag| etag.trim_matches('"').to_owned());
    Whole::new(Door::Pull, address, etag)
}
