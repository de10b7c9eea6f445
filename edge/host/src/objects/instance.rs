//! The guest instance of a shard.

use wasmtime::Store;

use crate::guest::wit::{Input, Output};
use crate::guest::{Ctx, Edge, EdgePre, Guest, TICK};

/// A step may take this long before the guest is stopped.
const STEP_LIMIT_MS: u64 = 1_000;
/// Building an instance may take longer: the first step of a shard with many objects does not.
const CONFIGURE_LIMIT_MS: u64 = 5_000;

/// The guest is gone, with everything in its memory. The text is for the log.
#[derive(Debug)]
pub struct Trap(pub String);

/// Objects, stepped with a batch of inputs.
pub trait Instance {
    /// Applies `inputs` in order.
    ///
    /// # Errors
    /// The instance can no longer be used.
    fn step(&mut self, now: u64, inputs: Vec<(String, Input)>) -> Result<Vec<(String, Output)>, Trap>;
}

/// Makes instances: one at start, one more after each trap.
pub trait Instances: Send {
    type Instance: Instance;
    /// A fresh, configured instance.
    ///
    /// # Errors
    /// The guest refuses.
    fn fresh(&self) -> Result<Self::Instance, Trap>;
}

/// Instances of the edge component.
pub struct GuestInstances {
    guest: Guest,
    pre: EdgePre<Ctx>,
    settings: String,
    /// Host functions of WASI may want it.
    runtime: tokio::runtime::Handle,
}

impl std::fmt::Debug for GuestInstances {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuestInstances").finish_non_exhaustive()
    }
}

impl GuestInstances {
    /// Instances configured with `settings` (JSON).
    ///
    /// # Errors
    /// The component exports no objects.
    pub fn new(guest: Guest, settings: String, runtime: tokio::runtime::Handle) -> anyhow::Result<Self> {
        let pre = guest.edge()?;
        Ok(Self { guest, pre, settings, runtime })
    }
}

impl Instances for GuestInstances {
    type Instance = GuestInstance;

    fn fresh(&self) -> Result<GuestInstance, Trap> {
        let mut store = self.guest.shard_store();
        store.epoch_deadline_trap();
        store.set_epoch_deadline(ticks(CONFIGURE_LIMIT_MS));
        let edge = self.runtime.block_on(async {
            let edge = self.pre.instantiate_async(&mut store).await.map_err(trap)?;
            let configured = edge.chatcall_objects_shard().call_configure(&mut store, &self.settings).await.map_err(trap)?;
            configured.map_err(|why| Trap(format!("settings refused: {why}")))?;
            Ok::<_, Trap>(edge)
        })?;
        Ok(GuestInstance { store, edge, runtime: self.runtime.clone() })
    }
}

/// One live instance of the component.
pub struct GuestInstance {
    store: Store<Ctx>,
    edge: Edge,
    runtime: tokio::runtime::Handle,
}

impl std::fmt::Debug for GuestInstance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuestInstance").finish_non_exhaustive()
    }
}

impl Instance for GuestInstance {
    fn step(&mut self, now: u64, inputs: Vec<(String, Input)>) -> Result<Vec<(String, Output)>, Trap> {
        self.store.set_epoch_deadline(ticks(STEP_LIMIT_MS));
        self.runtime.block_on(self.edge.chatcall_objects_shard().call_step(&mut self.store, now, &inputs)).map_err(trap)
    }
}

fn ticks(ms: u64) -> u64 {
    ms / TICK.as_millis() as u64 + 1
}

fn trap(error: wasmtime::Error) -> Trap {
    Trap(format!("{error:?}"))
}
