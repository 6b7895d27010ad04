//! An S3 server in the test process: real HTTP, real signatures, objects in memory.
//!
//! It is strict where stores differ: conditional puts are atomic, signatures, regions, clocks and
//! checksums are checked, and Object Lock is enforced on versions. Options make it as careless as
//! some stores are. It runs on threads of its own, so that a test may block.

mod access;
mod bucket;
mod checksum;
mod multipart;
mod service;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;

use self::access::{Access, Gate};
use self::bucket::Bucket;
use self::service::Service;

/// What a server is like.
#[derive(Debug, Clone)]
pub struct S3Options {
    /// The region it says it is in, and signatures must name.
    pub region: String,
    /// Its bucket.
    pub bucket: String,
    /// Whether the bucket keeps versions and enforces Object Lock.
    pub object_lock: bool,
    /// Whether `If-None-Match` and `If-Match` are ignored without a word, as some stores do.
    pub ignores_conditions: bool,
    /// How long every request waits before it is looked at, as if the server were far away.
    pub delay: Duration,
}

impl Default for S3Options {
    fn default() -> Self {
        Self {
            region: "eu-central-1".to_owned(),
            bucket: "backups".to_owned(),
            object_lock: false,
            ignores_conditions: false,
            delay: Duration::ZERO,
        }
    }
}

/// An access key and its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// The public part.
    pub id: String,
    /// The secret part.
    pub secret: String,
}

/// What a server knows of an object besides its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its storage class, if the writer named one.
    pub storage_class: Option<String>,
    /// How it is encrypted at rest, if the writer asked for it.
    pub encryption: Option<String>,
    /// Whether it has a retention.
    pub locked: bool,
    /// Whether it has a legal hold.
    pub legal_hold: bool,
}

/// A running server. It ends when this is dropped.
#[derive(Debug)]
pub struct S3Server {
    options: S3Options,
    address: SocketAddr,
    world: Arc<World>,
    admin: AccessKey,
    runtime: Option<tokio::runtime::Runtime>,
}

/// What all requests share.
#[derive(Debug)]
struct World {
    options: S3Options,
    bucket: Mutex<Bucket>,
    access: Mutex<Access>,
}

impl World {
    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().expect("no holder panics")
    }

    fn access(&self) -> MutexGuard<'_, Access> {
        self.access.lock().expect("no holder panics")
    }
}

impl S3Server {
    /// Starts a server on a free port of this machine.
    ///
    /// # Errors
    /// Fails if the system grants no port or thread.
    pub fn start(options: S3Options) -> io::Result<Self> {
        let mut access = Access::default();
        let admin = access.grant(None);
        let world = Arc::new(World {
            bucket: Mutex::new(Bucket::new(options.object_lock)),
            access: Mutex::new(access),
            options: options.clone(),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("s3-server")
            .enable_all()
            .build()?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let service = build(&world);
        runtime.spawn(serve(listener, service));
        Ok(Self {
            options,
            address,
            world,
            admin,
            runtime: Some(runtime),
        })
    }

    /// Returns its address, such as `http://127.0.0.1:4711`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns where it listens, for a proxy before it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the region it says it is in.
    pub fn region(&self) -> &str {
        &self.options.region
    }

    /// Returns its bucket's name.
    pub fn bucket(&self) -> &str {
        &self.options.bucket
    }

    /// Returns the key that may do everything.
    pub fn admin(&self) -> &AccessKey {
        &self.admin
    }

    /// Makes a key that may do the named operations only, such as `PutObject`.
    pub fn grant(&self, operations: &[&str]) -> AccessKey {
        let operations = operations.iter().map(|name| (*name).to_owned()).collect();
        self.world.access().grant(Some(operations))
    }

    /// Makes an access key worthless from now on.
    pub fn revoke(&self, key: &AccessKey) {
        self.world.access().revoke(&key.id);
    }

    /// Returns how many requests of each operation came so far, refused ones included.
    pub fn requests(&self) -> BTreeMap<String, u64> {
        self.world.access().requests.clone()
    }

    /// Moves the clock that locks expire by.
    pub fn let_pass(&self, time: Duration) {
        self.world.bucket().let_pass(time);
    }

    /// Sets how far the server's clock is ahead of its clients, for signatures.
    pub fn set_skew(&self, ahead: Duration) {
        self.world.access().skew = ahead;
    }

    /// Returns the objects that a listing shows now.
    pub fn objects(&self) -> BTreeMap<String, Bytes> {
        self.world.bucket().current_bodies()
    }

    /// Replaces the bytes of an object behind everyone's back: this is how a test damages one.
    ///
    /// # Panics
    /// Panics if there is none of that key.
    pub fn tamper(&self, key: &str, body: Bytes) {
        self.world.bucket().tamper(key, body);
    }

    /// Puts an object over whatever is there, as anyone with the right to write can.
    pub fn overwrite(&self, key: &str, body: Bytes) {
        self.world.bucket().overwrite(key, body);
    }

    /// Deletes an object, as anyone with the right to delete can.
    ///
    /// # Panics
    /// Panics if there is none of that key.
    pub fn remove(&self, key: &str) {
        let mut bucket = self.world.bucket();
        bucket.get(key, None).expect("there is such an object");
        bucket.remove(key);
    }

    /// Deletes every object that a listing shows, as anyone with the right to delete can.
    pub fn delete_all(&self) {
        self.world.bucket().delete_all();
    }

    /// Deletes every version that a lock lets go, with every right there is. Returns how many stay.
    pub fn purge(&self) -> usize {
        self.world.bucket().purge()
    }

    /// Brings the end of every lock nearer, as if they had been put so long ago.
    pub fn age_locks(&self, age: Duration) {
        self.world.bucket().age_locks(age);
    }

    /// Returns what is known of an object besides its bytes.
    ///
    /// # Panics
    /// Panics if there is none of that key.
    pub fn stored(&self, key: &str) -> Stored {
        let bucket = self.world.bucket();
        let (version, content) = bucket.get(key, None).expect("there is such an object");
        Stored {
            storage_class: content.storage_class.clone(),
            encryption: content.encryption.clone(),
            locked: version.lock.retention.is_some(),
            legal_hold: version.lock.legal_hold,
        }
    }

    /// Stops serving at once, connections included; what it holds is lost.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn build(world: &Arc<World>) -> S3Service {
    let mut builder = S3ServiceBuilder::new(Service::new(world.clone()));
    builder.set_auth(Gate::new(world.clone()));
    builder.set_access(Gate::new(world.clone()));
    builder.build()
}

async fn serve(listener: std::net::TcpListener, service: S3Service) {
    let listener = TcpListener::from_std(listener).expect("the runtime has a driver for sockets");
    loop {
        // A connection that failed while it was made is its client's loss.
        let Ok((socket, _)) = listener.accept().await else {
            continue;
        };
        let service = service.clone();
        tokio::spawn(async move {
            // Without it, small answers wait for the client's delayed acknowledgement.
            let _ = socket.set_nodelay(true);
            let mut server = auto::Builder::new(TokioExecutor::new());
            server.http1().timer(TokioTimer::new());
            // The client sees its own end of a broken connection.
            let _ = server.serve_connection(TokioIo::new(socket), service).await;
        });
    }
}
