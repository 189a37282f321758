//! A camera that a test directs: what is played goes through a named pipe into the program, which reads it by
//! `[camera] source = "command"`. Between scenes nobody is there; frames never cease, as those of a camera do not.
//!
//! A thread writes the frames at the camera's pace, whatever the test does meanwhile. When the program is killed and
//! started again the camera goes on.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, OFlags};

use crate::scene::{Film, Scene, jpeg};

/// JPEGs that follow one another.
pub type Frames = Arc<[Vec<u8>]>;

/// See the module. Dropped, it ends.
pub struct Player {
    pipe: PathBuf,
    film: Film,
    /// What was filmed already.
    films: Mutex<BTreeMap<Scene, Frames>>,
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

/// Frames to be played, and whom to tell when they were.
struct Order {
    frames: Frames,
    /// From one to the next.
    between: Duration,
    done: Sender<()>,
}

impl Player {
    /// One whose pipe is `scene.pipe` in this folder.
    pub fn start(folder: &Path, film: Film) -> Self {
        let pipe = folder.join("scene.pipe");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let (send, orders) = mpsc::channel();
        let nobody = filmed(&film, Scene::Nobody);
        let films = Mutex::new(BTreeMap::from([(Scene::Nobody, Arc::clone(&nobody))]));
        let between = Duration::from_secs(1) / film.fps;
        let to = pipe.clone();
        let thread = std::thread::Builder::new()
            .name("player".into())
            .spawn(move || play(&to, between, &nobody, &orders))
            .unwrap();
        Self { pipe, film, films, orders: Some(send), thread: Some(thread) }
    }

    /// `[camera]` of a configuration that has this camera.
    pub fn camera(&self) -> String {
        format!(
            "[camera]\nsource = \"command\"\ncommand = [\"cat\", \"{}\"]\nformat = \"mjpeg\"\n",
            self.pipe.display()
        )
    }

    /// The frames of a scene, filmed once and played often.
    pub fn film(&self, scene: Scene) -> Frames {
        let mut films = self.films.lock().unwrap();
        Arc::clone(films.entry(scene).or_insert_with(|| filmed(&self.film, scene)))
    }

    /// Plays frames to their end.
    pub fn play(&self, frames: &Frames) {
        self.order(frames, Duration::from_secs(1) / self.film.fps);
    }

    /// Plays frames to their end as fast as they are read, which is faster than anybody can look at them.
    pub fn burst(&self, frames: &Frames) {
        self.order(frames, Duration::ZERO);
    }

    fn order(&self, frames: &Frames, between: Duration) {
        let (done, is_done) = mpsc::channel();
        let order = Order { frames: Arc::clone(frames), between, done };
        self.orders.as_ref().unwrap().send(order).unwrap();
        is_done.recv().unwrap();
    }

    /// Plays a scene, and then for three seconds nobody: whatever it leads to has been decided then.
    pub fn scene(&self, scene: Scene) {
        self.play(&self.film(scene));
        self.nobody();
    }

    /// Nobody is there for three seconds.
    pub fn nobody(&self) {
        let frames = self.film(Scene::Nobody);
        self.play(&Arc::from(&frames[..frames.len() / 2]));
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn filmed(film: &Film, scene: Scene) -> Frames {
    film.frames(scene).map(|frame| jpeg(&frame)).collect()
}

/// Until nobody can order any more.
fn play(pipe: &Path, between: Duration, nobody: &Frames, orders: &Receiver<Order>) {
    let mut to: Option<File> = None;
    let mut due = Instant::now();
    let mut frame = |bytes: &[u8], between: Duration| {
        due = (due + between).max(Instant::now());
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        to = to.take().or_else(|| open(pipe));
        // A program that was killed reads no more; the next one opens the pipe anew.
        if to.as_mut().is_some_and(|to| to.write_all(bytes).is_err()) {
            to = None;
        }
    };
    loop {
        for bytes in nobody.iter() {
            match orders.try_recv() {
                Ok(Order { frames, between, done }) => {
                    frames.iter().for_each(|bytes| frame(bytes, between));
                    // Whoever ordered it may have failed meanwhile.
                    let _ = done.send(());
                }
                Err(TryRecvError::Empty) => frame(bytes, between),
                Err(TryRecvError::Disconnected) => return,
            }
        }
    }
}

/// The pipe, once somebody reads it: opening it otherwise would wait for them.
fn open(pipe: &Path) -> Option<File> {
    let file = OpenOptions::new().write(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(pipe).ok()?;
    rustix::fs::fcntl_setfl(&file, OFlags::empty()).unwrap();
    Some(file)
}
