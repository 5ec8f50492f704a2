//! A real Redis Cluster that a test starts, breaks and ends: three primaries, and a replica of each.

use std::ops::RangeInclusive;

use crate::redis_server::{Mode, OPERATOR, RedisServer, Transport};
use crate::wait;

/// The silence, in milliseconds, after which the others consider a node dead.
const NODE_TIMEOUT: u32 = 1000;

const PRIMARIES: usize = 3;
const NODES: usize = 2 * PRIMARIES;
const SLOTS: usize = 16_384;

/// Six nodes. An index names a node; the first three are the primaries at the start. All end when this is dropped.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
    /// The names by which the nodes know each other. Ports do not work: over a Unix socket, Redis 8 and Valkey 9 tell none
    /// for a node with TLS alone.
    ids: Vec<String>,
    transport: Transport,
}

/// A slot on its way from one primary to another.
#[derive(Debug)]
pub struct SlotMove<'a> {
    cluster: &'a RedisCluster,
    slot: String,
    from: usize,
    to: usize,
}

/// A line of `CLUSTER NODES`: what a node knows of another.
struct Known {
    id: String,
    slots: Vec<RangeInclusive<u16>>,
}

impl RedisCluster {
    /// Starts one that needs no password.
    pub fn start() -> Self {
        Self::with(Transport::Tcp, &[])
    }

    /// Starts one in which no replica replaces a primary that was only slow, for tests of exact numbers.
    pub fn steady() -> Self {
        Self::with(Transport::Tcp, &["cluster-node-timeout 60000"])
    }

    /// Starts one with further lines of configuration in each node, such as `requirepass` and `user`.
    pub fn with(transport: Transport, access: &[&str]) -> Self {
        let mut configuration = vec![
            "cluster-enabled yes".to_owned(),
            "cluster-announce-ip 127.0.0.1".to_owned(),
            format!("cluster-node-timeout {NODE_TIMEOUT}"),
            // A replica that was disconnected for a moment may be promoted, too.
            "cluster-replica-validity-factor 0".to_owned(),
            "repl-diskless-sync-delay 0".to_owned(),
            format!("masteruser {OPERATOR}"),
            "masterauth none".to_owned(),
        ];
        if transport == Transport::Tls {
            configuration.push("tls-cluster yes".to_owned());
        }
        configuration.extend(access.iter().map(|line| (*line).to_owned()));
        let start = |_| RedisServer::start(transport, Mode::Store, &configuration);
        let nodes: Vec<RedisServer> = (0..NODES).map(start).collect();
        let ids = nodes.iter().map(|node| node.ask(&["CLUSTER", "MYID"])).collect();
        let cluster = Self { nodes, ids, transport };
        cluster.form();
        cluster
    }

    /// Introduces the nodes to each other, and assigns slots and replicas.
    fn form(&self) {
        for (index, node) in self.nodes.iter().enumerate() {
            node.ask::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
            self.nodes[0].ask::<()>(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string()]);
        }
        for (index, primary) in self.nodes[..PRIMARIES].iter().enumerate() {
            let share = index * SLOTS / PRIMARIES..(index + 1) * SLOTS / PRIMARIES;
            let slots: Vec<String> = share.map(|slot| slot.to_string()).collect();
            let mut command = vec!["CLUSTER", "ADDSLOTS"];
            command.extend(slots.iter().map(String::as_str));
            primary.ask::<()>(&command);
        }
        for (replica, id) in self.nodes[PRIMARIES..].iter().zip(&self.ids) {
            let replicate = ["CLUSTER", "REPLICATE", id];
            wait::until("the replica knows its primary", || replica.try_ask::<()>(&replicate).is_ok());
        }
        self.wait_until_healthy();
        wait::until("all know all replicas", || {
            self.nodes.iter().all(|node| node.ask::<String>(&["CLUSTER", "NODES"]).matches("slave ").count() == 3)
        });
    }

    /// Waits until every running node says that the cluster works and knows all others, and every replica has its data.
    pub fn wait_until_healthy(&self) {
        wait::until("the cluster works", || {
            self.running().all(|(_, node)| {
                let is = |name, value| node.info(&["CLUSTER", "INFO"], name).as_deref() == Some(value);
                is("cluster_state", "ok") && is("cluster_known_nodes", "6")
            })
        });
        wait::until("the replicas are linked", || {
            self.running().all(|(index, node)| self.is_primary(index) || node.is_linked())
        });
    }

    /// The URL for a limiter: all nodes, replicas among them.
    pub fn url(&self) -> String {
        self.url_as("")
    }

    /// The URL for a limiter with credentials, such as `user:password@`.
    pub fn url_as(&self, credentials: &str) -> String {
        self.url_of(credentials, &(0..NODES).collect::<Vec<_>>())
    }

    /// A URL that names these nodes and no others.
    pub fn url_of(&self, credentials: &str, nodes: &[usize]) -> String {
        let scheme = if self.transport == Transport::Tls { "rediss+cluster" } else { "redis+cluster" };
        let addresses: Vec<String> = nodes.iter().map(|node| self.nodes[*node].address().to_string()).collect();
        format!("{scheme}://{credentials}{}", addresses.join(","))
    }

    /// One of the nodes.
    pub fn node(&self, index: usize) -> &RedisServer {
        &self.nodes[index]
    }

    /// The slot of a key.
    pub fn slot(&self, key: &str) -> u16 {
        self.any().ask(&["CLUSTER", "KEYSLOT", key])
    }

    /// The primary that serves a slot, if all running nodes agree on one that runs.
    pub fn primary_of(&self, slot: u16) -> Option<usize> {
        let views: Vec<_> = self.running().map(|(_, node)| owner(node, slot)).collect();
        let id = &views[0].as_ref()?.id;
        let agreed = views.iter().all(|known| known.as_ref().is_some_and(|known| known.id == *id));
        let (index, _) = self.running().find(|(index, _)| self.ids[*index] == *id)?;
        (agreed && self.is_primary(index)).then_some(index)
    }

    /// A primary other than this one.
    pub fn another_primary(&self, than: usize) -> usize {
        let mut others = self.running().map(|(index, _)| index).filter(|index| *index != than);
        others.find(|index| self.is_primary(*index)).expect("three primaries")
    }

    /// Kills a node with SIGKILL.
    pub fn kill(&mut self, index: usize) {
        self.nodes[index].kill();
    }

    /// Starts an empty node at the same address. It becomes a replica if another has been promoted.
    pub fn restart(&mut self, index: usize) {
        self.nodes[index].restart();
    }

    /// Waits until a replica serves this slot in place of a killed primary.
    pub fn wait_for_promotion(&self, slot: u16) -> usize {
        let (index, _) = wait::until_some("a replica is promoted", || self.primary_of(slot));
        wait::until("the cluster works again", || {
            let state = |node: &RedisServer| node.info(&["CLUSTER", "INFO"], "cluster_state");
            self.running().all(|(_, node)| state(node).as_deref() == Some("ok"))
        });
        index
    }

    /// Starts to move a slot. From now on, keys that the old primary does not have are at the new one.
    pub fn begin_move(&self, slot: u16, to: usize) -> SlotMove<'_> {
        let from = self.primary_of(slot).expect("a primary of the slot");
        let step = SlotMove { cluster: self, slot: slot.to_string(), from, to };
        step.set_slot(to, &["IMPORTING", &self.ids[from]]);
        step.set_slot(from, &["MIGRATING", &self.ids[to]]);
        step
    }

    /// Makes the servers move a slot in one step, if they can: Valkey since 9.0.
    pub fn move_at_once(&self, slot: u16, to: usize) -> bool {
        let (from, slot_text) = (self.primary_of(slot).expect("a primary of the slot"), slot.to_string());
        let command = ["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", &slot_text, &slot_text, "NODE", &self.ids[to]];
        if let Err(error) = self.nodes[from].try_ask::<()>(&command) {
            assert!(error.to_string().to_lowercase().contains("unknown"), "{error}");
            return false;
        }
        wait::until("the slot is moved", || self.primary_of(slot) == Some(to));
        true
    }

    /// All keys of all primaries, sorted.
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.primaries().flat_map(RedisServer::keys).collect();
        keys.sort();
        keys
    }

    /// The keys without an expiry, on all nodes.
    pub fn keys_without_expiry(&self) -> Vec<String> {
        self.primaries().flat_map(RedisServer::keys_without_expiry).collect()
    }

    /// The value of a counter, at whatever primary it is.
    pub fn get(&self, key: &str) -> Option<u64> {
        self.primaries().find_map(|node| node.try_ask::<Option<u64>>(&["GET", key]).ok().flatten())
    }

    /// The number of keys of each primary.
    pub fn spread(&self) -> Vec<usize> {
        self.primaries().map(|node| node.ask(&["DBSIZE"])).collect()
    }

    /// The number of applications connected to the node that has most of them.
    pub fn most_clients(&self) -> usize {
        self.running().map(|(_, node)| node.clients()).max().unwrap_or_default()
    }

    fn running(&self) -> impl Iterator<Item = (usize, &RedisServer)> {
        self.nodes.iter().enumerate().filter(|(_, node)| node.is_running())
    }

    fn any(&self) -> &RedisServer {
        self.running().next().expect("a node that runs").1
    }

    fn primaries(&self) -> impl Iterator<Item = &RedisServer> {
        self.running().filter(|(index, _)| self.is_primary(*index)).map(|(_, node)| node)
    }

    fn is_primary(&self, index: usize) -> bool {
        self.nodes[index].info(&["INFO", "replication"], "role").as_deref() == Some("master")
    }
}

impl SlotMove<'_> {
    /// Moves the keys that the old primary has at this moment.
    pub fn move_keys(&self) {
        self.move_keys_if(|_| true);
    }

    /// Moves the keys for which this is true.
    pub fn move_keys_if(&self, is_to_move: impl Fn(&str) -> bool) {
        let (from, to) = (&self.cluster.nodes[self.from], &self.cluster.nodes[self.to]);
        let mut keys: Vec<String> = from.ask(&["CLUSTER", "GETKEYSINSLOT", &self.slot, "1000"]);
        keys.retain(|key| is_to_move(key));
        if keys.is_empty() {
            return;
        }
        let port = to.port().to_string();
        let mut command = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "AUTH2", OPERATOR, "none", "KEYS"];
        command.extend(keys.iter().map(String::as_str));
        from.ask::<()>(&command);
    }

    /// Gives the slot to the new primary.
    pub fn finish(self) {
        let owner = &self.cluster.ids[self.to];
        let others = self.cluster.running().map(|(index, _)| index).filter(|index| self.cluster.is_primary(*index));
        // The new primary first, because the old one redirects there from now on.
        let rest: Vec<usize> = others.filter(|index| ![self.to, self.from].contains(index)).collect();
        for index in [self.to, self.from].into_iter().chain(rest) {
            self.set_slot(index, &["NODE", owner]);
        }
    }

    fn set_slot(&self, index: usize, state: &[&str]) {
        let mut command = vec!["CLUSTER", "SETSLOT", &self.slot];
        command.extend(state);
        self.cluster.nodes[index].ask::<()>(&command);
    }
}

/// The primary of a slot, as this node sees it.
fn owner(node: &RedisServer, slot: u16) -> Option<Known> {
    let nodes: String = node.ask(&["CLUSTER", "NODES"]);
    nodes.lines().filter_map(Known::read).find(|known| known.slots.iter().any(|range| range.contains(&slot)))
}

impl Known {
    /// `ID IP:PORT@BUS FLAGS PRIMARY PING PONG EPOCH LINK SLOTS…`, with the slots as `1` or `1-3` or `[1->-ID]`.
    fn read(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split(' ').collect();
        if fields.get(2)?.contains("fail") {
            return None;
        }
        let slots = fields.iter().skip(8).filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some(first.parse().ok()?..=last.parse().ok()?)
        });
        Some(Self { id: fields[0].to_owned(), slots: slots.collect() })
    }
}
